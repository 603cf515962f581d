//! The harness: engines (scripted and real), the agent as a process, and a client that asks it.

#![allow(
    dead_code,
    unused_imports,
    reason = "a helper may be there before the test that needs it"
)]

pub mod agent;
pub mod client;
pub mod dockerd;
pub mod fixture;
pub mod nobody;
pub mod scripted;
pub mod sse;
pub mod wait;
