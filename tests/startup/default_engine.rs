//! Without `DOCKER_HOST`: the socket in production, port 2375 and then the socket elsewhere. Tried in namespaces
//! of their own, since both places may be taken on the machine, and the other listeners' default ports too.

use std::path::Path;

use crate::support::agent::{Agent, AgentBuilder, Process};
use crate::support::scripted::ScriptedEngine;
use crate::support::wait::SOON;

/// Hides the machine's own engine, and puts another in its place if `$SOCKET` says which.
const SET_UP: &str = r#"
busybox ip link set lo up
run=$(readlink -f /var/run)
mount -t tmpfs tmpfs "$run"
test -z "$SOCKET" || ln -s "$SOCKET" "$run/docker.sock"
"#;

/// An engine that can do nothing but answer a ping, on port 2375.
const PORT: &str = r#"
answer='
    while read -r line && test ${#line} -gt 1; do :; done
    printf "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK"
'
busybox nc -ll -p 2375 -e sh -c "$answer" &
until grep -q ':0947 .* 0A ' /proc/net/tcp /proc/net/tcp6; do :; done
"#;

/// An agent behind a script, with mounts, a network and processes of its own: all of it ends with the agent.
fn alone(script: &str) -> AgentBuilder {
    Agent::builder()
        .program("unshare")
        .args_before(&["--mount", "--net", "--pid", "--fork", "--kill-child"])
        .arg("sh")
        .arg("-ec")
        .arg(format!("{SET_UP}{script}\nexec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_docker-ps-agent"))
}

fn with_socket(builder: AgentBuilder, socket: &Path) -> AgentBuilder {
    builder.env("SOCKET", socket)
}

async fn connects_to(agent: &Process, engine: &str) {
    let line = agent
        .wait_for_output("connected to the Docker Engine")
        .await;
    assert!(line.text.contains(engine), "{}", line.text);
    agent.wait_for_output("\"listener\":\"api\"").await;
}

#[tokio::test]
async fn takes_the_socket_in_production() {
    let engine = ScriptedEngine::new().start().await;
    let agent = with_socket(alone(PORT), engine.socket()).env("NODE_ENV", "production");
    connects_to(&agent.spawn(), "unix:///var/run/docker.sock").await;
}

#[tokio::test]
async fn takes_an_empty_docker_host_for_none() {
    let engine = ScriptedEngine::new().start().await;
    let agent = with_socket(alone(PORT), engine.socket())
        .env("NODE_ENV", "production")
        .docker_host("");
    connects_to(&agent.spawn(), "unix:///var/run/docker.sock").await;
}

#[tokio::test]
async fn never_takes_the_port_in_production() {
    let agent = alone(PORT).env("NODE_ENV", "production").spawn();
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(1));
    let wanted = "Cannot connect to Docker Daemon at unix:///var/run/docker.sock: no such file";
    agent.wait_for_output(wanted).await;
}

#[tokio::test]
async fn takes_the_port_in_development_even_if_there_is_a_socket() {
    let engine = ScriptedEngine::new().start().await;
    for name in ["development", "staging", ""] {
        let agent = with_socket(alone(PORT), engine.socket()).env("NODE_ENV", name);
        connects_to(&agent.spawn(), "http://localhost:2375").await;
    }
    assert_eq!(engine.requests().len(), 0);
}

#[tokio::test]
async fn falls_back_to_the_socket_in_development_and_says_so() {
    let engine = ScriptedEngine::new().start().await;
    let agent = with_socket(alone(""), engine.socket());
    connects_to(&agent.spawn(), "unix:///var/run/docker.sock").await;
}

#[tokio::test]
async fn names_the_port_in_development_where_there_is_neither() {
    let agent = alone("").spawn();
    assert_eq!(agent.wait_exit(SOON).await.code(), Some(1));
    let wanted = "Cannot connect to Docker Daemon at http://localhost:2375: connection refused";
    agent.wait_for_output(wanted).await;
}

#[tokio::test]
async fn listens_on_every_interface_at_3000_and_9464_by_default() {
    let engine = ScriptedEngine::new().start().await;
    let agent = with_socket(alone(""), engine.socket())
        .without("LISTEN_ADDR")
        .without("METRICS_ADDR")
        .spawn();
    for address in ["\"address\":\"[::]:3000\"", "\"address\":\"[::]:9464\""] {
        agent.wait_for_output(address).await;
    }
}
