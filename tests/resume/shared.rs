//! Followers share a reader, and none waits for another.

use docker_ps_agent::telemetry::name::ENGINE_CALLS;
use jiff::{SignedDuration, Timestamp};

use super::growing::Growing;
use super::{Client, assert_same};
use crate::contract::host::{Host, text};
use crate::metrics::samples::{Samples, becomes};
use crate::support::agent::Agent;
use crate::support::fixture::engine_with_log;
use crate::support::scripted::{Answer, STDOUT, frame, line};
use crate::support::wait::{self, SOON};

const READERS: &str = "docker_ps_agent_log_readers_open";

#[tokio::test]
async fn all_followers_of_a_container_have_one_reader() {
    let host = Host::start().await;
    host.engine.run("shared", &[], "echo one; sleep 600").await;
    let mut streams = Vec::new();
    for number in 0..20 {
        let route = ["logs/stream", "logs?follow=true"][number % 2];
        let mut client = Client::default();
        let mut stream = client
            .open(&host.agent, &format!("/containers/shared/{route}"))
            .await;
        client.take(&mut stream, 1).await;
        streams.push(stream);
    }
    wait::until("one reader is left", SOON, async || {
        Samples::of(&host.agent).await.sum(READERS, &[]) == 1.0
    })
    .await;
    drop(streams);
    wait::until("the reader ends", SOON, async || {
        Samples::of(&host.agent).await.sum(READERS, &[]) == 0.0
    })
    .await;
    host.engine.remove("shared").await;
}

#[tokio::test]
async fn an_empty_log_is_not_read_again_by_each_follower_once_it_begins() {
    let host = Host::start().await;
    let script = "while [ ! -e /go ]; do sleep 0.1; done; \
                  i=0; while [ $i -lt 1500 ]; do echo \"line $i\"; i=$((i+1)); done; sleep 600";
    host.engine.run("empty", &[], script).await;
    let path = "/containers/empty/logs/stream?tail=all";
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = Client::default();
        let stream = client.open(&host.agent, path).await;
        clients.push((client, stream));
    }
    let reads = async || {
        let samples = Samples::of(&host.agent).await;
        samples.sum(ENGINE_CALLS, &[("operation", "container_logs")])
    };
    wait::until("all have seen that it is empty", SOON, async || {
        reads().await == 22.0
    })
    .await;
    host.engine.docker(&["exec", "empty", "touch", "/go"]).await;
    for (client, stream) in &mut clients {
        client.take(stream, 1500).await;
        let numbers = client.lines.iter().enumerate();
        let mut wrong = numbers.filter(|(at, line)| !line.ends_with(&format!(" line {at}")));
        assert_eq!(wrong.next(), None);
    }
    assert_eq!(reads().await, 22.0, "two for all, and one of each follower");
    host.engine.remove("empty").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_nothing_and_holds_nobody_up() {
    let host = Host::start().await;
    let script = "i=0; while [ $i -lt 150000 ]; do \
                  echo \"number $i of a line that is as long as lines of logs mostly are, or a little longer\"; \
                  i=$((i+1)); done; echo end; sleep 600";
    host.engine.run("slow", &[], script).await;
    let path = "/containers/slow/logs/stream?tail=all";
    let mut slow = Client::default();
    let mut unread = slow.open(&host.agent, path).await;
    slow.take(&mut unread, 1).await;
    let mut fast = Client::default();
    let mut stream = fast.open(&host.agent, path).await;
    while fast.lines.last().is_none_or(|line| !line.ends_with(" end")) {
        fast.take(&mut stream, 1).await;
    }
    assert_eq!(fast.lines.len(), 150_001);
    while slow.lines.last().is_none_or(|line| !line.ends_with(" end")) {
        slow.take(&mut unread, 1).await;
    }
    assert_same(&slow.lines, &fast.lines, "the slow client");
    assert_eq!(slow.gaps + fast.gaps, 0);
    host.engine.remove("slow").await;
}

#[tokio::test]
async fn refuses_more_than_may_be_and_says_when_to_come_back() {
    let limited = Agent::builder()
        .env("MAX_LOG_FOLLOWERS", "3")
        .env("MAX_LOG_FOLLOWERS_PER_CONTAINER", "2");
    let host = Host::with(limited).await;
    for name in ["full-a", "full-b"] {
        host.engine.run(name, &[], "sleep 600").await;
    }
    let path = |name: &str| format!("/containers/{name}/logs/stream");
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(host.agent.sse(&path("full-a")).await);
    }
    let refused = host.agent.get(&path("full-a")).await;
    assert_eq!(refused.status, 503);
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 0
    );
    assert!(refused.json()["message"].is_string());
    open.push(host.agent.sse(&path("full-b")).await);
    assert_eq!(host.agent.get(&path("full-b")).await.status, 503);
    drop(open);
    wait::until("there is room again", SOON, async || {
        host.agent.sse(&path("full-b")).await.status == 200
    })
    .await;
    for name in ["full-a", "full-b"] {
        host.engine.remove(name).await;
    }
}

/// Its readers end at once, so that each client finds none that it could share.
#[tokio::test]
async fn refuses_more_than_may_be_of_a_container_that_has_stopped() {
    let text = "x".repeat(400);
    let lines = |from| {
        (from..60_000)
            .flat_map(|time| frame(STDOUT, line(time, &text)))
            .collect()
    };
    let (log, end): (Vec<u8>, Vec<u8>) = (lines(1), lines(59_000));
    let engine =
        engine_with_log(Answer::empty(200)).route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                true => Answer::bytes(200, end.clone()),
                false => Answer::bytes(200, log.clone()),
            }
        });
    let engine = engine.start().await;
    let agent = Agent::builder().docker_host(engine.docker_host());
    let agent = agent
        .env("MAX_LOG_FOLLOWERS_PER_CONTAINER", "2")
        .start()
        .await;
    let path = "/containers/c/logs/stream?tail=all";
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(agent.sse(path).await);
        becomes(&agent, READERS, &[("kind", "live")], 0.0).await;
    }
    assert_eq!(agent.get(path).await.status, 503);
    drop(open);
    wait::until("there is room again", SOON, async || {
        agent.sse(path).await.status == 200
    })
    .await;
}

/// The client that does not read has the only right to read what was written before.
#[tokio::test]
async fn a_client_that_does_not_read_keeps_nobody_from_what_was_written_before() {
    const LINES: i64 = 60_000;
    let log = Growing::default();
    let begun = Timestamp::now() - SignedDuration::from_mins(10);
    for number in 0..LINES {
        let time = begun + SignedDuration::from_millis(number);
        log.write(STDOUT, time, &format!("{number} {}", "x".repeat(200)));
    }
    let engine = log.engine().await;
    let agent = Agent::builder().docker_host(engine.docker_host());
    let agent = agent
        .env("MAX_LOG_READERS_PER_CONTAINER", "1")
        .start()
        .await;
    let path = "/containers/c/logs/stream";
    let mut lazy = agent.sse(&format!("{path}?tail=all")).await;
    for _ in 0..2 {
        let mut other = agent.sse(&format!("{path}?tail=2000")).await;
        assert_eq!(other.status, 200);
        let mut client = Client::default();
        client.take(&mut other, 2000).await;
        assert!(client.lines[0].contains(" 58000 "));
    }
    let mut client = Client::default();
    client
        .take(&mut lazy, usize::try_from(LINES).unwrap())
        .await;
    let numbers = client.lines.iter();
    let numbers = numbers.map(|line| {
        text(line)
            .split(' ')
            .next()
            .unwrap()
            .parse::<i64>()
            .unwrap()
    });
    assert!(numbers.eq(0..LINES));
    assert_eq!(client.gaps, 0);
}
