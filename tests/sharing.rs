//! Reads that wait together share an answer, which none of them has to mistrust.

mod conditional;
mod errors;
mod freshness;
mod lists;
mod long;
mod packed;
