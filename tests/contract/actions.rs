//! An action acts, and answers what the container is then.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use serde_json::{Value, json};

use super::host::Host;
use crate::support::dockerd::IMAGE;
use crate::support::fixture::{agent_on, inspect};
use crate::support::scripted::{Answer, ScriptedEngine};

impl Host {
    /// Asks for an action; the answer is checked to be the inspect of now, byte for byte.
    async fn act(&self, given: &str, action: &str) -> Value {
        let reply = self
            .agent
            .get(&format!("/containers/{given}/{action}"))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{action}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let path = format!("/containers/{given}/json");
        let (.., now) = self.engine.raw("GET", &path).await;
        assert_eq!(reply.body, now, "{action} answers the inspect of now");
        reply.json()
    }
}

fn state(inspect: &Value) -> &str {
    inspect["State"]["Status"].as_str().unwrap()
}

#[tokio::test]
async fn acts_and_answers_the_fresh_inspect() {
    let host = Host::start().await;
    let name = "actions-one";
    let create = [
        "create",
        "--name",
        name,
        "--network=none",
        "--stop-signal=SIGKILL",
    ];
    let create = [&create[..], &[IMAGE, "sleep", "600"]].concat();
    let id = host.engine.docker(&create).await;

    let started = host.act(name, "start").await;
    assert_eq!(
        (state(&started), &started["Id"]),
        ("running", &id.as_str().into())
    );
    assert_eq!(state(&host.act(&id, "pause").await), "paused");
    assert_eq!(state(&host.act(&id[..12], "unpause").await), "running");
    let again = host.act(name, "restart").await;
    assert_eq!(state(&again), "running");
    assert_ne!(again["State"]["StartedAt"], started["State"]["StartedAt"]);
    assert_eq!(state(&host.act(&id[..12], "stop").await), "exited");
    assert_eq!(state(&host.act(&id, "restart").await), "running");
    host.engine.remove(name).await;
}

#[tokio::test]
async fn what_is_done_already_is_done() {
    let host = Host::start().await;
    let name = "actions-done";
    host.engine.run(name, &[], "sleep 600").await;
    let before = host.act(name, "start").await;
    assert_eq!(state(&before), "running");
    let stopped = host.act(name, "stop").await;
    assert_eq!(state(&stopped), "exited");
    let still = host.act(name, "stop").await;
    assert_eq!(still["State"], stopped["State"]);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn hands_on_what_the_engine_refuses() {
    let host = Host::start().await;
    let name = "actions-refused";
    host.engine.run(name, &[], "sleep 600").await;
    let alike = async |action: &str, status: u16| {
        let path = format!("/containers/{name}/{action}");
        host.assert_refused_alike(&path, "POST", &path).await;
        let reply = host.agent.get(&path).await;
        assert_eq!(reply.status, status, "{reply:?}");
    };
    alike("unpause", 500).await;
    host.act(name, "pause").await;
    alike("pause", 409).await;
    host.engine.remove(name).await;

    for action in ["start", "stop", "restart", "pause", "unpause"] {
        alike(action, 404).await;
    }
    let create = [
        "create",
        "--name",
        "actions-broken",
        IMAGE,
        "/no/such/program",
    ];
    host.engine.docker(&create).await;
    let path = "/containers/actions-broken/start";
    host.assert_refused_alike(path, "POST", path).await;
    host.engine.remove("actions-broken").await;
}

/// As of `docker run --rm`: when it is asked for what it is now, it has gone; one that was started may have ended at once.
#[tokio::test]
async fn a_container_that_is_removed_when_it_stops_has_been_acted_on() {
    for (action, looks) in [("start", 0), ("stop", 1), ("restart", 1)] {
        let left = AtomicUsize::new(looks);
        let path = format!("/containers/*/{action}");
        let engine = ScriptedEngine::new()
            .route("POST", &path, Answer::empty(204))
            .route_fn("GET", "/containers/*/json", move |_| {
                match left.fetch_sub(1, Ordering::Relaxed) {
                    1 => inspect(json!({})),
                    _ => Answer::message(404, "No such container: passing"),
                }
            });
        let engine = engine.start().await;
        let agent = agent_on(&engine).await;
        let reply = agent.get(&format!("/containers/passing/{action}")).await;
        assert_eq!(reply.status, 200, "{action}");
        let message = "Container passing has been removed.";
        assert_eq!(reply.json(), json!({ "message": message }));
    }
}
