//! The wire contract, row by row: the real agent on a real Docker Engine.

mod actions;
mod auth;
mod bytes;
mod capped;
mod dialects;
mod download;
mod follow;
pub mod host;
mod leavers;
mod once;
mod outage;
mod packed;
mod reads;
mod redacted;
mod removal;
mod requests;
mod split;
mod terminal;
mod views;
