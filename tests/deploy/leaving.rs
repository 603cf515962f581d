//! A client that leaves a proxy ends the engine's reading of the log, also where no line tells anyone that it left.

use std::time::{Duration, Instant};

use super::proxy::{Kind, Proxy};
use super::relay::Relay;
use crate::support::wait::{self, SOON};

/// It is at once; the rest is for a busy machine. A heartbeat, which a proxy could not hand on, comes later.
const PROMPT: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_lets_go_of_a_quiet_log_whose_client_left() {
    lets_go(Kind::Nginx, &["--http1.1", "--http2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_lets_go_of_a_quiet_log_whose_client_left() {
    lets_go(Kind::Caddy, &["--http1.1", "--http2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_lets_go_of_a_quiet_log_whose_client_left() {
    lets_go(Kind::Haproxy, &["--http1.1"]).await;
}

async fn lets_go(kind: Kind, versions: &[&str]) {
    let (relay, host) = Relay::to_shared_engine().await;
    let name = format!("left-{kind:?}").to_lowercase();
    let script = "echo once; exec sleep 2147483647";
    host.engine.run(&name, &[], script).await;
    let proxy = Proxy::start(kind, &host).await;
    for version in versions {
        for route in ["logs/stream", "logs?follow=true"] {
            let path = format!("/containers/{name}/{route}");
            let mut stream = proxy.follow(&[version], &path);
            stream.line_with("once").await;
            // The pool gives up the connections of other requests.
            wait::until("only the log is read", SOON, async || {
                relay.connections() == 1
            })
            .await;
            let left = Instant::now();
            drop(stream);
            let what = format!("{kind:?} {version} {route}: the engine reads no log");
            wait::until(&what, PROMPT, async || relay.connections() == 0).await;
            println!("{what} after {:?}", left.elapsed());
        }
    }
    host.engine.remove(&name).await;
}
