//! Clients that go away leave nothing behind.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::host::Host;
use crate::support::agent::Agent;
use crate::support::client::Open;
use crate::support::dockerd::RealEngine;
use crate::support::fixture::{agent_on, inspect};
use crate::support::scripted::{Answer, Gate, ScriptedEngine};
use crate::support::wait::{self, SOON};

/// How soon an engine's read must have ended after its client has left.
const SOON_ENOUGH: Duration = Duration::from_secs(1);

/// How many connections to the engine the agent keeps for the next call, for seconds at most.
const POOL: usize = 16;

const QUIET: &str = "echo ready; sleep 600";

/// Half a line: it is in the log, and waits in the agent for its end.
const HALF_A_LINE: &str = "echo ready; head -c 20000 /dev/zero | tr '\\000' x; sleep 600";

/// An engine that nobody else is connected to, and an agent on it.
async fn host() -> (Agent, RealEngine) {
    let engine = RealEngine::start().await;
    engine.run("quiet", &[], QUIET).await;
    engine.run("half", &[], HALF_A_LINE).await;
    let agent = Agent::builder().docker_host(engine.docker_host());
    // Not a line for each of a thousand clients.
    let agent = agent.env("RUST_LOG", "info,middleware=warn");
    (agent.start().await, engine)
}

/// Waits until the engine has no more connections than that.
async fn at_most(many: usize, engine: &RealEngine, deadline: Duration) {
    let what = format!("no more than {many} connections of the engine");
    wait::until(&what, deadline, async || engine.connections() <= many).await;
}

/// A stream that has given its first line.
async fn follow(agent: &Agent, path: &str) -> Open {
    let mut open = agent.open(path).await;
    assert_eq!(open.status, 200);
    let mut seen = Vec::new();
    while !seen.windows(5).any(|window| window == b"ready") {
        seen.extend(open.chunk().await.expect("the stream goes on").unwrap());
    }
    open
}

/// How often the engine has a container's log open: once to write it, and once for each reader.
fn log_is_open(engine: &RealEngine, id: &str) -> usize {
    let pid = fs::read_to_string(engine.socket().with_file_name("pid")).unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", pid.trim())).unwrap();
    let log = format!("{id}-json.log");
    let targets = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.ends_with(&log)).count()
}

#[tokio::test]
async fn ends_its_engine_read_within_a_second_of_a_clients_leaving() {
    let host = Host::start().await;
    for (name, script) in [("leavers-quiet", QUIET), ("leavers-half", HALF_A_LINE)] {
        let id = host.engine.run(name, &[], script).await;
        for route in ["logs?follow=true", "logs/stream"] {
            let mut took = Vec::new();
            // The machine may be held up for as long, but not each time.
            while took.iter().all(|took| *took >= SOON_ENOUGH) {
                assert!(took.len() < 3, "{took:?}");
                assert_eq!(log_is_open(&host.engine, &id), 1, "nobody reads");
                let stream = follow(&host.agent, &format!("/containers/{name}/{route}")).await;
                let begun = async || log_is_open(&host.engine, &id) > 1;
                wait::until("the agent reads", SOON, begun).await;
                drop(stream);
                let left = Instant::now();
                let ended = async || log_is_open(&host.engine, &id) == 1;
                wait::until("the end of the engine's read", SOON, ended).await;
                took.push(left.elapsed());
            }
        }
        host.engine.remove(name).await;
    }
}

/// A client that leaves while its answer is quiet, held up in a line, held up by itself, or not even begun.
async fn visit(agent: &Agent, number: usize) -> Option<Open> {
    let path = match number % 5 {
        0 => "/containers/quiet/logs?follow=true",
        1 => "/containers/quiet/logs/stream",
        2 => "/containers/half/logs/stream?tail=all",
        3 => "/containers/large/logs/stream?tail=all",
        _ => {
            let (address, key) = (agent.client.address, &agent.key);
            let request = format!(
                "GET /containers/quiet/logs/stream HTTP/1.1\r\nhost: {address}\r\nx-auth-key: {key}\r\n\r\n"
            );
            let mut connection = agent.client.connect().await;
            connection.write_all(request.as_bytes()).await.unwrap();
            return None;
        }
    };
    Some(follow(agent, path).await)
}

async fn visits(agent: &Agent, many: usize) {
    const AT_A_TIME: usize = 50;
    for _ in 0..many / AT_A_TIME {
        let visits = (0..AT_A_TIME).map(|number| visit(agent, number));
        // All are there at the same time, and leave at once.
        drop(join_all(visits).await);
    }
}

#[tokio::test]
async fn leaves_nothing_behind_of_a_thousand_clients() {
    let (agent, engine) = host().await;
    let large = "echo ready; yes $(seq 1 300) | head -n 10000; sleep 600";
    engine.run("large", &[], large).await;
    // With a connection to the engine, perhaps, which is gone at the end.
    let descriptors = agent.open_fds();
    // What so many need at a time is taken once, and kept.
    visits(&agent, 200).await;
    at_most(POOL, &engine, SOON).await;
    let resident = agent.rss_bytes();

    visits(&agent, 1000).await;
    at_most(POOL, &engine, SOON).await;
    at_most(0, &engine, 2 * SOON).await;
    let closed = async || agent.open_fds() <= descriptors;
    wait::until("all is closed", SOON, closed).await;
    let grown = agent.rss_bytes().saturating_sub(resident);
    assert!(grown < 2 << 20, "{grown} bytes over {resident}");
    let metrics = agent.metrics.as_ref().unwrap().get("/metrics").await;
    let open: Vec<_> = metrics
        .text()
        .lines()
        .filter(|line| line.starts_with("docker_ps_agent_log_streams_open{"))
        .collect();
    assert!(!open.is_empty());
    assert!(open.iter().all(|line| line.ends_with(" 0")), "{open:?}");
}

/// A client that has asked for an action.
async fn begin(agent: &Agent, action: &str) -> TcpStream {
    let mut client = agent.client.connect().await;
    let request = format!(
        "GET /containers/c/{action} HTTP/1.1\r\nhost: a\r\nx-auth-key: {}\r\n\r\n",
        agent.key
    );
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// What an engine is left in the midst of, it may do otherwise: kill at once, or stop and not start again.
#[tokio::test]
async fn an_action_is_seen_through_when_its_client_leaves() {
    for action in ["start", "stop", "restart", "pause"] {
        let gate = Gate::shut();
        let path = format!("/containers/*/{action}");
        let engine = ScriptedEngine::new()
            .route("GET", "/containers/*/json", inspect(serde_json::json!({})))
            .route("POST", &path, Answer::empty(204).behind(&gate))
            .start()
            .await;
        let agent = agent_on(&engine).await;
        let client = begin(&agent, action).await;
        engine
            .wait("the engine is asked to act", |state| {
                state.requests_to("POST", &path).count() == 1
            })
            .await;
        let looked = engine.requests_to("GET", "/containers/*/json").len();
        drop(client);
        // It has been seen that the client is gone.
        agent
            .wait_for_output(&format!("/containers/c/{action}"))
            .await;
        gate.open();
        // Once it has acted, it looks at the container.
        engine
            .wait_for_more(looked, "GET", "/containers/*/json")
            .await;
    }
}

/// A container that does not stop must not keep all others from it, however often it is asked to.
#[tokio::test]
async fn few_of_the_same_action_are_under_way() {
    const STOP: &str = "/containers/*/stop";
    let engine = ScriptedEngine::new()
        .route(
            "GET",
            "/containers/*/json",
            inspect(serde_json::json!({ "StopTimeout": -1 })),
        )
        .route("POST", STOP, Answer::hang_head())
        .route("POST", "/containers/*/pause", Answer::empty(204))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    for many in 0..8 {
        let _client = begin(&agent, "stop").await;
        engine.wait_for_more(many, "POST", STOP).await;
    }
    let refused = agent.get("/containers/c/stop").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(agent.get("/containers/c/pause").await.status, 200);
    assert_eq!(engine.requests_to("POST", STOP).len(), 8);
}
