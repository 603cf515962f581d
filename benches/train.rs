//! What the compiler is shown of the agent's life, so that it arranges the program for that: most of what is asked most,
//! and some of everything else, on an engine that answers at once. `deploy/build.sh` runs it with an agent that counts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench fails by panicking"
)]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "of the tests' support a bench uses a part"
)]

mod instant;
mod load;
mod mix;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::{iter, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tests::support;
use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    instant::Instant as InstantEngine,
    load::{Address, Job, load},
    mix::ask_everything,
    support::{agent::Agent, wait::SOON},
};

/// How long all of it takes. The compiler takes for hot what makes up nearly all that was counted, so that what is asked
/// of the agent mostly must not drown in the lines of logs.
const REQUESTS: Duration = Duration::from_secs(2);
const MIX: Duration = Duration::from_secs(2);
const LOGS: Duration = Duration::from_millis(200);

const CONTAINERS: usize = 100;

/// Of a log, and of what is followed behind it.
const LINES: u32 = 2000;

/// A container in a list, as the engine writes it.
fn listed(number: usize) -> Value {
    json!({
        "Id": id(number),
        "Names": [format!("/shop-web-{number}")],
        "Image": "nginx:1.27",
        "ImageID": format!("sha256:{}", id(0)),
        "Command": "/docker-entrypoint.sh nginx -g 'daemon off;'",
        "Created": 1_767_225_600,
        "Ports": [{ "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000 + number, "Type": "tcp" }],
        "Labels": { "com.docker.compose.project": "shop", "com.docker.compose.service": "web" },
        "State": "running",
        "Status": "Up 3 hours",
        "HostConfig": { "NetworkMode": "shop_default" },
        "NetworkSettings": { "Networks": { "shop_default": { "NetworkID": id(1), "IPAddress": "172.18.0.2" } } },
        "Mounts": [{ "Type": "volume", "Name": "shop_data", "Source": "", "Destination": "/data", "RW": true }],
    })
}

fn id(number: usize) -> String {
    format!("{:064x}", number * 7919 + 1)
}

/// What the engine tells of a container, in about as many bytes.
fn inspected() -> Value {
    let variables =
        (0..60).map(|number| format!("SETTING_{number}=the value of it, or a password"));
    let secret = iter::once("DB_PASSWORD=line 1234 of".to_owned());
    let limits = (0..60).map(|number| (format!("Limit{number}"), json!(number)));
    json!({
        "Id": id(1),
        "Created": "2026-01-01T00:00:00Z",
        "Path": "/docker-entrypoint.sh",
        "State": { "Status": "running", "Running": true, "StartedAt": "2026-01-01T00:00:00Z" },
        "Name": "/shop-web-1",
        "HostConfig": limits.collect::<serde_json::Map<_, _>>(),
        "Config": { "Tty": false, "Env": variables.chain(secret).collect::<Vec<_>>(), "Labels": {} },
    })
}

/// The same over and over, from connections that stay.
async fn ask(agent: &Agent, connections: usize, paths: &[&str], time: Duration) {
    let paths = paths.iter().flat_map(|path| match path.split_once('*') {
        Some((begin, end)) => (0..CONTAINERS)
            .map(|number| format!("{begin}{}{end}", id(number)))
            .collect(),
        None => vec![(*path).to_owned()],
    });
    let job = Job {
        address: Address::Tcp(agent.client.address),
        key: agent.key.clone(),
        connections,
        paths: paths.collect(),
        statuses: vec![200],
        warm_up: Duration::ZERO,
        time,
    };
    spawn_blocking(move || load(&job, None)).await.unwrap();
}

/// Streams of whole logs, read until what is followed has come; each of the lines has to pass.
async fn follow(agent: &Agent, path: &str) {
    let end = Instant::now() + LOGS;
    while Instant::now() < end {
        let mut stream = agent.sse(path).await;
        for _ in 0..2 * LINES {
            stream.next(SOON).await.unwrap();
        }
    }
}

#[tokio::main]
async fn main() {
    if load::is_called() || instant::is_called() {
        return;
    }
    let list: Vec<_> = (0..CONTAINERS).map(listed).collect();
    let (list, inspect) = (json!(list).to_string(), inspected().to_string());
    let start = |lines| InstantEngine::with_logs(list.as_bytes(), inspect.as_bytes(), lines, &[]);

    let engine = start(100);
    let host = format!("unix://{}", engine.socket().display());
    let agent = Arc::new(Agent::builder().docker_host(host).start().await);
    for (connections, path) in [
        (1, "/containers/*"),
        (16, "/containers/*"),
        (16, "/containers/*"),
        (64, "/containers/*"),
        (16, "/containers/a"),
        (64, "/"),
        (1, "/containers"),
        (64, "/containers"),
    ] {
        ask(&agent, connections, &[path], REQUESTS).await;
    }
    ask_everything(&agent, Instant::now() + MIX, MIX / 4).await;
    let metrics = agent.metrics.as_ref().unwrap().get("/metrics").await;
    assert_eq!(metrics.status.as_u16(), 200);
    end(agent).await;

    let engine = start(LINES);
    let host = format!("unix://{}", engine.socket().display());
    let agent = Arc::new(Agent::builder().docker_host(host).start().await);
    for query in [
        "",
        "?format=ndjson",
        "?regex=9%20o%5Bf%5D&ansi=strip",
        "?redact=env",
    ] {
        ask(
            &agent,
            2,
            &[&format!("/containers/a/logs/download{query}")],
            LOGS,
        )
        .await;
    }
    ask(&agent, 2, &["/containers/a/logs?tail=all"], LOGS).await;
    for path in [
        "/containers/a/logs/stream?tail=all",
        "/containers/a/logs?follow=true&tail=all",
        "/containers/a/logs/stream?tail=all&grep=log&redact=env",
        "/logs/stream?container=a&tail=all",
    ] {
        tokio::join!(follow(&agent, path), follow(&agent, path));
    }
    end(agent).await;
}

/// An agent tells what it has counted when it ends by itself.
async fn end(agent: Arc<Agent>) {
    agent.signal(rustix::process::Signal::TERM);
    assert!(agent.wait_exit(SOON).await.success());
}
