//! Known requests give known counts.

use docker_ps_agent::telemetry::name::{
    BYTES, CONNECTIONS, IN_FLIGHT, LINES, REFUSED_KEYS, REQUEST_SECONDS, REQUESTS, STREAMS,
};

use super::samples::{Samples, becomes};
use crate::support::fixture::{agent_on, engine_with_live_log, engine_with_log};
use crate::support::scripted::{Answer, Gate, STDOUT, ScriptedEngine, frame, line, timestamp};
use crate::support::wait::SOON;

#[tokio::test]
async fn of_requests_are_by_template_method_and_status() {
    let engine = ScriptedEngine::new()
        .route("GET", "/containers/json", Answer::json(200, "[]"))
        .route("GET", "/containers/one/json", Answer::json(200, "{}"))
        .start()
        .await;
    let agent = agent_on(&engine).await;
    let wrong = [("x-auth-key", "wrong")];
    for (method, path, headers) in [
        ("GET", "/containers", &[][..]),
        ("GET", "/containers?all=1", &[]),
        ("HEAD", "/containers", &[]),
        ("POST", "/containers", &[]),
        ("GET", "/containers", &wrong),
        ("GET", "/containers/one", &[]),
        ("GET", "/containers/two", &[]),
        ("GET", "/containers/%20", &[]),
    ] {
        agent.request(method, path, headers, "").await;
    }
    let samples = Samples::of(&agent).await;
    let all = "/containers";
    let one = "/containers/{id}";
    for (route, method, status, wanted) in [
        (all, "GET", "200", 2.0),
        (all, "HEAD", "200", 1.0),
        (all, "POST", "405", 1.0),
        (all, "GET", "401", 1.0),
        (one, "GET", "200", 1.0),
        (one, "GET", "404", 1.0),
        (one, "GET", "400", 1.0),
    ] {
        let labels = [("route", route), ("method", method), ("status", status)];
        assert_eq!(samples.sum(REQUESTS, &labels), wanted, "{labels:?}");
    }
    assert_eq!(samples.sum(REQUESTS, &[]), 8.0);
    let count = format!("{REQUEST_SECONDS}_count");
    assert_eq!(samples.sum(&count, &[]), 8.0);
    let labels = [("route", one), ("method", "GET")];
    assert_eq!(samples.sum(&count, &labels), 3.0);
    let below_30 = [("route", one), ("le", "30")];
    assert_eq!(
        samples.sum(&format!("{REQUEST_SECONDS}_bucket"), &below_30),
        3.0
    );
}

#[tokio::test]
async fn of_refused_keys_are_by_reason() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    // There before the first, so that an alert on their rate sees the first.
    assert!(Samples::of(&agent).await.has(REFUSED_KEYS));
    agent.get_with_key("/", None).await;
    agent.get_with_key("/nothing", None).await;
    agent.get_with_key("/", Some("wrong")).await;
    agent.get_with_key("/", Some("")).await;
    let twice = [("x-auth-key", agent.key.as_str()); 2];
    agent.request("GET", "/", &twice, "").await;
    agent.get("/").await;
    let samples = Samples::of(&agent).await;
    assert_eq!(samples.sum(REFUSED_KEYS, &[("reason", "missing")]), 2.0);
    assert_eq!(samples.sum(REFUSED_KEYS, &[("reason", "wrong")]), 3.0);
}

#[tokio::test]
async fn of_streams_lines_and_bytes_follow_what_is_sent() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log).start().await;
    let agent = agent_on(&engine).await;
    let route = [("route", "/containers/{id}/logs/stream")];
    let mut one = agent.sse("/containers/c/logs/stream").await;
    let handle = handles.of_an_empty_log().await;
    let other = agent.sse("/containers/c/logs/stream").await;
    becomes(&agent, STREAMS, &route, 2.0).await;
    becomes(&agent, IN_FLIGHT, &[], 2.0).await;

    for number in 1..=3 {
        assert!(handle.send(frame(STDOUT, line(number, "text"))).await);
    }
    for _ in 0..4 {
        one.next(SOON).await.unwrap();
    }
    // To each of the two.
    becomes(&agent, LINES, &route, 6.0).await;
    drop((handle, other));
    assert_eq!(one.next(SOON).await.unwrap().name(), "close");
    becomes(&agent, STREAMS, &[], 0.0).await;
    becomes(&agent, IN_FLIGHT, &[], 0.0).await;
    // The same length as the original has no bearing here: it is that of the events, closing one included or not.
    let lines = 6 * format!(
        "event: log\nid: 4fa6e0f0c678.1704067200000000001.o0\ndata: {{\"log\":\"{} text\"}}\n\n",
        timestamp(1)
    )
    .len();
    let bytes = Samples::of(&agent).await.sum(BYTES, &route);
    assert!(
        bytes >= lines as f64 && bytes < (lines + 500) as f64,
        "{bytes}"
    );
}

#[tokio::test]
async fn of_a_download_are_those_of_the_file() {
    let log: Vec<u8> = (1..=10)
        .flat_map(|n| frame(STDOUT, line(n, "text")))
        .collect();
    let engine = engine_with_log(Answer::bytes(200, log)).start().await;
    let agent = agent_on(&engine).await;
    let file = agent.get("/containers/c/logs/download").await;
    let route = [("route", "/containers/{id}/logs/download")];
    becomes(&agent, LINES, &route, 10.0).await;
    becomes(&agent, BYTES, &route, file.body.len() as f64).await;
    becomes(&agent, STREAMS, &route, 0.0).await;
}

#[tokio::test]
async fn of_connections_are_those_that_are_open() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    let api = [("listener", "api")];
    becomes(&agent, CONNECTIONS, &api, 0.0).await;
    let sessions = [agent.session().await, agent.session().await];
    becomes(&agent, CONNECTIONS, &api, 2.0).await;
    // The one that asks.
    becomes(&agent, CONNECTIONS, &[("listener", "metrics")], 1.0).await;
    drop(sessions);
    becomes(&agent, CONNECTIONS, &api, 0.0).await;
}

#[tokio::test]
async fn of_requests_in_flight_include_those_whose_client_leaves() {
    let gate = Gate::shut();
    let list = Answer::json(200, "[]").behind(&gate);
    let engine = ScriptedEngine::new().route("GET", "/containers/json", list);
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let client = agent.client.clone();
    let asked = tokio::spawn(async move { client.get("/containers").await });
    becomes(&agent, IN_FLIGHT, &[], 1.0).await;
    asked.abort();
    becomes(&agent, IN_FLIGHT, &[], 0.0).await;
    let left = [("route", "/containers"), ("status", "499")];
    becomes(&agent, REQUESTS, &left, 1.0).await;
}
