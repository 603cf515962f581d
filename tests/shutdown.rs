//! SIGTERM and SIGINT: nothing new is taken, what is under way may end, streams say goodbye, the exit code is 0.

mod pid1;
mod under_way;

use std::io::ErrorKind;

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::fixture::{agent_on, engine_with_live_log, engine_with_log};
use crate::support::scripted::{Answer, ScriptedEngine};
use crate::support::wait::{self, SOON};

/// Sends the signal and returns when both listeners are closed.
async fn stop(agent: &Agent, signal: Signal) {
    agent.signal(signal);
    for client in [Some(&agent.client), agent.metrics.as_ref()] {
        closed(client.unwrap()).await;
    }
}

/// Nothing is waited for until it is cut off.
async fn ends_by_itself(agent: &Agent) {
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(0));
    let output = agent.output();
    assert!(!output.contains("cut off"), "{output}");
}

async fn closed(client: &Client) {
    wait::until("the listener is closed", SOON, async || {
        let refused = TcpStream::connect(client.address).await;
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
}

#[tokio::test]
async fn ends_an_idle_agent_at_once() {
    let engine = ScriptedEngine::new().start().await;
    for signal in [Signal::TERM, Signal::INT] {
        let agent = agent_on(&engine).await;
        // Kept open by its client, and of no importance.
        let mut session = agent.session().await;
        assert_eq!(session.get("/").await.unwrap().status, 200);
        stop(&agent, signal).await;
        ends_by_itself(&agent).await;
        assert!(agent.output().contains("\"message\":\"stopped\""));
        assert!(session.get("/").await.is_err());
    }
}

#[tokio::test]
async fn ends_streams_with_the_closing_event_of_their_dialect() {
    for signal in [Signal::TERM, Signal::INT] {
        let (answer, logs) = Answer::handed();
        let engine = engine_with_live_log(answer).start().await;
        let agent = agent_on(&engine).await;
        let named = agent.sse("/containers/c/logs/stream").await;
        let unnamed = agent.sse("/containers/c/logs?follow=true").await;
        engine
            .wait("both are open", |state| state.bodies() == 1)
            .await;

        agent.signal(signal);
        let named = named.rest(SOON).await;
        assert_eq!(named.len(), 2, "{named:?}");
        assert_eq!(named[0].name(), "connected");
        assert_eq!(named[1].name(), "close");
        assert_eq!(named[1].data, r#"{"status":"closed"}"#);
        let unnamed = unnamed.rest(SOON).await;
        assert_eq!(unnamed.len(), 1, "{unnamed:?}");
        assert_eq!(unnamed[0].event, None);
        assert_eq!(unnamed[0].data, r#"{"line":"[Log stream ended]"}"#);
        ends_by_itself(&agent).await;
        drop(logs);
    }
}

#[tokio::test]
async fn ends_a_stream_that_never_pauses() {
    let line = crate::support::scripted::line(1, "again and again");
    let frame = bytes::Bytes::from(crate::support::scripted::frame(1, line));
    let endless = Answer::generated(move || std::iter::repeat(frame.clone()));
    let engine = engine_with_log(endless).start().await;
    let agent = agent_on(&engine).await;
    let stream = agent.sse("/containers/c/logs/stream").await;
    engine.wait("it is open", |state| state.bodies() > 0).await;
    agent.signal(Signal::TERM);
    let events = stream.rest(SOON).await;
    assert_eq!(events.last().unwrap().name(), "close");
    ends_by_itself(&agent).await;
}
