//! An engine that takes too long: each route waits for its own time and then answers 504.

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::inside::{Inside, is_about, leaping, piece};
use crate::support::fixture::{agent_on, engine_with_live_log, engine_with_log, inspect};
use crate::support::scripted::{Answer, RunningEngine, STDOUT, ScriptedEngine, frame, line};
use crate::support::wait::{self, SOON};

/// Asks, and waits in leaps until the answer comes to the request that hangs; the time it took in seconds.
async fn too_slow(engine: &RunningEngine, path: &'static str, seconds: u64) {
    answers_too_slow(engine, path, seconds).await;
    is_given_up(engine).await;
}

async fn is_given_up(engine: &RunningEngine) {
    engine
        .wait("nobody waits any more", |state| state.waiting == 0)
        .await;
}

async fn answers_too_slow(engine: &RunningEngine, path: &'static str, seconds: u64) {
    let asked = tokio::spawn(Inside::on(engine).get(path));
    engine
        .wait("the engine is asked and hangs", |state| state.waiting == 1)
        .await;
    let (answer, passed) = leaping(asked).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT, "{path}");
    assert!(is_about(passed, seconds), "{path}: {passed:?}");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let message = format!("The Docker Engine is too slow: no answer within {seconds} s.");
    assert_eq!(body, json!({ "message": message }).to_string());
}

fn hanging(method: &str, path: &str) -> ScriptedEngine {
    ScriptedEngine::new().route(method, path, Answer::hang_head())
}

#[tokio::test]
async fn gives_a_read_30_seconds() {
    let engine = hanging("*", "/**").start().await;
    for path in [
        "/containers",
        "/containers/c",
        "/images",
        "/images/i",
        "/containers/c/logs",
        "/containers/c/logs/stream",
        "/containers/c/logs/download",
    ] {
        too_slow(&engine, path, 30).await;
    }
}

/// Who joins others that wait already is told the same as they are.
#[tokio::test]
async fn gives_the_head_of_the_events_30_seconds() {
    for second in ["/events", "/containers/stream"] {
        let engine = hanging("*", "/**").start().await;
        let inside = Inside::on(&engine);
        let first = tokio::spawn(inside.clone().get("/events"));
        engine
            .wait("the engine is asked and hangs", |state| state.waiting == 1)
            .await;
        let second = tokio::spawn(inside.get(second));
        let (answers, passed) = leaping(async { [first.await, second.await] }).await;
        for answer in answers {
            assert_eq!(answer.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
        }
        assert!(is_about(passed, 30), "{passed:?}");
    }
}

#[tokio::test]
async fn gives_a_list_with_sizes_300_seconds() {
    let engine = hanging("GET", "/containers/json").start().await;
    too_slow(&engine, "/containers?all=false&size=true", 300).await;
    too_slow(&engine, "/containers?fields=size", 30).await;
}

#[tokio::test]
async fn gives_the_head_of_a_log_30_seconds() {
    let engine = engine_with_log(Answer::hang_head()).start().await;
    too_slow(&engine, "/containers/c/logs/stream", 30).await;
}

#[tokio::test]
async fn gives_an_action_120_seconds() {
    let engine = hanging("*", "/**").start().await;
    for path in [
        "/containers/c/start",
        "/containers/c/pause",
        "/containers/c/unpause",
        "/containers/c/remove",
        "/images/i/remove",
    ] {
        answers_too_slow(&engine, path, 120).await;
        goes_on(&engine, 600, path).await;
    }
}

/// What is not waited for any more goes on, but not for ever.
async fn goes_on(engine: &RunningEngine, seconds: u64, path: &str) {
    leaping(tokio::time::sleep(Duration::from_secs(seconds - 10))).await;
    assert_eq!(engine.state(|state| state.waiting), 1, "{path}");
    leaping(tokio::time::sleep(Duration::from_secs(20))).await;
    is_given_up(engine).await;
}

#[tokio::test]
async fn gives_a_stop_the_containers_grace_and_30_seconds() {
    for (config, seconds) in [
        (json!({}), 40),
        (json!({ "StopTimeout": null }), 40),
        (json!({ "StopTimeout": 0 }), 30),
        (json!({ "StopTimeout": 300 }), 330),
    ] {
        let engine = hanging("POST", "/**").route("GET", "/containers/*/json", inspect(config));
        let engine = engine.start().await;
        for path in ["/containers/c/stop", "/containers/c/restart"] {
            answers_too_slow(&engine, path, seconds).await;
            goes_on(&engine, 570, path).await;
        }
    }
}

#[tokio::test]
async fn gives_a_stop_all_the_time_that_the_container_has() {
    let facts = inspect(json!({ "StopTimeout": -1 }));
    let engine = hanging("POST", "/**").route("GET", "/containers/*/json", facts);
    let engine = engine.start().await;
    let asked = tokio::spawn(Inside::on(&engine).get("/containers/c/stop"));
    engine
        .wait("the container is to stop", |state| {
            state.requests_to("POST", "/containers/c/stop").count() == 1
        })
        .await;
    let a_day = Duration::from_secs(24 * 60 * 60);
    let (answer, _) = leaping(tokio::time::timeout(a_day, asked)).await;
    assert!(answer.is_err(), "answered {:?}", answer.unwrap().unwrap());
}

#[tokio::test]
async fn does_not_wait_for_ever_for_what_a_stop_must_know() {
    let engine = hanging("GET", "/containers/*/json").start().await;
    too_slow(&engine, "/containers/c/stop", 30).await;
    assert!(engine.requests_to("POST", "/**").is_empty());
}

/// An engine that pauses a container, and then begins to tell what it is, and no more.
fn half_an_inspect() -> ScriptedEngine {
    let stalls = Answer::hang_body("[").header("Content-Type", "application/json");
    let engine = ScriptedEngine::new().route("GET", "/images/*/json", stalls.clone());
    engine
        .route("GET", "/images/json", stalls.clone())
        .route("GET", "/containers/json", stalls.clone())
        .route("GET", "/containers/*/json", stalls)
        .route("POST", "/containers/*/pause", Answer::empty(204))
}

#[tokio::test]
async fn gives_a_read_30_seconds_to_be_whole() {
    for path in ["/containers", "/containers/c", "/images", "/images/i"] {
        let engine = half_an_inspect().start().await;
        too_slow(&engine, path, 30).await;
    }
}

#[tokio::test]
async fn cuts_an_answer_that_the_engine_does_not_go_on_with_for_30_seconds() {
    let engine = half_an_inspect().start().await;
    let mut answer = Inside::on(&engine).get("/containers/c/pause").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(piece(&mut answer).await.unwrap().unwrap(), "[");
    let (next, passed) = leaping(piece(&mut answer)).await;
    assert!(next.unwrap().is_err(), "not cut");
    assert!(is_about(passed, 30), "{passed:?}");
}

#[tokio::test]
async fn cuts_a_log_that_stops_in_the_middle_but_not_one_that_is_followed() {
    let part = || Answer::hang_body(frame(STDOUT, line(1, "a")));
    for path in ["/containers/c/logs", "/containers/c/logs/download"] {
        let engine = engine_with_log(part()).start().await;
        let mut answer = Inside::on(&engine).get(path).await;
        assert!(piece(&mut answer).await.unwrap().is_ok());
        let (next, passed) = leaping(piece(&mut answer)).await;
        assert!(next.unwrap().is_err(), "{path}: not cut");
        assert!(is_about(passed, 30), "{path}: {passed:?}");
    }
    let engine = engine_with_live_log(part()).start().await;
    let mut answer = Inside::on(&engine).get("/containers/c/logs/stream").await;
    // The opening, that there was nothing, and the line.
    for _ in 0..3 {
        assert!(piece(&mut answer).await.unwrap().is_ok());
    }
    for _ in 0..10 {
        let (next, _) = leaping(piece(&mut answer)).await;
        let comment = next.unwrap().unwrap();
        assert!(comment.starts_with(b":"), "{comment:?}");
    }
}

/// The one that is not done with the clock: bytes move, so it takes its 30 seconds.
#[tokio::test]
async fn lets_a_client_see_that_an_answer_was_cut() {
    let engine = half_an_inspect().start().await;
    let agent = agent_on(&engine).await;
    let mut stream = agent.client.connect().await;
    let request = format!(
        "GET /containers/c/pause HTTP/1.1\r\nHost: a\r\nx-auth-key: {}\r\n\r\n",
        agent.key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let cut = stream.read_to_string(&mut answer);
    wait::within("the cut", Duration::from_secs(30) + SOON, cut)
        .await
        .unwrap();
    // One chunk, and not the empty one that says that it was the last.
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n1\r\n[\r\n"), "{answer}");
}
