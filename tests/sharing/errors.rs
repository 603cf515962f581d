//! What goes wrong reaches all who share the call, and nobody later.

use super::freshness::in_flight;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, Gate, ScriptedEngine};

#[tokio::test]
async fn a_refusal_reaches_all_and_nobody_later() {
    let gate = Gate::shut();
    let engine = ScriptedEngine::new().start().await;
    let refused = Answer::message(409, "not now").behind(&gate);
    engine.route("GET", "/containers/*/json", refused);
    let agent = agent_on(&engine).await;
    let ask = || {
        let client = agent.client.clone();
        tokio::spawn(async move { client.get("/containers/a").await })
    };
    let asked: Vec<_> = (0..5).map(|_| ask()).collect();
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;
    in_flight(&agent, 5).await;
    gate.open();
    for asked in asked {
        let reply = asked.await.unwrap();
        assert_eq!(
            (reply.status.as_u16(), &reply.json()["message"]),
            (409, &"not now".into())
        );
        assert_eq!(reply.header("etag"), None);
    }
    // Of the one that asked first, and of all others.
    let calls = engine.requests_to("GET", "/containers/*/json").len();
    assert_eq!(calls, 2);
    engine.route("GET", "/containers/*/json", Answer::json(200, "{}"));
    assert_eq!(ask().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_engine_that_is_gone_is_so_for_all() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    engine.crash().await;
    let asked = [(); 4].map(|()| {
        let client = agent.client.clone();
        tokio::spawn(async move { client.get("/images").await.status.as_u16() })
    });
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 502);
    }
    engine.start_again().await;
    engine.route("GET", "/images/json", Answer::json(200, "[]"));
    assert_eq!(agent.get("/images").await.status, 200);
}
