//! What a query says of a list of containers.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    log::{once, read_bool},
    pairs,
    time::digits,
};
use crate::{engine::ListQuery, service::Error};

/// The filters of the engine that are handed on, whose values it checks itself.
const FILTERS: [&str; 7] = [
    "status", "label", "name", "ancestor", "network", "volume", "health",
];

/// The most filters and fields that a query may have.
const MAX: usize = 256;

/// How long what the engine is asked may be: it has three times as many bytes as the client wrote, where each is encoded.
const MAX_PATH: usize = 32 << 10;

/// A list of containers as it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListParams {
    /// Which containers.
    pub query: ListQuery,
    /// Which members of each; all without.
    pub fields: Option<Fields>,
}

impl ListParams {
    /// Reads `all`, `limit` and `size`, `fields` and the engine's filters, the latter any number of times.
    ///
    /// # Errors
    ///
    /// [`Error::Bad`] for a parameter that is unknown, or not what it should be.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let mut params = Self::default();
        let (mut all, mut size) = (None, None);
        for (name, value) in pairs(query)? {
            match name.as_ref() {
                "all" => once(&mut all, &name, read_bool(&value))?,
                "size" => once(&mut size, &name, read_bool(&value))?,
                "limit" => once(&mut params.query.limit, &name, read_limit(&value))?,
                "fields" => params.fields.get_or_insert_default().add(&value)?,
                name => match FILTERS.iter().find(|filter| **filter == name) {
                    Some(filter) if !value.is_empty() => {
                        let filter = params.query.filters.entry(filter);
                        filter.or_default().push(value.into_owned());
                    }
                    Some(filter) => {
                        return Err(bad(format!("The parameter {filter} must not be empty.")));
                    }
                    None => return Err(bad(format!("There is no parameter {name:?}."))),
                },
            }
        }
        let query = &mut params.query;
        (query.all, query.size) = (all.unwrap_or(query.all), size.unwrap_or(query.size));
        let filters: usize = params.query.filters.values().map(Vec::len).sum();
        let fields = params.fields.as_ref().map_or(0, |fields| fields.0.len());
        if filters + fields > MAX {
            return Err(too_many());
        }
        if filters > 0 && params.query.path().len() > MAX_PATH {
            return Err(bad("The filters are too long."));
        }
        Ok(params)
    }
}

fn too_many() -> Error {
    bad(format!("A query may have {MAX} filters and fields."))
}

fn bad(message: impl Into<String>) -> Error {
    Error::Bad(message.into())
}

fn read_limit(value: &str) -> Result<u32, &'static str> {
    let limit = digits(value).and_then(|digits| digits.parse().ok());
    limit.filter(|limit| *limit > 0).ok_or("a number from 1 on")
}

/// The members of an object that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<String>);

impl Fields {
    /// Adds comma-separated names.
    fn add(&mut self, names: &str) -> Result<(), Error> {
        for name in names.split(',') {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                let want =
                    "The parameter fields must be names of members, with commas between them.";
                return Err(bad(want));
            }
            if !self.0.iter().any(|known| known == name) {
                // Here too, since each is looked for among all others.
                if self.0.len() == MAX {
                    return Err(too_many());
                }
                self.0.push(name.into());
            }
        }
        Ok(())
    }

    /// The objects of the JSON array `list` with these members only, in the same order and the same bytes.
    ///
    /// # Errors
    ///
    /// If it is not an array of objects.
    pub fn pick(&self, list: &[u8]) -> Result<Bytes, serde_json::Error> {
        let objects: Option<Vec<Members<'_>>> = serde_json::from_slice(list)?;
        let mut out = Vec::with_capacity(list.len() / 4);
        out.push(b'[');
        for object in objects.unwrap_or_default() {
            if out.len() > 1 {
                out.push(b',');
            }
            out.push(b'{');
            let mut is_first = true;
            for (name, value) in object.0 {
                if !self.0.iter().any(|wanted| *wanted == name) {
                    continue;
                }
                if !is_first {
                    out.push(b',');
                }
                is_first = false;
                out.push(b'"');
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                out.extend_from_slice(value.get().as_bytes());
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]\n");
        Ok(out.into())
    }
}

/// An object's members in their order, their values unread.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_the_engine_for_what_was_asked_for() {
        let path = |query| ListParams::parse(query).unwrap().query.path();
        // As it ever was.
        assert_eq!(path(""), "/containers/json?all=true");
        assert_eq!(path("fields=Id"), "/containers/json?all=true");
        assert_eq!(
            path("all=0&limit=3&size=true"),
            "/containers/json?all=false&limit=3&size=true"
        );
        assert_eq!(
            path("label=a%3Db&status=running&label=c%26"),
            "/containers/json?all=true&filters=%7B%22label%22%3A%5B%22a%3Db%22%2C%22c%26%22%5D%2C\
             %22status%22%3A%5B%22running%22%5D%7D"
        );
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for query in [
            "nope=1",
            "All=true",
            "all=yes",
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=%2B5",
            "limit=1&limit=2",
            "all=true&all=false",
            "size=",
            "label=",
            "fields=",
            "fields=Id,,State",
            "fields=a.b",
            "filters=%7B%7D",
        ] {
            assert!(ListParams::parse(query).is_err(), "{query}");
        }
        let many = "name=a&".repeat(257);
        assert!(ListParams::parse(&many).is_err());
        // The engine is asked for three times as much.
        for (len, is_ok) in [(10_000, true), (11_000, false)] {
            let long = format!("name={}", "(".repeat(len));
            assert_eq!(ListParams::parse(&long).is_ok(), is_ok, "{len}");
        }
        let names = |many: u32| {
            (0..many)
                .map(|n| format!("fields=f{n}&"))
                .collect::<String>()
        };
        assert!(ListParams::parse(&names(256)).is_ok());
        assert!(ListParams::parse(&names(257)).is_err());
    }

    #[test]
    fn picks_members_byte_for_byte_and_in_their_order() {
        let fields = |names| ListParams::parse(names).unwrap().fields.unwrap();
        let list = r#" [ {"Id":"a", "Names" : ["/x", "\u00e9<"],"N":1.50,"State":null},{"N":{ "x":[] }},{} ] "#;
        let picked = fields("fields=State,N&fields=Names").pick(list.as_bytes());
        assert_eq!(
            picked.unwrap(),
            "[{\"Names\":[\"/x\", \"\\u00e9<\"],\"N\":1.50,\"State\":null},{\"N\":{ \"x\":[] }},{}]\n"
        );
        assert_eq!(fields("fields=Id").pick(b"[]").unwrap(), "[]\n");
        assert_eq!(fields("fields=Id").pick(b"null").unwrap(), "[]\n");
        for broken in ["", "{}", "[1]", "[{]", "[{}"] {
            assert!(
                fields("fields=Id").pick(broken.as_bytes()).is_err(),
                "{broken}"
            );
        }
    }
}
