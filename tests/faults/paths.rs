//! The engine is asked what the routes mean, without a version, and nothing else.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::fixture::{ID, agent_on, inspect};
use crate::support::scripted::{Answer, Recorded, RunningEngine, ScriptedEngine};

/// An engine of the future: it answers only who names no version, or a new one.
async fn engine() -> RunningEngine {
    let said = "client version 1.41 is too old. Minimum supported API version is 1.44";
    let engine = ScriptedEngine::new().route_fn("*", "/**", move |request| {
        if request.path.starts_with("/v") {
            return Answer::message(400, said);
        }
        let segments: Vec<&str> = request.path.split('/').skip(1).collect();
        match (request.method.as_str(), &segments[..]) {
            ("GET", ["_ping"]) => Answer::bytes(200, "OK").header("Api-Version", "1.52"),
            ("GET", [.., "logs"]) => Answer::bytes(200, ""),
            ("GET", ["containers", _, "json"]) => inspect(json!({ "Tty": false })),
            ("POST", _) | ("DELETE", ["containers", ..]) => Answer::empty(204),
            _ => Answer::json(200, "[]"),
        }
    });
    engine.start().await
}

/// A request as `METHOD /path?query`, its parameters in the order of their names.
fn shown(request: &Recorded) -> String {
    let parameters = form_urlencoded::parse(request.query.as_bytes());
    let sorted: BTreeMap<_, _> = parameters.collect();
    let pairs: Vec<String> = sorted.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let query = pairs.join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{} {}{mark}{query}", request.method, request.path)
}

/// What the engine is asked for one request of a client.
async fn asked(engine: &RunningEngine, agent: &Agent, path: &str) -> Vec<String> {
    let before = engine.requests().len();
    let reply = agent.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    engine.requests()[before..].iter().map(shown).collect()
}

#[tokio::test]
async fn are_asked_without_a_version_and_with_these_queries() {
    let engine = engine().await;
    let agent = agent_on(&engine).await;
    let facts = "GET /containers/web.1/json";
    let cases: [(&str, &[&str]); 12] = [
        ("/", &[]),
        ("/containers", &["GET /containers/json?all=true"]),
        ("/containers/web.1", &[facts]),
        (
            "/containers/web.1/start",
            &["POST /containers/web.1/start", facts],
        ),
        (
            "/containers/web.1/stop",
            &[facts, "POST /containers/web.1/stop", facts],
        ),
        (
            "/containers/web.1/restart",
            &[facts, "POST /containers/web.1/restart", facts],
        ),
        (
            "/containers/web.1/pause",
            &["POST /containers/web.1/pause", facts],
        ),
        (
            "/containers/web.1/unpause",
            &["POST /containers/web.1/unpause", facts],
        ),
        (
            "/containers/web.1/remove",
            &["DELETE /containers/web.1?force=true"],
        ),
        ("/images", &["GET /images/json?all=true"]),
        (
            "/images/localhost%3A5000%2Fa%2Fb%3Av1",
            &["GET /images/localhost:5000/a/b:v1/json"],
        ),
        (
            "/images/sha256:0abc/remove",
            &["DELETE /images/sha256:0abc?force=true"],
        ),
    ];
    for (path, wanted) in cases {
        let asked = asked(&engine, &agent, path).await;
        // What is the default with the engine may be said, too.
        let asked: Vec<String> = asked.iter().map(|asked| without_defaults(asked)).collect();
        assert_eq!(asked, wanted, "{path}");
    }
    for request in engine.requests() {
        assert!(request.body.is_empty(), "{request:?}");
        assert!(!request.headers.contains_key("x-auth-key"), "{request:?}");
    }
}

fn without_defaults(asked: &str) -> String {
    let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
    let defaults = ["v=false", "link=false", "noprune=false"];
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !defaults.contains(pair))
        .collect();
    let query = kept.join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}{mark}{query}")
}

#[tokio::test]
async fn of_a_log_have_the_query_that_the_client_means() {
    let engine = engine().await;
    let agent = agent_on(&engine).await;
    let always = "stderr=1&stdout=1";
    for (path, follow, rest, until) in [
        ("logs", 0, "tail=1000", ""),
        ("logs?tail=7", 0, "tail=7", ""),
        ("logs?tail=all&since=0", 0, "tail=all", ""),
        (
            "logs?follow=false&until=1700000001.5",
            0,
            "tail=1000",
            "until=1700000001.500000000",
        ),
        ("logs/download", 0, "tail=all", ""),
        ("logs/download?tail=3&utm=%26", 0, "tail=3", ""),
    ] {
        let asked = asked(&engine, &agent, &format!("/containers/web/{path}")).await;
        let mut wanted = format!("follow={follow}&{always}&{rest}&timestamps=1");
        if !until.is_empty() {
            wanted = format!("{wanted}&{until}");
        }
        assert_eq!(asked[0], "GET /containers/web/json", "{path}");
        // By the full id: the name may be another container's a moment later.
        assert_eq!(
            asked[1..],
            [format!("GET /containers/{ID}/logs?{wanted}")],
            "{path}"
        );
    }
    // What is followed is read once as it was, and by the reader that all followers share.
    for (path, tail) in [("logs?follow=true&tail=5", 5), ("logs/stream", 100)] {
        let asked = asked(&engine, &agent, &format!("/containers/web/{path}")).await;
        for (follow, tail) in [(0, tail), (1, 1000)] {
            let query = format!("follow={follow}&{always}&tail={tail}&timestamps=1");
            let wanted = format!("GET /containers/{ID}/logs?{query}");
            assert!(asked.contains(&wanted), "{path}: {asked:?}");
        }
    }
    let asked = asked(&engine, &agent, "/containers/web/logs?since=1700000000").await;
    assert!(
        asked[1].contains("&since=1700000000.000000000&"),
        "{asked:?}"
    );
}
