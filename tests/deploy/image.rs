//! The image: built from the Dockerfile, and run with the documented lines.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use super::compose;
use crate::support::dockerd::RealEngine;
use crate::support::wait::{self, SOON};

/// The names in the documented line: the image's, the container's, the volume's.
const IMAGE: &str = "shroomlife/docker.ps-agent:latest";
pub const NAME: &str = "docker-ps-agent";
pub const DATA: &str = "docker-ps-agent-data";

/// What mounts the engine into a container.
const SOCKET: &str = "/var/run/docker.sock:/var/run/docker.sock";

const MAX_SIZE: u64 = 12_000_000;

/// Two release builds with link-time optimization on two cores, which other tests use too.
const BUILD_TIME: Duration = Duration::from_secs(2400);

/// An engine whose containers can publish ports, with the image.
async fn engine_with_image() -> RealEngine {
    let engine = RealEngine::start_networked(&["-H", "tcp://127.0.0.1:2375"]).await;
    let begun = Instant::now();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new(root.join("tests/image.sh"))
        .arg(engine.socket())
        .arg(IMAGE)
        .kill_on_drop(true)
        .output();
    let built = wait::within("the image is built", BUILD_TIME, built)
        .await
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    println!("the image was built in {:?}", begun.elapsed());
    engine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_as_documented() {
    let engine = engine_with_image().await;
    assert_is_what_was_promised(&engine).await;
    let key = assert_serves(&engine).await;
    assert_stops_and_starts_with_its_key(&engine, &key).await;
    compose::assert_serves(&engine, &key).await;
    assert_finds_an_engine_by_name(&engine).await;
    assert_says_what_is_missing(&engine).await;
}

async fn docker(engine: &RealEngine, line: &str) {
    let args: Vec<&str> = line.split_whitespace().collect();
    engine.docker(&args).await;
}

pub async fn inspect(engine: &RealEngine, what: &str) -> Value {
    let text = engine.docker(&["inspect", what]).await;
    let mut found: Value = serde_json::from_str(&text).unwrap();
    found[0].take()
}

async fn assert_is_what_was_promised(engine: &RealEngine) {
    let image = inspect(engine, IMAGE).await;
    let size = image["Size"].as_u64().unwrap();
    println!("the image has {size} bytes");
    assert!(size <= MAX_SIZE, "{size}");
    let config = &image["Config"];
    assert_eq!(config["Labels"]["docker.ps-agent"], "true");
    assert_eq!(config["WorkingDir"], "/app");
    assert!(
        config["Env"]
            .as_array()
            .unwrap()
            .contains(&json!("NODE_ENV=production"))
    );
    assert!(config["ExposedPorts"]["3000/tcp"].is_object());
    assert!(config["Volumes"]["/app/data"].is_object());
    assert_eq!(
        config["Healthcheck"]["Test"],
        json!(["CMD", "/bin/docker-ps-agent", "health"])
    );
}

/// The documented lines, but for a quicker health check.
async fn assert_serves(engine: &RealEngine) -> String {
    let run = "run -d --name docker-ps-agent -v /var/run/docker.sock:/var/run/docker.sock \
               -v docker-ps-agent-data:/app/data -p 3000:3000 --health-interval 1s \
               shroomlife/docker.ps-agent:latest";
    docker(engine, run).await;
    let key = wait::found("the key is printed", SOON, async || {
        let log = engine.docker(&["logs", NAME]).await;
        let line = log
            .lines()
            .find_map(|line| line.strip_prefix("Your Auth Key: "))?;
        Some(line.to_owned())
    })
    .await;
    let cat = ["exec", NAME, "cat", "/app/data/_auth.key"];
    assert_eq!(engine.docker(&cat).await, key);
    wait::until("it answers on the published port", SOON, async || {
        ask(engine, &key, "3000/").await.as_deref() == Some("OK")
    })
    .await;
    let list = ask(engine, &key, "3000/containers").await.unwrap();
    assert!(list.contains("\"/docker-ps-agent\""), "{list}");
    let health = || async { inspect(engine, NAME).await["State"]["Health"]["Status"].take() };
    wait::until("it is healthy", SOON, async || health().await == "healthy").await;
    key
}

/// The body of a success at this port and path of the engine's host.
pub async fn ask(engine: &RealEngine, key: &str, path: &str) -> Option<String> {
    let mut curl = engine.in_network("curl");
    curl.args(["-sf", "-m", "5", "-H", &format!("x-auth-key: {key}")])
        .arg(format!("http://127.0.0.1:{path}"));
    let output = curl.output().await.unwrap();
    let body = || String::from_utf8(output.stdout).unwrap();
    output.status.success().then(body)
}

async fn assert_stops_and_starts_with_its_key(engine: &RealEngine, key: &str) {
    // It is process 1 there, which no signal ends that it does not handle; that would take ten seconds and exit 137.
    engine.docker(&["stop", NAME]).await;
    let stopped = inspect(engine, NAME).await;
    assert_eq!(stopped["State"]["ExitCode"], 0);
    engine.docker(&["start", NAME]).await;
    wait::until("it answers again, with the same key", SOON, async || {
        ask(engine, key, "3000/").await.is_some()
    })
    .await;
    engine.docker(&["rm", "-f", NAME]).await;
}

/// Static binaries are known to fail at this.
async fn assert_finds_an_engine_by_name(engine: &RealEngine) {
    let run = "run -d --name by-name --network host --add-host engine:127.0.0.1 \
               -e DOCKER_HOST=tcp://engine:2375 -e LISTEN_ADDR=127.0.0.1:3001 \
               shroomlife/docker.ps-agent:latest";
    docker(engine, run).await;
    assert_healthy(engine, "by-name").await;
    engine.docker(&["rm", "-f", "by-name"]).await;
}

pub async fn assert_healthy(engine: &RealEngine, name: &str) {
    let check = ["exec", name, "/bin/docker-ps-agent", "health"];
    wait::until(&format!("{name} is healthy"), SOON, async || {
        let log = engine.docker(&["logs", name]).await;
        let state = inspect(engine, name).await;
        assert_eq!(state["State"]["Running"], true, "{log}");
        engine.try_docker(&check).await.is_ok()
    })
    .await;
}

async fn assert_says_what_is_missing(engine: &RealEngine) {
    let run = "run -d --name alone --network none shroomlife/docker.ps-agent:latest";
    docker(engine, run).await;
    assert_eq!(engine.docker(&["wait", "alone"]).await, "1");
    let log = engine.docker(&["logs", "alone"]).await;
    assert!(log.contains("Cannot connect to Docker Daemon"), "{log}");
    assert!(log.contains(&format!("-v {SOCKET}")), "{log}");
}
