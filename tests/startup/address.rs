//! `DOCKER_HOST` says where the engine is.

use crate::support::agent::Agent;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, ScriptedEngine};
use crate::support::wait::SOON;

fn scripted() -> ScriptedEngine {
    ScriptedEngine::new().route("GET", "/containers/json", Answer::json(200, "[]"))
}

#[tokio::test]
async fn reaches_an_engine_on_a_unix_socket() {
    let engine = scripted().start().await;
    let agent = agent_on(&engine).await;
    assert_eq!(agent.get("/containers").await.text(), "[]");
    assert_eq!(engine.requests()[1].headers["host"], "docker");
}

#[tokio::test]
async fn reaches_an_engine_over_tcp_by_address_and_by_name() {
    let engine = scripted().tcp().start().await;
    let address = engine.docker_host().replace("tcp://", "");
    let port = address.rsplit(':').next().unwrap();
    for host in [
        format!("tcp://{address}"),
        format!("http://{address}/"),
        format!("tcp://localhost:{port}"),
    ] {
        let agent = Agent::builder().docker_host(&host).start().await;
        assert_eq!(agent.get("/containers").await.text(), "[]", "{host}");
    }
}

#[tokio::test]
async fn wins_over_the_environments_name() {
    let engine = scripted().start().await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .env("NODE_ENV", "production");
    assert_eq!(agent.start().await.get("/containers").await.text(), "[]");
}

#[tokio::test]
async fn is_lost_to_the_flag() {
    let engine = scripted().start().await;
    let agent = Agent::builder()
        .docker_host("unix:///nowhere.sock")
        .arg("--docker-host")
        .arg(engine.docker_host());
    assert_eq!(agent.start().await.get("/containers").await.text(), "[]");
}

#[tokio::test]
async fn says_what_is_wrong_with_a_bad_one() {
    for (host, wanted) in [
        ("ssh://engine", "must begin with unix://, tcp:// or http://"),
        ("https://engine:2376", "must begin with"),
        ("/var/run/docker.sock", "must begin with"),
        ("unix://docker.sock", "unix:// needs an absolute path"),
        ("tcp://engine:http", "needs a host and perhaps a port"),
        ("tcp://", "needs a host"),
    ] {
        let agent = Agent::builder().docker_host(host);
        let process = agent.spawn();
        let status = process.wait_exit(SOON).await;
        let said = process.output();
        assert!(
            status.code().is_some_and(|code| code > 0),
            "{host}: {status}"
        );
        assert!(said.contains(wanted) && said.contains(host), "{said}");
        assert!(said.contains("--docker-host"), "{said}");
        assert!(!agent.key_file().exists());
    }
}
