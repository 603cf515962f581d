//! Ten thousand followers of ten containers that each write a line a second: whether every line reaches every follower, how
//! soon, with how many readers at the engine, and what the agent needs for it. Ends with an error where a figure is over
//! its limit.

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

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Resource, Rlimit, setrlimit};
use tests::support;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
};

use crate::{
    report::{MIB, mib},
    support::{
        agent::{Agent, program},
        dockerd::RealEngine,
    },
};

const CONTAINERS: usize = 10;
const FOLLOWERS: usize = 10_000;
const MEASURED: Duration = Duration::from_secs(30);
/// What one follower has seen: the delays of its lines, and whether each number followed the one before.
#[derive(Default)]
struct Seen {
    delays: Vec<u32>,
    broken: bool,
}

/// Reads a stream until it is told to stop, and notes the delay of each line.
async fn follow(
    agent: Arc<Agent>,
    container: usize,
    ready: Arc<AtomicUsize>,
    mut stop: watch::Receiver<bool>,
) -> Seen {
    let mut stream = TcpStream::connect(agent.client.address).await.unwrap();
    let request = format!(
        "GET /containers/ticker-{container}/logs/stream?tail=1 HTTP/1.1\r\nhost: a\r\nx-auth-key: {}\r\n\r\n",
        agent.key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut seen, mut rest, mut last, mut counted) = (Seen::default(), Vec::new(), None, false);
    let mut buffer = [0; 2048];
    loop {
        let len = tokio::select! {
            len = stream.read(&mut buffer) => len.unwrap(),
            _ = stop.changed() => break,
        };
        assert!(
            len > 0,
            "the stream has ended: {}",
            String::from_utf8_lossy(&rest)
        );
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        rest.extend_from_slice(&buffer[..len]);
        while let Some(end) = memchr::memmem::find(&rest, b"\n\n") {
            let event = &rest[..end];
            if let Some(at) = memchr::memmem::find(event, b"\"log\":\"") {
                let line = std::str::from_utf8(&event[at + 7..]).unwrap();
                let (stamp, text) = line.split_once(' ').unwrap();
                let stamp: jiff::Timestamp = stamp.parse().unwrap();
                let number: u64 = text.trim_end_matches("\"}").parse().unwrap();
                seen.broken |= last.is_some_and(|last| number != last + 1);
                last = Some(number);
                // The first is from before.
                if counted {
                    let delay = now.saturating_sub(stamp.as_nanosecond().unsigned_abs());
                    seen.delays
                        .push(u32::try_from(delay / 1000).unwrap_or(u32::MAX));
                } else {
                    counted = true;
                    ready.fetch_add(1, Ordering::Relaxed);
                }
            }
            rest.drain(..end + 2);
        }
    }
    seen
}

#[tokio::main]
async fn main() -> ExitCode {
    // A connection each.
    let many = Rlimit {
        current: Some(20_000),
        maximum: Some(20_000),
    };
    setrlimit(Resource::Nofile, many).unwrap();
    let engine = RealEngine::start().await;
    for number in 0..CONTAINERS {
        let script = "i=0; while :; do echo $i; i=$((i+1)); sleep 1; done";
        engine.run(&format!("ticker-{number}"), &[], script).await;
    }
    let builder = Agent::builder()
        .docker_host(engine.docker_host())
        .env("RUST_LOG", "warn,docker_ps_agent::server=info")
        .program("prlimit")
        .args_before(&["--nofile=20000:20000", program().to_str().unwrap()]);
    let agent = Arc::new(builder.start().await);
    assert_eq!(agent.get("/containers/ticker-0/logs").await.status, 200);
    let before = agent.rss_bytes();

    let (stop, stopped) = watch::channel(false);
    let ready = Arc::new(AtomicUsize::new(0));
    let mut followers = Vec::new();
    for number in 0..FOLLOWERS {
        let (agent, counter) = (Arc::clone(&agent), Arc::clone(&ready));
        followers.push(tokio::spawn(follow(
            agent,
            number % CONTAINERS,
            counter,
            stopped.clone(),
        )));
        if number % 100 == 99 {
            while ready.load(Ordering::Relaxed) + 100 < number {
                assert!(
                    !followers.iter().any(JoinHandle::is_finished),
                    "one has ended"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    while ready.load(Ordering::Relaxed) < FOLLOWERS {
        assert!(
            !followers.iter().any(JoinHandle::is_finished),
            "one has ended"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let cpu = agent.cpu_time();
    tokio::time::sleep(MEASURED).await;
    let cpu = agent.cpu_time() - cpu;
    let connections = engine.connections();
    let during = agent.rss_bytes();
    stop.send(true).unwrap();
    let (mut delays, mut broken) = (Vec::new(), 0);
    for follower in followers {
        let seen = follower.await.unwrap();
        // Those that were first have seen more.
        broken += usize::from(seen.broken || seen.delays.len() + 2 < MEASURED.as_secs() as usize);
        let last = seen
            .delays
            .len()
            .saturating_sub(MEASURED.as_secs() as usize);
        delays.extend_from_slice(&seen.delays[last..]);
    }
    let lines = delays.len();
    delays.sort_unstable();
    let percentile = |share: f64| f64::from(delays[(lines as f64 * share) as usize - 1]) / 1000.0;
    // The connections are closed and the allocator has given back what it means to.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let after = agent.rss_bytes();

    let rows = [
        (
            "followers that missed a line",
            broken.to_string(),
            "0",
            broken == 0,
        ),
        ("lines received", lines.to_string(), "", true),
        (
            "log readers at the engine",
            connections.to_string(),
            "10",
            connections == CONTAINERS,
        ),
        (
            "median from write to receipt",
            format!("{:.1} ms", percentile(0.5)),
            "",
            true,
        ),
        (
            "99th percentile",
            format!("{:.1} ms", percentile(0.99)),
            "500 ms",
            percentile(0.99) < 500.0,
        ),
        ("slowest", format!("{:.1} ms", percentile(1.0)), "", true),
        (
            "processor time a second",
            format!(
                "{:.0} ms",
                cpu.as_secs_f64() * 1000.0 / MEASURED.as_secs_f64()
            ),
            "",
            true,
        ),
        ("resident before", mib(before), "", true),
        (
            "resident with all of them",
            mib(during),
            "250 MiB",
            during as f64 <= 250.0 * MIB,
        ),
        (
            "resident 15 s after they left",
            mib(after),
            "1.1 times before",
            after as f64 <= 1.1 * before as f64,
        ),
    ];
    report::print(&rows)
}
