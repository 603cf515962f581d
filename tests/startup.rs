//! How the agent starts, or says why it does not; and the small programs in the same binary.

mod address;
mod cat;
mod default_engine;
mod health;
mod listeners;
mod no_engine;

use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::scripted::ScriptedEngine;
use crate::support::wait::SOON;

#[tokio::test]
async fn shows_its_flags_and_its_version() {
    let help = Agent::builder().arg("--help").spawn();
    assert!(help.wait_exit(SOON).await.success());
    for name in [
        "LISTEN_ADDR",
        "METRICS_ADDR",
        "DOCKER_HOST",
        "NODE_ENV",
        "DATA_DIR",
        "SHOW_KEY",
        "LOG_FORMAT",
        "RUST_LOG",
        "health",
    ] {
        assert!(help.output().contains(name), "{name} is not in the help");
    }
    let version = Agent::builder().arg("--version").spawn();
    assert!(version.wait_exit(SOON).await.success());
    let wanted = concat!("docker-ps-agent ", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.output(), wanted);
}

#[tokio::test]
async fn listens_soon_after_it_was_started() {
    let engine = ScriptedEngine::new().start().await;
    let begun = Instant::now();
    let agent = Agent::builder().docker_host(engine.docker_host());
    let agent = agent.start().await;
    assert_eq!(agent.get("/").await.text(), "OK");
    // The figure itself is a benchmark's; this is for a wait that should not be there.
    assert!(begun.elapsed() < Duration::from_secs(5));
}
