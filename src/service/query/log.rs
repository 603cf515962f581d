//! What a query says of a log.

use std::{fmt::Display, sync::Arc};

use jiff::Timestamp;
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::{
    pairs,
    time::{self, digits},
};
use crate::{
    engine::{Env, LogQuery, Tail},
    logs::{Redaction, Source, View, follower::Start, reading::Times, view::Rules},
    service::Error,
};

/// The most bytes of a pattern, and the most patterns of plain text.
const MAX_PATTERN: usize = 1024;
const MAX_GREPS: usize = 16;

/// The most memory that an expression may take, compiled, and once more for what is remembered of a search.
const MAX_REGEX: usize = 256 * 1024;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As the log is.
    Text,
    /// A JSON object a line.
    Ndjson,
}

/// What a query may say of a log. Parameters that it does not know are left alone, since clients send
/// such.
#[derive(Clone, Debug)]
pub struct LogParams {
    /// Whether a stream is wanted where both are offered.
    pub follow: bool,
    /// The form of a download.
    pub format: Format,
    /// Behind which line to go on.
    pub after: Option<String>,
    /// Whether a stream goes on when the container is started again.
    pub restarts: bool,
    tail: Option<Tail>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    redact: bool,
    /// Without secrets: those are the container's.
    rules: Rules,
}

impl LogParams {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// [`Error::Bad`] for a value that is not what it should be, and for a parameter given twice that may
    /// be given once.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let now = Timestamp::now();
        let (mut follow, mut format, mut tail, mut since, mut until) =
            (None, None, None, None, None);
        let (mut source, mut times, mut regex, mut ansi, mut redact) =
            (None, None, None, None, None);
        let (mut after, mut restarts) = (None, None);
        let mut grep = Vec::new();
        for (name, value) in pairs(query)? {
            match name.as_ref() {
                "follow" => once(&mut follow, &name, read_bool(&value))?,
                "format" => once(&mut format, &name, read_format(&value))?,
                "tail" => once(&mut tail, &name, read_tail(&value))?,
                "since" => once(&mut since, &name, time::read(&value, now))?,
                "until" => once(&mut until, &name, time::read(&value, now))?,
                "after" => once(&mut after, &name, Ok::<_, &str>(value.into_owned()))?,
                "restarts" => once(&mut restarts, &name, read_word(&value, "follow"))?,
                "stream" => once(&mut source, &name, read_source(&value))?,
                "timestamps" => once(&mut times, &name, read_bool(&value))?,
                "regex" => once(&mut regex, &name, read_regex(&value))?,
                "ansi" => once(&mut ansi, &name, read_word(&value, "strip"))?,
                "redact" => once(&mut redact, &name, read_word(&value, "env"))?,
                "grep" if grep.len() == MAX_GREPS => {
                    let most = format!("The parameter grep may be given {MAX_GREPS} times.");
                    return Err(Error::Bad(most));
                }
                "grep" => grep.push(checked(&name, read_grep(&value))?),
                _ => {}
            }
        }
        // An empty search field wants every line.
        grep.retain(|grep| !grep.needle().is_empty());
        Ok(Self {
            follow: follow.unwrap_or(false),
            format: format.unwrap_or(Format::Text),
            after,
            restarts: restarts.is_some(),
            tail,
            since: since.flatten(),
            until: until.flatten(),
            redact: redact.is_some(),
            rules: Rules {
                source,
                strip_ansi: ansi.is_some(),
                secrets: None,
                grep,
                // What is remembered of searches is kept once for all containers of a stream.
                regex: regex.flatten().map(Arc::new),
                without_time: times == Some(false),
            },
        })
    }

    /// What to ask the engine for, as of now, where `tail` says how much of the log's end if the query does not.
    ///
    /// Both outputs, even where one is wanted: else `tail` would count that one's lines.
    pub fn query(&self, tail: Tail) -> LogQuery {
        LogQuery {
            follow: false,
            tail: self.tail.unwrap_or(tail),
            since: self.since,
            until: self.until,
        }
    }

    /// Where a stream begins if no cursor says so, with `tail` where the query does not say.
    pub fn start(&self, tail: Tail) -> Start {
        Start::Tail(self.tail(tail), self.times())
    }

    /// How much of the log's end is wanted, with `tail` where the query does not say.
    pub fn tail(&self, tail: Tail) -> Tail {
        self.tail.unwrap_or(tail)
    }

    /// The times within which lines are wanted.
    pub fn times(&self) -> Times {
        Times {
            since: self.since,
            until: self.until,
        }
    }

    /// How the lines of a container with this environment are shown.
    pub fn view(&self, env: &Env, redaction: &Redaction) -> View {
        View::new(Rules {
            secrets: redaction.secrets(env, self.redact),
            ..self.rules.clone()
        })
    }
}

pub(super) fn once<T, W: Display>(
    slot: &mut Option<T>,
    name: &str,
    value: Result<T, W>,
) -> Result<(), Error> {
    let value = checked(name, value)?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::Bad(format!("The parameter {name} is given twice."))),
    }
}

fn checked<T, W: Display>(name: &str, value: Result<T, W>) -> Result<T, Error> {
    value.map_err(|want| Error::Bad(format!("The parameter {name} must be {want}.")))
}

pub(super) fn read_bool(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("true or false"),
    }
}

fn read_format(value: &str) -> Result<Format, &'static str> {
    match value {
        "text" => Ok(Format::Text),
        "ndjson" => Ok(Format::Ndjson),
        _ => Err("text or ndjson"),
    }
}

fn read_tail(value: &str) -> Result<Tail, &'static str> {
    if value == "all" {
        return Ok(Tail::All);
    }
    digits(value)
        .and_then(|digits| digits.parse().ok())
        .map(Tail::Lines)
        .ok_or("a number of lines or all")
}

fn read_source(value: &str) -> Result<Source, &'static str> {
    match value {
        "stdout" => Ok(Source::Stdout),
        "stderr" => Ok(Source::Stderr),
        _ => Err("stdout or stderr"),
    }
}

/// A parameter with one value only.
fn read_word(value: &str, word: &'static str) -> Result<(), &'static str> {
    if value == word { Ok(()) } else { Err(word) }
}

fn read_grep(value: &str) -> Result<Finder<'static>, String> {
    short(value)?;
    Ok(Finder::new(value.as_bytes()).into_owned())
}

/// None for an empty one, which every line matches.
fn read_regex(value: &str) -> Result<Option<Regex>, String> {
    short(value)?;
    if value.is_empty() {
        return Ok(None);
    }
    let regex = RegexBuilder::new(value)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX)
        .build();
    regex
        .map(Some)
        .map_err(|error| format!("a regular expression: {error}"))
}

fn short(pattern: &str) -> Result<(), String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("at most {MAX_PATTERN} bytes long"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
