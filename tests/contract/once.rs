//! `GET /containers/:id/logs`: a log, or a part of it, at once.

use jiff::Timestamp;

use super::host::{Host, assert_refused, frames, text};
use crate::support::dockerd::IMAGE;

fn numbers(numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// The time of a line as a Unix time in seconds with nine decimals.
fn unix_time(line: &str) -> String {
    let time: Timestamp = line.split_once(' ').unwrap().0.parse().unwrap();
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

#[tokio::test]
async fn gives_as_much_of_the_end_as_is_asked_for() {
    let host = Host::start().await;
    host.ran("once-tail", &[], "seq 1 1005").await;
    let all = numbers(1..=1005);
    for (query, from) in [
        ("", 5),
        ("?tail=1000", 5),
        ("?tail=3", 1002),
        ("?tail=1", 1004),
        ("?tail=0", 1005),
        ("?tail=all", 0),
        ("?tail=4000000000", 0),
        ("?follow=false&tail=3", 1002),
        ("?follow=0", 5),
        ("?since=0&until=0&tail=3&other=1", 1002),
    ] {
        let path = format!("/containers/once-tail/logs{query}");
        let lines = host.lines(&path).await;
        let texts: Vec<_> = lines.iter().map(|line| text(line)).collect();
        assert_eq!(texts, all[from..], "{query}");
    }
    host.engine.remove("once-tail").await;
}

#[tokio::test]
async fn gives_what_was_written_between_two_times() {
    let host = Host::start().await;
    // The pauses make the times differ, whatever the clock's grain.
    let script = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.01; done";
    host.ran("once-times", &[], script).await;
    let path = "/containers/once-times/logs";
    let all = host.lines(path).await;
    assert_eq!(all.len(), 6);
    let (second, fourth) = (unix_time(&all[1]), unix_time(&all[3]));
    let later = Timestamp::now().as_second() + 2;
    for (query, range) in [
        (format!("since={second}"), 1..6),
        (format!("until={fourth}"), 0..4),
        (format!("since={second}&until={fourth}"), 1..4),
        (format!("since={later}"), 0..0),
        (format!("until={later}"), 0..6),
        ("since=1".into(), 0..6),
        ("until=1".into(), 0..0),
        ("since=1&until=2".into(), 0..0),
    ] {
        let lines = host.lines(&format!("{path}?{query}")).await;
        assert_eq!(lines, all[range], "{query}");
    }
    host.engine.remove("once-times").await;
}

#[tokio::test]
async fn gives_both_outputs_in_the_engines_order_without_blank_lines() {
    let host = Host::start().await;
    let script = "for i in $(seq 1 30); do echo out $i; echo; echo err $i >&2; echo '  ' >&2; done; printf '\\t\\n'";
    host.ran("once-both", &[], script).await;
    let engines = frames(&host.raw_log("once-both").await);
    assert_eq!(engines.len(), 121);
    let expected: Vec<_> = engines
        .iter()
        .map(|(_, line)| std::str::from_utf8(line).unwrap().trim_end_matches('\n'))
        .filter(|line| !text(line).trim().is_empty())
        .collect();
    assert_eq!(expected.len(), 60);
    assert_eq!(host.lines("/containers/once-both/logs").await, expected);
    host.engine.remove("once-both").await;
}

#[tokio::test]
async fn gives_no_lines_of_a_silent_container() {
    let host = Host::start().await;
    let create = ["create", "--name", "once-silent", IMAGE];
    host.engine.docker(&create).await;
    let reply = host.agent.get("/containers/once-silent/logs").await;
    assert_eq!(
        (reply.status.as_u16(), reply.text()),
        (200, r#"{"logs":[]}"#)
    );
    host.engine.remove("once-silent").await;
}

#[tokio::test]
async fn refuses_numbers_that_are_none() {
    let host = Host::start().await;
    host.ran("once-bad", &[], "echo line").await;
    for query in [
        "tail=",
        "tail=ten",
        "tail=-1",
        "tail=1.5",
        "tail=0x10",
        "tail=1%20",
        "tail=99999999999999999999",
        "since=",
        "since=yesterday",
        "since=-1",
        "since=1e3",
        "until=2024-01-01T00:00:00",
        "until=99999999999999999999",
        "follow=perhaps",
        "tail=1&tail=2",
    ] {
        for route in ["logs", "logs/stream", "logs/download"] {
            let path = format!("/containers/once-bad/{route}?{query}");
            assert_refused(&host.agent.get(&path).await, 400, &path);
        }
    }
    host.engine.remove("once-bad").await;
}

#[tokio::test]
async fn says_what_the_engine_says_of_an_unknown_container() {
    let host = Host::start().await;
    let engine_path = "/containers/once-nobody/logs?stdout=1";
    for route in ["logs", "logs?follow=true", "logs/stream", "logs/download"] {
        let path = format!("/containers/once-nobody/{route}");
        host.assert_refused_alike(&path, "GET", engine_path).await;
        assert_refused(&host.agent.get(&path).await, 404, &path);
    }
}
