//! What an operator sees: metrics for Prometheus, and the agent's own log.

mod counts;
mod engine;
mod exposition;
mod labels;
mod log;
mod logs;
pub mod samples;
