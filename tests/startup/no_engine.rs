//! Without an engine the agent says so, why, and what to do, and ends before it makes a key.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::agent::{Agent, AgentBuilder};
use crate::support::nobody::Nobody;
use crate::support::scripted::{Answer, ScriptedEngine};
use crate::support::wait::SOON;

/// The output of an agent that must give up.
async fn gives_up(builder: &AgentBuilder, within: Duration) -> String {
    let agent = builder.spawn();
    let status = agent.wait_exit(within).await;
    let said = agent.output();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("Cannot connect to Docker Daemon"), "{said}");
    let mount = "-v /var/run/docker.sock:/var/run/docker.sock";
    assert!(said.contains(mount), "{said}");
    assert_eq!(agent.printed_key(), None);
    assert!(!builder.key_file().exists(), "a key was made");
    said
}

async fn gives_up_on(host: &str) -> String {
    gives_up(&Agent::builder().docker_host(host), SOON).await
}

#[tokio::test]
async fn names_a_socket_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let host = format!("unix://{}/docker.sock", folder.path().display());
    let said = gives_up_on(&host).await;
    assert!(said.contains(&format!("{host}: no such file")), "{said}");
}

#[tokio::test]
async fn names_a_path_that_is_no_socket() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let said = gives_up_on(&format!("unix://{}", file.path().display())).await;
    assert!(said.contains("connection refused"), "{said}");
}

#[tokio::test]
async fn names_the_owner_and_the_group_of_a_forbidden_socket() {
    let engine = ScriptedEngine::new().start().await;
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(engine.socket().parent().unwrap(), 0o755);
    open(engine.socket(), 0o660);
    chown(engine.socket(), Some(0), Some(54_321)).unwrap();
    let nobody = Nobody::new();
    let agent = nobody.agent().docker_host(engine.docker_host());
    let said = gives_up(&agent, SOON).await;
    for part in [
        "permission denied",
        "user 0",
        "group 54321",
        "--group-add 54321",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }

    // The advice is right: with the group it starts.
    let advised = nobody
        .agent_in_group(54_321)
        .docker_host(engine.docker_host());
    assert_eq!(advised.start().await.get("/").await.text(), "OK");
}

/// However little is to be logged.
#[tokio::test]
async fn says_why_where_errors_are_not_logged() {
    for filter in ["off", "hyper=debug"] {
        let agent = Agent::builder().docker_host("unix:///nowhere/docker.sock");
        let said = gives_up(&agent.env("RUST_LOG", filter), SOON).await;
        assert!(said.contains("no such file"), "{said}");
    }
}

#[tokio::test]
async fn says_that_nobody_listens_on_a_dead_socket() {
    let engine = ScriptedEngine::new().start().await;
    engine.crash().await;
    let said = gives_up_on(&engine.docker_host()).await;
    assert!(
        said.contains("connection refused; the socket is there"),
        "{said}"
    );
}

#[tokio::test]
async fn says_that_a_port_is_closed() {
    // Bound and not listening: nobody else can take it meanwhile.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    closed.bind(&any.into()).unwrap();
    let port = closed.local_addr().unwrap().as_socket().unwrap().port();
    let said = gives_up_on(&format!("tcp://127.0.0.1:{port}")).await;
    let wanted = format!("http://127.0.0.1:{port}: connection refused");
    assert!(said.contains(&wanted), "{said}");
}

#[tokio::test]
async fn tells_other_servers_from_an_engine() {
    for answer in [
        Answer::bytes(200, "OK"),
        Answer::message(404, "page not found"),
        Answer::message(500, "out of order"),
        Answer::empty(302).header("Location", "/login"),
        Answer::garbage("SSH-2.0-OpenSSH_9.2\r\n"),
        Answer::garbage(""),
    ] {
        let engine = ScriptedEngine::new().route("GET", "/_ping", answer);
        let engine = engine.start().await;
        let said = gives_up_on(&engine.docker_host()).await;
        assert!(said.contains("is not a Docker Engine"), "{said}");
    }
}

#[tokio::test]
async fn does_not_wait_for_ever_for_an_engine_that_hangs() {
    let engine = ScriptedEngine::new().route("GET", "/_ping", Answer::hang_head());
    let engine = engine.start().await;
    let begun = Instant::now();
    let agent = Agent::builder().docker_host(engine.docker_host());
    let said = gives_up(&agent, Duration::from_secs(10) + SOON).await;
    assert!(said.contains("no answer within 10 s"), "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(10), "too impatient");
}
