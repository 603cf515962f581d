//! The scripted engine answers, records, counts and breaks as told.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::support::client::Client;
use crate::support::scripted::{
    Answer, Gate, RunningEngine, STDERR, ScriptedEngine, frame, line, timestamp,
};
use crate::support::wait;

fn client(engine: &RunningEngine) -> Client {
    let host = engine.docker_host();
    Client::new(host.strip_prefix("tcp://").unwrap().parse().unwrap())
}

#[tokio::test]
async fn answers_a_ping_by_itself_and_nothing_else() {
    let engine = ScriptedEngine::new().tcp().start().await;
    let ping = client(&engine).get("/_ping").await;
    assert_eq!((ping.status, ping.text()), (StatusCode::OK, "OK"));
    assert_eq!(ping.header("api-version"), Some("1.41"));
    let other = client(&engine).get("/nothing").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
    assert_eq!(other.json()["message"], "page not found");
}

#[tokio::test]
async fn matches_the_latest_route_and_records_in_order() {
    let engine = ScriptedEngine::new()
        .tcp()
        .route("GET", "/containers/json", Answer::json(200, "[]"))
        .route(
            "GET",
            "/containers/*/json",
            Answer::json(200, r#"{"b": 1}"#),
        )
        .route_fn("GET", "/images/**", |request| {
            Answer::json(200, serde_json::json!({ "asked": request.path }))
        })
        .start()
        .await;
    let client = client(&engine);
    assert_eq!(
        client.get("/containers/json?all=1&a=%20b").await.text(),
        "[]"
    );
    assert_eq!(
        client.get("/v1.41/containers/x/json").await.text(),
        r#"{"b": 1}"#
    );
    assert_eq!(
        client.get("/images/a/b:c/json").await.json()["asked"],
        "/images/a/b:c/json"
    );
    engine.route("GET", "/containers/json", Answer::message(500, "no"));
    let reply = client
        .request("GET", "/containers/json", &[("x-a", "1")], "body")
        .await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);

    let requests = engine.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0].query, "all=1&a=%20b");
    assert_eq!(requests[0].query_value("a").as_deref(), Some(" b"));
    assert_eq!(requests[1].path, "/v1.41/containers/x/json");
    assert_eq!(
        (&requests[3].headers["x-a"], &*requests[3].body),
        (&"1".parse().unwrap(), &b"body"[..])
    );
    assert_eq!(engine.requests_to("GET", "/containers/json").len(), 2);
}

#[tokio::test]
async fn counts_what_is_open_until_its_reader_leaves() {
    let (answer, handles) = Answer::handed();
    let engine = ScriptedEngine::new()
        .tcp()
        .route("GET", "/containers/*/logs", answer)
        .start()
        .await;
    let mut open = client(&engine).open("/containers/a/logs").await;
    let handle = handles.next().await;
    assert!(handle.send("one").await);
    assert_eq!(open.chunk().await.unwrap().unwrap(), "one");
    assert_eq!(
        engine.state(|s| (s.bodies(), s.connections, s.accepted)),
        (1, 1, 1)
    );
    assert_eq!(engine.state(|s| s.bodies_at("/containers/a/logs")), 1);
    drop(open);
    engine
        .wait("the body is dropped", |s| {
            s.bodies() == 0 && s.connections == 0
        })
        .await;
    wait::within("the handle knows", wait::SOON, handle.closed()).await;
    assert!(!handle.send("two").await);
}

#[tokio::test]
async fn tears_a_body_after_what_was_sent() {
    let engine = ScriptedEngine::new()
        .tcp()
        .route(
            "GET",
            "/torn",
            Answer::stream(async |w| {
                w.send("one").await;
                w.send("two").await;
                w.abort().await;
            }),
        )
        .route(
            "GET",
            "/whole",
            Answer::stream(async |w| {
                w.send("one").await;
                w.finish();
            }),
        )
        .start()
        .await;
    engine.route("GET", "/at-once", Answer::torn("onetwo"));
    for path in ["/torn", "/at-once"] {
        let mut torn = client(&engine).open(path).await;
        assert_eq!(torn.read_at_least(6).await.unwrap(), "onetwo", "{path}");
        assert!(torn.read_to_end().await.is_err(), "{path}");
    }
    let whole = client(&engine).open("/whole").await;
    assert_eq!(whole.read_to_end().await.unwrap(), "one");
}

#[tokio::test]
async fn hangs_and_talks_garbage() {
    let engine = ScriptedEngine::new()
        .tcp()
        .route("GET", "/head", Answer::hang_head())
        .route("GET", "/body", Answer::hang_body("some"))
        .route("GET", "/garbage", Answer::garbage("no http\r\n"))
        .start()
        .await;
    let client = client(&engine);
    assert_eq!(
        client.raw("GET /garbage HTTP/1.1\r\n\r\n").await,
        b"no http\r\n"
    );
    let head = tokio::spawn({
        let client = client.clone();
        async move { client.get("/head").await }
    });
    engine.wait("a request hangs", |s| s.waiting == 1).await;
    head.abort();
    engine
        .wait("the hanging request has left", |s| s.waiting == 0)
        .await;
    let mut body = client.open("/body").await;
    assert_eq!(body.chunk().await.unwrap().unwrap(), "some");
    assert!(
        tokio::time::timeout(Duration::from_millis(50), body.chunk())
            .await
            .is_err()
    );
    engine.drop_connections();
    assert!(body.chunk().await.unwrap().is_err());
}

#[tokio::test]
async fn makes_a_long_body_only_as_it_is_read() {
    const CHUNK: usize = 1 << 16;
    let chunk = Bytes::from(vec![b'x'; CHUNK]);
    let engine = ScriptedEngine::new()
        .tcp()
        .route(
            "GET",
            "/long",
            Answer::generated(move || std::iter::repeat_n(chunk.clone(), 1600)),
        )
        .start()
        .await;
    let open = client(&engine).open("/long").await;
    assert_eq!(open.drain().await.unwrap(), 1600 * CHUNK as u64);
    engine.wait("the body has ended", |s| s.bodies() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_requests_behind_a_gate() {
    let gate = Gate::shut();
    let engine = ScriptedEngine::new()
        .tcp()
        .route("GET", "/list", Answer::json(200, "[]").behind(&gate))
        .start()
        .await;
    let client = client(&engine);
    let ask = || {
        let client = client.clone();
        tokio::spawn(async move { client.get("/list").await.status })
    };
    let asked = [ask(), ask(), ask()];
    engine.wait("all wait", |s| s.waiting == 3).await;
    gate.pass(1);
    engine.wait("one has passed", |s| s.waiting == 2).await;
    gate.open();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn stops_crashes_and_starts_again_at_its_place() {
    use std::io::ErrorKind;
    use std::os::unix::fs::MetadataExt;
    use tokio::net::UnixStream;

    let engine = ScriptedEngine::new().start().await;
    let inode = || std::fs::metadata(engine.socket()).unwrap().ino();
    let connect = async || {
        UnixStream::connect(engine.socket())
            .await
            .map_err(|e| e.kind())
    };
    let (before, held) = (inode(), connect().await.unwrap());
    engine.wait("it is accepted", |s| s.connections == 1).await;
    engine.crash().await;
    held.readable().await.unwrap();
    assert_eq!(held.try_read(&mut [0]).unwrap(), 0);
    assert_eq!(connect().await.unwrap_err(), ErrorKind::ConnectionRefused);
    engine.start_again().await;
    assert_ne!(inode(), before);
    connect().await.unwrap();
    engine.stop().await;
    assert_eq!(connect().await.unwrap_err(), ErrorKind::NotFound);
}

#[test]
fn builds_frames_and_lines() {
    let payload = line(1_000_000_001, "text");
    assert_eq!(payload, b"2024-01-01T00:00:01.000000001Z text\n");
    assert_eq!(timestamp(0), "2024-01-01T00:00:00.000000000Z");
    let framed = frame(STDERR, &payload);
    assert_eq!(framed[..8], [2, 0, 0, 0, 0, 0, 0, 36]);
    assert_eq!(framed[8..], payload);
}
