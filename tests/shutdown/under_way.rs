//! What is under way when the signal comes may end, for ten seconds.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use super::stop;
use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_log, inspect};
use crate::support::scripted::{
    Answer, Gate, RunningEngine, STDOUT, ScriptedEngine, frame, line, timestamp,
};
use crate::support::wait::{self, SOON};

#[tokio::test]
async fn lets_a_request_end_that_waits_for_the_engine() {
    let gate = Gate::shut();
    let list = Answer::json(200, "[]").behind(&gate);
    let engine = ScriptedEngine::new().route("GET", "/containers/json", list);
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let client = agent.client.clone();
    let asked = tokio::spawn(async move { client.get("/containers").await });
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;

    stop(&agent, Signal::TERM).await;
    assert!(agent.exited().is_none(), "it did not wait");
    gate.open();
    let reply = asked.await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "[]"));
    // So that the client does not ask again here.
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn lets_a_download_end() {
    let (answer, logs) = Answer::handed();
    let engine = engine_with_log(answer).start().await;
    let agent = agent_on(&engine).await;
    let mut download = agent.open("/containers/c/logs/download").await;
    let log = logs.next().await;
    assert!(log.send(frame(STDOUT, line(1, "one"))).await);
    let first = download.chunk().await.unwrap().unwrap();
    assert_eq!(first, format!("{} one\n", timestamp(1)));

    stop(&agent, Signal::TERM).await;
    assert!(log.send(frame(STDOUT, line(2, "two"))).await);
    log.finish();
    let rest = download.read_to_end().await.unwrap();
    assert_eq!(rest, format!("{} two\n", timestamp(2)));
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn cuts_what_takes_longer_than_ten_seconds_and_is_still_no_failure() {
    let (answer, _logs) = Answer::handed();
    let engine = engine_with_log(answer)
        .route("GET", "/containers/json", Answer::hang_head())
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let download = agent.open("/containers/c/logs/download").await;
    let mut session = agent.session().await;
    let list = tokio::spawn(async move { session.get("/containers").await });
    engine
        .wait("both are under way", |state| {
            state.waiting == 1 && state.bodies() == 1
        })
        .await;

    let begun = Instant::now();
    agent.signal(Signal::TERM);
    let status = agent.wait_exit(Duration::from_secs(10) + SOON).await;
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(10), "too impatient");
    assert!(download.read_to_end().await.is_err(), "a whole download");
    assert!(list.await.unwrap().is_err(), "an answer from nowhere");
    let warned = agent.wait_for_output("connections are cut off").await;
    assert_eq!(warned.event().unwrap()["level"], "WARN");
}

/// An engine that restarts a container once the gate is open.
async fn restarts(gate: &Gate) -> RunningEngine {
    let restart = Answer::empty(204).behind(gate);
    ScriptedEngine::new()
        .route("GET", "/containers/*/json", inspect(serde_json::json!({})))
        .route("POST", "/containers/*/restart", restart)
        .start()
        .await
}

async fn acts_and_ends(agent: &Agent, engine: &RunningEngine, gate: &Gate) {
    let looked = engine.requests_to("GET", "/containers/*/json").len();
    gate.open();
    // Once it has acted, it looks at the container.
    engine
        .wait_for_more(looked, "GET", "/containers/*/json")
        .await;
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn lets_an_action_end_whose_client_has_left() {
    let gate = Gate::shut();
    let engine = restarts(&gate).await;
    let agent = agent_on(&engine).await;
    let client = agent.client.clone();
    let asked = tokio::spawn(async move { client.get("/containers/c/restart").await });
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;
    asked.abort();
    agent.wait_for_output("/containers/{id}/restart").await;

    stop(&agent, Signal::TERM).await;
    acts_and_ends(&agent, &engine, &gate).await;
}

/// Over a connection on which a request had begun to come. It may be too late for that.
#[tokio::test]
async fn lets_an_action_end_that_begins_then() {
    for _ in 0..10 {
        if begins_then().await {
            return;
        }
    }
    panic!("it was always too late");
}

async fn begins_then() -> bool {
    let gate = Gate::shut();
    let engine = restarts(&gate).await;
    let agent = agent_on(&engine).await;
    let mut client = agent.client.connect().await;
    let begin = b"GET /containers/c/restart HTTP/1.1\r\nHost: a\r\n";
    client.write_all(begin).await.unwrap();
    let from = client.local_addr().unwrap();
    wait::until("that is read", SOON, async || {
        unread(agent.client.address, from) == Some(0)
    })
    .await;
    stop(&agent, Signal::TERM).await;
    let rest = format!("x-auth-key: {}\r\n\r\n", agent.key);
    if client.write_all(rest.as_bytes()).await.is_err() {
        return false;
    }
    let begun = engine.wait("the engine is asked", |state| state.waiting == 1);
    tokio::select! {
        _ = begun => {}
        _ = agent.wait_exit(SOON) => return false,
    }
    drop(client);
    agent.wait_for_output("/containers/{id}/restart").await;
    let left = Instant::now();
    wait::until("it would have ended", SOON, async || {
        left.elapsed() > Duration::from_millis(200)
    })
    .await;
    acts_and_ends(&agent, &engine, &gate).await;
    true
}

/// How many bytes that came from there have not been read here.
fn unread(here: SocketAddr, from: SocketAddr) -> Option<u32> {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => {
            let bits = u32::from_ne_bytes(v4.ip().octets());
            format!("{bits:08X}:{:04X}", v4.port())
        }
        SocketAddr::V6(_) => unreachable!("the tests' agents are at IPv4 addresses"),
    };
    let ends = format!("{} {} ", hex(here), hex(from));
    let all = fs::read_to_string("/proc/net/tcp").unwrap();
    let line = all.lines().find(|line| line.contains(&ends))?;
    let queues = line.split_whitespace().nth(4)?;
    u32::from_str_radix(queues.split_once(':')?.1, 16).ok()
}
