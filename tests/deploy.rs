//! The files that users run the agent with, tried with the programs that they are for.

mod compose;
mod image;
mod leaving;
mod once;
mod prometheus;
mod proxies;
mod proxy;
mod relay;
