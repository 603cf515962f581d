//! So much and no more, without a clock of its own.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ration {
    /// What each costs, and how much may be owed, in nanoseconds.
    each: u64,
    most: u64,
    /// When all of it will have been paid back, in nanoseconds since some time.
    paid: AtomicU64,
}

impl Ration {
    /// So many at once, and behind them so many a second.
    pub(super) const fn new(a_second: u64, at_once: u64) -> Self {
        let each = 1_000_000_000 / a_second;
        Self {
            each,
            most: each * at_once,
            paid: AtomicU64::new(0),
        }
    }

    /// Whether there is one more at this time.
    pub(super) fn gives(&self, now: u64) -> bool {
        let pay = |paid: u64| {
            let paid = paid.max(now) + self.each;
            (paid <= now + self.most).then_some(paid)
        };
        let paid = self
            .paid
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        paid.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ration_is_given_at_once_and_then_little_by_little() {
        const SECOND: u64 = 1_000_000_000;
        let ration = Ration::new(10, 100);
        let given = |now: u64| (0..1_000).filter(|_| ration.gives(now)).count();
        let now = 5 * SECOND;
        assert_eq!([given(now), given(now)], [100, 0]);
        assert_eq!([given(now + SECOND), given(now + 3 * SECOND)], [10, 20]);
        assert_eq!(given(now + 1_000 * SECOND), 100);
    }
}
