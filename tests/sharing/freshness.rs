//! An answer is never older than its question, and there is one call at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::agent::Agent;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, Gate, RunningEngine, ScriptedEngine};
use crate::support::wait::{self, SOON, within};

/// An engine whose lists are numbered, and come when the gate lets them.
async fn numbered(gate: &Gate) -> RunningEngine {
    let (count, gate) = (AtomicUsize::new(0), gate.clone());
    let list = move |_: &_| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        Answer::json(200, format!("[{number}]")).behind(&gate)
    };
    let engine = ScriptedEngine::new();
    engine
        .route_fn("GET", "/containers/json", list)
        .start()
        .await
}

fn ask(agent: &Agent) -> tokio::task::JoinHandle<String> {
    let client = agent.client.clone();
    tokio::spawn(async move { client.get("/containers").await.text().to_owned() })
}

async fn metrics(agent: &Agent) -> String {
    let reply = agent.metrics.as_ref().unwrap().get("/metrics").await;
    reply.text().to_owned()
}

/// Waits until so many requests are in flight at the agent.
pub(super) async fn in_flight(agent: &Agent, requests: usize) {
    wait::until("all have asked", SOON, async || {
        metrics(agent).await.contains(&format!(
            "docker_ps_agent_http_requests_in_flight {requests}\n"
        ))
    })
    .await;
}

#[tokio::test]
async fn who_comes_during_a_call_gets_the_next_one() {
    let gate = Gate::shut();
    let engine = numbered(&gate).await;
    let agent = agent_on(&engine).await;
    let first = ask(&agent);
    engine
        .wait("a list is asked for", |state| state.waiting == 1)
        .await;
    let later: Vec<_> = (0..20).map(|_| ask(&agent)).collect();
    in_flight(&agent, 21).await;
    // They have not asked the engine: one call is under way.
    assert_eq!(engine.requests_to("GET", "/containers/json").len(), 1);
    gate.pass(1);
    assert_eq!(first.await.unwrap(), "[0]");
    engine
        .wait("the next one is asked for", |state| state.waiting == 1)
        .await;
    let last = ask(&agent);
    in_flight(&agent, 21).await;
    gate.pass(1);
    for later in later {
        assert_eq!(later.await.unwrap(), "[1]");
    }
    engine
        .wait("the last one is asked for", |state| state.waiting == 1)
        .await;
    gate.pass(1);
    assert_eq!(last.await.unwrap(), "[2]");
    assert_eq!(engine.requests_to("GET", "/containers/json").len(), 3);
    let shared = "docker_ps_agent_shared_answers_total 19\n";
    assert!(metrics(&agent).await.contains(shared));
}

#[tokio::test]
async fn who_leaves_disturbs_nobody_and_the_last_one_ends_the_call() {
    let gate = Gate::shut();
    let engine = numbered(&gate).await;
    let agent = agent_on(&engine).await;
    let first = ask(&agent);
    engine
        .wait("a list is asked for", |state| state.waiting == 1)
        .await;
    let (second, third) = (ask(&agent), ask(&agent));
    in_flight(&agent, 3).await;
    // All who asked for the first list.
    first.abort();
    engine
        .wait("the next call has begun", |state| {
            state.requests.len() >= 2 && state.waiting == 1
        })
        .await;
    second.abort();
    in_flight(&agent, 1).await;
    gate.pass(1);
    assert_eq!(third.await.unwrap(), "[1]");
    assert_eq!(engine.requests_to("GET", "/containers/json").len(), 2);
}

#[tokio::test]
async fn what_differs_is_not_shared() {
    let gate = Gate::shut();
    let engine = numbered(&gate).await;
    engine.route("GET", "/images/json", Answer::json(200, "[]").behind(&gate));
    let inspect = Answer::json(200, "{}").behind(&gate);
    engine.route("GET", "/containers/*/json", inspect);
    let agent = agent_on(&engine).await;
    let paths = [
        "/containers",
        "/containers?all=false",
        "/containers/a",
        "/containers/b",
        "/images",
    ];
    let asked = paths.map(|path| {
        let client = agent.client.clone();
        tokio::spawn(async move { client.get(path).await.status })
    });
    engine
        .wait("each asks for itself", |state| state.waiting == paths.len())
        .await;
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn actions_are_never_shared() {
    let gate = Gate::shut();
    let engine = ScriptedEngine::new()
        .route(
            "POST",
            "/containers/*/pause",
            Answer::empty(204).behind(&gate),
        )
        .route("GET", "/containers/*/json", Answer::json(200, "{}"))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let asked = [(); 3].map(|()| {
        let client = agent.client.clone();
        tokio::spawn(async move { client.get("/containers/a/pause").await.status })
    });
    engine.wait("each acts", |state| state.waiting == 3).await;
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn nothing_is_asked_behind_an_answer_that_is_not_read() {
    let engine = ScriptedEngine::new().start().await;
    let long = serde_json::json!([{ "Id": "a", "Text": "word ".repeat(1_400_000) }]);
    engine.route("GET", "/containers/json", Answer::json(200, long));
    engine.route("GET", "/images/json", Answer::json(200, "[]"));
    let agent = agent_on(&engine).await;
    let ask = |path: &str, more: &str| {
        let key = &agent.key;
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}x-auth-key: {key}\r\n\r\n")
    };
    // All of the answer is with hyper, which takes the end of the body behind it for its own.
    let mut stuck = agent.client.connect().await;
    let first = ask("/containers", "Content-Length: 4\r\n");
    stuck.write_all(first.as_bytes()).await.unwrap();
    let mut begun = [0; 12];
    stuck.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200");
    in_flight(&agent, 0).await;
    let second = format!("body{}", ask("/images", ""));
    stuck.write_all(second.as_bytes()).await.unwrap();

    let images = within("the images", SOON, agent.get("/images")).await;
    assert_eq!((images.status.as_u16(), images.text()), (200, "[]"));
    let mut rest = Vec::new();
    let end = within("its end", SOON, stuck.read_to_end(&mut rest));
    end.await.unwrap();
    assert!(!rest.ends_with(b"[]"), "the second was answered");
    assert_eq!(engine.requests_to("GET", "/images/json").len(), 1);
}
