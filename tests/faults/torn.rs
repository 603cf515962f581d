//! An answer that the engine does not bring to its end never looks as if it had.

use serde_json::Value;

use crate::contract::host::assert_refused;
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, STDOUT, ScriptedEngine, frame, line, timestamp};
use crate::support::wait::SOON;

/// Two lines, and the beginning of a third.
fn log() -> Vec<u8> {
    let mut log = frame(STDOUT, line(1, "one"));
    log.extend(frame(STDOUT, line(2, "two")));
    log.extend(&frame(STDOUT, line(3, "three"))[..20]);
    log
}

#[tokio::test]
async fn lists_and_inspects_are_whole_or_an_error() {
    let torn = Answer::torn(r#"[{"Id":"1"}]"#).header("Content-Type", "application/json");
    let engine = ScriptedEngine::new().route("GET", "/**", torn.clone());
    let ping = Answer::bytes(200, "OK").header("Api-Version", "1.41");
    let engine = engine.route("GET", "/_ping", ping).start().await;
    let agent = agent_on(&engine).await;
    let paths = ["/containers", "/containers/c", "/images", "/images/i"];
    for path in paths {
        // What came would even be JSON.
        assert_refused(&agent.get(path).await, 502, path);
    }
    // The same where the engine had promised a length.
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]";
    engine.route("GET", "/**", Answer::garbage(short));
    for path in paths {
        assert_refused(&agent.get(path).await, 502, path);
    }
    // What an action answers is handed on as it comes.
    engine.route("POST", "/containers/*/pause", Answer::empty(204));
    let answer = agent.open("/containers/c/pause").await;
    assert_eq!(answer.header("content-length"), Some("100"));
    assert!(answer.read_to_end().await.is_err());
}

#[tokio::test]
async fn a_download_is_torn_after_its_last_whole_line() {
    let engine = engine_with_log(Answer::torn(log())).start().await;
    let agent = agent_on(&engine).await;
    let wanted = format!("{} one\n{} two\n", timestamp(1), timestamp(2));
    let mut download = agent.open("/containers/c/logs/download").await;
    let seen = download.read_at_least(wanted.len()).await.unwrap();
    assert_eq!(seen, wanted);
    assert!(download.read_to_end().await.is_err());
}

#[tokio::test]
async fn a_packed_download_is_torn_too() {
    let engine = engine_with_log(Answer::torn(log())).start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/download";
    for encoding in ["gzip", "zstd"] {
        let headers = [("accept-encoding", encoding)];
        let download = agent.client.open_with("GET", path, &headers, "").await;
        assert_eq!(download.status, 200);
        assert_eq!(download.header("content-encoding"), Some(encoding));
        assert!(download.read_to_end().await.is_err(), "{encoding}");
    }
}

#[tokio::test]
async fn a_log_as_json_is_torn_and_no_json() {
    let engine = engine_with_log(Answer::torn(log())).start().await;
    let agent = agent_on(&engine).await;
    let mut once = agent.open("/containers/c/logs").await;
    let mut seen = Vec::new();
    let end = loop {
        match once.chunk().await {
            Some(Ok(chunk)) => seen.extend(chunk),
            end => break end,
        }
    };
    assert!(end.is_some_and(|end| end.is_err()), "not torn");
    let seen = String::from_utf8(seen).unwrap();
    assert!(
        seen.starts_with("{\"logs\":[\"") && seen.contains(" two\""),
        "{seen}"
    );
    assert!(serde_json::from_str::<Value>(&seen).is_err(), "{seen}");
}

#[tokio::test]
async fn a_stream_says_so_in_its_own_dialect() {
    let engine = engine_with_log(Answer::torn(log())).start().await;
    let agent = agent_on(&engine).await;

    let stream = agent.sse("/containers/c/logs/stream").await;
    let events = stream.rest(SOON).await;
    let names: Vec<&str> = events.iter().map(|event| event.name()).collect();
    assert_eq!(names, ["connected", "log", "log", "error"]);
    assert!(events[3].json()["error"].is_string());

    let stream = agent.sse("/containers/c/logs?follow=true").await;
    let events = stream.rest(SOON).await;
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.event.is_none()));
    assert_eq!(events[1].json()["line"], format!("{} two", timestamp(2)));
    assert!(events[2].json()["error"].is_string());
}

#[tokio::test]
async fn a_log_that_ends_within_a_frame_is_no_whole_log() {
    // The connection ends as it should, the log does not.
    let engine = engine_with_log(Answer::bytes(200, log())).start().await;
    let agent = agent_on(&engine).await;
    for path in ["/containers/c/logs", "/containers/c/logs/download"] {
        assert!(
            agent.open(path).await.read_to_end().await.is_err(),
            "{path}"
        );
    }
    let events = agent
        .sse("/containers/c/logs/stream")
        .await
        .rest(SOON)
        .await;
    assert_eq!(events.last().unwrap().name(), "error");
}
