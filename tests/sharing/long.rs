//! Answers that are too long to be held come whole all the same.

use bytes::Bytes;

use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, Gate, ScriptedEngine};

/// More than is held of one answer.
const LEN: usize = 20 << 20;

#[tokio::test]
async fn all_who_ask_get_every_byte_in_little_memory() {
    let gate = Gate::shut();
    let engine = ScriptedEngine::new().start().await;
    let part = Bytes::from((0..=255).cycle().take(1 << 16).collect::<Vec<u8>>());
    let list = {
        let part = part.clone();
        Answer::generated(move || std::iter::repeat_n(part.clone(), LEN >> 16))
    };
    engine.route("GET", "/containers/json", list.behind(&gate));
    let agent = agent_on(&engine).await;
    let before = agent.rss_bytes();
    let asked = [(); 4].map(|()| {
        let (client, part) = (agent.client.clone(), part.clone());
        tokio::spawn(async move {
            let body = client.get("/containers").await.body;
            assert_eq!(body.len(), LEN);
            assert!(body.chunks(1 << 16).all(|chunk| chunk == part));
        })
    });
    engine
        .wait("the engine is asked", |state| state.waiting > 0)
        .await;
    gate.open();
    for asked in asked {
        asked.await.unwrap();
    }
    let grown = agent.peak_rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "grown by {} KiB", grown >> 10);
}
