//! Cursors that are broken, of others, or of lines that are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::growing::{Growing, cursor};
use super::{Client, line_of};
use crate::contract::host::{Host, text};
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, STDERR, STDOUT, frame, line};
use crate::support::sse::Event;
use crate::support::wait::SOON;

#[tokio::test]
async fn refuses_cursors_that_are_broken_or_of_another_container() {
    let host = Host::start().await;
    for name in ["cursor-a", "cursor-b"] {
        host.ran(name, &[], "echo one; echo two").await;
    }
    let mut client = Client::default();
    let mut stream = client
        .open(&host.agent, "/containers/cursor-a/logs/stream")
        .await;
    client.take(&mut stream, 1).await;
    let cursor = client.cursor.unwrap();
    for route in ["logs/stream?", "logs?follow=true&"] {
        let path = format!("/containers/cursor-b/{route}after={cursor}");
        assert_eq!(host.agent.get(&path).await.status, 400, "{path}");
        for broken in ["x", "0.0.0", &cursor[1..], &format!("{cursor},{cursor}")] {
            let path = format!("/containers/cursor-a/{route}after={broken}");
            assert_eq!(host.agent.get(&path).await.status, 400, "{path}");
        }
        // The header wins over the query, since a browser that comes back asks for the same address again; an empty one
        // is none, and tail does not count beside a cursor.
        for (after, header) in [("x", &*cursor), (&cursor, ""), ("", &cursor)] {
            let path = format!("/containers/cursor-a/{route}tail=9&after={after}");
            let headers = [("last-event-id", header)];
            let stream = host.agent.sse_with(&path, &headers).await;
            let events = stream.rest(SOON).await;
            let lines: Vec<_> = events.iter().filter_map(line_of).collect();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert_eq!(text(&lines[0]), "two");
        }
        let path = format!("/containers/cursor-a/{route}after=");
        let events = host.agent.sse(&path).await.rest(SOON).await;
        assert_eq!(events.iter().filter_map(line_of).count(), 2);
    }
    // What is no stream does not go on.
    for route in ["logs?", "logs/download?"] {
        for (after, status) in [(&*cursor, 400), ("x", 400), ("", 200)] {
            let path = format!("/containers/cursor-a/{route}after={after}");
            assert_eq!(host.agent.get(&path).await.status, status, "{path}");
        }
    }
}

#[tokio::test]
async fn says_where_lines_are_gone_and_goes_on() {
    let host = Host::start().await;
    let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=2"];
    let script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; \
                  i=0; while [ $i -lt 3000 ]; do echo number $i; i=$((i+1)); done; sleep 600";
    host.engine.run("rotated", &options, script).await;
    let mut client = Client::default();
    let path = "/containers/rotated/logs/stream";
    let mut stream = client.open(&host.agent, path).await;
    client.take(&mut stream, 1).await;
    drop(stream);
    host.engine
        .docker(&["exec", "rotated", "touch", "/go"])
        .await;
    crate::support::wait::until("all is written", SOON, async || {
        host.engine
            .docker(&["logs", "--tail", "1", "rotated"])
            .await
            .contains("number 2999")
    })
    .await;
    let mut stream = client.open(&host.agent, path).await;
    while client
        .lines
        .last()
        .is_none_or(|line| !line.ends_with("number 2999"))
    {
        client.take(&mut stream, 1).await;
    }
    assert_eq!(client.gaps, 1);
    let numbers: Vec<u32> = client.lines[1..]
        .iter()
        .map(|line| text(line).strip_prefix("number ").unwrap().parse().unwrap())
        .collect();
    let first = numbers[0];
    assert!(first > 0, "nothing was rotated away");
    assert!(numbers.iter().copied().eq(first..3000), "{numbers:?}");
    host.engine.remove("rotated").await;
}

/// Docker 20.10 gives the line that made a log rotate twice.
#[tokio::test]
async fn a_slow_log_that_rotates_is_followed_without_repeats() {
    let host = Host::start().await;
    let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=3"];
    let script = "pad=$(printf '%0100d' 0); i=0; \
                  while [ $i -lt 300 ]; do echo number $i $pad; i=$((i+1)); usleep 20000; done";
    host.engine.run("rotates", &options, script).await;
    let path = "/containers/rotates/logs/stream?tail=all";
    let events = host.agent.sse(path).await.rest(3 * SOON).await;
    let lines = events.iter().filter_map(line_of);
    let numbers: Vec<usize> = lines
        .map(|line| text(&line).split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(numbers.iter().copied().eq(0..300), "{numbers:?}");
    host.engine.remove("rotates").await;
}

/// Asked for what came since a time, Docker before 23 leaves out all files behind a packed one that is older.
#[tokio::test]
async fn what_stands_behind_packed_files_is_found() {
    let host = Host::start().await;
    let options = [
        "--log-driver=local",
        "--log-opt=max-size=100k",
        "--log-opt=max-file=5",
    ];
    let script = "pad=$(printf '%0100d' 0); write() { while [ $i -lt $1 ]; do echo number $i $pad; i=$((i+1)); done; }; \
                  i=0; write 5999; sleep 1.5; write 6000; while [ ! -e /go ]; do sleep 0.05; done; write 8000; sleep 600";
    let name = "packed";
    host.engine.run(name, &options, script).await;
    let is_written = async |number: u32| {
        let last = format!("number {} ", number - 1);
        crate::support::wait::until("that is written", SOON, async || {
            let tail = ["logs", "--tail", "1", name];
            host.engine.docker(&tail).await.contains(&last)
        })
        .await;
    };
    is_written(6000).await;
    let path = "/containers/packed/logs/stream";
    let mut client = Client::default();
    let mut stream = client.open(&host.agent, &format!("{path}?tail=1")).await;
    client.take(&mut stream, 1).await;
    drop(stream);
    host.engine.docker(&["exec", name, "touch", "/go"]).await;
    is_written(8000).await;
    let mut stream = client.open(&host.agent, path).await;
    client.take(&mut stream, 2000).await;
    assert_eq!(client.gaps, 0);
    let numbers = client.lines.iter().map(|line| {
        let mut words = text(line).split(' ');
        words.nth(1).unwrap().parse::<u32>().unwrap()
    });
    assert!(numbers.eq(5999..8000));
    host.engine.remove(name).await;
}

/// As where a host has lost its power, or was set back to what it was before.
#[tokio::test]
async fn tells_of_a_lost_end_what_comes_behind_it() {
    let log = Growing::default();
    let got = Timestamp::now() - SignedDuration::from_secs(60);
    let [before, behind] = [-100, 5000].map(|millis| got + SignedDuration::from_millis(millis));
    log.write(STDOUT, got - SignedDuration::from_hours(1), "long before");
    log.write(STDOUT, before, "before");
    log.write(STDERR, before, "may be new");
    log.write(STDOUT, behind, "behind");
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let cursor = cursor(got.as_nanosecond());
    for path in [
        "/containers/c/logs/stream?after=",
        "/logs/stream?container=c&after=",
    ] {
        let mut stream = agent.sse(&format!("{path}{cursor}")).await;
        let mut gap = Value::Null;
        let mut texts = Vec::new();
        while texts.last().is_none_or(|text| text != "behind") {
            let event = stream.next(SOON).await.expect(path);
            let data = serde_json::from_str::<Value>(&event.data);
            match event.name() {
                "gap" => gap = data.unwrap(),
                "log" => texts.push(text(data.unwrap()["log"].as_str().unwrap()).to_owned()),
                _ => {}
            }
        }
        assert_eq!(gap["before"], behind.to_string(), "{path}");
        assert_eq!(texts, ["may be new", "behind"], "{path}");
    }
}

/// A log of one file that rotates just before its container stops: to who follows, the engine gives no more.
#[tokio::test]
async fn tells_what_is_missing_of_a_log_s_end() {
    let (follow, follows) = Answer::handed();
    let rotated = Arc::new(AtomicBool::new(false));
    let has_rotated = Arc::clone(&rotated);
    let log = |lines: &[u64]| {
        let lines = lines.iter().map(|number| {
            let text = format!("number {number}");
            frame(STDOUT, line(*number, text))
        });
        lines.collect::<Vec<_>>().concat()
    };
    let (old, new) = (log(&[1]), log(&[5, 6]));
    let tries = AtomicUsize::new(0);
    let engine =
        engine_with_log(Answer::empty(200)).route_fn("GET", "/containers/*/logs", move |request| {
            match (
                request.query.contains("follow=1"),
                has_rotated.load(Relaxed),
            ) {
                (true, _) => follow.clone(),
                (false, false) => Answer::bytes(200, old.clone()),
                (false, true) => match tries.fetch_add(1, Relaxed) {
                    // Twice it was looked for, and then it goes on behind the gap.
                    2 => Answer::torn(""),
                    _ => Answer::bytes(200, new.clone()),
                },
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let path = "/containers/c/logs/stream?tail=all";
    let mut stream = client.open(&agent, path).await;
    let live = follows.next().await;
    assert!(live.send(log(&[1])).await);
    client.take(&mut stream, 1).await;
    rotated.store(true, Relaxed);
    live.finish();
    client.take(&mut stream, 2).await;
    let texts: Vec<_> = client.lines.iter().map(|line| text(line)).collect();
    assert_eq!(texts, ["number 1", "number 5", "number 6"]);
    assert_eq!(client.gaps, 1);
    assert_eq!(stream.next(SOON).await.unwrap().name(), "close");
}

/// Where one run of a terminal ends without a newline, the next begins in the midst of a line, at its time; a container may
/// write as much of that as it likes.
#[tokio::test]
async fn what_looks_like_many_runs_in_a_line_is_read_like_any_other() {
    let host = Host::start().await;
    let script = "yes '2024-01-01T00:00:00.000000000Z abcd' | tr -d '\\n' | head -c 900000; echo";
    host.ran("seams", &["-t"], script).await;
    let id = host
        .engine
        .docker(&["inspect", "-f", "{{.Id}}", "seams"])
        .await;
    let after = format!("{}.1704067200000000000.o99999999_4", &id[..12]);
    let path = format!("/containers/seams/logs/stream?after={after}");
    let events = host.agent.sse(&path).await.rest(SOON).await;
    assert_eq!(events.last().map(Event::name), Some("close"));
    host.engine.remove("seams").await;
}

/// As each time that Compose makes its containers anew.
#[tokio::test]
async fn goes_on_with_the_container_that_has_taken_another_one_s_name() {
    let host = Host::start().await;
    for path in [
        "/containers/anew/logs/stream?tail=1",
        "/containers/anew/logs?follow=true&tail=1",
        "/logs/stream?container=anew&tail=1",
    ] {
        let mut client = Client::default();
        for text in ["old", "new"] {
            let script = format!("echo {text} 1; echo {text} 2; sleep 600");
            host.engine.run("anew", &[], &script).await;
            // Both are there before they are asked for.
            crate::support::wait::until("all is written", SOON, async || {
                host.engine.docker(&["logs", "anew"]).await.contains("2")
            })
            .await;
            let mut stream = client.open(&host.agent, path).await;
            let many = if text == "old" { 1 } else { 2 };
            client.take(&mut stream, many).await;
            host.engine.remove("anew").await;
        }
        let texts: Vec<_> = client.lines.iter().map(|line| text(line)).collect();
        assert_eq!(texts, ["old 2", "new 1", "new 2"], "{path}");
        assert_eq!(client.gaps, 1, "{path}");
    }
}

#[tokio::test]
async fn follows_over_a_stop_and_a_start_where_it_is_asked_to() {
    let host = Host::start().await;
    host.engine.run("stopped", &[], "echo up; sleep 600").await;
    let mut client = Client::default();
    let path = "/containers/stopped/logs/stream";
    let mut stays = client
        .open(&host.agent, &format!("{path}?restarts=follow"))
        .await;
    let leaves = host.agent.sse(path).await;
    client.take(&mut stays, 1).await;
    host.engine.docker(&["restart", "-t", "0", "stopped"]).await;
    assert_eq!(leaves.rest(SOON).await.last().unwrap().name(), "close");
    client.take(&mut stays, 1).await;
    assert_eq!(client.lines.len(), 2);
    assert_ne!(client.lines[0], client.lines[1]);
    host.engine.remove("stopped").await;
    // A container that is removed has no next start.
    assert_eq!(stays.rest(SOON).await.last().unwrap().name(), "close");
}
