//! The last list, and the last changes that led to it, as events.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

use super::changes::{Change, Listed, Touched, changes};

/// What is kept of changes at most: so many, and so many bytes.
const CHANGES: usize = 4096;
const BYTES: usize = 4 << 20;

/// What snapshots that their clients have not read may take before no other is made, in bytes.
const SNAPSHOTS: usize = 64 << 20;

/// Which state of the containers: that after so many changes since a process began to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    epoch: u64,
    number: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.epoch, self.number)
    }
}

/// The text is no [`Version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVersion;

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let (epoch, number) = text.split_once('.').ok_or(InvalidVersion)?;
        let is_hex = epoch.len() == 16 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
        // The parsers take a sign too.
        if !is_hex || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidVersion);
        }
        Ok(Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| InvalidVersion)?,
            number: number.parse().map_err(|_| InvalidVersion)?,
        })
    }
}

/// What someone wants next is kept no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct History {
    version: Version,
    /// None before the first.
    list: Option<Vec<Listed>>,
    /// Which of the lists that have begun it is.
    begun: u64,
    /// The last changes; the last of them led to the version.
    events: VecDeque<Bytes>,
    bytes: usize,
    /// Made when someone wants it.
    snapshot: Option<Bytes>,
    /// The bytes of all snapshots that are held, by whomever.
    held: Arc<AtomicUsize>,
}

/// The bytes of a snapshot, counted for as long as anyone holds them.
struct Held(Vec<u8>, Arc<AtomicUsize>);

impl Held {
    fn count(bytes: Vec<u8>, held: &Arc<AtomicUsize>) -> Bytes {
        held.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Self(bytes, Arc::clone(held)))
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

impl History {
    pub(super) fn new() -> Self {
        // Only so that another process is another one.
        let epoch = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
        Self {
            version: Version { epoch, number: 0 },
            list: None,
            begun: 0,
            events: VecDeque::new(),
            bytes: 0,
            snapshot: None,
            held: Arc::default(),
        }
    }

    /// Takes a list in, which was the so-and-so-many-th to begin; whether anything has changed.
    pub(super) fn take_in(&mut self, begun: u64, list: Vec<Listed>, touched: &Touched) -> bool {
        // A task that has been ended may still be at it.
        if begun <= self.begun {
            return false;
        }
        self.begun = begun;
        let old = self.list.take();
        let before = self.version.number;
        for change in old.iter().flat_map(|old| changes(old, &list, touched)) {
            self.version.number += 1;
            let event = encode(self.version, &change);
            self.bytes += event.len();
            self.events.push_back(event);
        }
        while self.events.len() > CHANGES || self.bytes > BYTES {
            self.bytes -= self.events.pop_front().map_or(0, |event| event.len());
        }
        let has_changed = before != self.version.number;
        if has_changed || old.as_ref() != Some(&list) {
            self.snapshot = None;
        }
        self.list = Some(list);
        has_changed
    }

    /// Whether the list says of a container that its last health checks have failed; none where it does not count them.
    pub(super) fn says_failing(&self, id: &str) -> Option<bool> {
        const COUNT: &[u8] = b"\"FailingStreak\":";
        let mut all = self.list.iter().flatten();
        let listed = all.find(|listed| listed.id == id)?;
        let at = memchr::memmem::find(&listed.json, COUNT)?;
        Some(listed.json.get(at + COUNT.len()) != Some(&b'0'))
    }

    /// Where to go on behind a version, if it is this process's and what followed is known.
    pub(super) fn behind(&self, version: Version) -> Option<u64> {
        let is_known = version.epoch == self.version.epoch && version.number <= self.version.number;
        (is_known && self.after(version.number).is_ok()).then_some(version.number)
    }

    /// The change behind a version, if there is one yet.
    pub(super) fn after(&self, number: u64) -> Result<Option<Bytes>, Passed> {
        let behind = usize::try_from(self.version.number - number).map_err(|_| Passed)?;
        let at = self.events.len().checked_sub(behind).ok_or(Passed)?;
        Ok(self.events.get(at).cloned())
    }

    /// Whether there is one, or room for one.
    pub(super) fn has_snapshot(&self) -> bool {
        self.snapshot.is_some() || self.held.load(Ordering::Relaxed) <= SNAPSHOTS
    }

    /// The state now, as an event, and its version. None where so many others have not been read.
    pub(super) fn snapshot(&mut self) -> Option<(u64, Bytes)> {
        if !self.has_snapshot() {
            return None;
        }
        let (version, list) = (self.version, self.list.as_deref().unwrap_or_default());
        let snapshot = self.snapshot.get_or_insert_with(|| {
            let len = list.iter().map(|one| one.json.len() + 1).sum::<usize>();
            let mut out = Vec::with_capacity(len + 128);
            let head = format!(
                "event: snapshot\nid: {version}\ndata: {{\"version\":\"{version}\",\"containers\":["
            );
            out.extend_from_slice(head.as_bytes());
            for (at, one) in list.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b"," });
                out.extend_from_slice(&one.json);
            }
            out.extend_from_slice(b"]}\n\n");
            Held::count(out, &self.held)
        });
        Some((version.number, snapshot.clone()))
    }
}

fn encode(version: Version, change: &Change<'_>) -> Bytes {
    let (name, removed);
    let data: &[u8] = match change {
        Change::Changed(listed) => {
            name = "changed";
            &listed.json
        }
        Change::Removed(id) => {
            name = "removed";
            removed = serde_json::json!({ "Id": id }).to_string();
            removed.as_bytes()
        }
    };
    let head = format!("event: {name}\nid: {version}\ndata: ");
    [head.as_bytes(), data, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::{super::changes::read, *};

    fn list(json: &str) -> Vec<Listed> {
        read(&Bytes::from(json.to_owned())).unwrap()
    }

    fn taken(history: &mut History, begun: u64, json: &str) -> bool {
        history.take_in(begun, list(json), &Touched::none())
    }

    #[test]
    fn tells_each_change_once_and_in_order() {
        let mut history = History::new();
        assert!(!taken(&mut history, 1, r#"[{"Id":"a"}]"#));
        let (at, snapshot) = history.snapshot().unwrap();
        // What has not changed is not made again.
        assert!(!taken(&mut history, 2, r#"[{"Id":"a"}]"#));
        assert_eq!(history.snapshot().unwrap().1.as_ptr(), snapshot.as_ptr());
        let version = history.version;
        let wanted = format!(
            "event: snapshot\nid: {version}\ndata: {{\"version\":\"{version}\",\"containers\":[{{\"Id\":\"a\"}}]}}\n\n"
        );
        assert_eq!(snapshot, wanted);
        assert_eq!(history.after(at), Ok(None));
        assert!(taken(&mut history, 3, r#"[{"Id":"b"}]"#));
        // A list that began before.
        assert!(!taken(&mut history, 3, "[]"));
        let told = [
            history.after(at),
            history.after(at + 1),
            history.after(at + 2),
        ];
        let told = told.map(|event| event.unwrap().unwrap_or_default());
        let epoch = format!("{:016x}", version.epoch);
        assert_eq!(
            told[0],
            format!("event: removed\nid: {epoch}.1\ndata: {{\"Id\":\"a\"}}\n\n")
        );
        assert_eq!(
            told[1],
            format!("event: changed\nid: {epoch}.2\ndata: {{\"Id\":\"b\"}}\n\n")
        );
        assert_eq!(told[2], "");
        assert_eq!(history.behind(version), Some(0));
        let number = 3;
        assert_eq!(history.behind(Version { number, ..version }), None);
        let epoch = version.epoch ^ 1;
        assert_eq!(history.behind(Version { epoch, ..version }), None);
    }

    #[test]
    fn is_bounded() {
        let mut history = History::new();
        let (one, other) = ("x".repeat(1 << 20), "y".repeat(1 << 20));
        for begun in 1..=7 {
            let text = if begun % 2 == 0 { &one } else { &other };
            taken(
                &mut history,
                begun,
                &format!(r#"[{{"Id":"a","X":"{text}"}}]"#),
            );
        }
        assert_eq!((history.version.number, history.events.len()), (6, 3));
        assert!(history.bytes <= BYTES);
        assert_eq!(history.after(2), Err(Passed));
        assert!(history.after(3).unwrap().is_some());
    }

    #[test]
    fn what_is_not_read_leaves_room_for_no_other_snapshot() {
        let mut history = History::new();
        let mut unread = Vec::new();
        for begun in 1..4 {
            let text = begun.to_string().repeat(24 << 20);
            taken(
                &mut history,
                begun,
                &format!(r#"[{{"Id":"a","X":"{text}"}}]"#),
            );
            unread.push(history.snapshot().unwrap());
        }
        // It is there already.
        assert!(history.snapshot().is_some());
        taken(&mut history, 4, r#"[{"Id":"a"}]"#);
        assert!(history.snapshot().is_none());
        unread.pop();
        assert!(history.snapshot().is_some());
    }

    #[test]
    fn a_version_is_what_it_is_written_as() {
        let text = "00000000000000ff.12";
        assert_eq!(text.parse::<Version>().unwrap().to_string(), text);
        for text in [
            "",
            "x",
            "ff.1",
            "00000000000000ff",
            "00000000000000ff.",
            "00000000000000ff.-1",
            "00000000000000fg.1",
        ] {
            assert_eq!(text.parse::<Version>(), Err(InvalidVersion), "{text}");
        }
    }
}
