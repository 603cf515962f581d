//! Prometheus, as `deploy/prometheus.yml` sets it up, scrapes the agent.

use std::process::Stdio;

use tokio::process::Command;

use super::proxy::{deployed, free_port};
use crate::contract::host::Host;
use crate::support::client::Client;
use crate::support::wait::{self, SOON};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_the_agent() {
    let host = Host::start().await;
    let folder = tempfile::tempdir().unwrap();
    let metrics = host.agent.metrics.as_ref().unwrap().address;
    let config = deployed("prometheus.yml")
        .swap("localhost:9464", &metrics.to_string())
        .swap("scrape_interval: 15s", "scrape_interval: 1s");
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config.0).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "config"])
        .arg(&file)
        .output();
    let checked = checked
        .await
        .expect("promtool is there: install prometheus");
    assert!(checked.status.success(), "{checked:?}");

    let port = free_port();
    let _prometheus = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("prometheus cannot be started ({error}): install it"));
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    wait::until("prometheus listens", 2 * SOON, async || {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    let prometheus = Client::new(address);
    for (query, value) in [("up", "1"), ("docker_ps_agent_engine_reachable", "1")] {
        wait::until(query, 2 * SOON, async || {
            let reply = prometheus
                .get(&format!("/api/v1/query?query={query}"))
                .await;
            reply.status == 200 && reply.json()["data"]["result"][0]["value"][1] == value
        })
        .await;
    }
}
