//! What the path and the query of a request say, checked.

mod list;
mod log;
mod push;
mod selection;
mod time;

use std::{borrow::Cow, str::FromStr};

use form_urlencoded::parse;
use percent_encoding::percent_decode_str;

pub use self::{
    list::{Fields, ListParams},
    log::{Format, LogParams},
    push::{EventParams, after},
    selection::selection,
};
use super::Error;
use crate::engine::name::InvalidName;

/// The parameters of a query, their escapes read.
///
/// # Errors
///
/// [`Error::Bad`] where they are no UTF-8: the parser would put replacement characters there, and search for these.
fn pairs(query: &str) -> Result<impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)>, Error> {
    let whole = percent_decode_str(query).decode_utf8();
    whole.map_err(|_| Error::Bad("The query holds escapes that are no UTF-8.".into()))?;
    Ok(parse(query.as_bytes()))
}

/// A name with a grammar: of a container or of an image.
pub trait Name: FromStr<Err = InvalidName> {}

impl<T: FromStr<Err = InvalidName>> Name for T {}

/// The name in a path, its escapes read.
///
/// # Errors
///
/// [`Error::Bad`] for a broken escape and for a name that does not fit its grammar.
pub fn name<T: Name>(segment: &str) -> Result<T, Error> {
    if !segment.contains('%') {
        return parsed(segment);
    }
    let broken = || Error::Bad("The path holds a broken escape.".into());
    if !escapes_are_whole(segment) {
        return Err(broken());
    }
    let text = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| broken())?;
    parsed(&text)
}

fn parsed<T: Name>(text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|error| Error::Bad(format!("{text:?} is {error}.")))
}

/// Whether two hex digits follow each `%`; the decoder would hand on what it cannot read.
fn escapes_are_whole(segment: &str) -> bool {
    segment.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ContainerId, ImageName};

    #[test]
    fn refuses_a_query_that_is_no_text() {
        for query in ["%ff", "a=%ff", "a=%c3&b=%a9", "a=1&b=%80x"] {
            assert!(pairs(query).is_err(), "{query}");
            assert!(LogParams::parse(&format!("tail=1&grep={query}")).is_err());
            let read = ListParams::parse(&format!("name={query}"));
            assert!(read.is_err_and(|error| error.to_string().contains("UTF-8")));
        }
        let read: Vec<_> = pairs("a=%C3%A9+%&%EF%BF%BD=1").unwrap().collect();
        assert_eq!(
            read,
            [("a".into(), "é %".into()), ("\u{fffd}".into(), "1".into())]
        );
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
