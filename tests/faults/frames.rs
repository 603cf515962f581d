//! Log frames that are none, claim too much, report an error, or come in pieces.

use bytes::Bytes;
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_log, inspect};
use crate::support::scripted::{Answer, STDERR, STDOUT, frame, line, timestamp};
use crate::support::wait::SOON;

/// What every form of answer makes of a log that fails after its first line: what the stream says.
async fn fails_after_one_line(agent: &Agent) -> String {
    let one = format!("{} one", timestamp(1));
    let stream = agent.sse("/containers/c/logs/stream").await;
    let events = stream.rest(SOON).await;
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(events[1].json(), json!({ "log": one }));
    assert_eq!(events[2].name(), "error");

    let stream = agent.sse("/containers/c/logs?follow=true").await;
    let unnamed = stream.rest(SOON).await;
    assert_eq!(unnamed.len(), 2, "{unnamed:?}");
    assert_eq!(unnamed[0].json(), json!({ "line": one }));
    assert_eq!(unnamed[1].data, events[2].data);

    for path in ["/containers/c/logs", "/containers/c/logs/download"] {
        let answer = agent.open(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.read_to_end().await.is_err(), "{path} is not torn");
    }
    events[2].json()["error"].as_str().unwrap().to_owned()
}

async fn agent_with(bad: &[u8]) -> (crate::support::scripted::RunningEngine, Agent) {
    let mut log = frame(STDOUT, line(1, "one"));
    log.extend(bad);
    let engine = engine_with_log(Answer::bytes(200, log)).start().await;
    let agent = agent_on(&engine).await;
    (engine, agent)
}

#[tokio::test]
async fn that_are_none_end_the_log_with_an_error() {
    let good = frame(STDOUT, line(2, "two"));
    for (at, byte) in [(0, 9), (0, 4), (0, b'2'), (1, 1), (2, 0xff), (3, b'\n')] {
        let mut bad = good.clone();
        bad[at] = byte;
        let (_engine, agent) = agent_with(&bad).await;
        let said = fails_after_one_line(&agent).await;
        assert!(said.contains("broken log frame"), "{said}");
    }
}

#[tokio::test]
async fn of_the_engines_own_errors_end_the_log_with_what_it_says() {
    let report = frame(3, "Error grabbing logs: \"disk\" failed\n");
    let (_engine, agent) = agent_with(&report).await;
    let said = fails_after_one_line(&agent).await;
    let wanted = "the Docker Engine reports: Error grabbing logs: \"disk\" failed";
    assert_eq!(said, wanted);
}

#[tokio::test]
async fn of_an_error_without_an_end_are_cut() {
    let (_engine, agent) = agent_with(&frame(3, vec![b'x'; 1 << 20])).await;
    let said = fails_after_one_line(&agent).await;
    assert!(said.len() < 5000, "{} bytes", said.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_claim_4_gib_cost_no_memory() {
    const SENT: u64 = 256 << 20;
    let head = Bytes::from_static(&[1, 0, 0, 0, 255, 255, 255, 255]);
    let chunk = Bytes::from(vec![b'x'; 1 << 16]);
    let log = Answer::generated(move || {
        let chunks = std::iter::repeat_n(chunk.clone(), (SENT >> 16) as usize);
        std::iter::once(head.clone()).chain(chunks)
    });
    let engine = engine_with_log(log).start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/download";
    let ask = async || {
        let mut download = agent.open(path).await;
        let mut length = 0;
        loop {
            match download.chunk().await {
                Some(Ok(chunk)) => length += chunk.len() as u64,
                Some(Err(_)) => return length,
                None => panic!("a whole download of a frame that is not whole"),
            }
        }
    };
    let before = agent.peak_rss_bytes();
    let length = ask().await;
    assert!(length > SENT - (2 << 20), "{length} bytes came");
    let grown = agent.peak_rss_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "grown by {} KiB", grown >> 10);
}

#[tokio::test]
async fn are_whole_however_they_come_in_two_reads() {
    let mut log = frame(STDOUT, line(1, "ää"));
    log.extend(frame(STDERR, line(2, "0123456789\t")));
    log.extend(frame(STDOUT, [line(3, "a").as_slice(), b"b\r\n"].concat()));
    log.extend(frame(STDOUT, format!("{} end", timestamp(4))));
    let lines = [
        format!("{} ää", timestamp(1)),
        format!("{} 0123456789\t", timestamp(2)),
        format!("{} a", timestamp(3)),
        format!("{} b\r", timestamp(3)),
        format!("{} end", timestamp(4)),
    ];
    let engine = engine_with_log(Answer::bytes(200, "")).start().await;
    let agent = agent_on(&engine).await;
    for cut in 1..log.len() {
        let (one, other) = log.split_at(cut);
        let halves = [one.to_vec(), other.to_vec()];
        engine.route("GET", "/containers/*/logs", Answer::chunks(halves));
        let reply = agent.get("/containers/c/logs").await;
        assert_eq!(reply.json(), json!({ "logs": lines }), "cut at {cut}");
        let download = agent.get("/containers/c/logs/download").await;
        assert_eq!(download.text(), lines.join("\n"), "cut at {cut}");
    }
}

#[tokio::test]
async fn are_not_there_with_a_terminal_however_it_comes_in_two_reads() {
    let log = [line(1, "\x01\0\0\0 no frame\r"), line(2, "é\r")].concat();
    let lines = [
        format!("{} \x01\0\0\0 no frame", timestamp(1)),
        format!("{} é", timestamp(2)),
    ];
    let engine = engine_with_log(Answer::bytes(200, ""))
        .route("GET", "/containers/*/json", inspect(json!({ "Tty": true })))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    for cut in 1..log.len() {
        let (one, other) = log.split_at(cut);
        let halves = [one.to_vec(), other.to_vec()];
        engine.route("GET", "/containers/*/logs", Answer::chunks(halves));
        let reply = agent.get("/containers/c/logs").await;
        assert_eq!(reply.json(), json!({ "logs": lines }), "cut at {cut}");
    }
}
