//! What many tests begin with: an engine with one container, and an agent on it.

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::scripted::{Answer, RunningEngine, ScriptedEngine};

/// The container's full id. Every id and name finds it.
pub const ID: &str = "4fa6e0f0c6786287e131c3852c58a2e01cc697a68231826813597e4994f1d6e2";

/// An engine's inspect of a container that has run, as much of it as the agent reads.
pub fn inspect(config: serde_json::Value) -> Answer {
    let state = json!({ "Running": false, "StartedAt": "2024-01-01T00:00:00Z" });
    Answer::json(200, json!({ "Id": ID, "Config": config, "State": state }))
}

/// An engine's inspect of the container `id`, which runs.
pub fn running(id: &str) -> Answer {
    let state = json!({ "Running": true, "StartedAt": "2024-01-01T00:00:00Z" });
    Answer::json(
        200,
        json!({ "Id": id, "Name": format!("/{id}"), "Config": {}, "State": state }),
    )
}

/// An engine's list of the containers with these ids.
pub fn listed(ids: &[String]) -> Answer {
    let list: Vec<_> = ids.iter().map(|id| json!({ "Id": id })).collect();
    Answer::json(200, json!(list))
}

/// An engine with a container without a terminal, whose log is `log`.
pub fn engine_with_log(log: Answer) -> ScriptedEngine {
    ScriptedEngine::new()
        .route(
            "GET",
            "/containers/*/json",
            inspect(json!({ "Tty": false })),
        )
        .route("GET", "/containers/*/logs", log)
}

/// The same with a log that is empty until it is followed; who does gets `log`.
pub fn engine_with_live_log(log: Answer) -> ScriptedEngine {
    engine_with_log(log.clone()).route_fn("GET", "/containers/*/logs", move |request| match request
        .query
        .contains("follow=1")
    {
        true => log.clone(),
        false => Answer::bytes(200, ""),
    })
}

/// An agent on this engine.
pub async fn agent_on(engine: &RunningEngine) -> Agent {
    let builder = Agent::builder().docker_host(engine.docker_host());
    builder.start().await
}
