//! Calls to the engine, by operation and outcome, and whether it can be reached.

use docker_ps_agent::telemetry::name::{ENGINE_CALLS, ENGINE_REACHABLE, ENGINE_SECONDS};

use super::samples::{Samples, becomes};
use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, ScriptedEngine};
use crate::support::wait::{self, SOON};

/// The calls of an operation that came out so.
fn calls(samples: &Samples, operation: &str, outcome: &str) -> f64 {
    let labels = [("operation", operation), ("outcome", outcome)];
    samples.sum(ENGINE_CALLS, &labels)
}

#[tokio::test]
async fn counts_each_operation() {
    let engine = engine_with_log(Answer::bytes(200, ""))
        .route("GET", "/containers/json", Answer::json(200, "[]"))
        .route("GET", "/images/**", Answer::json(200, "[]"))
        .route("POST", "/containers/**", Answer::empty(204))
        .route("DELETE", "/**", Answer::json(200, "[]"))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    for path in [
        "/containers",
        "/containers/c/start",
        "/containers/c/stop",
        "/containers/c/restart",
        "/containers/c/pause",
        "/containers/c/unpause",
        "/containers/c/remove",
        "/containers/c/logs",
        "/images",
        "/images/i",
        "/images/i/remove",
    ] {
        assert_eq!(agent.get(path).await.status, 200, "{path}");
    }
    let samples = Samples::of(&agent).await;
    for operation in [
        "container_list",
        "container_start",
        "container_stop",
        "container_restart",
        "container_pause",
        "container_unpause",
        "container_remove",
        "container_logs",
        "image_list",
        "image_inspect",
        "image_remove",
    ] {
        assert_eq!(calls(&samples, operation, "ok"), 1.0, "{operation}");
        let count = format!("{ENGINE_SECONDS}_count");
        assert_eq!(samples.sum(&count, &[("operation", operation)]), 1.0);
    }
    // One after each action, one before a stop, a restart and a log.
    assert_eq!(calls(&samples, "container_inspect", "ok"), 8.0);
}

#[tokio::test]
async fn tells_outcomes_apart() {
    let engine = ScriptedEngine::new()
        .route("GET", "/containers/no/json", Answer::message(404, "no"))
        .route("GET", "/containers/ill/json", Answer::message(500, "ill"))
        .route("GET", "/containers/mad/json", Answer::garbage("mad"))
        .route("GET", "/containers/slow/json", Answer::hang_head())
        .start()
        .await;
    let agent = agent_on(&engine).await;
    for name in ["no", "ill", "mad"] {
        agent.get(&format!("/containers/{name}")).await;
    }
    let client = agent.client.clone();
    let left = tokio::spawn(async move { client.get("/containers/slow").await });
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;
    left.abort();
    let of = |outcome| [("operation", "container_inspect"), ("outcome", outcome)];
    becomes(&agent, ENGINE_CALLS, &of("abandoned"), 1.0).await;
    engine.stop().await;
    agent.get("/containers/away").await;
    for outcome in ["refused", "failed", "broken", "unreachable"] {
        becomes(&agent, ENGINE_CALLS, &of(outcome), 1.0).await;
    }
    becomes(&agent, ENGINE_CALLS, &of("ok"), 0.0).await;
}

async fn reachable(agent: &Agent, wanted: f64) {
    // A scrape asks the engine, but not each.
    let what = format!("the engine's reachability is {wanted}");
    wait::until(&what, SOON, async || {
        let samples = Samples::of(agent).await;
        assert!(samples.has(ENGINE_REACHABLE));
        samples.sum(ENGINE_REACHABLE, &[]) == wanted
    })
    .await;
}

#[tokio::test]
async fn knows_whether_the_engine_is_there_though_nobody_asks_it() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    reachable(&agent, 1.0).await;
    engine.stop().await;
    reachable(&agent, 0.0).await;
    engine.start_again().await;
    reachable(&agent, 1.0).await;
    engine.crash().await;
    reachable(&agent, 0.0).await;
    engine.start_again().await;
    reachable(&agent, 1.0).await;
}

#[tokio::test]
async fn is_scraped_soon_though_the_engine_hangs() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    engine.route("GET", "/_ping", Answer::hang_head());
    let scrape = Samples::of(&agent);
    let samples = wait::within("a scrape", SOON, scrape).await;
    assert_eq!(samples.sum(ENGINE_REACHABLE, &[]), 0.0);
}
