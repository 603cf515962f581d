//! Containers that are removed before all of their clients have read their logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use serde_json::json;

use super::Client;
use super::held_up::{LINES, begin, is_written, numbers, script};
use crate::contract::host::Host;
use crate::support::client::EventStream;
use crate::support::fixture::{ID, agent_on, engine_with_log, running};
use crate::support::scripted::{Answer, STDOUT, frame, line};
use crate::support::sse::Event;
use crate::support::wait::SOON;

/// Takes what comes until the stream ends; how many lines had come when a gap was told, if one was.
async fn rest(client: &mut Client, stream: &mut EventStream) -> Option<usize> {
    let mut gap = None;
    while let lines = client.lines.len()
        && client.gaps == 0
    {
        client.take(stream, 1).await;
        match client.gaps {
            0 if client.lines.len() == lines => return None,
            0 => {}
            _ => gap = Some(lines),
        }
    }
    client.take(stream, usize::MAX / 2).await;
    gap
}

/// Whoever is behind gets what the others have got last, and is told that there was more.
#[tokio::test]
async fn who_is_behind_then_gets_what_is_left() {
    let host = Host::start().await;
    host.engine.run("gone", &[], &script("sleep 600")).await;
    let path = "/containers/gone/logs/stream?tail=1";
    let (mut slow, mut fast) = (Client::default(), Client::default());
    let mut unread = slow.open(&host.agent, path).await;
    slow.take(&mut unread, 1).await;
    let mut stream = fast.open(&host.agent, path).await;
    fast.take(&mut stream, 1).await;
    begin(&host, "gone").await;
    fast.take(&mut stream, LINES).await;
    host.engine.remove("gone").await;
    let gap = rest(&mut slow, &mut unread).await;
    let numbers = numbers(&slow.lines);
    let gap = gap.expect("lines are missing") - 1;
    assert!(numbers[..gap].iter().copied().eq(1..=gap));
    assert!(numbers[gap..].iter().copied().eq(numbers[gap]..=LINES));
    assert!(numbers.len() < LINES);
    assert_eq!(slow.gaps, 1);
}

/// Its reader had stopped at the engine for it, and cannot go on.
#[tokio::test]
async fn who_has_held_up_the_reader_is_told_that_the_end_is_missing() {
    let host = Host::start().await;
    let options = ["--log-opt", "max-size=8m", "--log-opt", "max-file=10"];
    host.engine.run("cut", &options, &script("sleep 600")).await;
    let mut client = Client::default();
    let path = "/containers/cut/logs/stream?tail=1";
    let mut stream = client.open(&host.agent, path).await;
    client.take(&mut stream, 1).await;
    begin(&host, "cut").await;
    is_written(&host, "cut", LINES).await;
    host.engine.remove("cut").await;
    let gap = rest(&mut client, &mut stream).await;
    let numbers = numbers(&client.lines);
    assert_eq!(gap, Some(client.lines.len()), "{} lines", numbers.len());
    assert!(numbers.iter().copied().eq(1..=numbers.len()));
    assert!(numbers.len() < LINES);
}

/// It was the engine that ended its answer, and what the container wrote until it was removed is not known.
#[tokio::test]
async fn what_was_written_while_the_engine_was_away_is_missing_too() {
    let follows = AtomicUsize::new(0);
    let engine = engine_with_log(Answer::bytes(200, ""))
        .route("GET", "/containers/*/json", running(ID))
        .route_fn("GET", "/containers/*/logs", move |request| {
            let follows = request.query.contains("follow=1") && follows.fetch_add(1, Relaxed) > 0;
            match follows {
                true => Answer::message(404, "no such container"),
                false => Answer::bytes(200, frame(STDOUT, line(1, "one"))),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let stream = agent.sse("/containers/c/logs/stream?tail=all").await;
    let events = stream.rest(SOON).await;
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["connected", "log", "gap", "close"]);
}

/// And for who has read more of it than the reader that all share.
#[tokio::test]
async fn who_is_ahead_of_the_reader_is_told_too() {
    let (live, lives) = Answer::handed();
    let phase = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&phase);
    let lines = [(1, "one"), (2, "two")].map(|(nanos, text)| frame(STDOUT, line(nanos, text)));
    let one = lines[0].clone();
    let engine = engine_with_log(Answer::empty(200))
        .route("GET", "/containers/*/json", running(ID))
        .route_fn("GET", "/containers/*/logs", move |request| {
            match (now.load(Relaxed), request.query.contains("follow=1")) {
                (2, _) => Answer::message(404, "no such container"),
                (1, true) => Answer::garbage("away"),
                (_, true) => live.clone(),
                (many, false) => Answer::bytes(200, lines[..=many].concat()),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/stream?tail=all";
    let [mut first, mut second] = [(); 2].map(|()| Client::default());
    let mut behind = first.open(&agent, path).await;
    first.take(&mut behind, 1).await;
    let log = lives.next().await;
    assert!(log.send(one).await);
    phase.store(1, Relaxed);
    log.finish();
    let mut ahead = second.open(&agent, path).await;
    second.take(&mut ahead, 2).await;
    phase.store(2, Relaxed);
    for stream in [behind, ahead] {
        let events = stream.rest(SOON).await;
        let names: Vec<_> = events.iter().map(Event::name).collect();
        assert_eq!(names, ["gap", "close"]);
    }
}

/// The engine gives no log of a container that it is about to remove, which may take long.
#[tokio::test]
async fn a_removal_that_takes_long_ends_streams_as_any_other() {
    let (live, lives) = Answer::handed();
    let removed = Arc::new(AtomicBool::new(false));
    let is_removed = Arc::clone(&removed);
    let engine =
        engine_with_log(Answer::empty(200)).route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                _ if is_removed.load(Relaxed) => Answer::message(409, "marked for removal"),
                true => live.clone(),
                false => Answer::bytes(200, frame(STDOUT, line(1, "one"))),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client
        .open(&agent, "/containers/c/logs/stream?tail=all")
        .await;
    client.take(&mut stream, 1).await;
    let log = lives.next().await;
    removed.store(true, Relaxed);
    log.finish();
    let events = stream.rest(SOON).await;
    let names: Vec<_> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["close"]);
}

/// What it wrote is not known.
#[tokio::test]
async fn a_run_that_was_not_read_is_missing() {
    let (live, lives) = Answer::handed();
    let next = Arc::new(AtomicBool::new(false));
    let (begun, gone) = (Arc::clone(&next), Arc::clone(&next));
    let engine = engine_with_log(Answer::empty(200))
        .route_fn("GET", "/containers/*/json", move |_| {
            let hour = u8::from(begun.load(Relaxed));
            let state =
                json!({ "Running": true, "StartedAt": format!("2024-01-01T0{hour}:00:00Z") });
            Answer::json(
                200,
                json!({ "Id": ID, "Name": "/c", "Config": {}, "State": state }),
            )
        })
        .route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                _ if gone.load(Relaxed) => Answer::message(404, "no such container"),
                true => live.clone(),
                false => Answer::bytes(200, frame(STDOUT, line(1, "one"))),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let one = "/containers/c/logs/stream?tail=all&restarts=follow";
    for path in [one, "/logs/stream?tail=all&container=c"] {
        next.store(false, Relaxed);
        let mut client = Client::default();
        let mut stream = client.open(&agent, path).await;
        client.take(&mut stream, 1).await;
        let log = lives.next().await;
        assert!(log.send(frame(STDOUT, line(1, "one"))).await);
        next.store(true, Relaxed);
        log.finish();
        while client.gaps == 0 {
            client.keep(&stream.next(SOON).await.expect(path));
        }
        assert_eq!(client.lines.len(), 1, "{path}");
    }
}
