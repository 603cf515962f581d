//! Clients that do not read for a while, and so hold up the reader of a log.

use std::time::Duration;

use jiff::Timestamp;

use super::{Client, line_of};
use crate::contract::host::{Host, text};
use crate::support::wait::{SOON, until};

/// Writes so many lines of a KB as fast as it can once it is told to.
pub const LINES: usize = 30_000;

/// So many of them before it waits once more: what all buffers on the way hold is less, and a log of 8 MB is rotated once.
const FIRST: usize = 9_000;

pub fn script(then: &str) -> String {
    format!(
        "pad=$(printf '%01000d' 0); echo begin; i=0; for until in {FIRST} {LINES}; do \
         while [ ! -e /go$until ]; do sleep 0.05; done; \
         while [ $i -lt $until ]; do i=$((i+1)); echo $i $pad; done; done; {then}"
    )
}

/// The numbers that the lines begin with.
pub fn numbers(lines: &[String]) -> Vec<usize> {
    let numbers = lines.iter().filter_map(|line| text(line).split_once(' '));
    numbers.map(|(number, _)| number.parse().unwrap()).collect()
}

/// Lets it write, all else only once the reader is held up, if it is to be.
pub async fn begin(host: &Host, name: &str) {
    for until in [FIRST, LINES] {
        let file = format!("/go{until}");
        host.engine.docker(&["exec", name, "touch", &file]).await;
        if until == FIRST {
            is_written(host, name, FIRST).await;
        }
    }
}

pub async fn is_written(host: &Host, name: &str, number: usize) {
    until("all is written", 4 * SOON, async || {
        let last = host.engine.docker(&["logs", "--tail", "1", name]).await;
        last.starts_with(&format!("{number} "))
    })
    .await;
}

/// An engine that is held up meanwhile would go on with the newest file, where there were others between.
#[tokio::test]
async fn files_that_were_rotated_meanwhile_are_read() {
    let host = Host::start().await;
    // The first is rotated when all buffers are full.
    let options = ["--log-opt", "max-size=8m", "--log-opt", "max-file=10"];
    for path in [
        "/containers/held-up/logs/stream?",
        "/logs/stream?container=held-up&",
    ] {
        host.engine
            .run("held-up", &options, &script("sleep 600"))
            .await;
        let mut client = Client::default();
        let mut stream = client.open(&host.agent, &format!("{path}tail=1")).await;
        client.take(&mut stream, 1).await;
        begin(&host, "held-up").await;
        is_written(&host, "held-up", LINES).await;
        client.take(&mut stream, LINES).await;
        let numbers = numbers(&client.lines);
        let wrong = (1..)
            .zip(&numbers)
            .find(|(wanted, number)| wanted != *number);
        assert_eq!(wrong, None, "{path}");
        assert_eq!((numbers.len(), client.gaps), (LINES, 0), "{path}");
        host.engine.remove("held-up").await;
    }
}

/// What was written in time and is here already, or still at the engine, is sent before the end.
#[tokio::test]
async fn what_is_wanted_up_to_a_time_comes_however_slow_the_client() {
    let host = Host::start().await;
    for path in [
        "/containers/too-late/logs/stream?tail=1&until=",
        "/logs/stream?container=too-late&tail=1&until=",
    ] {
        let mut seconds = 5;
        // More than all buffers on the way hold, or it was not held up.
        while comes_up_to(&host, path, Duration::from_secs(seconds)).await < 10_000 {
            assert!(seconds < 20, "the machine is slow");
            seconds *= 2;
        }
    }
}

/// How many lines come up to so long from now.
async fn comes_up_to(host: &Host, path: &str, end: Duration) -> usize {
    // It never ends.
    let script = script("while :; do echo 0 more; sleep 0.01; done");
    host.engine.run("too-late", &[], &script).await;
    let end = Timestamp::now() + end;
    let mut client = Client::default();
    let mut stream = client.open(&host.agent, &format!("{path}{end}")).await;
    client.take(&mut stream, 1).await;
    begin(host, "too-late").await;
    is_written(host, "too-late", 0).await;
    until("it is late", SOON, async || {
        Timestamp::now() > end + Duration::from_secs(3)
    })
    .await;
    let mut name = String::new();
    while let Some(event) = stream.next(SOON).await {
        if line_of(&event).is_some() {
            client.keep(&event);
        }
        name = event.name().to_owned();
    }
    assert_eq!(name, "close", "{path}");
    let all = host.engine.docker(&["logs", "-t", "too-late"]).await;
    let is_early = |line: &&str| {
        line.split_once(' ')
            .unwrap()
            .0
            .parse::<Timestamp>()
            .unwrap()
            <= end
    };
    let wanted: Vec<_> = all.lines().filter(is_early).collect();
    assert!(
        client.lines.iter().eq(&wanted),
        "{path}: {} of {}",
        client.lines.len(),
        wanted.len()
    );
    host.engine.remove("too-late").await;
    wanted.len()
}
