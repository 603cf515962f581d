//! One event.

use std::{collections::HashMap, fmt, str::FromStr, sync::OnceLock};

use bytes::Bytes;
use serde::Deserialize;

use super::SECOND;

/// Nanoseconds since 1970.
pub type Nanos = i64;

/// Which event it is: its time, and its place among those of the same time. It stays the same over restarts
/// of the agent, as long as the engine has the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// When it happened.
    pub nanos: Nanos,
    /// How many came before it at that time.
    pub place: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.nanos, self.place)
    }
}

/// The text is no [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId;

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        fn number<T: FromStr>(text: &str) -> Result<T, InvalidId> {
            // The parsers take a sign too.
            let is_bare = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_bare);
            number.ok_or(InvalidId)
        }
        let (nanos, place) = text.split_once('.').ok_or(InvalidId)?;
        Ok(Self {
            nanos: number(nanos)?,
            place: number(place)?,
        })
    }
}

/// One event.
#[derive(Debug)]
pub struct Event {
    /// Which.
    pub id: Id,
    said: Said,
    encoded: OnceLock<Bytes>,
}

/// What the engine said, as much of it as the agent needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) nanos: Nanos,
    /// The engine's own JSON, in one line.
    line: Bytes,
    kind: String,
    action: String,
    actor: String,
    attributes: HashMap<String, String>,
    scope: String,
}

/// As the engine writes it; `status`, `id` and `from` are what older ones had for containers and images.
#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Action")]
    action: Option<String>,
    #[serde(rename = "Actor")]
    actor: Option<Actor>,
    status: Option<String>,
    id: Option<String>,
    from: Option<String>,
    scope: Option<String>,
    time: Option<Nanos>,
    #[serde(rename = "timeNano")]
    nanos: Option<Nanos>,
}

#[derive(Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<HashMap<String, String>>,
}

impl Said {
    /// Reads a line; none where it is no event.
    pub(super) fn read(line: Bytes) -> Option<Self> {
        let wire: Wire = match serde_json::from_slice(&line) {
            Ok(wire) => wire,
            Err(error) => {
                tracing::warn!(%error, "the engine sent an event that cannot be read");
                return None;
            }
        };
        let actor = wire.actor.unwrap_or_default();
        let mut attributes = actor.attributes.unwrap_or_default();
        if let Some(image) = wire.from.filter(|image| !image.is_empty()) {
            attributes.entry("image".into()).or_insert(image);
        }
        // Whatever it says: a time before 1970 is none, and would have no id.
        let seconds = wire.time.unwrap_or(0).max(0).saturating_mul(SECOND);
        let filled = |text: &String| !text.is_empty();
        Some(Self {
            nanos: wire.nanos.filter(|nanos| *nanos > 0).unwrap_or(seconds),
            line,
            kind: wire.kind.unwrap_or_else(|| "container".into()),
            action: wire.action.or(wire.status).unwrap_or_default(),
            actor: actor.id.filter(filled).or(wire.id).unwrap_or_default(),
            attributes,
            scope: wire.scope.unwrap_or_else(|| "local".into()),
        })
    }

    /// About what it takes in memory: the line, parsed, and as it is sent.
    pub(super) fn size(&self) -> usize {
        3 * self.line.len() + 512
    }

    /// Whether it is this very event.
    pub(super) fn is(&self, event: &Event) -> bool {
        self.nanos == event.said.nanos && self.line == event.said.line
    }

    /// Whether there may be other containers now, others that run or with other names.
    pub(super) fn changes_who_runs(&self) -> bool {
        const THOSE: [&str; 5] = ["create", "destroy", "start", "die", "rename"];
        self.kind == "container" && THOSE.contains(&self.action.as_str())
    }
}

impl Event {
    pub(super) fn new(said: Said, place: u32) -> Self {
        let nanos = said.nanos;
        let encoded = OnceLock::new();
        let id = Id { nanos, place };
        Self { id, said, encoded }
    }

    /// The engine's own JSON, in one line.
    pub fn line(&self) -> &Bytes {
        &self.said.line
    }

    /// What it happened to: `container`, `network`, `image`, …
    pub fn kind(&self) -> &str {
        &self.said.kind
    }

    /// What happened, as the engine says it: `start`, `exec_create: sh`, …
    pub fn action(&self) -> &str {
        &self.said.action
    }

    /// What happened, without what follows a colon.
    pub fn verb(&self) -> &str {
        let action = self.action();
        action.split_once(':').map_or(action, |(verb, _)| verb)
    }

    /// The id of what it happened to.
    pub fn actor(&self) -> &str {
        &self.said.actor
    }

    /// More of what it happened to, labels among it.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.said.attributes.get(name).map(String::as_str)
    }

    /// `local` or `swarm`.
    pub fn scope(&self) -> &str {
        &self.said.scope
    }

    /// The event as it is sent, made by `encode` the first time.
    pub fn encoded(&self, encode: impl FnOnce() -> Bytes) -> Bytes {
        self.encoded.get_or_init(encode).clone()
    }

    /// See [`Said::size`].
    pub(super) fn size(&self) -> usize {
        self.said.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &'static str) -> Event {
        Event::new(Said::read(Bytes::from_static(line.as_bytes())).unwrap(), 0)
    }

    #[test]
    fn reads_what_engines_say() {
        let event = read(
            r#"{"status":"exec_create: sh","id":"4fa6","from":"img","Type":"container","Action":"exec_create: sh","Actor":{"ID":"4fa6","Attributes":{"image":"img","name":"web","a":"b"}},"scope":"local","time":1700000000,"timeNano":1700000000000000007}"#,
        );
        assert_eq!(event.id.to_string(), "1700000000000000007.0");
        assert_eq!((event.kind(), event.verb()), ("container", "exec_create"));
        assert_eq!((event.actor(), event.scope()), ("4fa6", "local"));
        assert_eq!(event.attribute("a"), Some("b"));
    }

    #[test]
    fn reads_what_old_engines_said() {
        let event = read(r#"{"status":"start","id":"4fa6","from":"img","time":1700000000}"#);
        assert_eq!(event.id.nanos, 1_700_000_000_000_000_000);
        assert_eq!((event.kind(), event.action()), ("container", "start"));
        assert_eq!(
            (event.actor(), event.attribute("image")),
            ("4fa6", Some("img"))
        );
    }

    #[test]
    fn a_time_that_cannot_be_is_none_at_all_or_the_last() {
        for (line, nanos) in [
            (r#"{"time":-1}"#, 0),
            (r#"{"time":-9223372036854775808,"timeNano":-5}"#, 0),
            (r#"{"time":9223372036854775807}"#, Nanos::MAX),
        ] {
            assert_eq!(read(line).id.nanos, nanos, "{line}");
        }
    }

    #[test]
    fn leaves_out_what_is_no_event() {
        for line in ["", "x", "[]", r#"{"time":"x"}"#, "\u{0}"] {
            assert_eq!(Said::read(Bytes::from(line)), None, "{line}");
        }
    }

    #[test]
    fn an_id_is_what_it_is_written_as() {
        let text = "1700000000123456789.3";
        assert_eq!(text.parse::<Id>().unwrap().to_string(), text);
        for text in [
            "",
            "1",
            "1.",
            ".1",
            "-1.0",
            "+1.0",
            "1.0.0",
            "1.x",
            "99999999999999999999.0",
        ] {
            assert_eq!(text.parse::<Id>(), Err(InvalidId), "{text}");
        }
    }
}
