//! The docker.ps agent's process.

fn main() {}
