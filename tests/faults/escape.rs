//! Whatever a client writes in the place of a name, the engine is asked on no other path than the name's own.

use crate::support::agent::Agent;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, RunningEngine, ScriptedEngine};

async fn engine_and_agent() -> (RunningEngine, Agent) {
    let ping = Answer::bytes(200, "OK").header("Api-Version", "1.41");
    let engine = ScriptedEngine::new()
        .route("*", "/**", Answer::json(200, "{}"))
        .route("GET", "/_ping", ping)
        .start()
        .await;
    let agent = agent_on(&engine).await;
    (engine, agent)
}

/// The status and the body of an answer to a request as it is written here.
async fn raw(agent: &Agent, request: &[u8]) -> (u16, String) {
    let key = format!(
        "\r\nhost: h\r\nconnection: close\r\nx-auth-key: {}\r\n\r\n",
        agent.key
    );
    let answer = agent.raw([request, key.as_bytes()].concat()).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), body.to_owned())
}

/// Every way of naming something in a path.
const TEMPLATES: [&str; 14] = [
    "/containers/{id}",
    "/containers/{id}/start",
    "/containers/{id}/stop",
    "/containers/{id}/restart",
    "/containers/{id}/pause",
    "/containers/{id}/unpause",
    "/containers/{id}/remove",
    "/containers/{id}/logs",
    "/containers/{id}/logs?follow=true",
    "/containers/{id}/logs/stream",
    "/containers/{id}/logs/download",
    "/images/{id}",
    "/images/{id}?x=y",
    "/images/{id}/remove",
];

#[tokio::test]
async fn is_not_possible_by_a_name() {
    let (engine, agent) = engine_and_agent().await;
    for id in [
        "..",
        "...",
        ".",
        "-",
        "*",
        "~",
        "..%2F",
        "%2e%2e",
        "%2E%2E%2Fimages",
        "a%2F..%2Fb",
        "..%2f..%2fimages%2fjson%23",
        "a%2F..",
        "a%3Fb",
        "a%3fall=1",
        "a%23b",
        "a%26b=c",
        "a%20b",
        "%00",
        "a%00",
        "a%0d%0ab",
        "a%0d%0aX-Evil:%201%0d%0a",
        "a%0Ab",
        "%ff",
        "%C0%AE%C0%AE",
        "%",
        "a%",
        "a%2",
        "a%zz",
        "%252e%252e",
        "a%252Fb",
        "a;b",
        "a,b",
        "a=b",
        "a$b",
        "a!",
        "(a)",
        "'a'",
        "a%5Cb",
        "..%5C",
        "a%22b",
        "%F0%9F%90%B3",
        "a%2F%2Fb",
        "%2Fa",
        "a%2F",
        "[::1]",
        "[::1]%2F..",
        "a%2F.hidden",
        "json%3Fall=1%23",
    ] {
        for template in TEMPLATES {
            let request = format!("GET {} HTTP/1.1", template.replace("{id}", id));
            let (status, body) = raw(&agent, request.as_bytes()).await;
            assert!(matches!(status, 400 | 404), "{request}: {status} {body}");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(body["message"].is_string(), "{request}: {body}");
        }
    }
    only_pinged(&engine);
}

fn only_pinged(engine: &RunningEngine) {
    let asked = engine.requests();
    assert_eq!(asked.len(), 1, "the engine was asked: {asked:#?}");
    assert_eq!(asked[0].path, "/_ping");
}

#[tokio::test]
async fn is_not_possible_by_what_is_no_http() {
    let (engine, agent) = engine_and_agent().await;
    for target in [
        &b"/containers/a\0b"[..],
        b"/containers/a b",
        b"/containers/a\rb",
        b"/containers/\x7f",
        b"/containers/a\nX: y",
        b"containers",
        b"",
    ] {
        let request = [b"GET ", target, b" HTTP/1.1"].concat();
        let (status, body) = raw(&agent, &request).await;
        assert!(
            matches!(status, 400 | 404),
            "{}: {body}",
            target.escape_ascii()
        );
    }
    only_pinged(&engine);
}

#[tokio::test]
async fn is_not_possible_by_dots_in_the_path_itself() {
    let (engine, agent) = engine_and_agent().await;
    for path in [
        "/../containers",
        "/./containers",
        "//containers",
        "/containers/..",
        "/containers/../images",
        "/containers/a/..",
        "/containers/a/../../images",
        "/containers//start",
        "/containers/",
        "/images/a/b/c/json",
        "/_ping",
        "/version",
        "/v1.41/containers/json",
        "/containers/json?all=1#x",
        "/containers/a/exec",
        "/containers/a%2Fjson/start",
    ] {
        let (status, body) = raw(&agent, format!("GET {path} HTTP/1.1").as_bytes()).await;
        // A container may have the name `json`.
        if path.starts_with("/containers/json") {
            assert!(matches!(status, 200 | 400), "{path}: {status} {body}");
            continue;
        }
        assert!(matches!(status, 400 | 404), "{path}: {status} {body}");
    }
    for request in &engine.requests()[1..] {
        assert_eq!(request.path, "/containers/json/json", "{request:?}");
    }
}

#[tokio::test]
async fn is_not_possible_by_other_forms_of_request() {
    let (engine, agent) = engine_and_agent().await;
    for (request, wanted) in [
        ("OPTIONS * HTTP/1.1", &[404, 405][..]),
        ("CONNECT docker:2375 HTTP/1.1", &[400, 404, 405]),
        ("CONNECT / HTTP/1.1", &[400, 404, 405]),
        ("GET http://evil/_ping HTTP/1.1", &[404]),
        ("GET http://evil/containers/../images HTTP/1.1", &[404]),
        ("GET http://evil/containers/a%2Fb HTTP/1.1", &[400]),
        ("GET unix:///var/run/docker.sock HTTP/1.1", &[400, 404]),
        ("POST /containers/a/start HTTP/1.1", &[405]),
        ("DELETE /containers/a HTTP/1.1", &[405]),
        ("HEAD /containers/a/start HTTP/1.1", &[405]),
        ("TRACE /containers HTTP/1.1", &[405]),
        ("MADE-UP /containers HTTP/1.1", &[405]),
    ] {
        let (status, body) = raw(&agent, request.as_bytes()).await;
        assert!(wanted.contains(&status), "{request}: {status} {body}");
    }
    only_pinged(&engine);

    // What names a host is asked of this host, whatever it names.
    let (status, _) = raw(&agent, b"GET http://evil:1/containers HTTP/1.1").await;
    assert_eq!(status, 200);
    assert_eq!(engine.requests()[1].path, "/containers/json");
    assert_eq!(engine.requests()[1].headers["host"], "docker");
}

#[tokio::test]
async fn is_not_possible_by_length() {
    let (engine, agent) = engine_and_agent().await;
    let long = "a".repeat(60_000);
    let (status, _) = raw(
        &agent,
        format!("GET /containers/{long} HTTP/1.1").as_bytes(),
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        engine.requests()[1].path,
        format!("/containers/{long}/json")
    );
    let longer = long.repeat(2);
    let (status, _) = raw(
        &agent,
        format!("GET /containers/{longer} HTTP/1.1").as_bytes(),
    )
    .await;
    assert!(matches!(status, 414 | 431), "{status}");
    assert_eq!(engine.requests().len(), 2);
}
