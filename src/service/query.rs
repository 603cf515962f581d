//! What the path and the query of a request say, checked.

use std::str::FromStr;

use form_urlencoded::parse;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::Error;
use crate::{
    engine::{LogQuery, Tail, name::InvalidName},
    logs::{follower::Start, reading::Times},
};

/// A name with a grammar: of a container or of an image.
pub trait Name: FromStr<Err = InvalidName> {}

impl<T: FromStr<Err = InvalidName>> Name for T {}

/// The name in a path, its escapes read.
///
/// # Errors
///
/// [`Error::Bad`] for a broken escape and for a name that does not fit its grammar.
pub fn name<T: Name>(segment: &str) -> Result<T, Error> {
    let broken = || Error::Bad("The path holds a broken escape.".into());
    if !escapes_are_whole(segment) {
        return Err(broken());
    }
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| broken())?;
    text.parse()
        .map_err(|error| Error::Bad(format!("{:?} is {error}.", text.as_ref())))
}

/// Whether two hex digits follow each `%`; the decoder would hand on what it cannot read.
fn escapes_are_whole(segment: &str) -> bool {
    segment.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// What a query may say of a log. Parameters that it does not know are left alone, since clients send
/// such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogParams {
    /// Whether a stream is wanted where both are offered.
    pub follow: bool,
    tail: Option<Tail>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Behind which line to go on.
    pub after: Option<String>,
    /// Whether a stream goes on when the container is started again.
    pub restarts: bool,
}

impl LogParams {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// [`Error::Bad`] for a value that is not what it should be, and for a parameter given twice.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let (mut follow, mut tail, mut since, mut until) = (None, None, None, None);
        let (mut after, mut restarts) = (None, None);
        for (name, value) in parse(query.as_bytes()) {
            let twice = match name.as_ref() {
                "follow" => follow.replace(read_bool(&value)).is_some(),
                "tail" => tail.replace(read_tail(&value)).is_some(),
                "since" => since.replace(read_time(&value)).is_some(),
                "until" => until.replace(read_time(&value)).is_some(),
                "after" => after.replace(value.into_owned()).is_some(),
                "restarts" => restarts.replace(read_restarts(&value)).is_some(),
                _ => false,
            };
            if twice {
                return Err(Error::Bad(format!("The parameter {name} is given twice.")));
            }
        }
        fn checked<T>(name: &str, value: Option<Result<T, &str>>) -> Result<Option<T>, Error> {
            value
                .transpose()
                .map_err(|want| Error::Bad(format!("The parameter {name} must be {want}.")))
        }
        Ok(Self {
            follow: checked("follow", follow)?.unwrap_or(false),
            tail: checked("tail", tail)?,
            since: checked("since", since)?.flatten(),
            until: checked("until", until)?.flatten(),
            after,
            restarts: checked("restarts", restarts)?.unwrap_or(false),
        })
    }

    /// What to ask the engine for, where `tail` says how much of the log's end if the query does not.
    pub fn query(&self, follow: bool, tail: Tail) -> LogQuery {
        LogQuery {
            follow,
            tail: self.tail.unwrap_or(tail),
            since: self.since,
            until: self.until,
        }
    }
}

impl LogParams {
    /// Where a stream begins, if no cursor says so.
    pub fn start(&self, tail: Tail) -> Start {
        Start::Tail(self.tail.unwrap_or(tail), self.times())
    }

    /// The times within which lines are wanted.
    pub fn times(&self) -> Times {
        Times {
            since: self.since,
            until: self.until,
        }
    }
}

fn read_bool(value: &str) -> Result<bool, &'static str> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("true or false"),
    }
}

fn read_restarts(value: &str) -> Result<bool, &'static str> {
    match value {
        "follow" => Ok(true),
        "end" => Ok(false),
        _ => Err("follow or end"),
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

/// Seconds since 1970, perhaps with a fraction. 0 is no limit, as for the engine.
fn read_time(value: &str) -> Result<Option<Timestamp>, &'static str> {
    let want = "a Unix time in seconds";
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let seconds: i64 = digits(seconds)
        .and_then(|text| text.parse().ok())
        .ok_or(want)?;
    let nanos = digits(fraction)
        .filter(|text| text.len() <= 9)
        .and_then(|text| format!("{text:0<9}").parse().ok())
        .ok_or(want)?;
    let time = Timestamp::new(seconds, nanos).map_err(|_| want)?;
    Ok((time != Timestamp::UNIX_EPOCH).then_some(time))
}

/// `text` if it is nothing but digits; the numbers' own parsers take a sign too.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ContainerId, ImageName};

    fn read(query: &str) -> LogQuery {
        LogParams::parse(query)
            .unwrap()
            .query(false, Tail::Lines(1000))
    }

    #[test]
    fn reads_what_a_log_is_asked_with() {
        assert_eq!(read("").tail, Tail::Lines(1000));
        assert_eq!(read("tail=7").tail, Tail::Lines(7));
        assert_eq!(read("tail=0").tail, Tail::Lines(0));
        assert_eq!(read("tail=all&unknown=%zz&x").tail, Tail::All);
        assert_eq!(read("since=0&until=0.0"), read(""));
        let read = read("since=1700000000&until=1700000000.25");
        assert_eq!(read.since, Some(Timestamp::new(1_700_000_000, 0).unwrap()));
        assert_eq!(
            read.until,
            Some(Timestamp::new(1_700_000_000, 250_000_000).unwrap())
        );
        assert!(LogParams::parse("follow=true").unwrap().follow);
        assert!(!LogParams::parse("follow=false").unwrap().follow);
    }

    #[test]
    fn refuses_values_that_are_none() {
        for query in [
            "tail=",
            "tail=-1",
            "tail=+1",
            "tail=1.5",
            "tail=ten",
            "tail=99999999999999999999",
            "tail=1%00",
            "tail=1&tail=2",
            "since=",
            "since=x",
            "since=-1",
            "since=.5",
            "since=1.",
            "since=1.0123456789",
            "since=99999999999999",
            "until=2024-01-01T",
            "follow=",
            "follow=maybe",
            "follow=1&follow=1",
        ] {
            assert!(LogParams::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn reads_the_escapes_of_a_name() {
        let image: ImageName = name("localhost%3A5000%2Fapp%3av1").unwrap();
        assert_eq!(image.as_str(), "localhost:5000/app:v1");
        for segment in [
            "%", "%4", "%zz", "a%", "%ff", "%00", "%2e%2e", "a%2Fb", "a%3Fb",
        ] {
            assert!(name::<ContainerId>(segment).is_err(), "{segment}");
        }
    }
}
