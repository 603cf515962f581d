//! The metrics are on a listener of their own, in Prometheus' format, all of them.

use std::io::Write;
use std::process::{Command, Stdio};

use docker_ps_agent::telemetry::name;

use super::samples::Samples;
use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, RunningEngine, STDOUT, ScriptedEngine, frame, line};

/// An agent after a request of each kind.
async fn busy() -> (RunningEngine, Agent) {
    let log = Answer::bytes(200, frame(STDOUT, line(1, "one")));
    let engine = engine_with_log(log)
        .route("GET", "/containers/json", Answer::json(200, "[]"))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    for path in [
        "/",
        "/containers",
        "/containers/c/logs",
        "/containers/c/logs/stream",
        "/containers/c/logs/download",
        "/images",
        "/nothing",
    ] {
        agent.get(path).await;
    }
    agent.get_with_key("/", None).await;
    agent.get_with_key("/", Some("wrong")).await;
    (engine, agent)
}

#[tokio::test]
async fn is_on_a_listener_of_its_own_and_only_there() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    assert_eq!(agent.get("/metrics").await.status, 404);
    assert_eq!(agent.get_with_key("/metrics", None).await.status, 401);

    let metrics = agent.metrics.as_ref().unwrap();
    let reply = metrics.get("/metrics").await;
    assert_eq!(reply.status, 200);
    let text = Some("text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(reply.header("content-type"), text);
    assert_eq!(metrics.get("/metrics?name[]=x").await.status, 200);
    let head = metrics.request("HEAD", "/metrics", &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    // Nothing else is there, with the key or without.
    for client in [metrics.clone(), metrics.with_key(&agent.key)] {
        for path in ["/", "/containers", "/metrics/", "/metricsx"] {
            let reply = client.get(path).await;
            assert_eq!(reply.status, 404, "{path}");
            assert!(reply.json()["message"].is_string());
        }
        let reply = client.request("POST", "/metrics", &[], "").await;
        assert_eq!(reply.status, 405);
        assert_eq!(reply.header("allow"), Some("GET, HEAD"));
    }
}

#[tokio::test]
async fn has_every_metric() {
    let (_engine, agent) = busy().await;
    let samples = Samples::of(&agent).await;
    for name in [
        name::REQUESTS,
        name::IN_FLIGHT,
        name::REFUSED_KEYS,
        name::CONNECTIONS,
        name::ENGINE_CALLS,
        name::ENGINE_REACHABLE,
        name::STREAMS,
        name::LINES,
        name::BYTES,
        name::BUILD,
    ] {
        assert!(samples.has(name), "{name} is missing");
    }
    for name in [name::REQUEST_SECONDS, name::ENGINE_SECONDS] {
        for part in ["bucket", "sum", "count"] {
            assert!(samples.has(&format!("{name}_{part}")), "{name}_{part}");
        }
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(samples.sum(name::BUILD, &version), 1.0);
}

#[tokio::test]
async fn knows_the_process() {
    let (_engine, agent) = busy().await;
    let samples = Samples::of(&agent).await;
    let process = |metric: &str| {
        let name = format!("{}process_{metric}", name::PROCESS);
        assert!(samples.has(&name), "{name} is missing");
        samples.sum(&name, &[])
    };
    assert!(process("cpu_seconds_total") >= 0.0);
    assert!(process("cpu_seconds_total") < 60.0);
    let resident = process("resident_memory_bytes");
    let (half, twice) = (
        agent.rss_bytes() as f64 / 2.0,
        agent.rss_bytes() as f64 * 2.0,
    );
    assert!((half..twice).contains(&resident), "{resident}");
    assert!(process("open_fds") >= 5.0 && process("open_fds") < process("max_fds"));
    assert!(process("threads") >= 2.0);
    // Unix time, some time after these lines were written.
    assert!(process("start_time_seconds") > 1_700_000_000.0);
}

#[tokio::test]
async fn is_as_prometheus_wants_it() {
    let (_engine, agent) = busy().await;
    let text = agent.metrics.as_ref().unwrap().get("/metrics").await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: install prometheus");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(&text.body).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "{said}\n{}",
        text.text()
    );
}
