//! Cursors whose lines are gone, or of a time to come, on logs that were emptied or whose clock went back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use docker_ps_agent::telemetry::name::{CATCH_UPS, GAPS, LOG_READERS};
use jiff::{SignedDuration, Timestamp};

use super::growing::{Growing, cursor};
use super::{Client, line_of};
use crate::metrics::samples::becomes;
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, STDOUT, frame, line, timestamp};
use crate::support::wait::SOON;

const PATH: &str = "/containers/c/logs/stream";

fn with(cursor: String) -> Client {
    Client {
        cursor: Some(cursor),
        ..Client::default()
    }
}

#[tokio::test]
async fn the_first_line_of_a_log_that_was_emptied_comes_at_once() {
    let log = Growing::default();
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let mut clients = [(); 2].map(|()| with(cursor(1_000)));
    let mut streams = Vec::new();
    for client in &clients {
        let mut stream = client.open(&agent, PATH).await;
        assert_eq!(stream.next(SOON).await.unwrap().name(), "connected");
        assert_eq!(stream.next(SOON).await.unwrap().name(), "gap");
        streams.push(stream);
    }
    for number in 1..=2 {
        log.write(STDOUT, Timestamp::now(), &format!("line {number}"));
        for (client, stream) in clients.iter_mut().zip(&mut streams) {
            client.take(stream, 1).await;
            assert!(client.lines.last().unwrap().ends_with(&number.to_string()));
            assert_eq!(client.gaps, 0, "told again");
        }
    }
    // To each of the two.
    becomes(&agent, GAPS, &[], 2.0).await;
}

#[tokio::test]
async fn a_cursor_of_a_clock_that_was_ahead_goes_on_with_what_is_new() {
    let log = Growing::default();
    for number in 1..=3 {
        log.write(STDOUT, Timestamp::now(), &format!("old {number}"));
    }
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let ahead = Timestamp::now() + SignedDuration::from_secs(600);
    let mut client = with(cursor(ahead.as_nanosecond()));
    let mut stream = client.open(&agent, PATH).await;
    assert_eq!(stream.next(SOON).await.unwrap().name(), "connected");
    assert_eq!(stream.next(SOON).await.unwrap().name(), "gap");
    // It is known where the log ended before something is written.
    becomes(&agent, CATCH_UPS, &[], 2.0).await;
    becomes(&agent, LOG_READERS, &[("kind", "catch_up")], 0.0).await;
    log.write(STDOUT, Timestamp::now(), "new");
    client.take(&mut stream, 1).await;
    assert!(client.lines[0].ends_with(" new"), "{:?}", client.lines);
    assert_eq!(client.gaps, 0, "told again");
}

#[tokio::test]
async fn a_line_of_a_clock_that_was_ahead_is_found() {
    let log = Growing::default();
    let ahead = Timestamp::now() + SignedDuration::from_secs(600);
    log.write(STDOUT, ahead, "ahead");
    log.write(STDOUT, Timestamp::now(), "behind it");
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let mut client = with(cursor(ahead.as_nanosecond()));
    let mut stream = client.open(&agent, PATH).await;
    for text in ["behind it", "new"] {
        client.take(&mut stream, 1).await;
        assert!(client.lines.last().unwrap().ends_with(text));
        log.write(STDOUT, Timestamp::now(), "new");
    }
    assert_eq!(client.gaps, 0);
}

#[tokio::test]
async fn a_line_that_is_written_between_two_reads_is_not_lost() {
    let reads = AtomicUsize::new(0);
    let one = Arc::new(frame(STDOUT, line(5, "one")));
    let engine = engine_with_log(Answer::bytes(200, ""));
    let engine = engine.route_fn("GET", "/containers/*/logs", move |request| {
        let one = Arc::clone(&one);
        if request.query_value("follow").unwrap() == "1" {
            return Answer::stream(move |handle| {
                let one = one.to_vec();
                async move {
                    handle.send(one).await;
                    handle.closed().await;
                }
            });
        }
        // Just behind the answer to the first.
        match reads.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::bytes(200, ""),
            _ => Answer::bytes(200, one.to_vec()),
        }
    });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let path = format!("{PATH}?since={}", timestamp(1));
    let mut stream = agent.sse(&path).await;
    assert_eq!(stream.next(SOON).await.unwrap().name(), "connected");
    let line = line_of(&stream.next(SOON).await.unwrap());
    assert!(line.unwrap().ends_with(" one"));
}
