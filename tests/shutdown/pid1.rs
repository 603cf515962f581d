//! In a container the agent is process 1, for which the kernel has no default: a signal that it does not handle is
//! lost.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::ends_by_itself;
use crate::support::agent::{Agent, AgentBuilder};
use crate::support::fixture::engine_with_log;
use crate::support::scripted::Answer;
use crate::support::wait::{self, SOON};

fn as_pid_1(builder: AgentBuilder) -> AgentBuilder {
    builder
        .program("unshare")
        .args_before(&["--pid", "--fork", "--kill-child"])
        .arg(env!("CARGO_BIN_EXE_docker-ps-agent"))
}

/// The number, out here, of the one child of `parent`.
fn child_of(parent: u32) -> Pid {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(children).unwrap();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

#[tokio::test]
async fn ends_on_a_signal_as_process_1_too() {
    for signal in [Signal::TERM, Signal::INT] {
        let (answer, _logs) = Answer::handed();
        let engine = engine_with_log(answer).start().await;
        let builder = Agent::builder().docker_host(engine.docker_host());
        let agent = as_pid_1(builder).start().await;
        let child = child_of(agent.pid());
        let status = fs::read_to_string(format!("/proc/{}/status", child.as_raw_nonzero()));
        let status = status.unwrap();
        assert!(status.contains("docker-ps-agent"), "{status}");
        let ids = status.lines().find(|line| line.starts_with("NSpid:"));
        assert!(ids.unwrap().ends_with("\t1"), "{status}");

        let stream = agent.sse("/containers/c/logs/stream").await;
        kill_process(child, signal).unwrap();
        let events = stream.rest(SOON).await;
        assert_eq!(events.last().unwrap().name(), "close");
        ends_by_itself(&agent).await;
    }
}

#[tokio::test]
async fn ends_on_a_signal_that_comes_while_it_starts() {
    let engine = crate::support::scripted::ScriptedEngine::new();
    let engine = engine.route("GET", "/_ping", Answer::hang_head());
    let engine = engine.start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let agent = as_pid_1(builder).spawn();
    engine
        .wait("the engine is asked", |state| state.waiting == 1)
        .await;
    kill_process(child_of(agent.pid()), Signal::TERM).unwrap();
    // Before the ten seconds are over that the engine has.
    let soon = std::time::Duration::from_secs(5);
    wait::until("it has ended", soon, async || agent.exited().is_some()).await;
    assert_eq!(agent.exited().unwrap().code(), Some(0));
}
