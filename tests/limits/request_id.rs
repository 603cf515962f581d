//! Every answer has the id of its request.

use std::collections::HashSet;

use crate::support::fixture::agent_on;
use crate::support::scripted::ScriptedEngine;

const HEADER: &str = "x-request-id";

#[tokio::test]
async fn is_made_for_every_request_whatever_becomes_of_it() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let mut seen = HashSet::new();
    for (method, path, key, status) in [
        ("GET", "/", agent.key.as_str(), 200),
        ("GET", "/", "wrong", 401),
        ("GET", "/nothing", &agent.key, 404),
        ("POST", "/containers", &agent.key, 405),
        ("GET", "/containers/c%20", &agent.key, 400),
        ("GET", "/containers", &agent.key, 404),
    ] {
        let headers = [("x-auth-key", key)];
        let reply = agent.request(method, path, &headers, "").await;
        assert_eq!(reply.status, status, "{method} {path}");
        let id = reply.header(HEADER).expect("an id").to_owned();
        assert!(!id.is_empty() && id.len() <= 64, "{id}");
        assert!(seen.insert(id), "an id came twice");
    }
}

#[tokio::test]
async fn of_a_client_is_kept_told_back_and_logged() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let longest = "a".repeat(64);
    for id in ["7f3a-B.0_1", "x", &longest] {
        let reply = agent.request("GET", "/nothing", &[(HEADER, id)], "").await;
        assert_eq!(reply.header(HEADER), Some(id));
        agent.wait_for_output(&format!("\"id\":\"{id}\"")).await;
    }
}

#[tokio::test]
async fn of_a_client_is_replaced_where_it_is_unfit() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let too_long = "a".repeat(65);
    for id in ["", "a b", "a\"b", "a;b", "{}", "a/../b", &too_long] {
        let reply = agent.request("GET", "/nothing", &[(HEADER, id)], "").await;
        let made = reply.header(HEADER).expect("an id");
        assert!(made != id && !made.is_empty(), "{made}");
    }
    let twice = [(HEADER, "one"), (HEADER, "two")];
    let reply = agent.request("GET", "/nothing", &twice, "").await;
    let made = reply.header(HEADER).expect("one id");
    assert!(made != "one" && made != "two", "{made}");
}
