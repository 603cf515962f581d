//! The agent's memory under a mixed load: five minutes of lists, inspects, actions, logs and downloads, of what is refused
//! and of what is not there, a million at least, from connections that come and go; beside them lists that are packed, or
//! as they were, or wanted without their bodies; and streams of each kind, which are left soon. What it has in memory at the
//! end is held against what it had after the first minute. The engine is one that answers at once, with a list and an inspect
//! of a real one, so that an hour's worth goes into five minutes; removals are left out. Ends with an error where a figure is
//! over its limit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench reports by printing and fails by panicking"
)]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "of the tests' support a bench uses a part"
)]

mod instant;
mod load;
mod mix;
mod report;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::{process::ExitCode, sync::Arc, time::Duration};

use tests::support;
use tokio::time::{Instant, sleep_until};

use crate::{
    instant::Instant as InstantEngine,
    mix::ask_everything,
    report::mib,
    support::{
        agent::Agent,
        dockerd::{IMAGE, RealEngine},
    },
};

const FIRST: Duration = Duration::from_secs(60);
const ALL: Duration = Duration::from_secs(300);

/// How long connections last.
const ROUND: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    if load::is_called() || instant::is_called() {
        return ExitCode::SUCCESS;
    }
    let engine = RealEngine::start().await;
    for number in 0..20 {
        let name = format!("c-{number}");
        engine.docker(&["create", "--name", &name, IMAGE]).await;
    }
    let (_, _, list) = engine.raw("GET", "/containers/json?all=true").await;
    let (_, _, inspect) = engine.raw("GET", "/containers/c-0/json").await;
    drop(engine);
    let engine = InstantEngine::start(&list, &inspect, &[]);
    let host = format!("unix://{}", engine.socket().display());
    let agent = Arc::new(Agent::builder().docker_host(host).start().await);

    let before = agent.rss_bytes();
    let begun = Instant::now();
    let end = begun + ALL;
    let asking = Arc::clone(&agent);
    let asking = tokio::spawn(async move { ask_everything(&asking, end, ROUND).await });
    sleep_until(begun + FIRST).await;
    let first = agent.rss_bytes();
    // The last look is taken under load, as the first one.
    sleep_until(end - Duration::from_secs(1)).await;
    let last = agent.rss_bytes();
    let requests = asking.await.unwrap();
    let ratio = last as f64 / first as f64;
    report::print(&[
        (
            "requests",
            requests.to_string(),
            "1000000",
            requests >= 1_000_000,
        ),
        ("resident before", mib(before), "", true),
        ("resident after the first minute", mib(first), "", true),
        ("resident after five", mib(last), "", true),
        (
            "ratio of the two",
            format!("{ratio:.3}"),
            "1.10",
            ratio <= 1.10,
        ),
    ])
}
