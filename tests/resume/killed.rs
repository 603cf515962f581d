//! Whatever is killed, each client ends with the lines of the engine's own log, each once, in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;

use super::{Client, assert_same};
use crate::contract::host::frames;
use crate::support::agent::{Agent, AgentBuilder};
use crate::support::dockerd::RealEngine;
use crate::support::wait::{self, SOON};

const CLIENTS: usize = 50;
const LINES: usize = 16_000;

/// What a client reaches: the agent that runs now, if one does.
pub(super) type Now = Arc<RwLock<Option<Agent>>>;

/// Whether the last line is here of either output: an engine that was away may read one of them long before the other.
fn is_done(client: &Client) -> bool {
    let is_end = |line: &&String| line.ends_with(" end");
    client.lines.last().filter(is_end).is_some() && client.lines.iter().filter(is_end).count() == 2
}

/// Follows with breaks at moments that its number makes, until it has all.
async fn follow(now: Now, number: usize) -> Client {
    let path = match number % 2 {
        0 => "/containers/writer/logs/stream?tail=all&restarts=follow",
        _ => "/containers/writer/logs?follow=true&tail=all&restarts=follow",
    };
    let mut client = Client::default();
    let mut moment = number as u64;
    // Up to sixteen times as patient where the last times brought nothing, as on a machine that has much else to do.
    let mut patience = 1;
    while !is_done(&client) {
        let now = now.read().await;
        let Some(agent) = now.as_ref() else {
            drop(now);
            tokio::task::yield_now().await;
            continue;
        };
        let cursor = client.cursor.clone();
        let headers: Vec<_> = cursor
            .iter()
            .map(|cursor| ("last-event-id", cursor.as_str()))
            .collect();
        let mut stream = agent.sse_with(path, &headers).await;
        drop(now);
        if stream.status != 200 {
            // The engine is away, or in the middle of its start; or others were too slow for its turn to come.
            assert!(
                [409, 502, 503].contains(&stream.status.as_u16()),
                "{}",
                stream.status
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        // A different while for each, and each time.
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let while_ = patience * Duration::from_millis(200 + (moment >> 33) % 2500);
        let before = client.lines.len();
        let end = tokio::time::Instant::now() + while_;
        while !is_done(&client) {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            match stream.try_next(left).await {
                Ok(Some(event)) => client.keep(&event),
                _ => break,
            }
        }
        patience = if client.lines.len() > before {
            1
        } else {
            (2 * patience).min(16)
        };
    }
    client
}

/// Another agent with the same data.
pub(super) async fn restart(now: &Now, builder: &AgentBuilder) {
    let mut now = now.write().await;
    let old = now.take().unwrap();
    old.kill9();
    old.wait_exit(SOON).await;
    *now = Some(builder.start().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_ends_with_the_engines_own_log() {
    let engine = RealEngine::start_with(&["--live-restore"]).await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let builder = builder.env("RUST_LOG", "info,middleware=warn");
    let agent = builder.start().await;
    let now: Now = Arc::new(RwLock::new(Some(agent)));
    // To both outputs, with pauses that make it last, and last lines that are told by their ends.
    let script = format!(
        "i=0; while [ $i -lt {LINES} ]; do echo out $i; echo err $i >&2; i=$((i+1)); \
         [ $((i % 2000)) -ne 0 ] || sleep 0.3; done; until [ -e /go ]; do sleep 0.1; done; \
         echo the end; echo the end >&2; sleep 600"
    );
    engine.run("writer", &[], &script).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(follow(Arc::clone(&now), number)))
        .collect();

    let log = async |tail: &str| {
        let path = format!("/containers/writer/logs?stdout=1&stderr=1&timestamps=1&tail={tail}");
        let (status, _, log) = engine.raw("GET", &path).await;
        assert_eq!(status, 200);
        let lines = frames(&log).into_iter();
        let lines = lines.map(|(_, line)| String::from_utf8(line).unwrap().trim_end().to_owned());
        lines.collect::<Vec<_>>()
    };
    let reaches = async |many: usize| {
        wait::until("the writer is further", 8 * SOON, async || {
            let last = log("1").await.pop().unwrap_or_default();
            let number = last.split_whitespace().last().unwrap_or_default();
            number.parse().is_ok_and(|number: usize| number >= many)
        })
        .await;
    };
    reaches(LINES / 8).await;
    restart(&now, &builder).await;
    reaches(LINES / 4).await;
    engine.kill9().await;
    engine.start_again().await;
    reaches(LINES / 2).await;
    restart(&now, &builder).await;
    engine.docker(&["exec", "writer", "touch", "/go"]).await;

    let mut seen = Vec::new();
    for client in clients {
        seen.push(
            wait::within("a client has all", 40 * SOON, client)
                .await
                .unwrap(),
        );
    }
    let wanted = log("all").await;
    // What the engine has read of either output and not written is lost when it is killed: 16 KiB of lines of six bytes or more.
    let lost = 2 * (16 << 10) / "out 0\n".len();
    assert!(wanted.len() + lost > 2 * LINES, "{}", wanted.len());
    for (number, client) in seen.iter().enumerate() {
        assert_eq!(client.gaps, 0, "client {number}");
        assert_same(&client.lines, &wanted, &format!("client {number}"));
    }
}
