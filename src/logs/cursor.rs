//! Where a line stands in its container's log, and the cursor that a client resumes with.
//!
//! The engine numbers nothing. A line's place is its time, its source, and how many lines of that source
//! have the same time before it: within one source the times never go back, so such lines are neighbours.
//! A read that begins somewhere at the end of a log cannot tell how many lines of the first time it has
//! missed. Until that time has passed, lines are known by their text instead.

use std::{
    fmt,
    num::NonZeroU32,
    str::FromStr,
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::{Line, Source};

/// How far apart in the log two lines may stand in the wrong order of their times: the engine stamps a
/// line, and then waits for its turn to write it.
pub const SKEW: Duration = Duration::from_secs(1);

/// How much of a container's id a cursor holds: as much as people are shown.
const ID_LEN: usize = 12;

/// A time in nanoseconds since 1970.
pub type Nanos = i64;

/// A line's place among the lines of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line's time.
    pub stamp: Nanos,
    /// Where it was written.
    pub source: Source,
    /// How many lines of this source and time stand before it, as far as the read has seen.
    pub ordinal: u64,
    /// Whether the read has seen them all.
    pub counted: bool,
    /// What the line is known by where it has not.
    pub mark: Mark,
    /// The time of the oldest line that had begun and not ended when this one ended; no later than its
    /// own. Whoever goes on after this line must read from there, or would get that one without its head.
    pub floor: Nanos,
    /// How much text it had where the log broke off in it. Behind that the log of a terminal goes on with
    /// the next run's first line, as if it were the same.
    pub open: Option<NonZeroU32>,
}

impl Place {
    /// Whether the line at `other` is the one at this place.
    pub fn is(&self, other: &Self) -> bool {
        (self.stamp, self.source) == (other.stamp, other.source)
            && if self.is_counted_with(other) {
                self.ordinal == other.ordinal
            } else {
                self.mark.is(&other.mark)
            }
    }

    /// Whether their numbers tell the lines at both places apart; else it is their text, which others may
    /// have too.
    pub fn is_counted_with(&self, other: &Self) -> bool {
        self.counted && other.counted
    }

    /// Whether it stands before the line at `other`, which is of the same source and time.
    pub fn counts_before(&self, other: &Self) -> bool {
        let is_alike = self.source == other.source && self.stamp == other.stamp;
        is_alike && self.is_counted_with(other) && self.ordinal < other.ordinal
    }

    /// Whether it is of a time to come, as after a step of the clock: the lines behind it seem older.
    pub fn is_ahead(&self) -> bool {
        self.since() > now()
    }

    /// Whether the line at `other`, met where this place is looked for, shows that it will not be found.
    pub fn is_passed_by(&self, other: &Self) -> bool {
        let skew = if self.source == other.source {
            0
        } else {
            nanos(SKEW)
        };
        other.stamp > self.stamp.saturating_add(skew)
    }

    /// Whether all lines up to the one at `other` stand too early to be the one at this place.
    pub fn is_far_behind(&self, other: &Self) -> bool {
        other.stamp < self.stamp - nanos(SKEW)
    }

    /// The time from which on all lines must be read to find this one, and all that follow it whole.
    pub fn since(&self) -> Nanos {
        self.floor.min(self.stamp - nanos(SKEW)).max(0)
    }
}

/// Gives lines their places, in the order of the log.
#[derive(Clone, Debug)]
pub struct Places {
    stdout: Run,
    stderr: Run,
}

/// The lines of one source and time.
#[derive(Clone, Copy, Debug)]
struct Run {
    stamp: Nanos,
    len: u64,
    whole: bool,
}

impl Places {
    /// For a read that begins with the first line of its time, if `whole`, or with any.
    pub fn new(whole: bool) -> Self {
        let run = Run {
            stamp: -1,
            len: 0,
            whole,
        };
        Self {
            stdout: run,
            stderr: run,
        }
    }

    /// The place of the next line, where one that began at `under_way` has not ended.
    pub fn next(&mut self, line: &Line, under_way: Option<Nanos>) -> Place {
        let run = match line.source {
            Source::Stderr => &mut self.stderr,
            Source::Stdout | Source::System => &mut self.stdout,
        };
        let may_be_part = line.first && !run.whole;
        // Without a time of its own a line is as old as the one before it.
        let stamp = line.time().unwrap_or(run.stamp.max(0));
        if run.stamp == stamp {
            run.len += 1;
        } else {
            let whole = run.whole || run.stamp >= 0;
            *run = Run {
                stamp,
                len: 1,
                whole,
            };
        }
        Place {
            stamp,
            source: line.source,
            ordinal: run.len - 1,
            counted: run.whole,
            mark: Mark::of(line, may_be_part),
            floor: under_way.unwrap_or(stamp).min(stamp),
            open: line.open.then(|| len(line.text())).flatten(),
        }
    }
}

/// What tells a line from others of its source and time: its text, or the end of it where the beginning may
/// not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Of a line that was read.
    Text(Text),
    /// What a cursor holds of a whole line: its hash, sealed.
    Whole(u64),
    /// What it holds of a line whose beginning may not be known. Older agents held this of every line.
    Print(u32),
    /// None, in a cursor that does not need it.
    None,
}

/// A line's text, as far as lines are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    hash: u64,
    end: [u8; Self::LEN],
    len: u8,
    /// Whether there may be more in front of it.
    is_part: bool,
}

impl Mark {
    fn of(line: &Line, is_part: bool) -> Self {
        let text = line.text();
        let last = &text[text.len().saturating_sub(Text::LEN)..];
        let mut end = [0; Text::LEN];
        end[..last.len()].copy_from_slice(last);
        Self::Text(Text {
            hash: hash(text),
            end,
            len: u8::try_from(last.len()).expect("it is short"),
            is_part,
        })
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.is(other),
            (Self::Text(text), Self::Whole(seal)) | (Self::Whole(seal), Self::Text(text)) => {
                !text.is_part && sealed(text.hash) == *seal
            }
            (Self::Text(text), Self::Print(print)) | (Self::Print(print), Self::Text(text)) => {
                text.has(*print)
            }
            (Self::Whole(one), Self::Whole(other)) => one == other,
            (Self::Print(one), Self::Print(other)) => one == other,
            (Self::Whole(_), Self::Print(_)) | (Self::Print(_), Self::Whole(_)) => false,
            (Self::None, _) | (_, Self::None) => false,
        }
    }

    /// What a cursor holds of it.
    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Text(text) if text.is_part => write!(f, "~{:08x}", print(text.end(), true)),
            Self::Text(Text { hash, .. }) => write!(f, "~{:016x}", sealed(*hash)),
            Self::Whole(seal) => write!(f, "~{seal:016x}"),
            Self::Print(print) => write!(f, "~{print:08x}"),
            Self::None => Ok(()),
        }
    }

    fn read(text: &str) -> Result<Self, BrokenCursor> {
        let number = u64::from_str_radix(text, 16).map_err(|_| BrokenCursor)?;
        match (text.len(), u32::try_from(number)) {
            (8, Ok(print)) => Ok(Self::Print(print)),
            (16, _) => Ok(Self::Whole(number)),
            _ => Err(BrokenCursor),
        }
    }
}

impl Text {
    const LEN: usize = 8;

    fn end(&self) -> &[u8] {
        &self.end[..self.len.into()]
    }

    fn is(&self, other: &Self) -> bool {
        match (self.is_part, other.is_part) {
            (false, false) => self.hash == other.hash,
            (true, false) => other.end().ends_with(self.end()),
            (false, true) => self.end().ends_with(other.end()),
            (true, true) => self.end().ends_with(other.end()) || other.end().ends_with(self.end()),
        }
    }

    /// Whether this is the print of it, or of a part of it.
    fn has(&self, of: u32) -> bool {
        let end = self.end();
        print(end, false) == of || (0..=end.len()).any(|from| print(&end[from..], true) == of)
    }
}

/// The same for every version of the agent. Eight bytes at a time, since every line that is followed has
/// one made.
fn hash(text: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word| (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(ODD);
    let (words, rest) = text.as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words
        .iter()
        .fold(text.len() as u64, |hash, word| mix(hash, *word));
    let hash = mix(hash, last);
    (hash ^ (hash >> 32)).wrapping_mul(ODD) ^ (hash >> 29)
}

/// A hash as clients get it. The hash itself tells eight unknown bytes to whoever knows all else of a line, and what is
/// redacted may be among them: from this one nothing can be computed, only guessed.
fn sealed(hash: u64) -> u64 {
    let digest: [u8; 32] = Sha256::digest(hash.to_le_bytes()).into();
    u64::from_le_bytes(*digest.first_chunk().expect("it is longer"))
}

fn len(text: &[u8]) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(text.len()).ok()?)
}

/// FNV-1a, 32 bits: the same for every version of the agent.
fn print(bytes: &[u8], is_part: bool) -> u32 {
    let kind = [u8::from(is_part)];
    kind.iter().chain(bytes).fold(0x811c_9dc5, |print, byte| {
        (print ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// The time in nanoseconds since 1970.
pub(super) fn now() -> Nanos {
    nanos(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}

/// Where a client's stream of one container was cut: `ID.TIME.SOURCE ORDINAL[~MARK][_OPEN][-FLOOR][!]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The beginning of the container's id.
    id: String,
    /// The last line that the client has got.
    pub place: Place,
    /// Whether it has not got that one either: it is the first that is to come.
    pub is_next: bool,
}

impl Cursor {
    /// The cursor behind the line at `place` of the container `id`.
    pub fn new(id: &str, place: Place) -> Self {
        let id = id.get(..ID_LEN).unwrap_or(id).to_owned();
        Self {
            id,
            place,
            is_next: false,
        }
    }

    /// The beginning of the container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it belongs to the container of this full id.
    pub fn is_of(&self, id: &str) -> bool {
        id.starts_with(&self.id)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_next {
            write_front(f, &self.id, &self.place)
        } else {
            write_cursor(f, &self.id, &self.place)
        }
    }
}

/// Writes the cursor behind `place` of the container `id`.
pub(super) fn write_cursor(f: &mut impl fmt::Write, id: &str, place: &Place) -> fmt::Result {
    let id = id.get(..ID_LEN).unwrap_or(id);
    let source = if place.source == Source::Stderr {
        'e'
    } else {
        'o'
    };
    write!(f, "{id}.{}.{source}{}", place.stamp, place.ordinal)?;
    if !place.counted {
        place.mark.write(f)?;
    }
    if let Some(open) = place.open {
        write!(f, "_{open}")?;
    }
    // The margin for skew covers most lines under way.
    if place.floor < place.stamp - nanos(SKEW) {
        write!(f, "-{}", place.floor)?;
    }
    Ok(())
}

/// Writes the cursor in front of the line at `place` of the container `id`.
pub(super) fn write_front(f: &mut impl fmt::Write, id: &str, place: &Place) -> fmt::Result {
    write_cursor(f, id, place)?;
    f.write_char('!')
}

/// It is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no cursor of this agent")]
pub struct BrokenCursor;

impl FromStr for Cursor {
    type Err = BrokenCursor;

    fn from_str(text: &str) -> Result<Self, BrokenCursor> {
        let (text, is_next) = match text.strip_suffix('!') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let mut parts = text.splitn(3, '.');
        let (Some(id), Some(stamp), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BrokenCursor);
        };
        let is_id = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if id.len() != ID_LEN || !id.bytes().all(is_id) {
            return Err(BrokenCursor);
        }
        let stamp = number(stamp)?;
        let (rest, floor) = match rest.split_once('-') {
            Some((rest, floor)) => (rest, number(floor)?),
            None => (rest, stamp),
        };
        let (rest, open) = match rest.split_once('_') {
            Some((rest, open)) => {
                let open = u32::try_from(number(open)?).map_err(|_| BrokenCursor)?;
                (rest, Some(NonZeroU32::new(open).ok_or(BrokenCursor)?))
            }
            None => (rest, None),
        };
        let (rest, mark) = match rest.split_once('~') {
            Some((rest, mark)) if mark.bytes().all(is_id) => (rest, Mark::read(mark)?),
            Some(_) => return Err(BrokenCursor),
            None => (rest, Mark::None),
        };
        let (source, ordinal) = match rest.as_bytes().first() {
            Some(b'o') => (Source::Stdout, &rest[1..]),
            Some(b'e') => (Source::Stderr, &rest[1..]),
            _ => return Err(BrokenCursor),
        };
        let ordinal = u64::try_from(number(ordinal)?).map_err(|_| BrokenCursor)?;
        if floor > stamp {
            return Err(BrokenCursor);
        }
        Ok(Self {
            id: id.to_owned(),
            place: Place {
                stamp,
                source,
                ordinal,
                counted: mark == Mark::None,
                mark,
                floor,
                open,
            },
            is_next,
        })
    }
}

/// A number without sign or leading zero, so that a cursor has one form only.
fn number(text: &str) -> Result<Nanos, BrokenCursor> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || (text.len() > 1 && text.starts_with('0')) {
        return Err(BrokenCursor);
    }
    text.parse().map_err(|_| BrokenCursor)
}

#[cfg(test)]
mod tests;
