//! Clients that come back after a while, and an engine that does and is not ready yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::sleep;

use super::Client;
use super::growing::Growing;
use crate::push::event;
use crate::support::fixture::{ID, agent_on, engine_with_log, running};
use crate::support::scripted::{Answer, Gate, STDOUT, frame, line};
use crate::support::wait::SOON;

#[tokio::test]
async fn refusals_of_an_engine_that_starts_do_not_end_a_stream() {
    let log = Growing::default();
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client.open(&agent, "/containers/c/logs/stream").await;
    log.write(STDOUT, Timestamp::now(), "before");
    client.take(&mut stream, 1).await;

    engine.crash().await;
    let busy = Answer::message(409, "not yet");
    let asked = engine.requests_to("GET", "/containers/*/logs").len();
    engine.route("GET", "/containers/*/logs", busy);
    engine.start_again().await;
    // More often than a failing log is read again, without an outage before.
    engine
        .wait_for_more(asked + 6, "GET", "/containers/*/logs")
        .await;
    log.write(STDOUT, Timestamp::now(), "after");
    log.serve(&engine);
    client.take(&mut stream, 1).await;
    assert!(client.lines.last().unwrap().ends_with(" after"));
    assert_eq!((client.lines.len(), client.gaps), (2, 0));
}

/// A proxy that has no engine to ask says so in the engine's place.
#[tokio::test]
async fn an_engine_behind_a_proxy_is_waited_for() {
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    let lines = [(1, "one"), (2, "two")].map(|(nanos, text)| frame(STDOUT, line(nanos, text)));
    let first = lines[0].clone();
    let (follow, follows) = Answer::handed();
    let engine =
        engine_with_log(Answer::empty(200)).route_fn("GET", "/containers/**", move |request| {
            if is_away.load(Relaxed) {
                return Answer::message(503, "no server is available");
            }
            match (request.segment(2), request.query.contains("follow=1")) {
                ("json", _) => running(ID),
                (_, true) => follow.clone(),
                (_, false) => Answer::bytes(200, first.clone()),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let path = "/containers/c/logs/stream?tail=all";
    let mut stream = client.open(&agent, path).await;
    let log = follows.next().await;
    assert!(log.send(lines[0].clone()).await);
    client.take(&mut stream, 1).await;
    let asked = engine.requests_to("GET", "/containers/**").len();
    away.store(true, Relaxed);
    log.finish();
    // More often than a failing log is read again.
    engine
        .wait_for_more(asked + 6, "GET", "/containers/**")
        .await;
    away.store(false, Relaxed);
    let log = follows.next().await;
    assert!(log.send(lines.concat()).await);
    client.take(&mut stream, 1).await;
    assert!(client.lines.last().unwrap().ends_with(" two"));
    assert_eq!((client.lines.len(), client.gaps), (2, 0));
}

/// Nothing is won by reading it again and again.
#[tokio::test]
async fn a_log_that_is_never_read_to_its_end_ends_a_stream() {
    let torn = Answer::torn(frame(STDOUT, line(1, "one")));
    let engine =
        engine_with_log(Answer::empty(200)).route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                true => Answer::hang_body(""),
                false => torn.clone(),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let stream = agent.sse("/containers/c/logs/stream?tail=0").await;
    let events = stream.rest(SOON).await;
    assert_eq!(events.last().unwrap().name(), "error");
}

/// The engine says so at last, each time that it has searched the log.
#[tokio::test]
async fn a_log_that_cannot_be_searched_ends_a_stream() {
    const SYSTEM: u8 = 3;
    let searched = Answer::stream(|log| async move {
        sleep(Duration::from_millis(2100)).await;
        log.send(frame(SYSTEM, "Error grabbing logs")).await;
    });
    let engine =
        engine_with_log(Answer::empty(200)).route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                true => searched.clone(),
                false => Answer::empty(200),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let stream = agent.sse("/containers/c/logs/stream").await;
    let events = stream.rest(3 * SOON).await;
    assert_eq!(events.last().unwrap().name(), "error");
}

/// A stream that says in between that it lives does not ask again.
#[tokio::test]
async fn an_engine_may_take_longer_than_from_one_heartbeat_to_the_next() {
    let gate = Gate::shut();
    let lines = [(1, "one"), (2, "two")].map(|(nanos, text)| frame(STDOUT, line(nanos, text)));
    let slow = Answer::bytes(200, lines.concat()).behind(&gate);
    let asked = AtomicUsize::new(0);
    let engine =
        engine_with_log(Answer::empty(200)).route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                true => Answer::hang_body(""),
                false => match asked.fetch_add(1, Relaxed) {
                    0 => Answer::torn(lines[0].clone()),
                    1 => slow.clone(),
                    _ => Answer::hang_head(),
                },
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client
        .open(&agent, "/containers/c/logs/stream?tail=all")
        .await;
    client.take(&mut stream, 1).await;
    stream.comment(2 * SOON).await;
    gate.open();
    client.take(&mut stream, 1).await;
    assert!(client.lines[1].ends_with(" two"));
}

/// Nor do they keep out who appears then.
#[tokio::test]
async fn refusals_of_an_engine_that_starts_are_borne_of_who_appears() {
    let there = Arc::new(AtomicBool::new(false));
    let is_there = Arc::clone(&there);
    let (subscription, subscriptions) = Answer::handed();
    let log = Growing::default();
    let engine = log.engine().await;
    engine.route("GET", "/events", subscription);
    engine.route_fn("GET", "/containers/json", move |_| {
        let there = is_there.load(Relaxed).then(|| json!({ "Id": ID }));
        Answer::json(200, json!(Vec::from_iter(there)))
    });
    let busy = Answer::message(409, "not yet");
    engine.route("GET", "/containers/*/logs", busy);
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client.open(&agent, "/logs/stream?all=true").await;
    let events = subscriptions.next().await;
    there.store(true, Relaxed);
    assert!(events.send(event("start", ID, 1)).await);
    engine.wait_for_more(1, "GET", "/containers/*/logs").await;
    log.write(STDOUT, Timestamp::now(), "begun");
    log.serve(&engine);
    client.take(&mut stream, 1).await;
    assert!(client.lines[0].ends_with(" begun"));
}

/// How long ago a time is given, the clients stay away for longer, and ask for the same again.
#[tokio::test]
async fn nothing_is_left_out_by_a_time_that_is_counted_from_the_return() {
    let log = Growing::default();
    let ago = |minutes| Timestamp::now() - SignedDuration::from_mins(minutes);
    for minutes in [40, 35, 30, 25, 20, 15, 10, 5] {
        log.write(STDOUT, ago(minutes), &format!("{minutes} minutes ago"));
    }
    let engine = log.engine().await;
    engine.route("GET", "/containers/json", Answer::json(200, json!([])));
    let agent = agent_on(&engine).await;
    for path in ["/containers/c/logs/stream?", "/logs/stream?container=c&"] {
        let path = format!("{path}tail=all&since=");
        let mut client = Client::default();
        let mut stream = client.open(&agent, &format!("{path}37m")).await;
        client.take(&mut stream, 1).await;
        assert!(client.lines[0].ends_with(" 35 minutes ago"), "{path}");
        let mut stream = client.open(&agent, &format!("{path}12m")).await;
        client.take(&mut stream, 6).await;
        assert!(client.lines[1].ends_with(" 30 minutes ago"), "{path}");
        assert!(client.lines[6].ends_with(" 5 minutes ago"), "{path}");
    }
}

/// All that such a client has got is that it has got nothing.
#[tokio::test]
async fn who_saw_an_empty_log_gets_all_that_was_written_since() {
    for path in ["/containers/c/logs/stream", "/logs/stream?container=c"] {
        let log = Growing::default();
        let engine = log.engine().await;
        let agent = agent_on(&engine).await;
        let mut stream = agent.sse(path).await;
        let cursor = Some(stream.id(SOON).await);
        drop(stream);
        for number in 0..300 {
            log.write(STDOUT, Timestamp::now(), &format!("line {number}"));
        }
        let mut client = Client {
            cursor,
            ..Client::default()
        };
        let mut stream = client.open(&agent, path).await;
        client.take(&mut stream, 300).await;
        assert_eq!((client.lines.len(), client.gaps), (300, 0), "{path}");
        assert!(client.lines[0].ends_with(" line 0"), "{path}");
    }
}
