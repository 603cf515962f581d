//! Calls whose answers are handed on as the engine wrote them.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use middleware::BoxError;
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    ContainerId, Error,
    apart::Apart,
    stall::Paced,
    wire::{Kept, Wire},
};

/// The most that is read of an answer which the agent must understand.
const MAX_READ: usize = 4 * 1024 * 1024;

/// The most that is read of a list of everything: thousands of containers with all of their labels.
const MAX_LIST: usize = 64 * 1024 * 1024;

/// How long the engine may take for all of such a list.
const LIST: Duration = Duration::from_secs(30);

/// How long the engine may pause within an answer.
const STALL: Duration = Duration::from_secs(30);

/// A header of every answer of Docker's and Podman's `/_ping`, and of nobody else's.
const API_VERSION: &str = "api-version";

/// The engine's answer to a question.
#[derive(Debug)]
pub struct Answer {
    /// As the engine sent it, if it did.
    pub content_type: Option<HeaderValue>,
    /// The untouched bytes, as they arrive.
    pub body: Paced,
}

/// What the agent needs to know of a container; a small part of an inspect.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    /// The full id.
    #[serde(rename = "Id")]
    pub id: String,
    /// The name, with a slash in front.
    #[serde(rename = "Name", default)]
    pub name: String,
    /// The part that is given at its creation.
    #[serde(rename = "Config")]
    pub config: Config,
    /// What it does now.
    #[serde(rename = "State", default)]
    pub state: State,
    /// The part that is of its host.
    #[serde(rename = "HostConfig", default)]
    pub host: HostConfig,
    /// When the engine was asked: all this was so then, or later.
    #[serde(skip, default = "Instant::now")]
    pub asked: Instant,
}

/// The part of [`Facts`] that is of the container's host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct HostConfig {
    /// How its log is kept.
    #[serde(rename = "LogConfig", default)]
    pub log: LogConfig,
}

/// How a container's log is kept; a part of [`HostConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "LogDriver")]
pub struct LogConfig {
    /// Whether the engine puts it into several files, of which the oldest go in the end.
    pub rotates: bool,
    /// Whether each part of a line that the engine has cut may have a time of its own.
    pub times_parts: bool,
}

/// The same as the engine writes it.
#[derive(Deserialize)]
struct LogDriver {
    #[serde(rename = "Type", default)]
    name: String,
    #[serde(rename = "Config", default)]
    options: Option<BTreeMap<String, String>>,
}

impl From<LogDriver> for LogConfig {
    fn from(driver: LogDriver) -> Self {
        let options = driver.options.unwrap_or_default();
        Self {
            // Docker reads the time at which the journal took each.
            times_parts: driver.name == "journald",
            rotates: match &*driver.name {
                "" | "none" | "journald" => false,
                "json-file" => options.contains_key("max-size"),
                // `local` does without being asked, and the engine keeps so what goes to others.
                _ => true,
            },
        }
    }
}

/// What a container does at one moment; a part of [`Facts`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "WrittenState")]
pub struct State {
    /// Whether it runs, paused or not; not while the engine waits to start it again.
    pub running: bool,
    /// When it was last started, as the engine writes it: another time is another run.
    pub started_at: String,
}

/// The same as the engine writes it.
#[derive(Deserialize)]
struct WrittenState {
    #[serde(rename = "Running", default)]
    running: bool,
    /// Its process has ended, and is going to be started again; the engine calls that running.
    #[serde(rename = "Restarting", default)]
    restarting: bool,
    #[serde(rename = "StartedAt", default)]
    started_at: String,
}

impl From<WrittenState> for State {
    fn from(written: WrittenState) -> Self {
        Self {
            running: written.running && !written.restarting,
            started_at: written.started_at,
        }
    }
}

impl State {
    /// When it was last started, in nanoseconds since 1970; 0 where it never was.
    pub fn run(&self) -> i64 {
        let begun: Option<Timestamp> = self.started_at.parse().ok();
        let nanos = begun.and_then(|begun| begun.as_nanosecond().try_into().ok());
        nanos.unwrap_or(0_i64).max(0)
    }
}

/// The part of [`Facts`] that is given at a container's creation.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Whether it has a terminal, and so a log without frames.
    #[serde(rename = "Tty", default)]
    pub tty: bool,
    /// The grace period of a stop in seconds: negative for no end, none for the engine's default (10 s).
    #[serde(rename = "StopTimeout", default)]
    pub stop_timeout: Option<i64>,
    /// What its processes find in their environment, the image's part included.
    #[serde(rename = "Env", default)]
    pub env: Env,
}

/// Variables as `NAME=value`. Some are secret, so they are not printed.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "Option<Vec<String>>")]
pub struct Env(pub Vec<String>);

impl From<Option<Vec<String>>> for Env {
    /// The engine writes `null` where there are none.
    fn from(variables: Option<Vec<String>>) -> Self {
        Self(variables.unwrap_or_default())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Env({} variables)", self.0.len())
    }
}

/// A container as it is listed, as much of it as the agent needs.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    /// The full id.
    #[serde(rename = "Id")]
    pub id: String,
    /// `running`, `exited`, …
    #[serde(rename = "State", default)]
    pub state: String,
}

/// Which containers are listed, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Those that do not run too.
    pub all: bool,
    /// Only so many of the newest, running or not.
    pub limit: Option<u32>,
    /// With the sizes of their files, for which the engine looks at all of them.
    pub size: bool,
    /// The engine's filters: by name, the values of which one must fit.
    pub filters: BTreeMap<&'static str, Vec<String>>,
}

impl Default for ListQuery {
    /// All of them.
    fn default() -> Self {
        Self {
            all: true,
            limit: None,
            size: false,
            filters: BTreeMap::new(),
        }
    }
}

impl ListQuery {
    /// Where the engine lists them.
    pub fn path(&self) -> String {
        let mut path = format!("/containers/json?all={}", self.all);
        if let Some(limit) = self.limit {
            write!(path, "&limit={limit}").expect("a String takes everything");
        }
        if self.size {
            path.push_str("&size=true");
        }
        if !self.filters.is_empty() {
            let filters = serde_json::json!(self.filters).to_string();
            path.push_str("&filters=");
            path.extend(form_urlencoded::byte_serialize(filters.as_bytes()));
        }
        path
    }
}

/// How much of a log's end is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// All of it.
    All,
    /// That many lines.
    Lines(u32),
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Lines(lines) => lines.fmt(f),
        }
    }
}

/// Which part of a log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Whether to go on with what is written from now on.
    pub follow: bool,
    /// Where to begin, counted from the end.
    pub tail: Tail,
    /// Nothing that was written before.
    pub since: Option<jiff::Timestamp>,
    /// Nothing that was written after.
    pub until: Option<jiff::Timestamp>,
}

impl LogQuery {
    fn path(&self, id: &str) -> String {
        let mut path = format!(
            "/containers/{id}/logs?stdout=1&stderr=1&timestamps=1&follow={}&tail={}",
            u8::from(self.follow),
            self.tail
        );
        for (name, time) in [("since", self.since), ("until", self.until)] {
            if let Some(time) = time {
                let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
                write!(path, "&{name}={seconds}.{nanos:09}").expect("a String takes everything");
            }
        }
        path
    }
}

/// The engine's API without types.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    wire: Wire,
}

impl Raw {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire }
    }

    /// The answer to `GET path`, if the engine says yes.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Error> {
        let (parts, body) = self.fetch(path).await?.into_parts();
        Ok(Answer {
            content_type: parts.headers.get(CONTENT_TYPE).cloned(),
            body: Paced::new(body, Some(STALL)),
        })
    }

    /// The answer to `GET path` as a whole.
    pub(super) async fn whole(&self, path: &str) -> Result<Bytes, Error> {
        let answer = async { read_all(self.fetch(path).await?.into_body(), MAX_LIST).await };
        timeout(LIST, answer)
            .await
            .unwrap_or(Err(Error::Slow(LIST)))
    }

    /// The answer to `GET path`, which may pause for as long as it likes.
    pub(super) async fn stream(&self, path: &str) -> Result<Response<Paced>, Error> {
        let answer = self.fetch(path).await?;
        Ok(answer.map(|body| Paced::new(body, None)))
    }

    /// The containers that have all of these labels, `key` or `key=value`.
    pub(super) async fn list(&self, labels: &[String]) -> Result<Vec<Listed>, Error> {
        let filters = BTreeMap::from([("label", labels.to_vec())]);
        let query = ListQuery {
            filters,
            ..ListQuery::default()
        };
        let answer = self.fetch(&query.path()).await?;
        let bytes = read(answer.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(Error::broken)
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        match self.fetch("/_ping").await {
            Ok(answer) if answer.headers().contains_key(API_VERSION) => Ok(()),
            // A proxy in front of the engine may refuse a ping, and then says so itself.
            Ok(_) | Err(Error::Broken(_) | Error::Refused { .. }) => Err(Error::NotAnEngine),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn facts(&self, id: &ContainerId) -> Result<Facts, Error> {
        let asked = Instant::now();
        let answer = self.fetch(&id.path()).await?;
        let bytes = read(answer.into_body()).await?;
        let facts = serde_json::from_slice(&bytes).map_err(Error::broken)?;
        Ok(Facts { asked, ..facts })
    }

    pub(super) async fn logs(
        &self,
        facts: &Facts,
        query: &LogQuery,
    ) -> Result<Paced<Apart>, Error> {
        let answer = self.wire.get_apart(&query.path(&facts.id)).await?;
        let body = accepted(answer).await?.into_body();
        // What is followed may be quiet for as long as its container is.
        let body = Paced::new(body, (!query.follow).then_some(STALL));
        // Where a log is read from some time on, the engine searches all that is older first, in silence.
        Ok(match query.since {
            Some(_) => body.patient_at_first(),
            None => body,
        })
    }

    async fn fetch(&self, path: &str) -> Result<Response<Kept>, Error> {
        accepted(self.wire.get(path).await?).await
    }
}

/// The answer, if the engine says yes.
async fn accepted<B>(answer: Response<B>) -> Result<Response<B>, Error>
where
    B: Body<Error: Into<BoxError>>,
{
    match answer.status() {
        StatusCode::OK => Ok(answer),
        status if status.as_u16() >= 400 => Err(refusal(answer).await),
        status => Err(Error::broken(format!("unexpected status {status}"))),
    }
}

/// An answer's body as a whole, if it is not too long to be true.
async fn read<B: Body<Error: Into<BoxError>>>(body: B) -> Result<Bytes, Error> {
    read_all(body, MAX_READ).await
}

async fn read_all<B: Body<Error: Into<BoxError>>>(body: B, most: usize) -> Result<Bytes, Error> {
    let whole = Limited::new(body, most).collect().await;
    Ok(whole.map_err(Error::broken)?.to_bytes())
}

/// The error that an answer of 400 or more is.
pub(super) async fn refusal<B: Body<Error: Into<BoxError>>>(answer: Response<B>) -> Error {
    let status = answer.status();
    match read(answer.into_body()).await {
        Ok(body) => {
            let mut message = message(&body);
            if message.is_empty() {
                message = status.canonical_reason().unwrap_or("no reason").into();
            }
            Error::Refused { status, message }
        }
        Err(error) => error,
    }
}

/// What the engine says in an answer that is an error.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    match serde_json::from_slice::<Said>(body) {
        Ok(said) => said.message,
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn reads_an_environment_and_takes_null_for_none() {
        let given = config(r#"{"Tty":true,"Env":["A=1","B="]}"#);
        assert_eq!(given.env.0, ["A=1", "B="]);
        for none in ["{}", r#"{"Env":null}"#, r#"{"Env":[]}"#] {
            assert!(config(none).env.0.is_empty(), "{none}");
        }
    }

    #[test]
    fn knows_which_logs_rotate() {
        for (host, rotates) in [
            ("{}", false),
            (r#"{"LogConfig":{"Type":"json-file","Config":{}}}"#, false),
            (r#"{"LogConfig":{"Type":"json-file","Config":null}}"#, false),
            (
                r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m"}}}"#,
                true,
            ),
            (r#"{"LogConfig":{"Type":"local","Config":{}}}"#, true),
            (r#"{"LogConfig":{"Type":"journald"}}"#, false),
            (r#"{"LogConfig":{"Type":"syslog"}}"#, true),
            (r#"{"LogConfig":{"Type":"fluentd","Config":{}}}"#, true),
        ] {
            let given: HostConfig = serde_json::from_str(host).unwrap();
            assert_eq!(given.log.rotates, rotates, "{host}");
        }
    }

    #[test]
    fn knows_whose_parts_have_times_of_their_own() {
        for (driver, expected) in [("journald", true), ("json-file", false), ("local", false)] {
            let host = format!(r#"{{"LogConfig":{{"Type":"{driver}"}}}}"#);
            let given: HostConfig = serde_json::from_str(&host).unwrap();
            assert_eq!(given.log.times_parts, expected, "{driver}");
        }
    }

    #[test]
    fn does_not_print_an_environment() {
        let printed = format!("{:?}", config(r#"{"Env":["A=hunter2"]}"#));
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
