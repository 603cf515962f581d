//! Peers that do not do their part: they do not read, or send what nobody asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use docker_ps_agent::telemetry::name::LOG_READERS;

use super::status_lines;
use crate::metrics::samples::becomes;
use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, STDOUT, ScriptedEngine, frame, line};
use crate::support::wait::{self, SOON};

/// An endless log, and how many bytes of it were taken.
fn endless() -> (Answer, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let answer = Answer::generated(move || {
        let count = Arc::clone(&count);
        (0..).map(move |hundred| {
            let times = hundred * 100 + 1..=hundred * 100 + 100;
            let frames = times.flat_map(|time| frame(STDOUT, line(time, "x".repeat(120))));
            let frames = frames.collect::<Bytes>();
            count.fetch_add(frames.len() as u64, Ordering::Relaxed);
            frames
        })
    });
    (answer, taken)
}

#[tokio::test]
async fn that_never_read_do_not_make_the_agent_grow() {
    let (log, taken) = endless();
    let engine = engine_with_log(log).start().await;
    let agent = agent_on(&engine).await;
    let before = agent.rss_bytes();
    let mut peers = Vec::new();
    for path in ["logs/download", "logs/stream", "logs?tail=all"] {
        let mut peer = agent.client.connect().await;
        let key = &agent.key;
        let request =
            format!("GET /containers/c/{path} HTTP/1.1\r\nHost: a\r\nx-auth-key: {key}\r\n\r\n");
        peer.write_all(request.as_bytes()).await.unwrap();
        peers.push(peer);
    }
    engine
        .wait("all are read, the stream's for its history too", |state| {
            state.requests_to("GET", "/containers/*/logs").count() == 4
        })
        .await;
    // Until the sockets' buffers are full, and nothing moves any more.
    let mut last = 0;
    wait::until("the engine is not read any more", SOON, async || {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = taken.load(Ordering::Relaxed);
        std::mem::replace(&mut last, now) == now
    })
    .await;
    assert!(last > 0);
    assert!(last < 64 << 20, "{last} bytes were taken for nobody");
    let grown = agent.peak_rss_bytes().saturating_sub(before);
    // Four bodies, and the newest lines of the container (4 MiB), which its followers share.
    assert!(grown < 12 << 20, "grown by {} KiB", grown >> 10);

    drop(peers);
    engine
        .wait("the engine's connections are closed", |state| {
            state.bodies() == 0
        })
        .await;
}

#[tokio::test]
async fn that_never_read_take_no_more_logs_than_may_be_read() {
    let (log, _) = endless();
    let engine = engine_with_log(log).start().await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .env("MAX_LOG_READERS", "2");
    let agent = agent.start().await;
    let mut peers = Vec::new();
    let paths = ["/containers/c/logs/download", "/containers/c/logs?tail=all"];
    for path in paths {
        peers.push(agent.open(path).await);
    }
    becomes(&agent, LOG_READERS, &[("kind", "once")], 2.0).await;
    for path in paths {
        assert_eq!(agent.open(path).await.status, 503, "{path}");
        assert!(agent.get(path).await.header("retry-after").is_some());
    }
    // Streams are counted by themselves.
    assert_eq!(agent.sse("/containers/c/logs/stream").await.status, 200);
    drop(peers.pop());
    wait::until("there is room again", SOON, async || {
        agent.open(paths[0]).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn that_send_a_body_are_answered_without_it() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let before = agent.peak_rss_bytes();
    let head = |more: &str| {
        let key = &agent.key;
        format!("GET / HTTP/1.1\r\nHost: a\r\nx-auth-key: {key}\r\n{more}\r\n")
    };
    // Announced, and not sent; and more than was announced, which is no request.
    for more in ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let answer = agent.raw(head(more) + "some").await;
        assert_eq!(status_lines(&answer), ["HTTP/1.1 200"], "{more}");
    }
    let small = agent.request("GET", "/", &[], vec![b'x'; 2000]).await;
    assert_eq!(small.text(), "OK");
    // Much more than anybody would keep. The answer may be lost with a connection that is closed over it.
    let large = "Content-Length: 67108864\r\n";
    agent
        .raw([head(large).into_bytes(), vec![b'x'; 64 << 20]].concat())
        .await;
    assert_eq!(agent.get("/").await.text(), "OK");
    let grown = agent.peak_rss_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "grown by {} KiB", grown >> 10);
}
