//! Who has the answer already is told so.

use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, ScriptedEngine};

#[tokio::test]
async fn answers_304_until_something_is_different() {
    let engine = ScriptedEngine::new().start().await;
    let long = |n| {
        Answer::json(
            200,
            serde_json::json!([{ "Id": n, "Text": "x".repeat(3000) }]),
        )
    };
    engine.route("GET", "/containers/json", long(1));
    let agent = agent_on(&engine).await;
    let ask = async |method: &str, headers: &[(&str, &str)]| {
        agent
            .client
            .request(method, "/containers", headers, "")
            .await
    };
    let plain = ask("GET", &[]).await;
    let tag = plain.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "{tag} is strong");
    let packed = ask("GET", &[("accept-encoding", "gzip")]).await;
    let packed_tag = packed.header("etag").unwrap().to_owned();
    assert_ne!(tag, packed_tag, "different bytes");

    let weak = format!("\"other\", W/{tag}");
    for (method, headers) in [
        ("GET", &[("if-none-match", &*tag)][..]),
        ("HEAD", &[("if-none-match", &*tag)]),
        ("GET", &[("if-none-match", "*")]),
        ("GET", &[("if-none-match", &weak)]),
        (
            "GET",
            &[("if-none-match", "\"other\""), ("if-none-match", &tag)],
        ),
        (
            "GET",
            &[("if-none-match", &packed_tag), ("accept-encoding", "gzip")],
        ),
    ] {
        let reply = ask(method, headers).await;
        assert_eq!(
            (reply.status.as_u16(), reply.body.len()),
            (304, 0),
            "{headers:?}"
        );
        assert!([&*tag, &packed_tag].contains(&reply.header("etag").unwrap()));
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        for name in ["content-type", "content-length", "content-encoding"] {
            assert_eq!(reply.header(name), None, "{headers:?}");
        }
    }
    for headers in [
        &[("if-none-match", "\"other\"")][..],
        &[("if-none-match", &tag), ("accept-encoding", "gzip")],
        &[("if-none-match", "rubbish")],
    ] {
        assert_eq!(ask("GET", headers).await.status, 200, "{headers:?}");
    }
    engine.route("GET", "/containers/json", long(2));
    let changed = ask("GET", &[("if-none-match", &tag)]).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(&*tag));
}

#[tokio::test]
async fn only_shared_answers_have_a_tag() {
    let engine = ScriptedEngine::new()
        .route("GET", "/containers/*/json", Answer::json(200, "{}"))
        .route("POST", "/containers/*/pause", Answer::empty(204))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    assert!(agent.get("/containers/a").await.header("etag").is_some());
    let any = [("if-none-match", "*")];
    for path in ["/", "/containers/a/pause"] {
        let reply = agent.client.request("GET", path, &any, "").await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("etag")),
            (200, None),
            "{path}"
        );
    }
}
