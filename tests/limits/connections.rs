//! No more connections than allowed are served at a time; the others wait for their turn.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::metric;
use crate::support::agent::Agent;
use crate::support::fixture::{ID, inspect, listed, running};
use crate::support::scripted::{Answer, Gate, ScriptedEngine, State};
use crate::support::wait::{self, SOON};

const IN_FLIGHT: &str = "docker_ps_agent_http_requests_in_flight";
const OPEN: &str = "docker_ps_agent_connections_open{listener=\"api\"}";

#[tokio::test]
async fn beyond_the_limit_wait_until_others_leave() {
    let engine = ScriptedEngine::new().start().await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .env("MAX_CONNECTIONS", "2")
        .start()
        .await;
    let mut one = agent.session().await;
    let mut other = agent.session().await;
    for session in [&mut one, &mut other] {
        assert_eq!(session.get("/").await.unwrap().status, 200);
    }
    let client = agent.client.clone();
    let mut third = tokio::spawn(async move { client.get("/").await });
    // That nothing comes can only be waited for.
    let answered = tokio::time::timeout(Duration::from_millis(300), &mut third).await;
    assert!(answered.is_err(), "a third one was served");
    assert_eq!(metric(&agent, OPEN).await, 2.0);
    assert_eq!(one.get("/").await.unwrap().status, 200);

    drop(other);
    let reply = tokio::time::timeout(SOON, third).await.unwrap().unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(one.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn one_to_the_engine_serves_whoever_comes_next() {
    let (events, _handles) = Answer::handed();
    let engine = ScriptedEngine::new()
        .route("GET", "/containers/json", Answer::json(200, "[]"))
        .route("GET", "/containers/*/json", inspect(json!({})))
        .route("POST", "/containers/*/pause", Answer::empty(204))
        .route("GET", "/events", events)
        .start()
        .await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .env("MAX_CONNECTIONS", "1")
        .start()
        .await;
    // Sooner than unused connections are closed by themselves.
    let limit = Duration::from_secs(4);
    for _ in 0..2 {
        let pause = format!("/containers/{ID}/pause");
        for path in ["/containers", &pause, "/containers"] {
            let reply = wait::within(path, limit, agent.get(path)).await;
            assert_eq!(reply.status, 200, "{path}");
        }
        // The events keep one for as long as this is open.
        let stream = wait::within("a head", limit, agent.sse("/containers/stream")).await;
        assert_eq!(stream.status, 200);
    }
}

#[tokio::test]
async fn come_and_go_by_the_hundred() {
    let engine = ScriptedEngine::new().start().await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .env("MAX_CONNECTIONS", "3")
        .start()
        .await;
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let client = agent.client.clone();
            tokio::spawn(async move { client.get("/").await.status })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 200);
    }
    let fds = agent.open_fds();
    assert!(fds < 40, "{fds} descriptors are open");
}

#[tokio::test]
async fn to_the_engine_are_few_where_descriptors_are_and_who_needs_one_waits() {
    let gate = Gate::shut();
    let image = Answer::json(200, "{}").behind(&gate);
    let engine = ScriptedEngine::new().route("GET", "/images/*/json", image);
    let engine = engine.start().await;
    // Of the 21 that are not reserved a third is for the engine, and one more for its events.
    let script = r#"ulimit -n 149 && exec "$0""#;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .program("sh")
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_docker-ps-agent"))
        .start()
        .await;
    let agent = Arc::new(agent);
    let asked: Vec<_> = (0..12)
        .map(|n| {
            let agent = Arc::clone(&agent);
            tokio::spawn(async move { agent.get(&format!("/images/i{n}")).await.status })
        })
        .collect();
    let all = "all clients are served";
    wait::until(all, SOON, async || metric(&agent, IN_FLIGHT).await >= 12.0).await;
    let at_engine = |state: &State| state.requests_to("GET", "/images/*/json").count();
    let full = "as many are asked as may be";
    engine.wait(full, |state| at_engine(state) >= 8).await;
    assert_eq!(engine.state(at_engine), 8);
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert!(!agent.output().contains("Too many open files"));
}

/// Each of them takes one for as long as it is followed.
#[tokio::test]
async fn to_the_engine_are_left_where_one_client_follows_many_logs() {
    let ids: Vec<_> = (0..20).map(|number| format!("{number:064x}")).collect();
    let (logs, _handles) = Answer::handed();
    let engine = ScriptedEngine::new()
        .route("GET", "/containers/json", listed(&ids))
        .route_fn("GET", "/containers/*/json", |request| {
            running(request.segment(1))
        })
        .route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                true => logs.clone(),
                false => Answer::bytes(200, ""),
            }
        })
        .start()
        .await;
    let agent = Agent::builder().docker_host(engine.docker_host());
    let agent = agent.env("MAX_CONNECTIONS", "4").start().await;
    let stream = wait::within("a head", SOON, agent.sse("/logs/stream?all=true")).await;
    assert_eq!(stream.status, 200);
    let is_followed = |state: &State| {
        let logs = state.requests_to("GET", "/containers/*/logs");
        logs.filter(|request| request.query.contains("follow=1"))
            .count()
            >= 20
    };
    engine.wait("all are followed", is_followed).await;
    for _ in 0..3 {
        let reply = wait::within("an answer", SOON, agent.get("/containers")).await;
        assert_eq!(reply.status, 200);
    }
}

/// A change is noticed twice a second, and told for a quarter of one; the rest is for a busy machine. The crowd itself goes later.
const NOTICED: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_crowd_without_a_key_does_not_hide_that_the_key_has_changed() {
    let engine = ScriptedEngine::new().start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let script = r#"ulimit -n 200 && exec "$0""#;
    let few = builder.clone().program("sh");
    let few = few
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_docker-ps-agent"));
    let agent = few.start().await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(agent.client.connect().await);
    }
    agent.wait_for_output("few descriptors").await;
    std::fs::write(builder.key_file(), "stolen").unwrap();
    let status = agent.wait_exit(NOTICED).await;
    assert_eq!(status.code(), Some(1));
    assert!(!agent.output().contains("cannot take a connection"));
}
