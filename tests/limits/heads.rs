//! Heads of requests: too long, too many headers, too slow, cut off, old, or none at all.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{metric, rest_of, status_lines};
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, ScriptedEngine};
use crate::support::wait::{self, SOON};

/// A request whose head has this length.
fn of_length(length: usize, key: &str) -> String {
    let head = |filler: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-auth-key: {key}\r\nx-filler: {filler}\r\n\r\n"
        )
    };
    let filler = "x".repeat(length - head("").len());
    head(&filler)
}

#[tokio::test]
async fn of_64_kib_are_the_longest() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    for (length, wanted) in [
        (32 * 1024, "HTTP/1.1 200"),
        (64 * 1024 - 64, "HTTP/1.1 200"),
        (64 * 1024 + 1, "HTTP/1.1 431"),
        (100 * 1024, "HTTP/1.1 431"),
        (1024 * 1024, "HTTP/1.1 431"),
    ] {
        let answer = rest_of(&agent, &of_length(length, &agent.key)).await;
        assert_eq!(answer, [wanted], "{length} bytes");
    }
    // Nobody needs a key to be refused for much more.
    let answer = rest_of(&agent, &of_length(200_000, "none")).await;
    assert_eq!(answer, ["HTTP/1.1 431"]);
}

#[tokio::test]
async fn have_100_headers_at_most() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    for (number, wanted) in [(100, "HTTP/1.1 200"), (101, "HTTP/1.1 431")] {
        let more: String = (3..number).map(|n| format!("x-{n}: 1\r\n")).collect();
        let key = &agent.key;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-auth-key: {key}\r\n{more}\r\n"
        );
        assert_eq!(
            rest_of(&agent, &request).await,
            [wanted],
            "{number} headers"
        );
    }
}

#[tokio::test]
async fn that_take_over_10_seconds_are_not_waited_for() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let begun = Instant::now();
    let mut silent = agent.client.connect().await;
    let mut slow = agent.client.connect().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nx-")
        .await
        .unwrap();
    let mut kept = agent.client.connect().await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nx-auth-key: {}\r\n\r\n",
        agent.key
    );
    kept.write_all(request.as_bytes()).await.unwrap();
    for stream in [&mut silent, &mut slow, &mut kept] {
        let mut answer = Vec::new();
        let closed = stream.read_to_end(&mut answer);
        let closed = wait::within("the connection's end", SOON + SOON, closed).await;
        // With or without a last word; that is hyper's affair.
        closed.ok();
        let passed = begun.elapsed();
        assert!(passed >= Duration::from_secs(9), "closed after {passed:?}");
        let served = status_lines(&answer)
            .iter()
            .filter(|line| line.ends_with("200"))
            .count();
        assert!(served <= 1);
    }
}

#[tokio::test]
async fn that_are_cut_off_leave_nothing_behind() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let head = of_length(300, &agent.key);
    for length in [0, 1, 3, 14, 16, 40, head.len() - 1] {
        let mut stream = agent.client.connect().await;
        stream.write_all(&head.as_bytes()[..length]).await.unwrap();
        drop(stream);
    }
    let series = "docker_ps_agent_connections_open{listener=\"api\"}";
    wait::until("the connections are gone", SOON, async || {
        metric(&agent, series).await == 0.0
    })
    .await;
    assert_eq!(agent.get("/").await.status, 200);
}

#[tokio::test]
async fn that_come_together_are_answered_one_after_the_other() {
    let slow = Answer::json(200, "\"first\"").delayed(Duration::from_millis(200));
    let engine = ScriptedEngine::new()
        .route("GET", "/containers/json", slow)
        .route("GET", "/images/json", Answer::json(200, "\"second\""))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let ask = |path: &str, more: &str| {
        let key = &agent.key;
        format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}x-auth-key: {key}\r\n\r\n")
    };
    let requests = [
        ask("/containers", ""),
        ask("/images", ""),
        ask("/nothing", ""),
        ask("/", "Connection: close\r\n"),
    ];
    let answers = agent.raw(requests.concat()).await;
    let statuses = [
        "HTTP/1.1 200",
        "HTTP/1.1 200",
        "HTTP/1.1 404",
        "HTTP/1.1 200",
    ];
    assert_eq!(status_lines(&answers), statuses);
    let text = String::from_utf8(answers).unwrap();
    let at = |part: &str| {
        text.find(part)
            .unwrap_or_else(|| panic!("no {part} in {text}"))
    };
    assert!(at("\"first\"") < at("\"second\"") && at("\"second\"") < at("no such path"));
    assert!(text.ends_with("\r\n\r\nOK"), "{text}");
}

#[tokio::test]
async fn of_http_1_0_are_answered_and_the_connection_closed() {
    let engine = crate::support::fixture::engine_with_log(Answer::bytes(200, ""));
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let key = &agent.key;
    for path in ["/", "/containers/c/logs", "/containers/c/logs/stream"] {
        let request = format!("GET {path} HTTP/1.0\r\nx-auth-key: {key}\r\n\r\n");
        let mut stream = agent.client.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        wait::within("the end of the connection", SOON, read)
            .await
            .unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert!(!head.contains("keep-alive"), "{head}");
    }
}

#[tokio::test]
async fn that_are_none_are_refused() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    for garbage in [
        &b"hello\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nx-auth-key: a\0b\r\n\r\n",
    ] {
        let lines = status_lines(&agent.raw(garbage).await);
        let refused =
            matches!(&lines[..], [line] if line.ends_with("400") || line.ends_with("505"));
        assert!(refused, "{}: {lines:?}", garbage.escape_ascii());
    }
    // HTTP/2, which nobody has offered: hyper closes without a word.
    let answer = agent.raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(answer.is_empty(), "{}", answer.escape_ascii());
    assert_eq!(agent.get("/").await.status, 200);
}
