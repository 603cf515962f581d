//! What a query says of a stream of what happens.

use jiff::Timestamp;

use super::{log::once, pairs, time};
use crate::{
    engine::events::{Nanos, filter::Filter},
    service::Error,
};

/// The most filters that a query may have.
const MAX: usize = 256;

/// Reads `after`, the only parameter.
///
/// # Errors
///
/// [`Error::Bad`] for any other, and where it is given twice.
pub fn after(query: &str) -> Result<Option<String>, Error> {
    let mut after = None;
    for (name, value) in pairs(query)? {
        match name.as_ref() {
            "after" => once(&mut after, &name, Ok::<_, &str>(value.into_owned()))?,
            _ => return Err(unknown(&name)),
        }
    }
    Ok(after)
}

/// What a query may say of the engine's events.
#[derive(Clone, Debug)]
pub struct EventParams {
    /// Behind which event to go on.
    pub after: Option<String>,
    /// Since when.
    pub since: Option<Nanos>,
    /// Which.
    pub filter: Filter,
}

impl EventParams {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// [`Error::Bad`] for a value that is not what it should be, and for a parameter that is unknown.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let now = Timestamp::now();
        let (mut after, mut since, mut filter) = (None, None, Filter::default());
        for (at, (name, value)) in pairs(query)?.enumerate() {
            if at == MAX {
                let most = format!("A query may have {MAX} parameters.");
                return Err(Error::Bad(most));
            }
            match name.as_ref() {
                "after" => once(&mut after, &name, Ok::<_, &str>(value.into_owned()))?,
                "since" => once(&mut since, &name, time::read(&value, now))?,
                name => {
                    if !filter.want(name, &value) {
                        return Err(unknown(name));
                    }
                    if value.is_empty() || (name == "label" && value.starts_with('=')) {
                        return Err(Error::Bad(format!("The parameter {name} is empty.")));
                    }
                }
            }
        }
        // Without a limit, that is from the beginning on.
        let since = since.map(|time| time.unwrap_or(Timestamp::UNIX_EPOCH));
        let since = since.map(|time| Nanos::try_from(time.as_nanosecond()).unwrap_or(Nanos::MAX));
        Ok(Self {
            after,
            since,
            filter,
        })
    }
}

fn unknown(name: &str) -> Error {
    Error::Bad(format!("There is no parameter {name:?} here."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_wanted() {
        let params = EventParams::parse("type=container&label=a%3Db&label=c&since=7.5&after=x");
        let params = params.unwrap();
        assert_eq!(params.since, Some(7_500_000_000));
        assert_eq!(params.after.as_deref(), Some("x"));
        assert_ne!(params.filter, Filter::default());
        assert_eq!(EventParams::parse("since=0").unwrap().since, Some(0));
        assert_eq!(EventParams::parse("").unwrap().since, None);
        assert_eq!(after("after=a.1").unwrap().as_deref(), Some("a.1"));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for query in [
            "x=1",
            "until=1",
            "type=",
            "label==a",
            "since=x",
            "since=1&since=1",
            "Type=a",
        ] {
            assert!(EventParams::parse(query).is_err(), "{query}");
        }
        assert!(EventParams::parse(&"label=a&".repeat(257)).is_err());
        for query in ["x=1", "all=true", "after=1&after=1"] {
            assert!(after(query).is_err(), "{query}");
        }
    }
}
