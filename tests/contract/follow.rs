//! Streams of a container that lives, and how they end.

use std::time::{Duration, Instant};

use super::dialects::{named, parts, unnamed};
use super::host::{Host, text};
use crate::support::client::EventStream;
use crate::support::wait::SOON;

/// How long a line may take from the engine's log to a client at most, where nothing else is in the way.
const PROMPT: Duration = Duration::from_secs(2);

const BOTH: [&str; 2] = ["logs?follow=true", "logs/stream"];

impl Host {
    /// An open stream of each dialect, read up to the container's line `ready`.
    async fn follow(&self, name: &str) -> [EventStream; 2] {
        let mut streams = Vec::new();
        for route in BOTH {
            let path = format!("/containers/{name}/{route}");
            let mut stream = self.agent.sse(&path).await;
            if route == "logs/stream" {
                let first = stream.next(SOON).await.unwrap();
                let data = format!(r#"{{"status":"connected","containerId":"{name}"}}"#);
                assert_eq!(parts(first), named("connected", data));
            }
            assert_eq!(line(&mut stream, SOON).await, "ready");
            streams.push(stream);
        }
        streams.try_into().ok().expect("one for each dialect")
    }

    /// Writes a line as the container's own process would.
    async fn say(&self, name: &str, what: &str) {
        let script = format!("echo {what} > /proc/1/fd/1");
        self.engine
            .docker(&["exec", name, "sh", "-c", &script])
            .await;
    }
}

/// The text of the next event, which must be a line of its dialect.
async fn line(stream: &mut EventStream, deadline: Duration) -> String {
    let event = stream.next(deadline).await.expect("the stream goes on");
    let data = event.json();
    let key = match event.event.as_deref() {
        None => "line",
        Some("log") => "log",
        other => panic!("no line: {other:?}"),
    };
    text(data[key].as_str().unwrap()).to_owned()
}

/// Asserts that both streams end now, and as their dialects say.
async fn assert_closed([first, second]: [EventStream; 2]) {
    let ended = first.rest(SOON).await.into_iter().map(parts);
    let expected = [unnamed(r#"{"line":"[Log stream ended]"}"#)];
    assert_eq!(ended.collect::<Vec<_>>(), expected);
    let ended = second.rest(SOON).await.into_iter().map(parts);
    let expected = [named("close", r#"{"status":"closed"}"#)];
    assert_eq!(ended.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn sends_a_line_as_soon_as_it_is_written() {
    let host = Host::start().await;
    let name = "follow-live";
    host.engine.run(name, &[], "echo ready; sleep 600").await;
    let mut streams = host.follow(name).await;
    let mut took = Vec::new();
    for what in ["first", "second", "third", "fourth"] {
        host.say(name, what).await;
        let written = Instant::now();
        for stream in &mut streams {
            assert_eq!(line(stream, SOON).await, what);
        }
        took.push(written.elapsed());
    }
    // The machine may be held up for as long, but not most of the time.
    let late = took.iter().filter(|took| **took >= PROMPT);
    assert!(late.count() < 2, "{took:?}");
    host.engine.remove(name).await;
    assert_closed(streams).await;
}

#[tokio::test]
async fn sends_only_what_is_new_where_nothing_old_is_wanted() {
    let host = Host::start().await;
    let name = "follow-new";
    host.engine.run(name, &[], "echo ready; sleep 600").await;
    host.follow(name).await;
    let path = format!("/containers/{name}/logs/stream?tail=0");
    let mut stream = host.agent.sse(&path).await;
    assert_eq!(stream.next(SOON).await.unwrap().name(), "connected");
    host.say(name, "new").await;
    assert_eq!(line(&mut stream, SOON).await, "new");
    host.engine.remove(name).await;
}

#[tokio::test]
async fn ends_when_the_container_stops() {
    let host = Host::start().await;
    let name = "follow-stopped";
    host.engine.run(name, &[], "echo ready; sleep 600").await;
    let streams = host.follow(name).await;
    let stop = format!("/containers/{name}/stop");
    assert_eq!(host.agent.get(&stop).await.status, 200);
    assert_closed(streams).await;
    host.engine.remove(name).await;
}

#[tokio::test]
async fn ends_when_the_container_ends_by_itself() {
    let host = Host::start().await;
    let name = "follow-ended";
    let script = "echo ready; until [ -e /end ]; do sleep 0.01; done; exit 3";
    host.engine.run(name, &[], script).await;
    let streams = host.follow(name).await;
    host.engine.docker(&["exec", name, "touch", "/end"]).await;
    assert_closed(streams).await;
    host.engine.remove(name).await;
}

#[tokio::test]
async fn ends_when_the_container_is_removed() {
    let host = Host::start().await;
    let name = "follow-removed";
    host.engine.run(name, &[], "echo ready; sleep 600").await;
    let streams = host.follow(name).await;
    let remove = format!("/containers/{name}/remove");
    assert_eq!(host.agent.get(&remove).await.status, 200);
    assert_closed(streams).await;
}
