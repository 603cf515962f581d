//! An engine that is killed or stopped, and comes back at the same place.

use super::host::{STAMP, assert_refused, text};
use crate::support::agent::Agent;
use crate::support::client::EventStream;
use crate::support::dockerd::RealEngine;
use crate::support::wait::SOON;

const TICKER: &str = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done";

/// An engine that can be killed while its containers go on, and an agent on it.
async fn host() -> (Agent, RealEngine) {
    let engine = RealEngine::start_with(&["--live-restore"]).await;
    let agent = Agent::builder().docker_host(engine.docker_host());
    (agent.start().await, engine)
}

/// Asserts that whatever needs the engine is refused, and what does not is answered.
async fn assert_away(agent: &Agent) {
    for path in [
        "/containers",
        "/containers/kept",
        "/containers/kept/start",
        "/containers/kept/stop",
        "/containers/kept/remove",
        "/containers/kept/logs",
        "/containers/kept/logs?follow=true",
        "/containers/kept/logs/stream",
        "/containers/kept/logs/download",
        "/images",
        "/images/busybox:test",
        "/images/busybox:test/remove",
    ] {
        assert_refused(&agent.get(path).await, 502, path);
    }
    assert_eq!(agent.get("/").await.text(), "OK");
    assert_eq!(agent.get("/nowhere").await.status, 404);
    assert_eq!(agent.get_with_key("/", None).await.status, 401);
}

#[tokio::test]
async fn answers_502_while_the_engine_is_away_and_serves_again_after() {
    let (agent, engine) = host().await;
    engine.run("kept", &[], TICKER).await;
    let pid = agent.pid();

    // Killed: a dead socket stays, until a new one takes its place. Stopped: there is none.
    for killed in [true, false] {
        assert_eq!(agent.get("/containers").await.status, 200);
        match killed {
            true => engine.kill9().await,
            false => engine.stop().await,
        }
        assert_eq!(engine.socket().exists(), killed);
        assert_away(&agent).await;
        engine.start_again().await;
        // The very first request: nothing is left of the connections that broke.
        let list = agent.get("/containers").await;
        assert_eq!(list.status, 200, "{list:?}");
        assert_eq!(list.json()[0]["Names"][0], "/kept");
        let logs = agent.get("/containers/kept/logs?tail=1").await;
        assert_eq!(logs.json()["logs"].as_array().unwrap().len(), 1);
    }
    assert_eq!((agent.pid(), agent.exited()), (pid, None));
}

/// The number in the next event, which must be a line.
async fn tick(stream: &mut EventStream) -> u64 {
    let event = stream.next(SOON).await.expect("the stream goes on").json();
    let line = event.get("log").or(event.get("line")).unwrap();
    text(line.as_str().unwrap()).parse().unwrap()
}

/// Streams of both dialects that have given their first line.
async fn follow(agent: &Agent) -> [EventStream; 2] {
    let mut first = agent.sse("/containers/kept/logs?follow=true").await;
    let mut second = agent.sse("/containers/kept/logs/stream").await;
    assert_eq!(second.next(SOON).await.unwrap().name(), "connected");
    for stream in [&mut first, &mut second] {
        tick(stream).await;
    }
    [first, second]
}

#[tokio::test]
async fn goes_on_with_streams_and_cuts_what_has_an_end_when_the_engine_is_killed() {
    let (agent, engine) = host().await;
    engine.run("kept", &[], TICKER).await;
    let large = "yes $(seq 1 300) | head -n 20000";
    engine.run("large", &[], large).await;
    engine.docker(&["wait", "large"]).await;

    let mut streams = follow(&agent).await;
    let mut download = agent.open("/containers/large/logs/download").await;
    let mut once = agent.open("/containers/large/logs?tail=all").await;
    for open in [&mut download, &mut once] {
        assert!(open.read_at_least(STAMP).await.unwrap().len() >= STAMP);
    }
    let mut last = [0, 0];
    for (stream, last) in streams.iter_mut().zip(&mut last) {
        *last = tick(stream).await;
    }
    engine.kill9().await;
    // What was cut short must not pass for whole.
    assert!(download.drain().await.is_err());
    assert!(once.drain().await.is_err());

    assert_away(&agent).await;
    engine.start_again().await;
    let away = engine.docker(&["logs", "kept"]).await.lines().count();
    for (stream, last) in streams.iter_mut().zip(&mut last) {
        while *last < away as u64 + 10 {
            let number = tick(stream).await;
            assert_eq!(number, *last + 1);
            *last = number;
        }
    }
    assert_eq!(agent.exited(), None);
}
