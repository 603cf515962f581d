//! Cheaper lists: the engine's own filters, and members picked out.

use crate::contract::host::Host;
use crate::support::dockerd::IMAGE;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, ScriptedEngine};

#[tokio::test]
async fn hands_the_filters_to_the_engine() {
    let host = Host::start().await;
    let label = "--label=sharing=lists";
    let one = host
        .engine
        .run("lists-one", &[label, "--label=n=1"], "sleep 600")
        .await;
    let create = ["create", "--name", "lists-two", label, "--label=n=2", IMAGE];
    let two = host.engine.docker(&create).await;
    let ids = async |query: &str| {
        let reply = host
            .agent
            .get(&format!("/containers?label=sharing&{query}"))
            .await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        let list = reply.json();
        let ids = list.as_array().unwrap().iter();
        ids.map(|one| one["Id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [&*two, &one]);
    assert_eq!(ids("all=false").await, [&*one]);
    assert_eq!(ids("limit=1").await, [&*two]);
    assert_eq!(ids("status=running").await, [&*one]);
    assert_eq!(ids("status=running&status=created").await.len(), 2);
    assert_eq!(ids("label=n%3D2").await, [&*two]);
    assert_eq!(ids("name=lists-two").await, [&*two]);
    assert_eq!(ids(&format!("ancestor={IMAGE}")).await.len(), 2);
    assert_eq!(ids("network=none&network=host").await, [&*one]);
    assert_eq!(ids("network=host").await, Vec::<String>::new());
    assert_eq!(ids("volume=%2Fnowhere").await, Vec::<String>::new());
    assert_eq!(ids("health=none").await.len(), 2);
    let sized = host.agent.get("/containers?size=true&name=lists-one").await;
    assert!(sized.json()[0]["SizeRootFs"].is_number());
    // What the engine does not like it says itself.
    let path = "/containers?status=odd";
    let engine = "/containers/json?all=true&filters=%7B%22status%22%3A%5B%22odd%22%5D%7D";
    host.assert_refused_alike(path, "GET", engine).await;
    for name in ["lists-one", "lists-two"] {
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn picks_members_and_refuses_what_it_does_not_know() {
    let list =
        r#"[{"Id":"b","Names":["/x<"],"State":"running","N":1.0},{"Id":"a","State":"dead"}]"#;
    let engine = ScriptedEngine::new().start().await;
    engine.route("GET", "/containers/json", Answer::json(200, list));
    let agent = agent_on(&engine).await;
    let reply = agent.get("/containers?fields=State,Id,N").await;
    assert_eq!(
        reply.text().trim_end(),
        r#"[{"Id":"b","State":"running","N":1.0},{"Id":"a","State":"dead"}]"#
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let asked = engine.requests_to("GET", "/containers/json").len();
    for query in ["x=1", "fields=", "limit=0", "all=maybe", "label="] {
        let reply = agent.get(&format!("/containers?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.json()["message"].is_string());
    }
    assert_eq!(engine.requests_to("GET", "/containers/json").len(), asked);
    engine.route("GET", "/containers/json", Answer::json(200, "{"));
    assert_eq!(agent.get("/containers?fields=Id").await.status, 502);
    assert_eq!(agent.get("/containers").await.text(), "{");
}
