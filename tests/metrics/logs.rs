//! What followers of logs cost, in figures.

use std::time::{Duration, Instant};

use docker_ps_agent::telemetry::name::{
    CATCH_UPS, FOLLOWER_LAG, FOLLOWERS, LOG_READERS, LOG_REFUSALS, RING_BYTES,
};
use serde_json::json;

use super::samples::{Samples, becomes};
use crate::support::agent::Agent;
use crate::support::fixture::{ID, agent_on, engine_with_live_log, engine_with_log};
use crate::support::scripted::{Answer, STDOUT, frame, line};
use crate::support::wait::{self, SOON};

#[tokio::test]
async fn of_followers_come_and_go_with_them() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log).start().await;
    let agent = agent_on(&engine).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = agent.sse("/containers/c/logs/stream").await;
        stream.next(SOON).await.unwrap();
        streams.push(stream);
    }
    let handle = handles.of_an_empty_log().await;
    becomes(&agent, FOLLOWERS, &[], 3.0).await;
    // Each has looked for what was written before.
    becomes(&agent, CATCH_UPS, &[], 3.0).await;
    becomes(&agent, LOG_READERS, &[("kind", "catch_up")], 0.0).await;
    becomes(&agent, LOG_READERS, &[("kind", "live")], 1.0).await;
    assert!(handle.send(frame(STDOUT, line(1, "text"))).await);
    for stream in &mut streams {
        stream.next(SOON).await.unwrap();
    }
    let samples = Samples::of(&agent).await;
    let bytes = samples.sum(RING_BYTES, &[]);
    assert!((100.0..10_000.0).contains(&bytes), "{bytes}");
    let lag = |of: &str| samples.sum(&format!("{FOLLOWER_LAG}_{of}"), &[]);
    assert!(lag("count") >= 1.0, "some have taken it from the ring");
    assert!(lag("sum") < lag("count") * SOON.as_secs_f64());
    // Who comes later has not lagged for as long as the lines are there.
    let second = Duration::from_secs(1);
    let begun = Instant::now();
    wait::until("time has passed", SOON, async || {
        begun.elapsed() > 2 * second
    })
    .await;
    let mut late = agent.sse("/containers/c/logs/stream?tail=1").await;
    while late.next(SOON).await.unwrap().name() != "log" {}
    let now = Samples::of(&agent).await;
    let now = |of: &str| now.sum(&format!("{FOLLOWER_LAG}_{of}"), &[]);
    assert!(now("count") > lag("count"), "it has taken it from the ring");
    assert!(now("sum") - lag("sum") < 1.0);
    drop((streams, late));
    for gauge in [FOLLOWERS, LOG_READERS, RING_BYTES] {
        becomes(&agent, gauge, &[], 0.0).await;
    }
}

/// Two MiB of text, of which a ring keeps about four.
fn long_log() -> Vec<u8> {
    let text = "x".repeat(64 << 10);
    (0..32)
        .flat_map(|number| frame(STDOUT, line(number, &text)))
        .collect()
}

#[tokio::test]
async fn all_rings_keep_no_more_where_there_are_more_of_them() {
    const MIB: f64 = 1024.0 * 1024.0;
    let (full, quiet) = (0..16, 16..64);
    let number = |path: &str| path.split('/').nth(2).unwrap().parse::<u64>().unwrap();
    let engine = engine_with_log(Answer::bytes(200, ""))
        .route_fn("GET", "/containers/*/json", move |request| {
            let id = format!("{:064x}", number(&request.path));
            let state = json!({ "Running": true });
            Answer::json(
                200,
                json!({ "Id": id, "Config": { "Tty": false }, "State": state }),
            )
        })
        .route_fn("GET", "/containers/*/logs", |request| {
            let id = request.path.split('/').nth(2).unwrap();
            let is_full = u64::from_str_radix(id, 16).unwrap() < 16;
            match (is_full, request.query.contains("follow=1")) {
                (true, true) => Answer::hang_body(long_log()),
                (true, false) => Answer::bytes(200, long_log()),
                (false, true) => Answer::hang_body(""),
                (false, false) => Answer::bytes(200, ""),
            }
        })
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let kept = async || Samples::of(&agent).await.sum(RING_BYTES, &[]);
    let mut streams = Vec::new();
    for number in full {
        streams.push(
            agent
                .sse(&format!("/containers/{number}/logs/stream"))
                .await,
        );
    }
    wait::until("the rings are full", SOON, async || {
        (48.0..65.0).contains(&(kept().await / MIB))
    })
    .await;
    for number in quiet {
        streams.push(
            agent
                .sse(&format!("/containers/{number}/logs/stream"))
                .await,
        );
    }
    wait::until("they keep less", SOON, async || kept().await < 17.0 * MIB).await;
}

#[tokio::test]
async fn of_refusals_are_by_what_there_is_too_much_of() {
    let engine = engine_with_log(Answer::hang_body(""));
    let engine = engine.route_fn("GET", "/containers/*/json", |request| {
        let id = match request.path.contains("other") {
            true => ID.replace('4', "5"),
            false => ID.to_owned(),
        };
        Answer::json(200, json!({ "Id": id, "Config": { "Tty": false } }))
    });
    let engine = engine.start().await;
    let builder = Agent::builder()
        .docker_host(engine.docker_host())
        .env("MAX_LOG_READERS", "2")
        .env("MAX_LOG_READERS_PER_CONTAINER", "1");
    let agent = builder.start().await;
    // The shared reader, and one that does not come to an end with what was written before.
    let _open = agent.sse("/containers/one/logs/stream").await;
    becomes(&agent, LOG_READERS, &[], 2.0).await;
    // Neither of the two may be read a second time: the other one not at all, this one not by a second client.
    for (refused, name) in [(1.0, "other"), (2.0, "one")] {
        let path = format!("/containers/{name}/logs/stream");
        let reply = agent.get(&path).await;
        assert_eq!(reply.status, 503, "{name}");
        let after: u32 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!(after > 0);
        becomes(&agent, LOG_REFUSALS, &[("what", "readers")], refused).await;
    }
}
