//! Where a line stands in its container's log.
//!
//! The engine numbers nothing. A line's place is its time, its source, and how many lines of that source
//! have the same time before it: within one source the times never go back, so such lines are neighbours.
//! A read that begins somewhere at the end of a log cannot tell how many lines of the first time it has
//! missed. Until that time has passed, lines are known by their text instead.

pub mod mark;
pub mod steps;

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use self::mark::Mark;
use super::{Line, Source};

/// How far apart in the log two lines may stand in the wrong order of their times: the engine stamps a
/// line, and then waits for its turn to write it.
pub const SKEW: Duration = Duration::from_secs(1);

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

    /// Whether a line of this source that began at this time, and has no end yet where this one has come, was given with it
    /// or before it.
    pub fn is_begun_behind(&self, source: Source, begun: Nanos) -> bool {
        // Of last words of the same time, standard output's are given first.
        let is_before = self.open.is_some() && begun == self.floor && source == Source::Stdout;
        begun < self.floor || is_before
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
        other.stamp < self.earliest()
    }

    /// The time from which on all lines must be read to find this one, and all that follow it whole.
    pub fn since(&self) -> Nanos {
        self.floor.min(self.earliest()).max(0)
    }

    /// How early a line of the other source may be stamped that stands behind this one.
    fn earliest(&self) -> Nanos {
        self.stamp.saturating_sub(nanos(SKEW))
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

fn len(text: &[u8]) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(text.len()).ok()?)
}

pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// The time in nanoseconds since 1970.
pub(super) fn now() -> Nanos {
    nanos(SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default())
}

#[cfg(test)]
mod tests;
