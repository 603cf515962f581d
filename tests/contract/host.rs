//! A Docker host with an agent on it, and the engine's own words to hold the agent's against.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use crate::support::agent::{Agent, AgentBuilder};
use crate::support::dockerd::RealEngine;
use crate::support::wait::{self, SOON};

/// The length of the time in front of a line, and of the space behind it.
pub const STAMP: usize = "2006-01-02T15:04:05.000000000Z ".len();

/// An agent on the engine that tests share.
pub struct Host {
    pub agent: Agent,
    pub engine: Arc<RealEngine>,
}

impl Host {
    pub async fn start() -> Self {
        Self::with(Agent::builder()).await
    }

    pub async fn with(agent: AgentBuilder) -> Self {
        let engine = RealEngine::shared().await;
        let agent = agent.docker_host(engine.docker_host()).start().await;
        Self { agent, engine }
    }

    /// Runs a script to its end; the container stays, with its log.
    pub async fn ran(&self, name: &str, options: &[&str], script: &str) -> String {
        let id = self.engine.run(name, options, script).await;
        self.engine.docker(&["wait", name]).await;
        id
    }

    /// The lines of `GET` of a path that answers a log once; each is checked to begin with its time.
    pub async fn lines(&self, path: &str) -> Vec<String> {
        let reply = self.agent.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let answer = reply.json();
        let members = answer.as_object().unwrap();
        assert_eq!(members.len(), 1, "{:?}", members.keys());
        let lines = members["logs"].as_array().unwrap().iter();
        let lines: Vec<String> = lines
            .map(|line| line.as_str().unwrap().to_owned())
            .collect();
        for line in &lines {
            text(line);
        }
        lines
    }

    /// All of a container's log at once, without the times.
    pub async fn texts(&self, name: &str) -> Vec<String> {
        let path = format!("/containers/{name}/logs?tail=all");
        let lines = self.lines(&path).await;
        lines.iter().map(|line| text(line).to_owned()).collect()
    }

    /// All of a container's log, as the engine itself sends it.
    pub async fn raw_log(&self, name: &str) -> Bytes {
        let path = format!("/containers/{name}/logs?stdout=1&stderr=1&timestamps=1");
        self.engine.raw("GET", &path).await.2
    }

    /// What the engine inspects now, of a container or another thing.
    pub async fn inspect(&self, path: &str) -> serde_json::Value {
        let (status, _, body) = self.engine.raw("GET", path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        serde_json::from_slice(&body).unwrap()
    }

    /// Asserts that the agent answers `path` with the very bytes of the engine's answer to `engine_path`.
    ///
    /// Other tests change the engine meanwhile, and a status may hold the time: the engine is asked before and after.
    pub async fn assert_untouched(&self, path: &str, engine_path: &str) {
        let what = format!("GET {path} is the engine's {engine_path}");
        wait::until(&what, SOON, async || {
            let (status, headers, before) = self.engine.raw("GET", engine_path).await;
            let ours = self.agent.get(path).await;
            let (.., after) = self.engine.raw("GET", engine_path).await;
            assert_eq!(ours.status, status, "{what}");
            let types = (ours.header("content-type"), &headers["content-type"]);
            assert_eq!(types.0.unwrap(), types.1);
            ours.body == before || ours.body == after
        })
        .await;
    }

    /// Asserts that the agent refuses `path` with the status and the message of the engine's own refusal.
    pub async fn assert_refused_alike(&self, path: &str, method: &str, engine_path: &str) {
        let (status, _, said) = self.engine.raw(method, engine_path).await;
        assert!(status.as_u16() >= 400, "{engine_path}: {status}");
        let ours = self.agent.get(path).await;
        assert_eq!(ours.status, status, "{path}");
        assert_eq!(ours.header("content-type"), Some("application/json"));
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        assert_eq!(
            ours.json(),
            refusal(path, said["message"].as_str().unwrap())
        );
    }
}

/// What is said where this path is refused: of a download, also where the app looks for it.
pub fn refusal(path: &str, message: &str) -> serde_json::Value {
    match path.contains("/logs/download") {
        true => serde_json::json!({ "message": message, "error": message }),
        false => serde_json::json!({ "message": message }),
    }
}

/// A line's text; panics where it does not begin with a time as the engine writes it.
pub fn text(line: &str) -> &str {
    let form = b"dddd-dd-ddTdd:dd:dd.dddddddddZ ";
    let fits = |(want, is): (&u8, u8)| match want {
        b'd' => is.is_ascii_digit(),
        other => is == *other,
    };
    let is_time = line.len() >= STAMP && form.iter().zip(line.bytes()).all(fits);
    assert!(is_time, "no time in front of {line:?}");
    &line[STAMP..]
}

/// The frames of an engine's log: stream and payload.
pub fn frames(mut log: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [stream, 0, 0, 0, a, b, c, d, rest @ ..] = log {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        frames.push((*stream, rest[..length].to_vec()));
        log = &rest[length..];
    }
    assert!(log.is_empty(), "no frame: {log:?}");
    frames
}

/// A refusal in the one form that there is: JSON with a message, which is not empty.
pub fn assert_refused(reply: &crate::support::client::Reply, status: u16, what: &str) {
    assert_eq!(reply.status, status, "{what}: {reply:?}");
    let json = reply.header("content-type");
    assert_eq!(json, Some("application/json"), "{what}");
    let answer: serde_json::Value = reply.json();
    let message = answer["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{what}");
    // With another method it is no download.
    let path = if status == 405 { "" } else { what };
    assert_eq!(answer, refusal(path, message), "{what}");
}
