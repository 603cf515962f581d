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
    let event = stream.next(SOON).await.expect("the stream goes on");
    let data = event.json();
    let line = data.get("log").or(data.get("line"));
    let line = line.unwrap_or_else(|| panic!("no line: {event:?}"));
    text(line.as_str().unwrap()).parse().unwrap()
}

/// The numbers in the engine's own log.
async fn logged(engine: &RealEngine) -> Vec<u64> {
    let log = engine.docker(&["logs", "kept"]).await;
    log.lines().map(|line| line.parse().unwrap()).collect()
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
    let mut seen = [const { Vec::new() }; 2];
    for (stream, seen) in streams.iter_mut().zip(&mut seen) {
        seen.push(tick(stream).await);
    }
    engine.kill9().await;
    // What was cut short must not pass for whole.
    assert!(download.drain().await.is_err());
    assert!(once.drain().await.is_err());

    assert_away(&agent).await;
    engine.start_again().await;
    let away = *logged(&engine).await.last().unwrap();
    for (stream, seen) in streams.iter_mut().zip(&mut seen) {
        while seen.last().is_none_or(|last| *last < away + 10) {
            seen.push(tick(stream).await);
        }
    }
    // The engine may have died with a line that it had not written down yet.
    let logged = logged(&engine).await;
    for seen in &seen {
        let (first, last) = (seen[0], *seen.last().unwrap());
        let wanted = logged
            .iter()
            .filter(|number| (first..=last).contains(number));
        assert!(seen.iter().eq(wanted), "{seen:?} of {logged:?}");
    }
    assert_eq!(agent.exited(), None);
}
