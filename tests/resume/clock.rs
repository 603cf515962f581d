//! Cursors whose lines are gone, or of a time to come, on logs that were emptied or whose clock went back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use docker_ps_agent::telemetry::name::{CATCH_UPS, GAPS, LOG_READERS};
use jiff::{SignedDuration, Timestamp};

use super::growing::{Growing, cursor};
use super::{Client, assert_same, line_of};
use crate::metrics::samples::becomes;
use crate::support::fixture::{ID, agent_on, engine_with_log};
use crate::support::scripted::{Answer, STDERR, STDOUT, frame, line, timestamp};
use crate::support::wait::SOON;

const PATH: &str = "/containers/c/logs/stream";

/// So long before now, in milliseconds.
fn ago(millis: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_millis(millis)
}

/// A log whose clock went back: the client has a line of before the host began, then come so many lines of half an hour
/// before that, and one of now. What the client has got, and what it is to get.
fn set_back(many: i64) -> (Growing, Client, Vec<String>) {
    let log = Growing::default();
    let known: Timestamp = timestamp(0).parse().unwrap();
    log.write(STDOUT, known, "known");
    let from = known - SignedDuration::from_mins(30);
    let mut lines = Vec::new();
    for number in 0..many {
        lines.push(format!("line {number}"));
        let time = from + SignedDuration::from_millis(number);
        log.write(STDOUT, time, lines.last().unwrap());
    }
    lines.push("now".into());
    log.write(STDOUT, Timestamp::now(), "now");
    (log, with(cursor(known.as_nanosecond())), lines)
}

/// The texts of the lines that the client has got.
fn texts(client: &Client) -> Vec<String> {
    let lines = client.lines.iter();
    lines
        .map(|line| line.split_once(' ').unwrap().1.into())
        .collect()
}

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

/// A host without a clock of its own begins at an earlier time, and its containers write before it knows better.
#[tokio::test]
async fn lines_of_a_clock_that_was_set_back_are_not_lost() {
    // In the ring, and more than it begins with.
    for many in [2, 3_000] {
        let (log, mut client, lines) = set_back(many);
        let engine = log.engine().await;
        let agent = agent_on(&engine).await;
        let mut stream = client.open(&agent, PATH).await;
        client.take(&mut stream, lines.len()).await;
        assert_same(&texts(&client), &lines, "the client");
        assert_eq!(client.gaps, 0);
    }
}

/// Lines of a time to come, before the clock was set right, seem to stand behind all that come after.
#[tokio::test]
async fn a_line_behind_those_of_a_clock_that_was_ahead_is_found() {
    for many in [2, 3_000] {
        let log = Growing::default();
        for number in 0..3 {
            log.write(STDOUT, ago(-3_600_000), &format!("ahead {number}"));
        }
        let known = ago(30_000);
        log.write(STDOUT, known, "known");
        let mut lines = Vec::new();
        for number in 1..=many {
            lines.push(format!("line {number}"));
            let time = known + SignedDuration::from_millis(number);
            log.write(STDOUT, time, lines.last().unwrap());
        }
        let engine = log.engine().await;
        let agent = agent_on(&engine).await;
        let mut client = with(cursor(known.as_nanosecond()));
        let mut stream = client.open(&agent, PATH).await;
        client.take(&mut stream, lines.len()).await;
        assert_same(&texts(&client), &lines, "the client");
        assert_eq!(client.gaps, 0);
        // The reader that all share goes on in the same way.
        let logs = "/containers/*/logs";
        let asked = engine.requests_to("GET", logs).len();
        engine.drop_connections();
        engine.wait_for_more(asked, "GET", logs).await;
        log.write(STDOUT, Timestamp::now(), "new");
        client.take(&mut stream, 1).await;
        assert_eq!(texts(&client).split_off(lines.len()), ["new"]);
        assert_eq!(client.gaps, 0);
    }
}

/// The ring begins in the midst of a line, of which the client is to get the beginning too.
#[tokio::test]
async fn a_line_that_had_begun_before_the_client_left_comes_whole() {
    // The ring begins just behind that beginning, and far behind it.
    for many in [997, 2_997] {
        let log = Growing::default();
        let begun = ago(30_000);
        let at = |micros| begun + SignedDuration::from_micros(micros);
        log.write_part(STDERR, begun, "begun, ");
        log.write(STDOUT, at(1), "one");
        log.write(STDOUT, at(2), "two");
        let engine = log.engine().await;
        let agent = agent_on(&engine).await;
        let mut client = Client::default();
        let mut stream = client.open(&agent, PATH).await;
        client.take(&mut stream, 2).await;
        drop(stream);
        becomes(&agent, LOG_READERS, &[("kind", "live")], 0.0).await;
        let mut lines = Vec::new();
        for number in 0..many {
            lines.push(format!("line {number}"));
            log.write(STDOUT, at(3 + number), lines.last().unwrap());
        }
        lines.push("begun, and ended".into());
        log.write_part(STDERR, begun, "and ended\n");
        let mut stream = client.open(&agent, PATH).await;
        client.take(&mut stream, lines.len()).await;
        assert_same(&texts(&client)[2..], &lines, "the client");
        assert_eq!(client.gaps, 0);
    }
}

/// The client got the last words of a run without their end. In the log they end behind what another run has written since.
#[tokio::test]
async fn what_is_written_behind_last_words_is_not_lost() {
    let log = Growing::default();
    let known = ago(30_000);
    log.write_part(STDERR, known, "fatal");
    let mut lines = Vec::new();
    for number in 0..3 {
        lines.push(format!("line {number}"));
        log.write(STDOUT, ago(20_000 - number), lines.last().unwrap());
    }
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let cursor = format!("{}.{}.e0_5", &ID[..12], known.as_nanosecond());
    let mut client = with(cursor);
    let mut stream = client.open(&agent, PATH).await;
    client.take(&mut stream, lines.len()).await;
    assert_eq!(texts(&client), lines);
    log.write(STDOUT, Timestamp::now(), "new");
    client.take(&mut stream, 1).await;
    assert_eq!(texts(&client).last().unwrap(), "new");
}

/// Last words behind a clock that went back: the lines in front of them seem to be later.
#[tokio::test]
async fn last_words_behind_a_clock_that_went_back_are_found() {
    let log = Growing::default();
    let known: Timestamp = timestamp(0).parse().unwrap();
    log.write(STDOUT, known + SignedDuration::from_mins(30), "before");
    log.write(STDOUT, known, "behind");
    let last = known + SignedDuration::from_secs(5);
    log.write_part(STDERR, last, "fatal");
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let cursor = format!("{}.{}.e0_5", &ID[..12], last.as_nanosecond());
    let mut client = with(cursor);
    let mut stream = client.open(&agent, PATH).await;
    log.write(STDOUT, Timestamp::now(), "new");
    client.take(&mut stream, 1).await;
    assert_eq!(texts(&client), ["new"]);
    assert_eq!(client.gaps, 0);
}
