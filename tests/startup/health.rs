//! `docker-ps-agent health`, the image's health check.

use std::fs;

use crate::support::agent::{Agent, AgentBuilder};
use crate::support::fixture::agent_on;
use crate::support::scripted::ScriptedEngine;
use crate::support::wait::SOON;

/// A health check of what listens at `address`, with the key of `folder`: its exit code and what it says.
async fn check(address: &str, folder: &std::path::Path) -> (Option<i32>, String) {
    let health: AgentBuilder = Agent::builder()
        .env("LISTEN_ADDR", address)
        .data_dir(folder)
        .arg("health");
    let health = health.spawn();
    let code = health.wait_exit(SOON).await.code();
    (code, health.output())
}

#[tokio::test]
async fn is_well_where_the_agent_answers() {
    let engine = ScriptedEngine::new().start().await;
    for listen in ["127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"] {
        let builder = Agent::builder()
            .docker_host(engine.docker_host())
            .env("LISTEN_ADDR", listen);
        let agent = builder.start().await;
        let port = agent.client.address.port().to_string();
        let address = listen.strip_suffix('0').unwrap().to_owned() + &port;
        let file = builder.key_file();
        let (code, said) = check(&address, file.parent().unwrap()).await;
        assert_eq!((code, said.as_str()), (Some(0), ""), "{listen}");
    }
}

#[tokio::test]
async fn is_ill_where_nobody_answers() {
    let engine = ScriptedEngine::new().start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let agent = builder.start().await;
    let address = agent.client.address.to_string();
    agent.kill9();
    let (code, said) = check(&address, builder.key_file().parent().unwrap()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("refused"), "{said}");
}

#[tokio::test]
async fn is_ill_with_another_key_and_touches_nothing() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let address = agent.client.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("_auth.key");

    assert_eq!(check(&address, folder.path()).await.0, Some(1));
    assert!(!file.exists(), "a key was made");

    let other = format!("docker_ps_{}", "0".repeat(128));
    for (content, wanted) in [(other.as_str(), "401"), ("rubbish", "docker_ps_")] {
        fs::write(&file, content).unwrap();
        let (code, said) = check(&address, folder.path()).await;
        assert_eq!(code, Some(1), "{content}");
        assert!(said.contains(wanted) && !said.contains(content), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}
