//! A hundred followers that read as fast as they can of a container that writes 10 MB a second for half a minute, with
//! and without one beside them that reads 1 KiB a second: whether it slows them, what the agent needs for it, and whether
//! it has lost anything once it reads on. Ends with an error where a figure is over its limit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a bench reports by printing and fails by panicking"
)]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "of the tests' support a bench uses a part"
)]

mod report;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::{process::ExitCode, sync::Arc, time::Duration};

use tests::support;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    report::{MIB, mib},
    support::{agent::Agent, dockerd::RealEngine},
};

const FAST: usize = 100;
const ROUNDS: usize = 3;
const LINES: u64 = 300_000;
const KIB: usize = 1024;
/// Lines of 1 kB, 1000 each 100 ms, once the file is there.
const SCRIPT: &str = "while [ ! -e /go ]; do sleep 0.1; done; i=0; while [ $i -lt 300 ]; do \
    awk -v n=$((i*1000)) 'BEGIN { for (m = n + 1000; n < m; n++) printf \"number %d %0980d\\n\", n, n }'; \
    sleep 0.09; i=$((i+1)); done; sleep 600";

/// Reads lines until all are there, and ends with how long that took since the first. Slowly, where `slow` is
/// given, until that says otherwise.
async fn follow(agent: Arc<Agent>, name: String, slow: Option<watch::Receiver<bool>>) -> Duration {
    let socket = TcpSocket::new_v4().unwrap();
    if slow.is_some() {
        socket.set_recv_buffer_size(64 * 1024).unwrap();
    }
    let mut stream = socket.connect(agent.client.address).await.unwrap();
    let request = format!(
        "GET /containers/{name}/logs/stream?tail=all&timestamps=false HTTP/1.1\r\nhost: a\r\nx-auth-key: {}\r\n\r\n",
        agent.key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut next, mut began, mut rest) = (0, None, Vec::new());
    let mut buffer = vec![0; 64 * KIB];
    while next < LINES {
        let is_slow = slow.as_ref().is_some_and(|slow| *slow.borrow());
        let room = if is_slow { KIB } else { buffer.len() };
        let len = stream.read(&mut buffer[..room]).await.unwrap();
        assert!(len > 0, "the stream has ended");
        rest.extend_from_slice(&buffer[..len]);
        let mut done = 0;
        while let Some(at) = memchr::memchr(b'\n', &rest[done..]) {
            let line = &rest[done..done + at];
            done += at + 1;
            let Some(text) = line.strip_prefix(b"data: {\"log\":\"number ") else {
                let told = line.starts_with(b"event: ") && line != b"event: connected";
                assert!(
                    !told || line == b"event: log",
                    "{}",
                    String::from_utf8_lossy(line)
                );
                continue;
            };
            let digits = &text[..memchr::memchr(b' ', text).unwrap()];
            let number: u64 = std::str::from_utf8(digits).unwrap().parse().unwrap();
            assert_eq!(number, next, "a line is missing, or is there twice");
            began.get_or_insert_with(Instant::now);
            next += 1;
        }
        rest.drain(..done);
        if is_slow && next < LINES {
            sleep(Duration::from_secs(1)).await;
        }
    }
    began.unwrap().elapsed()
}

/// How long the slowest of the fast ones took, by how much the agent has grown meanwhile, and how long the
/// slow one took once it did as the others.
async fn round(engine: &RealEngine, agent: &Arc<Agent>, name: &str, slow: bool) -> Round {
    engine.run(name, &[], SCRIPT).await;
    let before = agent.rss_bytes();
    let (pace, paced) = watch::channel(true);
    let slow = slow.then(|| tokio::spawn(follow(Arc::clone(agent), name.into(), Some(paced))));
    let fast: Vec<_> = (0..FAST)
        .map(|_| tokio::spawn(follow(Arc::clone(agent), name.into(), None)))
        .collect();
    sleep(Duration::from_secs(1)).await;
    engine.docker(&["exec", name, "touch", "/go"]).await;
    let (mut time, mut peak) = (Duration::ZERO, before);
    for fast in fast {
        while !fast.is_finished() {
            peak = peak.max(agent.rss_bytes());
            sleep(Duration::from_millis(50)).await;
        }
        time = time.max(fast.await.unwrap());
    }
    let left = Instant::now();
    pace.send(false).unwrap_or_default();
    if let Some(slow) = slow {
        while !slow.is_finished() {
            peak = peak.max(agent.rss_bytes());
            sleep(Duration::from_millis(50)).await;
        }
        slow.await.unwrap();
    }
    engine.remove(name).await;
    Round {
        time,
        grown: peak - before,
        rest: left.elapsed(),
    }
}

struct Round {
    time: Duration,
    grown: u64,
    rest: Duration,
}

impl Round {
    /// Of the times; of what it grows by the most.
    fn median(rounds: &[Self]) -> Self {
        let middle = |value: fn(&Self) -> Duration| {
            let mut values: Vec<_> = rounds.iter().map(value).collect();
            values.sort();
            values[values.len() / 2]
        };
        Self {
            time: middle(|round| round.time),
            grown: rounds.iter().map(|round| round.grown).max().unwrap(),
            rest: middle(|round| round.rest),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let engine = RealEngine::start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let agent = Arc::new(builder.start().await);
    // In turn, since the receivers take all that is left of the machine, and not always the same.
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        // Nor is who comes first always the same.
        for slow in [number % 2 == 1, number % 2 == 0] {
            let rounds = if slow { &mut beside } else { &mut alone };
            let name = format!("round-{number}-{slow}");
            let round = round(&engine, &agent, &name, slow).await;
            eprintln!(
                "{name}: {:.1} s, grown {}",
                round.time.as_secs_f64(),
                mib(round.grown)
            );
            rounds.push(round);
        }
    }
    let (alone, beside) = (Round::median(&alone), Round::median(&beside));
    let ratio = beside.time.as_secs_f64() / alone.time.as_secs_f64();
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let rows = [
        (
            "100 followers alone, from first to last line, median of 3",
            seconds(alone.time),
            "",
            true,
        ),
        ("beside one of 1 KiB/s", seconds(beside.time), "", true),
        ("ratio", format!("{ratio:.3}"), "1.1", ratio <= 1.1),
        ("the agent grows by, without it", mib(alone.grown), "", true),
        (
            "the agent grows by, with it",
            mib(beside.grown),
            "64 MiB",
            beside.grown as f64 <= 64.0 * MIB,
        ),
        ("lines that anyone missed", "0".into(), "0", true),
        (
            "the slow one has caught up after",
            seconds(beside.rest),
            "",
            true,
        ),
    ];
    report::print(&rows)
}
