//! What the engine refuses is refused with its own status and message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::json;

use super::{EVERY_KIND, refusal};
use crate::contract::host::assert_refused;
use crate::support::fixture::{agent_on, engine_with_log, inspect};
use crate::support::scripted::{Answer, RunningEngine, ScriptedEngine};

/// An engine that says the same to everything but a ping.
async fn always(answer: Answer) -> RunningEngine {
    let ping = Answer::bytes(200, "OK").header("Api-Version", "1.41");
    ScriptedEngine::new()
        .route("*", "/**", answer)
        .route("GET", "/_ping", ping)
        .start()
        .await
}

#[tokio::test]
async fn keep_the_engines_status_and_message() {
    let engine = always(Answer::empty(200)).await;
    let agent = agent_on(&engine).await;
    for status in [400, 401, 403, 404, 409, 500, 501, 503] {
        let said = format!("No such container: c — \"{status}\"");
        engine.route("*", "/**", Answer::message(status, &said));
        for path in EVERY_KIND {
            let reply = agent.get(path).await;
            assert_eq!(refusal(&reply, status), said, "{path}");
        }
    }
}

#[tokio::test]
async fn hand_on_what_is_no_json() {
    let engine = always(Answer::empty(200)).await;
    let agent = agent_on(&engine).await;
    for (body, wanted) in [
        (&b"plain text\n"[..], "plain text"),
        (b"<h1>Bad Gateway</h1>", "<h1>Bad Gateway</h1>"),
        (b"{\"message\":", "{\"message\":"),
        (b"{\"error\":\"else\"}", "{\"error\":\"else\"}"),
        (b"\xff\xfe broken", "\u{fffd}\u{fffd} broken"),
        (b"", "Internal Server Error"),
        (b"{\"message\":\"\"}", "Internal Server Error"),
    ] {
        engine.route("*", "/**", Answer::bytes(500, body));
        for path in EVERY_KIND {
            let reply = agent.get(path).await;
            assert_eq!(refusal(&reply, 500), wanted, "{path}");
        }
    }
}

#[tokio::test]
async fn of_the_log_come_as_refusals_and_not_as_streams() {
    let refused = Answer::message(501, "configured logging driver does not support reading");
    let engine = engine_with_log(refused).start().await;
    let agent = agent_on(&engine).await;
    for path in ["logs", "logs?follow=true", "logs/stream", "logs/download"] {
        let path = format!("/containers/c/{path}");
        let reply = agent.get(&path).await;
        assert_refused(&reply, 501, &path);
        assert!(reply.text().contains("logging driver"), "{path}");
        assert_eq!(reply.header("content-disposition"), None);
    }
}

#[tokio::test]
async fn without_an_end_are_given_up() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let endless = Answer::generated(move || {
        let count = Arc::clone(&count);
        let chunk = Bytes::from(vec![b'x'; 1 << 16]);
        std::iter::repeat_with(move || {
            count.fetch_add(1 << 16, Ordering::Relaxed);
            chunk.clone()
        })
    });
    let engine = always(endless.status(500)).await;
    let agent = agent_on(&engine).await;
    assert_eq!(agent.get("/").await.status, 200);
    for path in EVERY_KIND {
        sent.store(0, Ordering::Relaxed);
        let reply = agent.get(path).await;
        refusal(&reply, 502);
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent < 16 << 20, "{path}: {sent} bytes were read");
    }
    engine
        .wait("the last body is dropped", |state| state.bodies() == 0)
        .await;
}

#[tokio::test]
async fn after_an_action_are_those_of_the_inspect() {
    let engine = ScriptedEngine::new()
        .route("POST", "/containers/*/start", Answer::empty(204))
        .route("POST", "/containers/*/stop", Answer::empty(204))
        .route("GET", "/containers/*/json", Answer::message(500, "broken"))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let reply = agent.get("/containers/c/start").await;
    assert_eq!(refusal(&reply, 500), "broken");
    // What cannot be inspected is not stopped either: how long that may take is not known.
    engine.route("GET", "/containers/*/json", Answer::message(404, "gone"));
    let reply = agent.get("/containers/c/stop").await;
    assert_eq!(refusal(&reply, 404), "gone");
    assert!(engine.requests_to("POST", "/containers/*/stop").is_empty());
}

#[tokio::test]
async fn are_not_made_of_what_is_done_already() {
    let engine = ScriptedEngine::new()
        .route("POST", "/containers/*/*", Answer::empty(304))
        .route("GET", "/containers/*/json", inspect(json!({})))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    for action in ["start", "stop"] {
        let reply = agent.get(&format!("/containers/c/{action}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.json()["Id"].is_string());
    }
}

#[tokio::test]
async fn are_made_of_statuses_that_make_no_sense() {
    for status in [202, 206, 301, 302, 304] {
        let engine = always(Answer::json(status, "[]").header("Location", "/")).await;
        let agent = agent_on(&engine).await;
        for path in ["/containers", "/containers/c", "/containers/c/logs"] {
            let reply = agent.get(path).await;
            assert!(refusal(&reply, 502).contains("status"), "{path}");
        }
    }
}
