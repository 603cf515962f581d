//! Reads in a smaller form, made once for all who share a call.

use std::io::Read;

use flate2::read::GzDecoder;

use docker_ps_agent::telemetry::name::IN_FLIGHT;

use crate::metrics::samples::becomes;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, Gate, ScriptedEngine};

#[tokio::test]
async fn packs_reads_as_the_client_accepts_them() {
    let engine = ScriptedEngine::new().start().await;
    let text = serde_json::json!([{ "Id": "a", "Text": "word ".repeat(2000) }]).to_string();
    engine.route("GET", "/**", Answer::json(200, &text));
    let ping = Answer::bytes(200, "OK").header("Api-Version", "1.41");
    engine.route("GET", "/_ping", ping);
    let agent = agent_on(&engine).await;
    for path in ["/containers", "/containers/a", "/images", "/images/a"] {
        for (accepted, coding) in [
            ("gzip", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("zstd;q=0.5, gzip", Some("gzip")),
            ("br", None),
            ("*;q=0", None),
        ] {
            let headers = [("accept-encoding", accepted)];
            let reply = agent.client.request("GET", path, &headers, "").await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("content-encoding")),
                (200, coding)
            );
            assert_eq!(reply.header("vary"), Some("accept-encoding"));
            assert_eq!(reply.header("content-type"), Some("application/json"));
            let mut plain = Vec::new();
            match coding {
                Some("gzip") => {
                    GzDecoder::new(&reply.body[..])
                        .read_to_end(&mut plain)
                        .unwrap();
                }
                Some(_) => plain = zstd::decode_all(&reply.body[..]).unwrap(),
                None => plain = reply.body.to_vec(),
            }
            assert_eq!(plain, text.as_bytes(), "{path}, {accepted}");
            assert!(coding.is_none() || reply.body.len() < text.len() / 4);
            // All of it is there before the head is sent.
            let length = reply.body.len().to_string();
            assert_eq!(reply.header("content-length"), Some(&*length));
        }
    }
}

#[tokio::test]
async fn leaves_what_is_short_as_it_is() {
    let engine = ScriptedEngine::new().start().await;
    engine.route("GET", "/containers/json", Answer::json(200, "[]"));
    let agent = agent_on(&engine).await;
    let headers = [("accept-encoding", "gzip")];
    let reply = agent
        .client
        .request("GET", "/containers", &headers, "")
        .await;
    assert_eq!(
        (reply.header("content-encoding"), reply.text()),
        (None, "[]")
    );
}

#[tokio::test]
async fn asks_the_engine_once_a_form() {
    let gate = Gate::shut();
    let engine = ScriptedEngine::new().start().await;
    let list = Answer::json(200, "[]").behind(&gate);
    engine.route("GET", "/containers/json", list);
    let agent = agent_on(&engine).await;
    // Said differently, the same in the end.
    let accepted = ["gzip", "gzip, deflate", "gzip;q=0.5", "br, gzip"];
    let asked = accepted.map(|accepted| {
        let client = agent.client.clone();
        let headers = [("accept-encoding", accepted)];
        tokio::spawn(async move {
            client
                .request("GET", "/containers", &headers, "")
                .await
                .status
        })
    });
    becomes(&agent, IN_FLIGHT, &[], 4.0).await;
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 200);
    }
    // One call, or two where some came during the first.
    assert!(engine.requests_to("GET", "/containers/json").len() <= 2);
}
