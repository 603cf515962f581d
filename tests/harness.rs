//! The harness keeps what it promises.

mod agent;
mod client;
mod dockerd;
mod load;
mod scripted;
mod sse;
