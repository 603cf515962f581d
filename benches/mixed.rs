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
mod report;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::{process::ExitCode, sync::Arc, time::Duration};

use tests::support;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use crate::{
    instant::Instant as InstantEngine,
    load::{Address, Job, load},
    report::mib,
    support::{
        agent::Agent,
        dockerd::{IMAGE, RealEngine},
        wait::SOON,
    },
};

const FIRST: Duration = Duration::from_secs(60);
const ALL: Duration = Duration::from_secs(300);

/// How long connections last.
const ROUND: Duration = Duration::from_secs(5);

/// Requests that are answered at once, over and over, until `end`; how many there were.
async fn ask(agent: Arc<Agent>, end: Instant) -> u64 {
    let mut paths: Vec<String> = [
        "/",
        "/containers",
        "/",
        "/images",
        "/",
        "/nowhere",
        "/containers/nobody",
        "/containers/a/logs?tail=10",
        "/containers?fields=Id,Names,State",
        "/containers/%20",
        "/containers?nope=1",
        "/containers/a/logs/download",
        "/images/i",
        "/containers/a/pause",
    ]
    .map(String::from)
    .into();
    paths.extend((0..20).map(|number| format!("/containers/c{number}")));
    let mut requests = 0;
    while Instant::now() < end {
        let (right, wrong) = (agent.key.clone(), "wrong".to_owned());
        for (key, connections, time, statuses) in [
            (right, 32, ROUND, vec![200, 400, 404]),
            (wrong, 4, ROUND / 50, vec![401]),
        ] {
            let job = Job {
                address: Address::Tcp(agent.client.address),
                key,
                connections,
                paths: paths.clone(),
                statuses,
                warm_up: Duration::ZERO,
                time,
            };
            requests += spawn_blocking(move || load(&job, None))
                .await
                .unwrap()
                .requests;
        }
    }
    requests
}

/// Log streams that are left after some events, until `end`; how many there were.
async fn follow(agent: Arc<Agent>, end: Instant) -> u64 {
    let mut requests = 0;
    while Instant::now() < end {
        let path = format!("/containers/f{}/logs/stream", requests % 7);
        let mut events = agent.sse(&path).await;
        for _ in 0..3 {
            events.next(SOON).await.unwrap();
        }
        requests += 1;
    }
    requests
}

/// What tells of changes, left after its first event, until `end`; how many there were.
async fn watch(agent: Arc<Agent>, end: Instant) -> u64 {
    let paths = [
        "/containers/stream",
        "/events?since=0",
        "/logs/stream?container=a",
    ];
    let mut requests = 0;
    // While one is open the next is opened: of the engine's events there is mostly one reader, but not always.
    let mut last = None;
    while Instant::now() < end {
        let mut events = agent.sse(paths[requests as usize % paths.len()]).await;
        events.next(SOON).await.unwrap();
        last = (requests % 10 > 0).then_some(events);
        requests += 1;
    }
    drop(last);
    requests
}

/// Lists that are packed, then with the tag that those had, so that the answer is 304, then without a body, until `end`; how
/// many there were.
async fn poll(agent: Arc<Agent>, end: Instant) -> u64 {
    let mut requests = 0;
    while Instant::now() < end {
        let packed = [("accept-encoding", ["gzip", "zstd"][requests as usize % 2])];
        let list = agent.request("GET", "/containers", &packed, "").await;
        let again = [packed[0], ("if-none-match", list.header("etag").unwrap())];
        let again = agent.request("GET", "/containers", &again, "").await;
        assert_eq!((list.status.as_u16(), again.status.as_u16()), (200, 304));
        let head = agent.request("HEAD", "/containers", &packed, "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        requests += 3;
    }
    requests
}

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
    let engine = InstantEngine::start(&list, &inspect, None);
    let host = format!("unix://{}", engine.socket().display());
    let agent = Arc::new(Agent::builder().docker_host(host).start().await);

    let before = agent.rss_bytes();
    let begun = Instant::now();
    let end = begun + ALL;
    let tasks = [
        tokio::spawn(ask(Arc::clone(&agent), end)),
        tokio::spawn(follow(Arc::clone(&agent), end)),
        tokio::spawn(watch(Arc::clone(&agent), end)),
        tokio::spawn(poll(Arc::clone(&agent), end)),
    ];
    sleep_until(begun + FIRST).await;
    let first = agent.rss_bytes();
    let mut requests = 0;
    // The last look is taken under load, as the first one.
    sleep_until(end - Duration::from_secs(1)).await;
    let last = agent.rss_bytes();
    for task in tasks {
        requests += task.await.unwrap();
    }
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
