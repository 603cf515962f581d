//! What has happened before, as the engine tells it.

use std::collections::VecDeque;

use super::{
    event::{Nanos, Said},
    ring::{BYTES, ENTRIES},
};

/// The newest of it, as much as there could be room for: some engines remember everything.
#[derive(Debug, Default)]
pub(super) struct Past {
    said: VecDeque<Said>,
    bytes: usize,
    /// The time of the last event that was left out.
    pub(super) left_out: Option<Nanos>,
}

impl Extend<Said> for Past {
    fn extend<T: IntoIterator<Item = Said>>(&mut self, said: T) {
        for said in said {
            self.bytes += said.size();
            self.said.push_back(said);
            while self.said.len() > ENTRIES || self.bytes > BYTES {
                let Some(said) = self.said.pop_front() else {
                    return;
                };
                self.bytes -= said.size();
                self.left_out = self.left_out.max(Some(said.nanos));
            }
        }
    }
}

impl IntoIterator for Past {
    type Item = Said;
    type IntoIter = std::collections::vec_deque::IntoIter<Said>;

    fn into_iter(self) -> Self::IntoIter {
        self.said.into_iter()
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
            Said::read(Bytes::from(line)).unwrap()
        };
        let mut past = Past::default();
        past.extend((1..=ENTRIES).map(|nanos| said(nanos, 0)));
        assert_eq!((past.said.len(), past.left_out), (ENTRIES, None));
        past.extend([said(ENTRIES + 1, 0)]);
        assert_eq!((past.said.len(), past.left_out), (ENTRIES, Some(1)));
        past.extend((1..=100).map(|more| said(ENTRIES + 1 + more, 1 << 20)));
        assert!(
            past.bytes <= BYTES && past.said.len() == 2,
            "{}",
            past.bytes
        );
    }
}
