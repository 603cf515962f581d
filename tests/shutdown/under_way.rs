//! What is under way when the signal comes may end, for ten seconds.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::stop;
use crate::support::fixture::{agent_on, engine_with_log, inspect};
use crate::support::scripted::{Answer, Gate, STDOUT, ScriptedEngine, frame, line, timestamp};
use crate::support::wait::SOON;

#[tokio::test]
async fn lets_a_request_end_that_waits_for_the_engine() {
    let gate = Gate::shut();
    let list = Answer::json(200, "[]").behind(&gate);
    let engine = ScriptedEngine::new().route("GET", "/containers/json", list);
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let client = agent.client.clone();
    let asked = tokio::spawn(async move { client.get("/containers").await });
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;

    stop(&agent, Signal::TERM).await;
    assert!(agent.exited().is_none(), "it did not wait");
    gate.open();
    let reply = asked.await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "[]"));
    // So that the client does not ask again here.
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn lets_a_download_end() {
    let (answer, logs) = Answer::handed();
    let engine = engine_with_log(answer).start().await;
    let agent = agent_on(&engine).await;
    let mut download = agent.open("/containers/c/logs/download").await;
    let log = logs.next().await;
    assert!(log.send(frame(STDOUT, line(1, "one"))).await);
    let first = download.chunk().await.unwrap().unwrap();
    assert_eq!(first, format!("{} one\n", timestamp(1)));

    stop(&agent, Signal::TERM).await;
    assert!(log.send(frame(STDOUT, line(2, "two"))).await);
    log.finish();
    let rest = download.read_to_end().await.unwrap();
    assert_eq!(rest, format!("{} two\n", timestamp(2)));
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(0));
}

#[tokio::test]
async fn cuts_what_takes_longer_than_ten_seconds_and_is_still_no_failure() {
    let (answer, _logs) = Answer::handed();
    let engine = engine_with_log(answer)
        .route("GET", "/containers/json", Answer::hang_head())
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let download = agent.open("/containers/c/logs/download").await;
    let mut session = agent.session().await;
    let list = tokio::spawn(async move { session.get("/containers").await });
    engine
        .wait("both are under way", |state| {
            state.waiting == 1 && state.bodies() == 1
        })
        .await;

    let begun = Instant::now();
    agent.signal(Signal::TERM);
    let status = agent.wait_exit(Duration::from_secs(10) + SOON).await;
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(10), "too impatient");
    assert!(download.read_to_end().await.is_err(), "a whole download");
    assert!(list.await.unwrap().is_err(), "an answer from nowhere");
    let warned = agent.wait_for_output("connections are cut off").await;
    assert_eq!(warned.event().unwrap()["level"], "WARN");
}

#[tokio::test]
async fn lets_an_action_end_whose_client_has_left() {
    let gate = Gate::shut();
    let engine = ScriptedEngine::new()
        .route("GET", "/containers/*/json", inspect(serde_json::json!({})))
        .route(
            "POST",
            "/containers/*/restart",
            Answer::empty(204).behind(&gate),
        )
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let client = agent.client.clone();
    let asked = tokio::spawn(async move { client.get("/containers/c/restart").await });
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;
    asked.abort();
    agent.wait_for_output("/containers/{id}/restart").await;

    stop(&agent, Signal::TERM).await;
    let looked = engine.requests_to("GET", "/containers/*/json").len();
    gate.open();
    // Once it has acted, it looks at the container.
    engine
        .wait_for_more(looked, "GET", "/containers/*/json")
        .await;
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(0));
}
