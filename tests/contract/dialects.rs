//! The two forms of a log as server-sent events, exactly as the two generations of the app read them.

use http::HeaderMap;
use serde_json::json;

use super::host::Host;
use crate::support::client::EventStream;
use crate::support::sse::Event;
use crate::support::wait::SOON;

impl Host {
    /// The events of a stream that comes to its end: names and data.
    pub async fn events(&self, path: &str) -> Vec<(Option<String>, String)> {
        let stream = self.agent.sse(path).await;
        assert_stream(&stream);
        let events = stream.rest(SOON).await;
        events.into_iter().map(parts).collect()
    }
}

/// A name, if there is one, and the data.
pub fn parts(event: Event) -> (Option<String>, String) {
    (event.event, event.data)
}

pub fn named(name: &str, data: impl ToString) -> (Option<String>, String) {
    (Some(name.to_owned()), data.to_string())
}

pub fn unnamed(data: impl ToString) -> (Option<String>, String) {
    (None, data.to_string())
}

fn assert_stream(stream: &EventStream) {
    assert_eq!(stream.status, 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("connection", "keep-alive"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn speaks_the_first_generations_dialect() {
    let host = Host::start().await;
    host.ran("dialects-first", &[], "echo one; echo '\"two\" \\'")
        .await;
    let lines = host.lines("/containers/dialects-first/logs").await;
    let expected = [
        unnamed(json!({ "line": lines[0] })),
        unnamed(json!({ "line": lines[1] })),
        unnamed(r#"{"line":"[Log stream ended]"}"#),
    ];
    for follow in ["true", "1"] {
        let path = format!("/containers/dialects-first/logs?follow={follow}");
        assert_eq!(host.events(&path).await, expected);
    }
    let path = "/containers/dialects-first/logs?follow=true&tail=1";
    assert_eq!(host.events(path).await, expected[1..]);
    host.engine.remove("dialects-first").await;
}

#[tokio::test]
async fn speaks_the_second_generations_dialect() {
    let host = Host::start().await;
    let id = host
        .ran("dialects-second", &[], "echo one; echo two >&2")
        .await;
    let lines = host.lines("/containers/dialects-second/logs").await;
    for given in ["dialects-second", &id[..12], &id] {
        let connected = format!(r#"{{"status":"connected","containerId":"{given}"}}"#);
        let expected = [
            named("connected", connected),
            named("log", json!({ "log": lines[0] })),
            named("log", json!({ "log": lines[1] })),
            named("close", r#"{"status":"closed"}"#),
        ];
        let path = format!("/containers/{given}/logs/stream");
        assert_eq!(host.events(&path).await, expected);
    }
    host.engine.remove("dialects-second").await;
}

#[tokio::test]
async fn begins_at_each_dialects_own_place() {
    let host = Host::start().await;
    host.ran("dialects-tail", &[], "seq 1 1005").await;
    // With the first and the last event of the second dialect, and the last of the first.
    for (path, count) in [
        ("logs?follow=true", 1000 + 1),
        ("logs?follow=true&tail=all", 1005 + 1),
        ("logs?follow=true&tail=0", 1),
        ("logs?follow=true&since=4000000000", 1),
        ("logs/stream", 100 + 2),
        ("logs/stream?follow=false", 100 + 2),
        ("logs/stream?tail=7", 7 + 2),
        ("logs/stream?tail=all", 1005 + 2),
        ("logs/stream?tail=all&until=1", 2),
    ] {
        let path = format!("/containers/dialects-tail/{path}");
        assert_eq!(host.events(&path).await.len(), count, "{path}");
    }
    host.engine.remove("dialects-tail").await;
}

/// Status line, headers and body of an answer that ends with its connection.
fn split(answer: &[u8]) -> (String, HeaderMap, String) {
    let text = std::str::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().to_owned();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (
            name.parse::<http::HeaderName>().unwrap(),
            value.parse().unwrap(),
        )
    });
    (status, headers.collect(), body.to_owned())
}

#[tokio::test]
async fn sends_the_bare_stream_to_a_client_of_http_1_0() {
    let host = Host::start().await;
    host.ran("dialects-old", &[], "echo one").await;
    let lines = host.lines("/containers/dialects-old/logs").await;
    let key = &host.agent.key;
    let request =
        format!("GET /containers/dialects-old/logs/stream HTTP/1.0\r\nx-auth-key: {key}\r\n\r\n");
    let (status, headers, body) = split(&host.agent.raw(request).await);
    assert!(status.ends_with(" 200 OK"), "{status}");
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache");
    assert_ne!(
        headers.get("connection").map(|value| value.as_bytes()),
        Some(&b"keep-alive"[..])
    );
    assert!(!headers.contains_key("transfer-encoding"));
    let mut parser = crate::support::sse::Parser::default();
    let events: Vec<_> = parser
        .push(body.as_bytes())
        .into_iter()
        .map(parts)
        .collect();
    let expected = [
        named(
            "connected",
            r#"{"status":"connected","containerId":"dialects-old"}"#,
        ),
        named("log", json!({ "log": lines[0] })),
        named("close", r#"{"status":"closed"}"#),
    ];
    assert_eq!(events, expected);
    host.engine.remove("dialects-old").await;
}
