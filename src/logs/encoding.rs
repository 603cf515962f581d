//! What the followers of a container get of its lines, made once for all who get the same.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::{Bytes, BytesMut};

use super::{View, sse::Dialect, stretch::Placed};

/// How many encodings of the same lines are kept. Others are made for each follower.
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
        for Placed { line, place } in lines {
            if let Some(line) = self.view.show(line.clone()) {
                self.dialect.line(container, place, &line, &mut bytes);
                many += 1;
            }
        }
        Encoded {
            bytes: bytes.freeze(),
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
        all.retain(|known| known.strong_count() > 0);
        let mut known = all.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|known| **known == encoding) {
            return known;
        }
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
    /// The lines in this encoding, made by `encode` the first time; each time for one that nobody shares, or where there are
    /// as many others as are kept.
    pub fn get(&self, encoding: &Arc<Encoding>, encode: impl FnOnce() -> Encoded) -> Encoded {
        if Arc::strong_count(encoding) > 1 {
            for slot in self.0.get_or_init(Box::default).iter() {
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
