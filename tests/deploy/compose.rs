//! `compose.yaml`, as it is, on an engine that has the image.

use serde_json::json;
use tokio::process::Command;

use super::image::{DATA, NAME, ask, assert_healthy, inspect};
use crate::support::dockerd::RealEngine;
use crate::support::wait::{self, SOON};

/// The agent takes over the volume, so the key, of the documented `docker run`.
pub async fn assert_serves(engine: &RealEngine, key: &str) {
    compose(engine, &["up", "--detach"]).await;
    assert_healthy(engine, NAME).await;
    let host = &inspect(engine, NAME).await["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]));
    assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");

    let list = wait::found("it answers, with the same key", SOON, async || {
        ask(engine, key, "3000/containers").await
    })
    .await;
    assert!(list.contains(&format!("\"/{NAME}\"")), "{list}");
    let metrics = ask(engine, key, "9464/metrics").await.unwrap();
    assert!(metrics.contains("docker_ps_agent_build_info"), "{metrics}");

    let (out, err) = compose(engine, &["logs", "agent"]).await;
    assert!(out.contains(&format!("Your Auth Key: {key}")), "{out}{err}");
    let cat = ["exec", "-T", "agent", "cat", "/app/data/_auth.key"];
    let (out, err) = compose(engine, &cat).await;
    assert_eq!(out.trim(), key, "{err}");
    compose(engine, &["down"]).await;
    let volumes = engine.docker(&["volume", "ls", "--quiet"]).await;
    assert!(volumes.lines().any(|volume| volume == DATA), "{volumes}");
}

async fn compose(engine: &RealEngine, args: &[&str]) -> (String, String) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose.yaml");
    let output = Command::new("docker-compose")
        .args(["--ansi", "never", "--project-name", "test", "--file", file])
        .args(args)
        .env("DOCKER_HOST", engine.docker_host())
        .env("DOCKER_CONFIG", engine.socket().parent().unwrap())
        .kill_on_drop(true)
        .output();
    let output = wait::within(&format!("{args:?}"), 4 * SOON, output).await;
    let output = output.unwrap_or_else(|error| {
        panic!("docker-compose cannot be run ({error}): install it (Debian: docker-compose)")
    });
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    (out, err)
}
