//! Clients without the key keep nobody out, fill no log and hold up no end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::metrics::samples::becomes;
use crate::support::agent::Agent;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, Gate, RunningEngine, ScriptedEngine};
use crate::support::wait::{self, SOON};

const OPEN: &str = "docker_ps_agent_connections_open";

/// An agent that serves so many at a time.
async fn agent_for(connections: usize, engine: &RunningEngine) -> Agent {
    let builder = Agent::builder().docker_host(engine.docker_host());
    let builder = builder.env("MAX_CONNECTIONS", connections.to_string());
    builder.start().await
}

/// A connection over which something was asked without the key, and answered.
async fn stranger(agent: &Agent) -> TcpStream {
    let mut stranger = agent.client.connect().await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    stranger.write_all(request).await.unwrap();
    let mut status = [0; 12];
    let read = stranger.read_exact(&mut status);
    wait::within("an answer", SOON, read).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 401");
    stranger
}

/// Whether the agent closes the connection.
async fn is_closed(mut stranger: TcpStream) {
    let end = async {
        let mut rest = [0; 4096];
        while stranger.read(&mut rest).await.is_ok_and(|len| len > 0) {}
    };
    wait::within("the end of a connection", SOON, end).await;
}

#[tokio::test]
async fn leave_where_it_is_full_and_another_client_comes() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_for(4, &engine).await;
    let mut known = agent.session().await;
    assert_eq!(known.get("/").await.unwrap().status, 200);
    let mut strangers = Vec::new();
    for _ in 0..3 {
        strangers.push(stranger(&agent).await);
    }
    becomes(&agent, OPEN, &[("listener", "api")], 4.0).await;
    let mut sessions = Vec::new();
    for stranger in strangers {
        // The one that came first.
        let mut session = agent.session().await;
        let reply = wait::within("an answer", SOON, session.get("/")).await;
        assert_eq!(reply.unwrap().status, 200);
        is_closed(stranger).await;
        sessions.push(session);
    }
    assert_eq!(known.get("/").await.unwrap().status, 200);
    for mut session in sessions {
        assert_eq!(session.get("/").await.unwrap().status, 200);
    }
}

/// Of the metrics nobody shows a key.
#[tokio::test]
async fn do_not_keep_prometheus_out() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let metrics = agent.metrics.as_ref().unwrap();
    let mut idle = Vec::new();
    for _ in 0..64 {
        let mut session = metrics.session().await;
        assert_eq!(session.get("/nothing").await.unwrap().status, 404);
        idle.push(session);
    }
    let scrape = wait::within("a scrape", SOON, metrics.get("/metrics"));
    // Else they would lose theirs for being idle.
    let busy = async {
        loop {
            for session in &mut idle {
                drop(session.get("/nothing").await);
            }
        }
    };
    tokio::select! {
        reply = scrape => assert_eq!(reply.status, 200),
        () = busy => {}
    }
}

#[tokio::test]
async fn do_not_take_the_place_of_a_client_whose_first_request_is_under_way() {
    let gate = Gate::shut();
    let list = Answer::json(200, "[]").behind(&gate);
    let engine = ScriptedEngine::new().route("GET", "/images/json", list);
    let engine = engine.start().await;
    let agent = Arc::new(agent_for(1, &engine).await);
    let asking = Arc::clone(&agent);
    let asked = tokio::spawn(async move { asking.get("/images").await.status });
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;
    // A stranger would have lost its place to the next one by then.
    let begun = Instant::now();
    let other = Arc::clone(&agent);
    let refused = tokio::spawn(async move { stranger(&other).await });
    wait::until("it would have the place", SOON, async || {
        begun.elapsed() > Duration::from_secs(2)
    })
    .await;
    assert!(!asked.is_finished() && !refused.is_finished());
    gate.open();
    assert_eq!(asked.await.unwrap(), 200);
    drop(refused.await.unwrap());
}

#[tokio::test]
async fn do_not_hold_up_the_end_by_half_a_head() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let mut stranger = agent.client.connect().await;
    stranger.write_all(b"GET / HT").await.unwrap();
    becomes(&agent, OPEN, &[("listener", "api")], 1.0).await;
    agent.signal(Signal::TERM);
    // Requests that are under way have ten.
    let status = agent.wait_exit(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(0));
    assert!(!agent.output().contains("cut off"));
}

#[tokio::test]
async fn send_no_more_than_the_agent_can_hold() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    // Also behind a whole head that comes with it.
    let whole = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(25_000));
    for (before, half) in [("", 60_000), (&*whole, 30_000)] {
        let most = (16 << 20) / half + 1;
        let head = format!("{before}GET / HTTP/1.1\r\nx: {}", "a".repeat(half));
        let mut strangers = Vec::new();
        for _ in 0..2 * most {
            let mut stranger = agent.client.connect().await;
            // It may be cut off before it has sent all.
            let _ = stranger.write_all(head.as_bytes()).await;
            strangers.push(stranger);
        }
        // Sooner than those are cut off that take long for a head.
        let soon = Duration::from_secs(5);
        wait::until("some are cut off", soon, async || {
            strangers.iter().filter(is_open).count() <= most
        })
        .await;
        assert_eq!(agent.get("/").await.status, 200);
    }
}

/// Whether the agent has not closed this connection, whatever it has answered.
fn is_open(stranger: &&TcpStream) -> bool {
    loop {
        match stranger.try_read(&mut [0; 4096]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test]
async fn do_not_fill_the_log() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let mut session = agent.client.without_key().session().await;
    for _ in 0..500 {
        let reply = session.get("/containers").await;
        assert_eq!(reply.unwrap().status, 401);
    }
    // What comes after is told.
    engine.route("GET", "/images/json", Answer::json(200, json!([])));
    assert_eq!(agent.get("/images").await.status, 200);
    agent.wait_for_output("/images").await;
    let told = agent.output().matches("\"status\":401").count();
    assert!((100..400).contains(&told), "{told} lines");
}
