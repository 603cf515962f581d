//! Handles of series, each looked up by name once.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{PoisonError, RwLock},
};

use ::metrics::{Counter, Histogram};
use foldhash::fast::FixedState;
use quanta::Instant;

/// Counts of what has happened, each with the seconds that it took, by `K`.
///
/// Nothing is ever taken out, and keys are hashed in a quick way: of `K` there must be few, and a client must not be able
/// to choose it.
pub struct Timed<K>(RwLock<HashMap<K, (Counter, Histogram), FixedState>>);

impl<K> Default for Timed<K> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash> Timed<K> {
    /// Counts one that began then and ends now. `make` names the series where `key` is met for the first time.
    pub fn record(&self, key: K, begun: Instant, make: impl FnOnce() -> (Counter, Histogram)) {
        let record = |(count, seconds): &(Counter, Histogram)| {
            count.increment(1);
            seconds.record(begun.elapsed());
        };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(&key) {
            return record(series);
        }
        drop(known);
        let series = make();
        record(&series);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, series);
    }
}

impl<K> fmt::Debug for Timed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timed").finish_non_exhaustive()
    }
}
