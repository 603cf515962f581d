//! The docker.ps agent: a Docker host's containers, logs and images over authenticated HTTP.
//!
//! # Layout
//!
//! A request walks down this list; nothing in a row knows a row above it, but that [`stack`] tells the [`server`] who has
//! shown the key.
//!
//! | module | what is in it |
//! |---|---|
//! | `main` | arguments → config → engine → key → stack → serve; exits, but for what [`config`] cannot read |
//! | [`config`] | flags and environment, parsed once |
//! | [`startup`] | which engine it is, and what to say where there is none |
//! | [`key`] | the auth key: read, checked or made |
//! | [`server`] | listeners, connections and their limits, the threads that serve them, the drain |
//! | [`stack`] | **the** stack: every layer around the service, outer to inner, and why there |
//! | [`service`] | the container service: [the route table](service::routes) → a handler a route |
//! | [`containers`] | the containers as they change: one list for all who watch them |
//! | [`logs`] | the log pipeline: bytes → records → whole lines → what a client is sent |
//! | [`engine`] | what is asked of the Docker Engine, over one pooled client |
//! | [`tcp`] | what is set on a TCP connection, on either side |
//! | [`write_last`] | when connections are written to, on either side |
//! | [`telemetry`] | tracing and metrics set-up; every metric's name |
//!
//! The layers themselves are the crate `middleware`, which knows nothing of Docker, and tower-http's;
//! [`packing`] sets one of those up. [`health`], [`cat`]
//! and [`exposition`] are small programs beside the service: the image's health check, its `cat`, and
//! what Prometheus reads.

pub mod cat;
pub mod config;
pub mod containers;
pub mod engine;
pub mod exposition;
pub mod health;
pub mod key;
pub mod logs;
pub mod packing;
pub mod server;
pub mod service;
pub mod stack;
pub mod startup;
pub mod tcp;
pub mod telemetry;
pub mod write_last;
