//! The cursor that a client resumes with, as text.

use std::{fmt, num::NonZeroU32, str::FromStr};

use super::{
    Source,
    place::{Nanos, Place, mark::Mark},
};

/// How much of a container's id a cursor holds: as much as people are shown.
const ID_LEN: usize = 12;

/// Such an id no container has.
const NOBODY: &str = "000000000000";

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

    /// The cursor in front of all that the container `id` may come to write.
    pub fn before_all(id: &str) -> Self {
        let place = Place {
            stamp: 0,
            source: Source::Stdout,
            ordinal: 0,
            counted: true,
            mark: Mark::None,
            floor: 0,
            open: None,
        };
        Self {
            is_next: true,
            ..Self::new(id, place)
        }
    }

    /// The cursor of a stream of many logs that has had no container yet.
    pub fn of_nobody() -> Self {
        Self::before_all(NOBODY)
    }

    /// Whether it is the one of [`of_nobody`](Self::of_nobody).
    pub fn is_of_nobody(&self) -> bool {
        self.id == NOBODY && self.is_before_all()
    }

    /// Whether it is the one of [`before_all`](Self::before_all).
    pub fn is_before_all(&self) -> bool {
        self.is_next && self.place.stamp == 0
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
    if place.floor < place.stamp {
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
            Some((rest, mark)) => (rest, Mark::read(mark).ok_or(BrokenCursor)?),
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
