//! The listeners: which interfaces, which ports, and what if they are taken.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::scripted::ScriptedEngine;
use crate::support::wait::SOON;

#[tokio::test]
async fn answers_ipv6_and_ipv4_on_all_interfaces() {
    let engine = ScriptedEngine::new().start().await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .env("LISTEN_ADDR", "[::]:0")
        .env("METRICS_ADDR", "[::]:0")
        .start()
        .await;
    for client in [&agent.client, agent.metrics.as_ref().unwrap()] {
        assert!(client.address.is_ipv6());
        assert_ne!(client.get("/").await.status, 503);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, client.address.port()));
        let client = Client {
            address,
            ..client.clone()
        };
        assert_ne!(client.get("/").await.status, 503);
    }
}

#[tokio::test]
async fn says_which_port_is_taken() {
    let engine = ScriptedEngine::new().start().await;
    for (name, variable) in [("api", "LISTEN_ADDR"), ("metrics", "METRICS_ADDR")] {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let agent = Agent::builder()
            .docker_host(engine.docker_host())
            .env(variable, &address)
            .spawn();
        let status = agent.wait_exit(SOON).await;
        let said = agent.output();
        assert_eq!(status.code(), Some(1), "{said}");
        for part in ["Address already in use", &address, name] {
            assert!(said.contains(part), "{part} is not in:\n{said}");
        }
    }
}

#[tokio::test]
async fn says_what_is_wrong_with_a_bad_address() {
    for (variable, value) in [
        ("LISTEN_ADDR", "3000"),
        ("LISTEN_ADDR", "localhost:3000"),
        ("METRICS_ADDR", "on"),
    ] {
        let agent = Agent::builder().env(variable, value).spawn();
        assert!(!agent.wait_exit(SOON).await.success());
        assert!(agent.output().contains(value), "{}", agent.output());
    }
}

#[tokio::test]
async fn has_no_metrics_listener_where_it_is_switched_off() {
    let engine = ScriptedEngine::new().start().await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .env("METRICS_ADDR", "off")
        .start()
        .await;
    assert_eq!(agent.get("/").await.text(), "OK");
    assert!(!agent.output().contains("\"listener\":\"metrics\""));
    // One listening socket, that of the API.
    let of_agent = format!("/proc/{}/net/tcp", agent.pid());
    let inodes: Vec<String> = std::fs::read_to_string(of_agent)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A")
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let listening = std::fs::read_dir(format!("/proc/{}/fd", agent.pid()))
        .unwrap()
        .filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok())
        .filter(|link| {
            inodes
                .iter()
                .any(|inode| link.as_os_str() == inode.as_str())
        });
    assert_eq!(listening.count(), 1);
}

/// Compose sets those to nothing that its own environment does not have.
#[tokio::test]
async fn an_empty_variable_is_none() {
    let mut agent = Agent::builder();
    for name in [
        "SHOW_KEY",
        "RUST_LOG",
        "MAX_LINE_BYTES",
        "REDACT",
        "REDACT_NAMES",
        "MAX_CONNECTIONS",
        "MAX_LOG_READERS",
    ] {
        agent = agent.env(name, "");
    }
    let engine = ScriptedEngine::new().start().await;
    // It waits for what the agent says at the level that is there without `RUST_LOG`.
    let agent = agent.docker_host(engine.docker_host()).start().await;
    assert_eq!(agent.get("/").await.status, 200);
    assert!(agent.printed_key().is_some());
}
