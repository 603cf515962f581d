//! What the followers of a container get of its lines, made once for those who get the same.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::{Bytes, BytesMut};

use super::{View, sse::Dialect, stretch::Placed};

/// How many encodings of the same lines are kept, half of them for whoever comes first. The others are for what more than a
/// fifth of the followers use, which no more than four can be, so that a few do not take the place of many.
const KEPT: usize = 4;

/// How lines become events: what is shown of them, and in which dialect.
#[derive(Debug, PartialEq)]
pub struct Encoding {
    dialect: Dialect,
    view: View,
}

impl Encoding {
    /// Lines as `view` shows them, in `dialect`.
    pub fn new(dialect: Dialect, view: View) -> Self {
        Self { dialect, view }
    }

    /// The dialect.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Lines of `container` as events.
    pub fn encode<'a>(
        &self,
        container: &str,
        lines: impl Iterator<Item = &'a Placed> + Clone,
    ) -> Encoded {
        let len = |placed: &Placed| placed.line.bytes.len() + 96;
        let mut bytes = BytesMut::new();
        if self.view.is_plain() {
            bytes.reserve(lines.clone().map(len).sum());
        }
        let mut many = 0;
        for placed in lines {
            if let Some(line) = self.view.show(placed.line.clone()) {
                let place = placed.cursor();
                self.dialect.line(container, &place, &line, &mut bytes);
                many += 1;
            }
        }
        // Frozen, it would keep all that it has room for.
        let is_roomy = bytes.capacity() > bytes.len() + bytes.len() / 4;
        Encoded {
            bytes: if is_roomy {
                Bytes::copy_from_slice(&bytes)
            } else {
                bytes.freeze()
            },
            lines: many,
        }
    }
}

/// Lines as events.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The events.
    pub bytes: Bytes,
    /// How many lines are in there.
    pub lines: usize,
}

/// The encodings that the followers of one container use.
#[derive(Debug, Default)]
pub struct Encodings(Mutex<Vec<Weak<Encoding>>>);

impl Encodings {
    /// The one that all share who use the like of it.
    pub fn share(&self, encoding: Encoding) -> Arc<Encoding> {
        // Nothing in there panics halfway.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = all.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|known| **known == encoding) {
            return known;
        }
        all.retain(|known| known.strong_count() > 0);
        let encoding = Arc::new(encoding);
        all.push(Arc::downgrade(&encoding));
        encoding
    }
}

/// The same lines in several encodings, each made when someone asks.
#[derive(Debug, Default)]
pub struct Kept(OnceLock<Box<[Slot; KEPT]>>);

type Slot = OnceLock<(Weak<Encoding>, OnceLock<Encoded>)>;

impl Kept {
    /// The lines in this encoding, which is one of those of so many `followers`, made by `encode` the first time; each time
    /// for one that nobody shares, or for which there is no place.
    pub fn get(
        &self,
        encoding: &Arc<Encoding>,
        followers: usize,
        encode: impl FnOnce() -> Encoded,
    ) -> Encoded {
        let users = Arc::strong_count(encoding);
        if users > 1 {
            let is_for_many = users * 5 > followers;
            let slots = self.0.get_or_init(Box::default);
            let mut known = slots.iter().filter_map(OnceLock::get);
            if let Some((_, encoded)) = known.find(|(of, _)| of.as_ptr() == Arc::as_ptr(encoding)) {
                return encoded.get_or_init(encode).clone();
            }
            for slot in if is_for_many {
                &slots[..]
            } else {
                &slots[KEPT / 2..]
            } {
                let (of, encoded) =
                    slot.get_or_init(|| (Arc::downgrade(encoding), OnceLock::new()));
                if of.as_ptr() == Arc::as_ptr(encoding) {
                    return encoded.get_or_init(encode).clone();
                }
            }
        }
        encode()
    }
}

#[cfg(test)]
mod tests;
