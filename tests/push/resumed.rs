//! `GET /events` from before: without holes, without repetitions, and with a gap where that cannot be.

use std::time::Duration;

use super::{Stage, event, next, next_is};
use crate::support::client::EventStream;
use crate::support::fixture::agent_on;
use crate::support::scripted::Answer;

const SECOND: i64 = 1_000_000_000;

async fn ids(stream: &mut EventStream, wanted: &[&str]) {
    for id in wanted {
        let event = next_is(stream, "message").await;
        assert_eq!(event.id.as_deref(), Some(*id));
    }
}

/// Events at these times, one a second long ago.
fn past(seconds: std::ops::Range<i64>) -> String {
    seconds.map(|at| event("start", "a", at * SECOND)).collect()
}

#[tokio::test]
async fn joins_what_the_engine_knows_to_what_is_told() {
    let stage = Stage::with("[]").await;
    stage.set_past(past(1..5));
    let (mut stream, events) = stage.open("/events?since=2").await;
    // Both in the past and in what follows: the engine may say so.
    events.send(past(4..7)).await;
    let wanted = [
        "2000000000.0",
        "3000000000.0",
        "4000000000.0",
        "5000000000.0",
        "6000000000.0",
    ];
    ids(&mut stream, &wanted).await;
    // Out of the shared history; the engine is not asked again.
    let asked = stage.engine.requests_to("GET", "/events").len();
    let mut other = stage.agent.sse("/events?since=3").await;
    ids(&mut other, &wanted[1..]).await;
    let mut resumed = stage.resume("/events", "4000000000.0").await;
    ids(&mut resumed, &wanted[3..]).await;
    assert_eq!(stage.engine.requests_to("GET", "/events").len(), asked);
    for stream in [&mut stream, &mut other, &mut resumed] {
        events.send(event("die", "a", 7_000_000_000)).await;
        ids(stream, &["7000000000.0"]).await;
    }
}

#[tokio::test]
async fn outlives_the_agent() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open("/events?type=container").await;
    let same = [
        event("create", "a", 2_000_000_000),
        event("start", "a", 2_000_000_000),
    ]
    .concat();
    events.send(same.clone()).await;
    ids(&mut stream, &["2000000000.0", "2000000000.1"]).await;
    drop(stream);
    events.closed().await;
    stage.set_past(format!("{}{same}{}", past(1..2), past(3..5)));
    let again = agent_on(&stage.engine).await;
    for (after, wanted) in [
        (
            "2000000000.0",
            &["2000000000.1", "3000000000.0", "4000000000.0"][..],
        ),
        ("2000000000.1", &["3000000000.0", "4000000000.0"]),
    ] {
        let mut stream = again.sse_with("/events", &[("last-event-id", after)]).await;
        ids(&mut stream, wanted).await;
    }
}

#[tokio::test]
async fn tells_a_gap_where_nobody_knows() {
    let stage = Stage::with("[]").await;
    stage.set_past(past(5..7));
    let mut stream = stage.resume("/events", "3000000000.0").await;
    let events = stage.subscriptions.next().await;
    let gap = next_is(&mut stream, "gap").await;
    assert_eq!(gap.json()["after"], "1970-01-01T00:00:03Z");
    assert_eq!(gap.json()["before"], "1970-01-01T00:00:05Z");
    ids(&mut stream, &["5000000000.0", "6000000000.0"]).await;
    events.send(past(7..8)).await;
    ids(&mut stream, &["7000000000.0"]).await;
}

#[tokio::test]
async fn tells_a_gap_where_an_event_cannot_be_read() {
    let stage = Stage::with("[]").await;
    let long = event(&"x".repeat(1 << 20), "a", 2_000_000_000);
    stage.set_past([past(1..2), long.clone(), past(3..4)].concat());
    let (mut stream, events) = stage.open("/events?since=1").await;
    ids(&mut stream, &["1000000000.0"]).await;
    let gap = next_is(&mut stream, "gap").await.json();
    assert_eq!(gap["after"], "1970-01-01T00:00:01Z");
    assert_eq!(gap["before"], "1970-01-01T00:00:03Z");
    ids(&mut stream, &["3000000000.0"]).await;
    for (unreadable, then) in [(long, 4), ("{\"Type\":\n".into(), 5)] {
        events.send(unreadable).await;
        let gap = next_is(&mut stream, "gap").await.json();
        assert_eq!(gap["before"], serde_json::Value::Null);
        events.send(past(then..then + 1)).await;
        ids(&mut stream, &[&format!("{then}000000000.0")]).await;
    }
}

/// What the engine knows of before, an event of each second from the first on, each a while after the last.
fn drawn_out(seconds: std::ops::Range<i64>, pause: Duration) -> Answer {
    Answer::stream(move |writer| {
        let seconds = seconds.clone();
        async move {
            for at in seconds {
                tokio::time::sleep(pause).await;
                writer.send(past(at..at + 1)).await;
            }
        }
    })
}

#[tokio::test]
async fn waits_for_all_that_the_engine_knows() {
    let stage = Stage::with("[]").await;
    stage.answer_past(drawn_out(1..3, Duration::from_millis(2500)));
    let (mut stream, events) = stage.open("/events?since=1").await;
    ids(&mut stream, &["1000000000.0", "2000000000.0"]).await;
    events.send(past(4..5)).await;
    ids(&mut stream, &["4000000000.0"]).await;
}

#[tokio::test]
async fn waits_for_no_end_where_the_clock_of_the_engine_is_behind() {
    let stage = Stage::with("[]").await;
    // It says what it knows, then either nothing or what happens, and ends when it is what it takes to be later.
    let quiet = Answer::hang_body(past(1..3));
    let busy = drawn_out(1..i64::MAX / SECOND, Duration::from_millis(100));
    for (answer, last) in [(quiet, 2), (busy, 4)] {
        let date = "Thu, 01 Jan 1970 00:00:03 GMT";
        stage.answer_past(answer.header("Date", date));
        let (mut stream, events) = stage.open("/events?since=1").await;
        for at in 1..=last {
            ids(&mut stream, &[&format!("{at}000000000.0")]).await;
        }
        events.send(event("die", "a", 9 * SECOND)).await;
        ids(&mut stream, &["9000000000.0"]).await;
        drop(stream);
        events.closed().await;
    }
}

#[tokio::test]
async fn tells_all_what_one_has_asked_for_first_where_the_clock_of_the_engine_is_behind() {
    let date = "Thu, 01 Jan 1970 00:00:03 GMT";
    let stage = Stage::subscribed("[]", |answer| answer.header("Date", date)).await;
    let (mut first, events) = stage.open("/events").await;
    stage.answer_past(Answer::bytes(200, past(1..6)).header("Date", date));
    let mut second = stage.agent.sse("/events?since=1").await;
    ids(
        &mut second,
        &["1000000000.0", "2000000000.0", "3000000000.0"],
    )
    .await;
    events.send(past(4..6)).await;
    for stream in [&mut first, &mut second] {
        ids(stream, &["4000000000.0", "5000000000.0"]).await;
    }
}

#[tokio::test]
async fn tells_a_gap_where_what_the_engine_knows_does_not_end() {
    let stage = Stage::with("[]").await;
    stage.answer_past(drawn_out(1..i64::MAX / SECOND, Duration::from_millis(700)));
    let (mut stream, events) = stage.open("/events?since=1").await;
    let mut last = 0;
    let gap = loop {
        let event = next(&mut stream).await;
        if event.name() == "gap" {
            break event.json();
        }
        last += 1;
        assert_eq!(event.id, Some(format!("{last}000000000.0")));
    };
    assert_eq!(gap["after"], format!("1970-01-01T00:00:{last:02}Z"));
    assert_eq!(gap["before"], serde_json::Value::Null);
    events.send(past(100..101)).await;
    ids(&mut stream, &["100000000000.0"]).await;
}

#[tokio::test]
async fn goes_on_where_the_engine_broke_off() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open("/events").await;
    events.send(past(1..3)).await;
    ids(&mut stream, &["1000000000.0", "2000000000.0"]).await;
    events.abort().await;
    // The engine still knows what was last told: nothing is missing, nothing told twice.
    let events = stage.subscriptions.next().await;
    events.send(past(1..5)).await;
    ids(&mut stream, &["3000000000.0", "4000000000.0"]).await;
    events.abort().await;
    // It does not, as after its restart.
    let events = stage.subscriptions.next().await;
    events.send(past(8..9)).await;
    let gap = next_is(&mut stream, "gap").await;
    assert_eq!(gap.json()["after"], "1970-01-01T00:00:04Z");
    assert_eq!(gap.json()["before"], "1970-01-01T00:00:08Z");
    ids(&mut stream, &["8000000000.0"]).await;
    events.abort().await;
    // It says nothing at all.
    let _events = stage.subscriptions.next().await;
    let gap = next(&mut stream).await;
    assert_eq!(
        (gap.name(), &gap.json()["before"]),
        ("gap", &serde_json::Value::Null)
    );
    let asked = stage.engine.requests_to("GET", "/events");
    assert_eq!(asked[1].query_value("since").unwrap(), "1.000000000");
}

#[tokio::test]
async fn misses_nothing_where_events_are_not_in_the_order_of_their_times() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open("/events").await;
    let known = [past(5..6), past(4..5)].concat();
    events.send(known.clone()).await;
    ids(&mut stream, &["5000000000.0", "4000000000.0"]).await;
    events.abort().await;
    let events = stage.subscriptions.next().await;
    events.send([known, past(6..7)].concat()).await;
    ids(&mut stream, &["6000000000.0"]).await;
}

#[tokio::test]
async fn asks_the_engine_once_for_all_who_come_with_what_nobody_knows() {
    let stage = Stage::with("[]").await;
    stage.set_past(past(5..7));
    let mut open = Vec::new();
    for number in 0..20 {
        // What is later than the first is known as well.
        let id = format!("{}.0", 3_000_000_000_i64 + number);
        let mut stream = stage.resume("/events", &id).await;
        next_is(&mut stream, "gap").await;
        open.push(stream);
    }
    let asked = stage.engine.requests_to("GET", "/events");
    let past = asked
        .iter()
        .filter(|asked| asked.query_value("until").is_some());
    assert_eq!(past.count(), 1);
}

#[tokio::test]
async fn tells_since_when_events_are_kept() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open("/events").await;
    const MANY: i64 = 5000;
    for at in 1..=MANY {
        events.send(event("start", "a", at)).await;
    }
    // Slower than they came, it may be told of a gap itself.
    while next(&mut stream).await.id != Some(format!("{MANY}.0")) {}
    let mut late = stage.agent.sse("/events?since=0").await;
    let gap = next_is(&mut late, "gap").await.json();
    assert_eq!(gap["after"], "1970-01-01T00:00:00Z");
    assert_eq!(gap["before"], "1970-01-01T00:00:00.000000905Z");
    ids(&mut late, &["905.0", "906.0"]).await;
    // All that this one wants is there.
    let mut late = stage.agent.sse("/events?since=0.000000906").await;
    ids(&mut late, &["906.0", "907.0"]).await;
}

#[tokio::test]
async fn tells_no_gap_of_before_what_is_wanted() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open("/events").await;
    events.send(past(1..2)).await;
    ids(&mut stream, &["1000000000.0"]).await;
    events.abort().await;
    let events = stage.subscriptions.next().await;
    events.send(past(5..7)).await;
    next_is(&mut stream, "gap").await;
    ids(&mut stream, &["5000000000.0", "6000000000.0"]).await;
    for (since, wanted) in [(5, "5000000000.0"), (6, "6000000000.0")] {
        let mut late = stage.agent.sse(&format!("/events?since={since}")).await;
        ids(&mut late, &[wanted]).await;
    }
    for since in [3, 4] {
        let mut late = stage.agent.sse(&format!("/events?since={since}")).await;
        next_is(&mut late, "gap").await;
        ids(&mut late, &["5000000000.0"]).await;
    }
}
