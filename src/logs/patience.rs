//! Which failures of a log's reads are borne: those of an engine that is away or starts, and a few others in a row.

use std::time::Duration;

use tokio::time::Instant;

use super::LogError;

/// How often a read may fail in a row, with the engine there and no line read.
const FAILURES: u32 = 5;

/// How long after it was away an engine may refuse what it gives later.
const STARTS: Duration = Duration::from_secs(30);

/// What is borne of failures.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Those since the last line.
    failures: u32,
    /// When the engine was last away, or broke off.
    away: Option<Instant>,
}

impl Patience {
    /// Whether one more is to be borne.
    pub(super) fn bears(&mut self, error: &LogError) -> bool {
        let is_refusal = matches!(error, LogError::Open(error) if error.is_refusal());
        let starts = self.away.is_some_and(|away| away.elapsed() <= STARTS);
        if error.is_outage() || matches!(error, LogError::Engine(_)) {
            self.away = Some(Instant::now());
        }
        let counts = !is_refusal || !starts;
        if counts && !error.is_outage() {
            self.failures += 1;
        }
        self.failures <= FAILURES && !error.says_gone()
    }

    /// Whether the engine has been away since then.
    pub(super) fn was_tried_since(&self, time: Instant) -> bool {
        self.away.is_some_and(|away| away >= time)
    }

    /// The log goes on.
    pub(super) fn renew(&mut self) {
        self.failures = 0;
    }
}

impl LogError {
    /// Whether the engine is away, and may come back.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_outage())
    }

    /// Whether the container does not exist any more.
    pub(super) fn says_gone(&self) -> bool {
        matches!(self, Self::Open(error) if error.says_gone())
    }

    /// Whether the container has been removed, or a part of it; or the engine starts.
    pub(super) fn says_removed(&self) -> bool {
        matches!(self, Self::Open(error) if error.says_removed())
    }
}
