//! All integration tests, linked once: the harness in `support`, and one module for each theme.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test reports by panicking, and shows what its processes said"
)]
#![allow(
    unreachable_pub,
    reason = "a test binary exports nothing: here `pub` means for the other modules"
)]

mod contract;
mod deploy;
mod faults;
mod harness;
mod key;
mod limits;
mod memory;
mod metrics;
mod push;
mod resume;
mod sharing;
mod shutdown;
mod startup;
mod support;
