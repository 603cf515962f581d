//! Streams that end at a time, with all that was written until then and no more.

use jiff::{SignedDuration, Timestamp};

use super::growing::Growing;
use super::{Client, line_of};
use crate::support::fixture::{ID, agent_on, engine_with_log, running};
use crate::support::scripted::{Answer, STDOUT, frame, line, timestamp};
use crate::support::wait::{SOON, until};

#[tokio::test]
async fn what_an_engine_that_was_away_has_from_before_comes() {
    for (path, more) in [
        ("/containers/c/logs/stream?", true),
        ("/containers/c/logs/stream?", false),
        ("/logs/stream?container=c&", true),
        ("/logs/stream?container=c&", false),
    ] {
        let log = Growing::default();
        let engine = log.engine().await;
        let agent = agent_on(&engine).await;
        let end = Timestamp::now() + SignedDuration::from_secs(3);
        log.write(STDOUT, Timestamp::now(), "one");
        let mut client = Client::default();
        let path = format!("{path}tail=all&until={end}");
        let mut stream = client.open(&agent, &path).await;
        client.take(&mut stream, 1).await;
        // As soon as it reads what is new, too.
        engine
            .wait("it is followed", |state| {
                let mut logs = state.requests_to("GET", "/containers/*/logs");
                logs.any(|request| request.query.contains("follow=1"))
            })
            .await;
        engine.crash().await;
        until("its time is over", SOON, async || {
            Timestamp::now() > end + SignedDuration::from_millis(1500)
        })
        .await;
        if more {
            log.write(STDOUT, end, "two");
        }
        engine.start_again().await;
        let events = stream.rest(SOON).await;
        let lines: Vec<_> = events.iter().filter_map(line_of).collect();
        assert_eq!(lines.len(), usize::from(more), "{path}: {lines:?}");
        assert!(lines.iter().all(|line| line.ends_with(" two")), "{path}");
        assert_eq!(events.last().unwrap().name(), "close", "{path}");
    }
}

/// What comes behind lines that are early enough is more than the agent keeps, and more than anyone wants to wait for.
#[tokio::test]
async fn what_is_later_is_not_read() {
    let (follow, follows) = Answer::handed();
    let lines = [
        (1, "early"),
        (2, "late"),
        (10_000_000_000, "later"),
        (900_000_000_000, "last"),
    ];
    let lines = lines.map(|(nanos, text)| frame(STDOUT, line(nanos, text)));
    let [early, .., last] = lines.clone();
    let end = last.clone();
    let engine = engine_with_log(Answer::bytes(200, ""));
    let engine = engine.route("GET", "/containers/*/json", running(ID));
    let engine = engine.route_fn("GET", "/containers/*/logs", move |request| {
        match request.query.contains("follow=1") {
            true => follow.clone(),
            false if request.query_value("until").is_some() => Answer::bytes(200, early.clone()),
            false if request.query.contains("tail=1") => Answer::bytes(200, end.clone()),
            // It never gets to its end.
            false => Answer::hang_body(lines[..3].concat()),
        }
    });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    // What is kept begins behind that.
    let mut other = agent.sse("/containers/c/logs/stream?tail=0").await;
    let reader = follows.next().await;
    reader.send(last).await;
    reader
        .send(frame(STDOUT, line(901_000_000_000, "new")))
        .await;
    while line_of(&other.next(SOON).await.unwrap()).is_none() {}
    let path = format!("/containers/c/logs/stream?tail=all&until={}", timestamp(1));
    let stream = agent.sse(&path).await;
    let events = stream.rest(SOON).await;
    let lines: Vec<_> = events.iter().filter_map(line_of).collect();
    assert!(
        matches!(&lines[..], [early] if early.ends_with(" early")),
        "{lines:?}"
    );
}
