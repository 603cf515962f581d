//! Nothing that a client makes up becomes a label: else a client could fill the memory with series.

use std::collections::BTreeSet;

use super::samples::{Sample, Samples};
use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::Answer;

/// Every series there is, without values.
async fn series(agent: &Agent) -> BTreeSet<String> {
    let show = |sample: Sample| format!("{}{:?}", sample.name, sample.labels);
    Samples::of(agent).await.0.into_iter().map(show).collect()
}

async fn ask_with(agent: &Agent, word: &str) {
    for (method, path) in [
        ("GET", format!("/containers/{word}")),
        ("GET", format!("/containers/{word}/start")),
        ("GET", format!("/containers/{word}/logs")),
        ("GET", format!("/containers/{word}/logs/stream?x={word}")),
        ("GET", format!("/containers/{word}/logs/download")),
        ("GET", format!("/images/{word}")),
        ("GET", format!("/images/{word}/remove")),
        ("GET", format!("/{word}")),
        ("GET", format!("/containers/{word}/{word}")),
        (word, "/containers".to_owned()),
        (word, format!("/{word}")),
        ("PROPFIND", "/".to_owned()),
    ] {
        let headers = [("x-request-id", word), ("host", word), ("user-agent", word)];
        agent.request(method, &path, &headers, "").await;
        agent
            .client
            .without_key()
            .request(method, &path, &headers, "")
            .await;
        agent
            .client
            .with_key(word)
            .request(method, &path, &headers, "")
            .await;
    }
    agent
        .metrics
        .as_ref()
        .unwrap()
        .get(&format!("/{word}"))
        .await;
}

#[tokio::test]
async fn are_never_made_of_what_a_client_says() {
    let engine = engine_with_log(Answer::bytes(200, ""))
        .route("POST", "/containers/**", Answer::empty(204))
        .route("GET", "/images/**", Answer::json(200, "{}"))
        .route("DELETE", "/**", Answer::json(200, "[]"))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    ask_with(&agent, "word0").await;
    let before = series(&agent).await;
    for number in 1..10 {
        ask_with(&agent, &format!("word{number}")).await;
    }
    let after = series(&agent).await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    for series in &after {
        assert!(!series.contains("word"), "{series}");
    }
    // They are counted all the same.
    let samples = Samples::of(&agent).await;
    let unknown = [("route", "unknown"), ("method", "other")];
    let name = docker_ps_agent::telemetry::name::REQUESTS;
    assert_eq!(samples.sum(name, &unknown), 30.0);
}
