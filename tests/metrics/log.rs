//! The agent's own log: who asked what and how it went, and never the key.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::fixture::{agent_on, engine_with_live_log, engine_with_log};
use crate::support::scripted::{Answer, RunningEngine, STDOUT, ScriptedEngine, frame, line};
use crate::support::wait::{self, SOON};

async fn engine() -> RunningEngine {
    engine_with_log(Answer::bytes(200, frame(STDOUT, line(1, "one"))))
        .route("GET", "/containers/json", Answer::json(200, "[]"))
        .route("POST", "/containers/**", Answer::empty(204))
        .route("GET", "/images/json", Answer::message(500, "out of order"))
        .start()
        .await
}

/// The last event of a request with this id.
async fn told(agent: &Agent, id: &str) -> Value {
    let is_its = |event: &Value| event["span"]["id"] == id && event["seconds"].is_number();
    wait::found(&format!("a line on {id}"), SOON, async || {
        agent.events().into_iter().find(is_its)
    })
    .await
}

#[tokio::test]
async fn tells_who_asked_what_and_how_it_went() {
    let engine = engine().await;
    let agent = agent_on(&engine).await;
    for (id, method, path, key, route, status, level) in [
        (
            "a",
            "GET",
            "/containers",
            &*agent.key,
            "/containers",
            200,
            "INFO",
        ),
        (
            "b",
            "GET",
            "/containers/web?x=y",
            &agent.key,
            "/containers/{id}",
            200,
            "INFO",
        ),
        ("c", "GET", "/nothing", &agent.key, "unknown", 404, "INFO"),
        ("d", "GET", "/images", "wrong", "/images", 401, "INFO"),
        ("e", "GET", "/images", &agent.key, "/images", 500, "WARN"),
        ("f", "POST", "/images", &agent.key, "/images", 405, "INFO"),
    ] {
        let headers = [
            ("x-auth-key", key),
            ("x-request-id", id),
            ("x-forwarded-for", "198.51.100.7, \"evil\""),
        ];
        agent.request(method, path, &headers, "").await;
        let event = told(&agent, id).await;
        assert_eq!(event["level"], level, "{event}");
        assert_eq!(event["message"], "answered", "{event}");
        assert_eq!(event["status"], status, "{event}");
        let (head, all) = (&event["head_seconds"], &event["seconds"]);
        assert!(head.as_f64().unwrap() <= all.as_f64().unwrap(), "{event}");
        assert!(
            all.as_f64().unwrap() < 30.0 && event["bytes"].is_u64(),
            "{event}"
        );
        let span = &event["span"];
        assert!(span["client"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(span["method"], method, "{event}");
        assert_eq!(span["path"], path.split('?').next().unwrap(), "{event}");
        assert_eq!(span["route"], route, "{event}");
        assert_eq!(span["forwarded_for"], "198.51.100.7, \"evil\"");
    }
}

#[tokio::test]
async fn says_of_a_stream_how_long_it_was_and_who_ended_it() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log.clone()).start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/stream";

    let left = agent.sse_with(path, &[("x-request-id", "left")]).await;
    let handle = handles.of_an_empty_log().await;
    drop(left);
    let event = told(&agent, "left").await;
    assert_eq!(event["message"], "client left", "{event}");
    drop(handle);

    let ended = agent.sse_with(path, &[("x-request-id", "ended")]).await;
    handles.of_an_empty_log().await.finish();
    ended.rest(SOON).await;
    let event = told(&agent, "ended").await;
    assert_eq!(event["message"], "answered", "{event}");

    engine.route("GET", "/containers/*/logs", log);
    let torn = [("x-request-id", "torn")];
    let torn = agent
        .client
        .open_with("GET", "/containers/c/logs", &torn, "");
    let torn = torn.await;
    handles.next().await.abort().await;
    torn.read_to_end().await.unwrap_err();
    let event = told(&agent, "torn").await;
    assert_eq!(event["message"], "answer cut short", "{event}");
    assert_eq!(event["level"], "WARN");
}

#[tokio::test]
async fn is_quiet_about_health_checks() {
    let engine = ScriptedEngine::new().start().await;
    let agent = agent_on(&engine).await;
    for _ in 0..3 {
        assert_eq!(agent.get("/").await.status, 200);
    }
    agent.get("/nothing").await;
    agent.wait_for_output("/nothing").await;
    let answered = agent.output().matches("\"answered\"").count();
    assert_eq!(answered, 1, "{}", agent.output());
}

/// Requests of every kind, with the key in every place where a client might put it.
async fn use_the_key_everywhere(agent: &Agent) {
    let key = agent.key.as_str();
    for path in [
        "/",
        "/containers",
        "/containers/c",
        "/containers/c/start",
        "/containers/c/logs",
        "/containers/c/logs/stream",
        "/containers/c/logs/download",
        "/images",
        "/nothing",
    ] {
        agent.get(path).await;
        agent.client.with_key("a-wrong-secret").get(path).await;
        let twice = [("x-auth-key", key), ("x-auth-key", key)];
        agent.request("GET", path, &twice, "").await;
        agent
            .request("GET", &format!("{path}?x-auth-key={key}"), &[], "")
            .await;
    }
    agent
        .raw(format!(
            "GET / HTTP/1.1\r\nx-auth-key: {key}\r\nbad header\r\n\r\n"
        ))
        .await;
    let metrics: &Client = agent.metrics.as_ref().unwrap();
    metrics.with_key(key).get("/metrics").await;
}

#[tokio::test]
async fn never_shows_the_key_but_on_its_own_line() {
    let engine = engine().await;
    for (format, level) in [("json", "trace"), ("pretty", "trace"), ("json", "info")] {
        let agent = Agent::builder()
            .docker_host(engine.docker_host())
            .env("RUST_LOG", level)
            .env("LOG_FORMAT", format)
            .start()
            .await;
        use_the_key_everywhere(&agent).await;
        let end = agent.request("GET", "/the-end", &[], "").await;
        assert_eq!(end.status, 404);
        agent.wait_for_output("/the-end").await;
        agent.kill9();

        let said = agent.output();
        let digits = agent.key.strip_prefix("docker_ps_").unwrap();
        assert_eq!(said.matches(digits).count(), 1, "{said}");
        let digest = hex::encode(Sha256::digest(&agent.key));
        for secret in [&digits[..32], &digits[96..]] {
            assert_eq!(said.matches(secret).count(), 1, "{said}");
        }
        assert!(!said.contains(&digest), "{said}");
        assert!(!said.contains("a-wrong-secret"), "{said}");
    }
}

#[tokio::test]
async fn is_json_line_by_line() {
    let engine = engine().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let agent = builder.env("RUST_LOG", "debug").start().await;
    use_the_key_everywhere(&agent).await;
    agent.get("/containers/%22%0a%7b").await;
    agent.wait_for_output("%22%0a%7b").await;
    agent.kill9();
    for line in agent.lines() {
        if line.text.starts_with("Your Auth Key: ") {
            continue;
        }
        let event = line
            .event()
            .unwrap_or_else(|| panic!("no JSON: {}", line.text));
        for field in ["timestamp", "level", "message", "target"] {
            assert!(event[field].is_string(), "{field}: {event}");
        }
    }
}
