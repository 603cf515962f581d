//! What clients get through each proxy, over each version of HTTP that it speaks to them.

use std::time::Duration;

use super::proxy::{Followed, Kind, Proxy, age};
use crate::contract::host::Host;
use crate::support::wait::{self, SOON};

/// How many lines are timed.
const LINES: usize = 30;

/// A proxy that collects lines holds each for as long as it takes to fill a buffer, which is many times this.
const PROMPT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_hands_everything_on_as_it_comes() {
    hands_everything_on(Kind::Nginx, &["--http1.1", "--http2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_hands_everything_on_as_it_comes() {
    hands_everything_on(Kind::Caddy, &["--http1.1", "--http2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_hands_everything_on_as_it_comes() {
    hands_everything_on(Kind::Haproxy, &["--http1.1"]).await;
}

async fn hands_everything_on(kind: Kind, versions: &[&str]) {
    let host = Host::start().await;
    let name = format!("behind-{kind:?}").to_lowercase();
    let script = "i=0; while :; do echo line $i; i=$((i+1)); usleep 50000; done";
    host.engine.run(&name, &[], script).await;
    let proxy = Proxy::start(kind, &host).await;
    for version in versions {
        let version = &[*version][..];
        assert_answers(&host, &proxy, version, &name).await;
        for (route, mark) in [
            ("logs/stream?tail=1", "{\"log\":"),
            ("logs?follow=true&tail=1", "{\"line\":"),
        ] {
            let path = format!("/containers/{name}/{route}");
            let stream = proxy.follow(version, &path);
            assert_prompt(stream, mark, &format!("{kind:?} {version:?} {route}")).await;
            assert_ended(&host).await;
        }
    }
    assert_stops(&proxy, &name).await;
}

/// Answers that are whole, as the agent gives them.
async fn assert_answers(host: &Host, proxy: &Proxy, version: &[&str], name: &str) {
    assert_eq!(proxy.get(version, "/").await, b"OK");
    // Paths come through with their escapes: without, this would be no path of an image.
    let inspect = proxy.get(version, "/images/busybox%3Atest").await;
    let (.., own) = host.engine.raw("GET", "/images/busybox:test/json").await;
    assert_eq!(inspect, own);
    let status = [
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{http_version}",
    ];
    let of = |more: &[&'static str], path: &str| {
        let options = [version, &status, more].concat();
        proxy.curl(&options, path).output()
    };
    let expected = if version == ["--http2"] { "2" } else { "1.1" };
    let reply = of(&[], "/images/team%2Fapp%3Av1").await.unwrap();
    assert_eq!(
        String::from_utf8_lossy(&reply.stdout),
        format!("404 {expected}")
    );
    let keyless = of(&["--header", "x-auth-key;"], "/").await.unwrap();
    assert!(keyless.stdout.starts_with(b"401"), "{keyless:?}");
    let log = proxy
        .get(version, &format!("/containers/{name}/logs/download"))
        .await;
    assert!(log.ends_with(b"\n") && log.windows(7).any(|text| text == b"line 0\n"));
}

/// Lines arrive when they are written: the middle one promptly, nine of ten nearly so on a busy machine.
async fn assert_prompt(mut stream: Followed, mark: &str, what: &str) {
    let mut ages = Vec::new();
    let mut skipped = 0;
    while ages.len() < LINES {
        let line = stream.line().await;
        if !line.contains(mark) {
            continue;
        }
        // The first is from before.
        skipped += 1;
        if skipped > 1 {
            ages.push(age(&line));
        }
    }
    ages.sort();
    let (median, most) = (ages[LINES / 2], ages[LINES * 9 / 10]);
    println!(
        "{what}: median {median:?}, 90th percentile {most:?}, worst {:?}",
        ages[LINES - 1]
    );
    assert!(median < PROMPT && most < 5 * PROMPT, "{what}: {ages:?}");
}

/// A client that leaves the proxy ends the log's reading at the agent.
async fn assert_ended(host: &Host) {
    wait::until("no log stream is open", SOON, async || {
        let metrics = host.agent.metrics.as_ref().unwrap().get("/metrics").await;
        let open = "docker_ps_agent_log_streams_open{";
        let mut open = metrics.text().lines().filter(|line| line.starts_with(open));
        open.all(|line| line.ends_with(" 0"))
    })
    .await;
}

async fn assert_stops(proxy: &Proxy, name: &str) {
    let answer = proxy.get(&[], &format!("/containers/{name}/stop")).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["State"]["Running"], false);
}
