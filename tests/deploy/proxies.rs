//! What clients get through each proxy, over each version of HTTP that it speaks to them.

use std::time::Duration;

use super::proxy::{Followed, Kind, Proxy, age};
use crate::contract::host::Host;
use crate::support::dockerd::IMAGE;
use crate::support::wait::{self, SOON};

/// How many lines in a row must come in time, and how often that is tried.
const LINES: usize = 30;
const TRIES: usize = 20;

/// The lines of a log of four megabytes.
const LONG: usize = 50_000;

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
    let script = format!("seq {LONG} | sed 's/^/a line of a log that no proxy holds at once: /'");
    let long = format!("{name}-long");
    host.ran(&long, &[], &script).await;
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
        }
    }
    assert_stops(&proxy, &name).await;
    host.engine.remove(&name).await;
    host.engine.remove(&long).await;
}

/// Answers that are whole, as the engine and the agent give them.
async fn assert_answers(host: &Host, proxy: &Proxy, version: &[&str], name: &str) {
    assert_eq!(proxy.get(version, "/").await, b"OK");
    let status = [
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{http_version}",
    ];
    let expected = match version {
        ["--http2"] => "401 2",
        _ => "401 1.1",
    };
    let options = [version, &status, &["--header", "x-auth-key;"]].concat();
    let keyless = proxy.curl(&options, "/").output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&keyless.stdout), expected);

    // What resumes a stream of as many logs as it may have.
    let places = vec!["x".repeat(90); 256].join(",");
    let header = format!("last-event-id: {places}");
    let options = [version, &["--header", &header]].concat();
    assert_eq!(proxy.get(&options, "/").await, b"OK");

    let container = format!("/containers/{name}");
    assert_same(
        host,
        proxy,
        version,
        &container,
        &format!("{container}/json"),
    )
    .await;
    // Where a proxy decodes what it hands on, this is no path of the agent's.
    let image = format!("tests/{name}");
    host.engine.docker(&["tag", IMAGE, &image]).await;
    let path = format!("/images/{}", image.replace('/', "%2F"));
    assert_same(
        host,
        proxy,
        version,
        &path,
        &format!("/images/{image}/json"),
    )
    .await;

    let path = format!("/containers/{name}-long/logs/download");
    let log = proxy.get(version, &path).await;
    assert_eq!(log.iter().filter(|byte| **byte == b'\n').count(), LONG);
    assert!(
        log == host.agent.get(&path).await.body,
        "a download is torn"
    );
}

/// Other tests change the engine meanwhile, so that it is asked before and after.
async fn assert_same(host: &Host, proxy: &Proxy, version: &[&str], path: &str, engine_path: &str) {
    let what = format!("{path} is the engine's {engine_path}");
    wait::until(&what, SOON, async || {
        let (.., before) = host.engine.raw("GET", engine_path).await;
        let answer = proxy.get(version, path).await;
        let (.., after) = host.engine.raw("GET", engine_path).await;
        answer == before || answer == after
    })
    .await;
}

/// Lines arrive when they are written, each of them, but for those that a busy machine holds up.
async fn assert_prompt(mut stream: Followed, mark: &str, what: &str) {
    // The first is from before.
    stream.line_with(mark).await;
    let mut worst = Vec::new();
    for _ in 0..TRIES {
        let mut ages = Vec::new();
        for _ in 0..LINES {
            ages.push(age(&stream.line_with(mark).await));
        }
        ages.sort();
        worst.push(ages[LINES - 1]);
        if worst.last() < Some(&PROMPT) {
            println!("{what}: median {:?}, worst {worst:?}", ages[LINES / 2]);
            return;
        }
    }
    panic!("{what}: {worst:?}");
}

async fn assert_stops(proxy: &Proxy, name: &str) {
    let answer = proxy.get(&[], &format!("/containers/{name}/stop")).await;
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["State"]["Running"], false);
}

/// A connection that asks for nothing would be one less for others.
#[tokio::test]
async fn none_waits_long_for_a_head() {
    let host = Host::start().await;
    let sends_away = async |kind| {
        let proxy = Proxy::start(kind, &host).await;
        let mut silent = proxy.half_a_head().await;
        let what = format!("{kind:?} sends it away");
        wait::within(&what, SOON, silent.wait()).await.unwrap();
    };
    tokio::join!(
        sends_away(Kind::Nginx),
        sends_away(Kind::Caddy),
        sends_away(Kind::Haproxy)
    );
}
