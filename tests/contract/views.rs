//! What a reader wants of a log, asked on every route that gives one.

use std::time::Duration;

use jiff::Timestamp;

use super::host::{Host, STAMP, assert_refused, frames, text};
use crate::support::sse::Event;
use crate::support::wait::{self, SOON};

/// What the routes are asked with where the parameter at hand is the only one that matters.
pub const ALL: &str = "tail=all";

impl Host {
    /// The lines that all routes give for a query, which must be the same ones. None of them may be blank:
    /// one route leaves those out.
    pub async fn shown(&self, name: &str, query: &str) -> Vec<String> {
        let path = |route: &str| format!("/containers/{name}/{route}{query}");
        let once = self.agent.get(&path("logs?")).await;
        assert_eq!(once.status, 200, "{query}: {once:?}");
        let lines: Vec<String> = serde_json::from_value(once.json()["logs"].clone()).unwrap();
        let download = self.agent.get(&path("logs/download?")).await;
        assert_eq!(download.status, 200, "{query}: {download:?}");
        let file: Vec<&str> = download.text().lines().collect();
        assert_eq!(file, lines, "{query}");
        for (route, key) in [("logs?follow=true&", "line"), ("logs/stream?", "log")] {
            let events = self.events(&path(route)).await;
            let lines_of = |(_, data): &(_, String)| {
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                data[key].as_str().map(ToOwned::to_owned)
            };
            let mut events: Vec<_> = events.iter().filter_map(lines_of).collect();
            events.retain(|line| line != "[Log stream ended]");
            assert_eq!(events, lines, "{route} {query}");
        }
        lines
    }

    /// The same without the times, which must be there.
    pub async fn shown_texts(&self, name: &str, query: &str) -> Vec<String> {
        let lines = self.shown(name, query).await;
        lines.iter().map(|line| text(line).to_owned()).collect()
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn counts_a_last_line_without_a_newline() {
    let host = Host::start().await;
    let name = "views-open-end";
    host.ran(name, &[], "seq 1 50; printf open").await;
    let expected = ["49", "50", "open"];
    for tail in 0..=3 {
        let shown = host.shown_texts(name, &format!("tail={tail}")).await;
        assert_eq!(shown, expected[3 - tail..], "{tail}");
    }
    host.engine.remove(name).await;
    // Of both outputs.
    let name = "views-open-ends";
    let script = "seq 1 50; printf out; sleep 0.1; printf err >&2";
    host.ran(name, &[], script).await;
    for tail in 0..=3 {
        for route in ["logs/stream?", "logs?follow=true&"] {
            let path = format!("/containers/{name}/{route}tail={tail}");
            let events = host.events(&path).await;
            let old = |(_, data): &&(_, String)| data.contains("Z 4") || data.contains("Z 3");
            assert_eq!(events.iter().filter(old).count(), 0, "{path}");
            let count = |text: &str| {
                let ends = |(_, data): &&(_, String)| data.contains(&format!("Z {text}\""));
                events.iter().filter(ends).count()
            };
            let wanted = usize::from(tail >= 2);
            assert!(
                (wanted..=1).contains(&count("out")) && (wanted..=1).contains(&count("err")),
                "{path}: {events:?}"
            );
        }
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn shows_one_output_of_two() {
    let host = Host::start().await;
    let name = "views-outputs";
    let script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done";
    host.ran(name, &[], script).await;
    for (stream, expected) in [
        ("stdout", ["out 1", "out 2", "out 3"]),
        ("stderr", ["err 1", "err 2", "err 3"]),
    ] {
        let query = format!("{ALL}&stream={stream}");
        assert_eq!(host.shown_texts(name, &query).await, expected);
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn counts_the_tail_before_anything_is_left_out() {
    let host = Host::start().await;
    let name = "views-tail";
    let script = "for i in 1 2 3 4; do echo out $i; sleep 0.01; echo err $i >&2; sleep 0.01; done";
    host.ran(name, &[], script).await;
    let all = frames(&host.raw_log(name).await);
    // The engine may have read all of one output first.
    let is_other = |(stream, _): &(u8, Vec<u8>)| *stream != all[7].0;
    let tail = 8 - all.iter().rposition(is_other).unwrap();
    let last = all[8 - tail..].iter().filter(|(stream, _)| *stream == 1);
    let expected: Vec<_> = last
        .map(|(_, line)| String::from_utf8_lossy(&line[STAMP..]).trim().to_owned())
        .collect();
    assert!((1..tail).contains(&expected.len()), "{tail}: {expected:?}");
    let query = format!("tail={tail}&stream=stdout");
    assert_eq!(host.shown_texts(name, &query).await, expected);
    assert_eq!(host.shown_texts(name, "tail=2&grep=1").await, strings(&[]));
    host.engine.remove(name).await;
}

#[tokio::test]
async fn takes_times_in_every_form() {
    let host = Host::start().await;
    let name = "views-times";
    // The pauses make the times differ, whatever the clock's grain.
    let script = "for i in 1 2 3 4; do echo $i; sleep 0.01; done";
    host.ran(name, &[], script).await;
    let all = host.shown(name, ALL).await;
    assert_eq!(all.len(), 4);
    let time = |line: &str| line.split_once(' ').unwrap().0.to_owned();
    let (second, third) = (time(&all[1]), time(&all[2]));
    let elsewhere: Timestamp = second.parse().unwrap();
    let elsewhere = elsewhere.strftime("%Y-%m-%dT%H:%M:%S.%9f%%2B00:00");
    for (query, range) in [
        (format!("since={second}"), 1..4),
        (format!("since={elsewhere}"), 1..4),
        (format!("until={third}"), 0..3),
        (format!("since={second}&until={third}"), 1..3),
        ("since=1h".into(), 0..4),
        ("since=1h30m&until=0s".into(), 0..4),
        ("until=1h".into(), 0..0),
        ("since=0s".into(), 0..0),
    ] {
        let lines = host.shown(name, &format!("{ALL}&{query}")).await;
        assert_eq!(lines, all[range], "{query}");
    }
    host.engine.remove(name).await;
}

/// Streams of a container that has stopped do not end before it, whatever the time up to which they are wanted.
#[tokio::test]
async fn shows_last_words_also_up_to_a_time_that_is_long_over() {
    let host = Host::start().await;
    for (name, script, wanted) in [
        (
            "views-last-words",
            "echo line; printf open",
            &["line", "open"][..],
        ),
        ("views-only-words", "printf open", &["open"]),
    ] {
        host.ran(name, &[], script).await;
        let end = Timestamp::now();
        wait::until("that is over", SOON, async || {
            Timestamp::now() > end + Duration::from_secs(2)
        })
        .await;
        let until = format!("{ALL}&until={end}");
        let stays = format!("/containers/{name}/logs/stream?{ALL}&restarts=follow");
        for others in [0, 1] {
            // Who has waited for it to start again has seen it stop.
            let mut open = Vec::new();
            for _ in 0..others {
                let mut stream = host.agent.sse(&stays).await;
                while stream
                    .next(SOON)
                    .await
                    .is_some_and(|event| !event.data.ends_with("open\"}"))
                {}
                open.push(stream);
            }
            for more in ["", "&restarts=follow"] {
                let texts = host.shown_texts(name, &format!("{until}{more}")).await;
                assert_eq!(texts, wanted, "{name} {others}{more}");
            }
        }
        let path = format!("/logs/stream?container={name}&{until}");
        let events = host.agent.sse(&path).await.rest(SOON).await;
        let is_line = |event: &&Event| event.name() == "log";
        assert_eq!(events.iter().filter(is_line).count(), wanted.len());
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn shows_lines_as_they_are_wanted() {
    let host = Host::start().await;
    let name = "views-lines";
    let script = r"printf '\033[31mred\033[0m one\n'; printf 'tab\ttwo\n'; echo 'a.c three'";
    host.ran(name, &[], script).await;
    let red = "\x1b[31mred\x1b[0m one";
    for (query, expected) in [
        ("", [red, "tab\ttwo", "a.c three"].as_slice()),
        ("&ansi=strip", &["red one", "tab\ttwo", "a.c three"]),
        ("&grep=o", &[red, "tab\ttwo"]),
        ("&grep=o&grep=t", &["tab\ttwo"]),
        ("&grep=.", &["a.c three"]),
        ("&grep=red+one", &[]),
        ("&grep=red+one&ansi=strip", &["red one"]),
        ("&regex=%5Cs(one%7Ctwo)%24", &[red, "tab\ttwo"]),
        ("&regex=%5Etab", &["tab\ttwo"]),
        // The time is no text.
        ("&regex=%5E20", &[]),
        ("&regex=a.c&grep=three", &["a.c three"]),
    ] {
        let query = format!("{ALL}{query}");
        assert_eq!(host.shown_texts(name, &query).await, expected, "{query}");
        let untimed = host.shown(name, &format!("{query}&timestamps=false")).await;
        assert_eq!(untimed, expected, "{query}");
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn refuses_what_it_cannot_show() {
    let host = Host::start().await;
    host.ran("views-bad", &[], "echo line").await;
    for query in [
        "stream=both",
        "timestamps=perhaps",
        "regex=(",
        "regex=%5Cw{100}",
        "ansi=keep",
        "redact=all",
        "format=xml",
        "since=10x",
        "regex=a&regex=b",
    ] {
        for route in ["logs", "logs/stream", "logs/download"] {
            let path = format!("/containers/views-bad/{route}?{query}");
            assert_refused(&host.agent.get(&path).await, 400, &path);
        }
    }
    host.engine.remove("views-bad").await;
}

#[tokio::test]
async fn gives_a_file_of_json_objects() {
    let host = Host::start().await;
    let name = "views-ndjson";
    host.ran(name, &[], "echo '\"one\"'; echo").await;
    host.engine.docker(&["start", name]).await;
    host.engine.docker(&["wait", name]).await;
    let times: Vec<_> = frames(&host.raw_log(name).await)
        .into_iter()
        .map(|(_, line)| String::from_utf8(line[..STAMP - 1].to_vec()).unwrap())
        .collect();
    let path = format!("/containers/{name}/logs/download?format=ndjson");
    let reply = host.agent.get(&path).await;
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let disposition = reply.header("content-disposition").unwrap();
    assert!(disposition.ends_with(".ndjson\""), "{disposition}");
    let texts = [r#"\"one\""#, "", r#"\"one\""#, ""];
    let object = |(time, text): (&String, &str)| {
        format!("{{\"time\":\"{time}\",\"stream\":\"stdout\",\"text\":\"{text}\"}}\n")
    };
    let expected: String = times.iter().zip(texts).map(object).collect();
    assert_eq!(reply.text(), expected);
    let untimed = host
        .agent
        .get(&format!("{path}&timestamps=false&tail=2"))
        .await;
    let object = |text: &str| format!("{{\"stream\":\"stdout\",\"text\":\"{text}\"}}\n");
    assert_eq!(untimed.text(), object(texts[2]) + &object(texts[3]));
    host.engine.remove(name).await;
}
