//! An engine that is away, and comes back.

use super::{EVERY_KIND, refusal};
use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_live_log, engine_with_log};
use crate::support::scripted::{Answer, Gate, RunningEngine, STDOUT, frame, line};
use crate::support::wait::SOON;

async fn engine() -> RunningEngine {
    engine_with_log(Answer::bytes(200, ""))
        .route("GET", "/containers/json", Answer::json(200, "[]"))
        .route("GET", "/images/json", Answer::json(200, "[]"))
        .route("POST", "/containers/*/*", Answer::empty(204))
        .route("DELETE", "/containers/*", Answer::empty(204))
        .route("DELETE", "/images/*", Answer::json(200, "[]"))
        .start()
        .await
}

async fn all_work(agent: &Agent) {
    for path in EVERY_KIND {
        assert_eq!(agent.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn is_a_502_until_the_engine_is_back_at_its_place() {
    let engine = engine().await;
    let agent = agent_on(&engine).await;
    all_work(&agent).await;

    engine.stop().await;
    for path in EVERY_KIND {
        let message = refusal(&agent.get(path).await, 502);
        assert!(message.contains("No such file"), "{path}: {message}");
    }
    engine.start_again().await;
    all_work(&agent).await;

    engine.crash().await;
    for path in EVERY_KIND {
        let message = refusal(&agent.get(path).await, 502);
        assert!(message.contains("refused"), "{path}: {message}");
    }
    engine.start_again().await;
    all_work(&agent).await;
    // Whether the agent serves is not a question of the engine.
    engine.stop().await;
    assert_eq!(agent.get("/").await.text(), "OK");
}

#[tokio::test]
async fn is_a_502_where_the_engine_dies_before_it_answers() {
    let engine = engine().await;
    let agent = agent_on(&engine).await;
    let gate = Gate::shut();
    engine.route("GET", "/images/json", Answer::json(200, "[]").behind(&gate));
    let client = agent.client.clone();
    let asked = tokio::spawn(async move { client.get("/images").await });
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;
    engine.crash().await;
    refusal(&asked.await.unwrap(), 502);
}

#[tokio::test]
async fn is_a_502_where_what_answers_is_no_http() {
    let engine = engine().await;
    let agent = agent_on(&engine).await;
    for garbage in [
        "",
        "\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    ] {
        engine.route("*", "/**", Answer::garbage(garbage));
        for path in EVERY_KIND {
            refusal(&agent.get(path).await, 502);
        }
    }
}

#[tokio::test]
async fn is_survived_by_kept_connections() {
    let engine = engine().await;
    let agent = agent_on(&engine).await;
    for _ in 0..20 {
        assert_eq!(agent.get("/images").await.status, 200);
        engine.drop_connections();
        engine
            .wait("no connection is left", |state| state.connections == 0)
            .await;
        // The engine may be asked on a connection that is not there any more; that shows at once and is made good.
        assert_eq!(agent.get("/containers").await.status, 200);
    }
}

#[tokio::test]
async fn keeps_the_streams_that_it_cuts() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log).start().await;
    let agent = agent_on(&engine).await;
    let mut named = agent.sse("/containers/c/logs/stream").await;
    let mut unnamed = agent.sse("/containers/c/logs?follow=true").await;
    assert_eq!(named.next(SOON).await.unwrap().name(), "connected");
    let handle = handles.of_an_empty_log().await;
    assert!(handle.send(frame(STDOUT, line(1, "before"))).await);
    for stream in [&mut named, &mut unnamed] {
        assert!(stream.next(SOON).await.unwrap().data.contains("before"));
    }
    engine.crash().await;
    engine.start_again().await;
    // The log as a whole, since so the engine has it now.
    let handle = handles.next().await;
    for (number, text) in [(1, "before"), (2, "after")] {
        assert!(handle.send(frame(STDOUT, line(number, text))).await);
    }
    for stream in [&mut named, &mut unnamed] {
        assert!(stream.next(SOON).await.unwrap().data.contains("after"));
    }
}
