//! What the agent costs a host on which nothing is asked of it: its start, its memory, its processor time.
//!
//! `make bench BENCHES=footprint`, on a real Docker Engine with ten containers. Exits with 1 where a
//! figure is over its limit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a bench prints, and reports what is broken by panicking"
)]

mod report;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use tests::support;

use crate::{
    report::{MIB, mib},
    support::{agent::Agent, dockerd::RealEngine},
};

const STARTS: usize = 20;
const CONTAINERS: usize = 10;
const SETTLE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(60);

/// Below this `top` shows 0.0 %.
const NO_CPU: Duration = Duration::from_millis(30);

#[tokio::main]
async fn main() -> ExitCode {
    let engine = RealEngine::start().await;
    for number in 0..CONTAINERS {
        engine
            .run(&format!("idle-{number}"), &[], "sleep 1000000")
            .await;
    }
    let builder = Agent::builder().docker_host(engine.docker_host());

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let agent = builder.start().await;
        starts.push(begun.elapsed());
        drop(agent);
    }
    starts.sort();

    let agent = builder.start().await;
    let fresh = agent.rss_bytes();
    tokio::time::sleep(SETTLE).await;
    let idle = agent.rss_bytes();
    let before = agent.cpu_time();
    tokio::time::sleep(IDLE).await;
    let cpu = agent.cpu_time() - before;
    for path in [
        "/",
        "/containers",
        "/containers/idle-0",
        "/images",
        "/containers/idle-0/logs",
    ] {
        assert_eq!(agent.get(path).await.status, 200, "{path}");
    }
    let used = agent.rss_bytes();

    let median = starts[STARTS / 2];
    let slowest = starts[STARTS - 1];
    let rows = [
        (
            "start to listening, median of 20",
            millis(median),
            "50 ms",
            median.as_millis() <= 50,
        ),
        (
            "start to listening, slowest of 20",
            millis(slowest),
            "",
            true,
        ),
        (
            "resident when it listens",
            mib(fresh),
            "10 MiB",
            fresh as f64 <= 10.0 * MIB,
        ),
        (
            "resident after 10 s idle",
            mib(idle),
            "10 MiB",
            idle as f64 <= 10.0 * MIB,
        ),
        (
            "resident after a request of each kind",
            mib(used),
            "10 MiB",
            used as f64 <= 10.0 * MIB,
        ),
        (
            "processor time in 60 s idle",
            millis(cpu),
            "30 ms, which is 0.0 % in top",
            cpu <= NO_CPU,
        ),
    ];
    report::print(&rows)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
