//! The docker.ps agent.
