//! What differs between two lists.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A container as the engine lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: String,
    /// The engine's own JSON, in one line.
    pub(super) json: Bytes,
}

/// A difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// It is new, or not what it was.
    Changed(&'a Listed),
    /// It is not there any more.
    Removed(&'a str),
}

/// What may have happened since a list was made, without a sign but in a status that counts anew.
#[derive(Debug)]
pub(super) enum Touched {
    /// Anything: nobody listened to the events, or some are missing.
    All,
    /// Something to these containers.
    These(HashSet<String>),
}

impl Touched {
    /// Nothing, as far as events tell.
    pub(super) fn none() -> Self {
        Self::These(HashSet::new())
    }

    pub(super) fn add(&mut self, id: &str) {
        if let Self::These(ids) = self {
            ids.insert(id.to_owned());
        }
    }

    fn has(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(ids) => ids.contains(id),
        }
    }
}

/// Reads a list.
pub(super) fn read(list: &Bytes) -> Result<Vec<Listed>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "Id")]
        id: String,
    }
    let list = in_one_line(list.slice_ref(list.trim_ascii()));
    let raws: Vec<&RawValue> = serde_json::from_slice(&list)?;
    let listed = raws.into_iter().map(|raw| {
        let Named { id } = serde_json::from_str(raw.get())?;
        let json = list.slice_ref(raw.get().as_bytes());
        Ok(Listed { id, json })
    });
    listed.collect()
}

/// Ends of lines can only be white space between JSON's tokens, but would end an event.
fn in_one_line(json: Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &json).is_none() {
        return json;
    }
    let bytes = json.iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        other => *other,
    });
    bytes.collect()
}

/// Members whose elements the engine lists in another order each time.
const UNORDERED: [&str; 2] = ["Ports", "Mounts"];

/// What is different in `new`. Of the containers that are `touched`, whatever is.
pub(super) fn changes<'a>(
    old: &'a [Listed],
    new: &'a [Listed],
    touched: &Touched,
) -> Vec<Change<'a>> {
    let before: HashMap<&str, &Listed> = old.iter().map(|one| (one.id.as_str(), one)).collect();
    let now: HashSet<&str> = new.iter().map(|one| one.id.as_str()).collect();
    let gone = old.iter().filter(|one| !now.contains(one.id.as_str()));
    let gone = gone.map(|one| Change::Removed(&one.id));
    let changed = new.iter().filter(|one| match before.get(one.id.as_str()) {
        Some(old) if old.json == one.json => false,
        Some(old) => touched.has(&one.id) || differ(&old.json, &one.json),
        None => true,
    });
    gone.chain(changed.map(Change::Changed)).collect()
}

/// Whether two answers on a container differ in more than how long it is as it is.
fn differ(old: &[u8], new: &[u8]) -> bool {
    type Members<'a> = BTreeMap<&'a str, &'a RawValue>;
    let (Ok(mut old), Ok(mut new)) = (
        serde_json::from_slice::<Members<'_>>(old),
        serde_json::from_slice::<Members<'_>>(new),
    ) else {
        return true;
    };
    let statuses = (old.remove("Status"), new.remove("Status"));
    let same = |(old, new): ((&&str, &&RawValue), (&&str, &&RawValue))| {
        old.0 == new.0
            && (old.1.get() == new.1.get()
                || UNORDERED.contains(old.0) && are_reordered(old.1.get(), new.1.get()))
    };
    if old.len() != new.len() || !old.iter().zip(&new).all(same) {
        return true;
    }
    match statuses {
        (Some(old), Some(new)) => !counts_on(old.get(), new.get()),
        (None, None) => false,
        _ => true,
    }
}

/// Whether two arrays have the same elements.
fn are_reordered(old: &str, new: &str) -> bool {
    let [old, new] = [old, new].map(|array| {
        let elements: Vec<&RawValue> = serde_json::from_str(array).ok()?;
        let mut elements: Vec<&str> = elements.into_iter().map(RawValue::get).collect();
        elements.sort_unstable();
        Some(elements)
    });
    old.is_some() && old == new
}

/// Whether a status may have come of another by time alone.
fn counts_on(old: &str, new: &str) -> bool {
    // Less time is another run, which no event may have told of.
    lasting(old).eq(lasting(new)) && age(old) <= age(new)
}

/// For how long a status says that it has been so, roughly: the unit, and how many of it.
fn age(status: &str) -> Option<(usize, u32)> {
    const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];
    let words: Vec<&str> = status.trim_matches('"').split(' ').collect();
    words.windows(2).find_map(|pair| {
        let unit = pair[1].trim_end_matches('s');
        let unit = UNITS.iter().position(|one| *one == unit)?;
        // Less than a second, about a minute, about an hour: less than two of them.
        Some((unit, pair[0].parse().unwrap_or(0)))
    })
}

/// Of `Up 5 minutes (healthy)` what does not change with time: the first word, and what is in brackets.
fn lasting(status: &str) -> impl Iterator<Item = &str> {
    let status = status.trim_matches('"');
    let word = status.split(' ').next();
    let groups = status.split('(').skip(1);
    let groups = groups.map(|rest| rest.split(')').next().unwrap_or_default());
    word.into_iter().chain(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(status: &str, more: &str) -> Vec<u8> {
        format!(r#"{{"Id":"a","Status":"{status}"{more}}}"#).into_bytes()
    }

    #[test]
    fn time_that_passes_is_no_change() {
        for (old, new, wanted) in [
            ("Up 5 minutes", "Up 6 minutes", false),
            ("Up Less than a second", "Up About a minute", false),
            ("Up 5 minutes (healthy)", "Up 6 minutes (healthy)", false),
            ("Exited (0) 2 hours ago", "Exited (0) 3 hours ago", false),
            ("Exited (0) 2 hours ago", "Exited (1) 2 hours ago", true),
            (
                "Up 5 seconds (health: starting)",
                "Up 9 seconds (healthy)",
                true,
            ),
            ("Up 5 minutes", "Up 5 minutes (Paused)", true),
            ("Up 5 minutes", "Exited (0) 1 second ago", true),
            ("Created", "Up 1 second", true),
            ("Up 5 hours", "Up 2 seconds", true),
            ("Up 2 seconds", "Up Less than a second", true),
            ("Up 1 second", "Up Less than a second", true),
            ("Up 59 seconds", "Up About a minute", false),
            ("Up 2 minutes", "Up About a minute", true),
            ("Up 46 hours", "Up 2 days", false),
            ("Up 9 days (Paused)", "Up 8 days (Paused)", true),
            ("Exited (0) 3 weeks ago", "Exited (0) 5 days ago", true),
            (
                "Restarting (1) 1 second ago",
                "Restarting (1) 2 seconds ago",
                false,
            ),
        ] {
            assert_eq!(differ(&one(old, ""), &one(new, "")), wanted, "{old} {new}");
        }
        let up = "Up 5 minutes";
        assert!(differ(&one(up, ""), &one(up, r#","Image":"x""#)));
        assert!(differ(
            &one(up, r#","Names":["a"]"#),
            &one(up, r#","Names":["b"]"#)
        ));
        assert!(differ(br#"{"Id":"a"}"#, &one(up, "")));
        assert!(differ(b"{", &one(up, "")));
    }

    #[test]
    fn another_order_of_ports_or_mounts_is_no_change() {
        for name in ["Ports", "Mounts"] {
            let of = |array: &str| one("Up 1 second", &format!(",\"{name}\":{array}"));
            let old = of(r#"[{"a":1},{"a":1},{"b":[2,3]}]"#);
            assert!(!differ(&old, &of(r#"[{"b":[2,3]},{"a":1},{"a":1}]"#)));
            for other in [
                r#"[{"b":[2,3]},{"a":1}]"#,
                r#"[{"b":[2,3]},{"b":[2,3]},{"a":1}]"#,
                r#"[{"b":[3,2]},{"a":1},{"a":1}]"#,
                "null",
            ] {
                assert!(differ(&old, &of(other)), "{other}");
            }
        }
        let of = |array: &str| one("Up 1 second", &format!(",\"Names\":{array}"));
        assert!(differ(&of(r#"["a","b"]"#), &of(r#"["b","a"]"#)));
    }

    fn list(json: &str) -> Vec<Listed> {
        read(&Bytes::from(json.to_owned())).unwrap()
    }

    #[test]
    fn finds_what_is_new_other_and_gone() {
        let old = list(r#"[{"Id":"a","X":1},{"Id":"b","Status":"Up 1 second"},{"Id":"c"}]"#);
        let new = list(r#"[{"Id":"d"},{"Id":"b","Status":"Up 2 seconds"},{"Id":"a","X":2}]"#);
        let mut touched = Touched::none();
        let wanted = vec![
            Change::Removed("c"),
            Change::Changed(&new[0]),
            Change::Changed(&new[2]),
        ];
        assert_eq!(changes(&old, &new, &touched), wanted);
        touched.add("b");
        for touched in [touched, Touched::All] {
            assert_eq!(changes(&old, &new, &touched).len(), 4);
            assert_eq!(changes(&new, &new, &touched), []);
        }
    }

    #[test]
    fn keeps_the_bytes_but_ends_of_lines() {
        let read = list("[ {\"Id\":\"a\" ,\n\t\"N\":1.0e0,\r\n\"T\":\"\\n\\u00e4\"} ]\n");
        assert_eq!(
            read[0].json,
            "{\"Id\":\"a\" , \t\"N\":1.0e0,  \"T\":\"\\n\\u00e4\"}"
        );
        assert_eq!(list("[]\n"), []);
        for broken in ["", "{}", "[1]", r#"[{"id":"a"}]"#, "null"] {
            assert!(super::read(&Bytes::from(broken)).is_err(), "{broken}");
        }
    }
}
