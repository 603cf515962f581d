//! What has happened before, as the engine tells it.

use std::collections::VecDeque;

use super::{
    event::{Nanos, Said},
    ring::{BYTES, ENTRIES},
};

/// Some of it.
#[derive(Debug)]
pub(super) enum Told {
    Said(Said),
    /// More was here that is not known.
    Missing,
}

/// The newest of it, as much as there could be room for: some engines remember everything.
#[derive(Debug, Default)]
pub(super) struct Past {
    told: VecDeque<Told>,
    bytes: usize,
    /// The time of the last event that was left out.
    pub(super) left_out: Option<Nanos>,
}

impl Past {
    /// Adds what comes next; none where that cannot be read.
    pub(super) fn push(&mut self, said: Option<Said>) {
        match said {
            Some(said) => {
                self.bytes += said.size();
                self.told.push_back(Told::Said(said));
            }
            None if matches!(self.told.back(), Some(Told::Missing)) => {}
            None => self.told.push_back(Told::Missing),
        }
        while self.told.len() > ENTRIES || self.bytes > BYTES {
            let left_out = match self.told.pop_front() {
                Some(Told::Said(said)) => {
                    self.bytes -= said.size();
                    Some(said.nanos)
                }
                // Older than what comes next.
                Some(Told::Missing) => self.told.iter().find_map(|told| match told {
                    Told::Said(said) => Some(said.nanos - 1),
                    Told::Missing => None,
                }),
                None => return,
            };
            self.left_out = self.left_out.max(left_out);
        }
    }
}

impl IntoIterator for Past {
    type Item = Told;
    type IntoIter = std::collections::vec_deque::IntoIter<Told>;

    fn into_iter(self) -> Self::IntoIter {
        self.told.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn keeps_the_newest_and_knows_what_it_left_out() {
        let said = |nanos: usize, len: usize| {
            let line = format!("{{\"timeNano\":{nanos},\"x\":\"{}\"}}", "x".repeat(len));
            Said::read(Bytes::from(line))
        };
        let mut past = Past::default();
        past.push(None);
        past.push(None);
        for nanos in 2..=ENTRIES {
            past.push(said(nanos, 0));
        }
        assert_eq!((past.told.len(), past.left_out), (ENTRIES, None));
        past.push(said(ENTRIES + 1, 0));
        assert_eq!((past.told.len(), past.left_out), (ENTRIES, Some(1)));
        past.push(said(ENTRIES + 2, 0));
        assert_eq!((past.told.len(), past.left_out), (ENTRIES, Some(2)));
        for more in 1..=100 {
            past.push(said(ENTRIES + 2 + more, 1 << 20));
        }
        assert!(
            past.bytes <= BYTES && past.told.len() == 2,
            "{}",
            past.bytes
        );
    }
}
