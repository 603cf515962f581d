//! Logs of containers with a terminal, which have no frames.

use serde_json::json;

use super::dialects::{named, unnamed};
use super::host::{Host, text};
use super::split::{ruler, ruler_script};

#[tokio::test]
async fn takes_one_carriage_return_from_the_end_of_a_line_and_keeps_the_rest() {
    let host = Host::start().await;
    let name = "terminal-plain";
    let script =
        r"printf 'plain\n\n\ttab\033[31mred\033[0m\nback\rhome\ntwo\r\n'; printf 'é🐳\nend'";
    host.ran(name, &["-t"], script).await;
    let raw = host.raw_log(name).await;
    assert!(raw.starts_with(b"20"), "no frames: {raw:?}");
    let expected = [
        "plain",
        "",
        "\ttab\u{1b}[31mred\u{1b}[0m",
        "back\rhome",
        "two\r",
        "é🐳",
        "end",
    ];

    let file = host.download(name).await;
    assert_eq!(file.split('\n').map(text).collect::<Vec<_>>(), expected);
    let lines: Vec<_> = file.split('\n').collect();

    let seen: Vec<_> = lines.iter().filter(|line| !text(line).is_empty()).collect();
    let once = host.lines(&format!("/containers/{name}/logs")).await;
    assert_eq!(once.iter().collect::<Vec<_>>(), seen);

    let named_events = host
        .events(&format!("/containers/{name}/logs/stream"))
        .await;
    let first = host
        .events(&format!("/containers/{name}/logs?follow=true"))
        .await;
    for line in &seen {
        assert!(named_events.contains(&named("log", json!({ "log": line }))));
        assert!(first.contains(&unnamed(json!({ "line": line }))));
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn takes_text_that_looks_like_a_frame_for_text() {
    let host = Host::start().await;
    // A log that begins so is taken for frames by whoever guesses; NUL is what a frame's header has next.
    let script = r"printf '\001\000\000\000\000\000\000\005hello\n\002stx\n\000nul\n\001\n'";
    host.ran("terminal-frame", &["-t"], script).await;
    let texts = host.texts("terminal-frame").await;
    let expected = ["\u{1}\0\0\0\0\0\0\u{5}hello", "\u{2}stx", "\0nul", "\u{1}"];
    assert_eq!(texts, expected);
    host.engine.remove("terminal-frame").await;
}

#[tokio::test]
async fn joins_lines_that_the_engine_has_cut() {
    let host = Host::start().await;
    let name = "terminal-long";
    // With the carriage return, the third fills a record to the last byte.
    let lengths = [
        100, 16382, 16383, 16384, 16385, 32767, 32768, 40000, 200_000, 5,
    ];
    let script: Vec<_> = lengths.iter().map(|length| ruler_script(*length)).collect();
    host.ran(name, &["-t"], &script.join("; ")).await;
    let raw = host.raw_log(name).await;
    let expected: Vec<_> = lengths.iter().map(|length| ruler(*length)).collect();
    let bytes: usize = lengths.iter().map(|length| length + "\r\n".len()).sum();
    let stamps = (raw.len() - bytes) / super::host::STAMP;
    assert!(stamps > lengths.len() + 10, "the engine cuts: {stamps}");

    assert_eq!(host.texts(name).await, expected);
    let file = host.download(name).await;
    assert_eq!(file.lines().map(text).collect::<Vec<_>>(), expected);
    let events = host
        .events(&format!("/containers/{name}/logs/stream"))
        .await;
    assert_eq!(events.len(), lengths.len() + 2);
    host.engine.remove(name).await;
}
