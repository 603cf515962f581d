//! The newest lines of one container, for all who follow it.
//!
//! One reader pushes, many followers take, each at its own pace. Whoever is slower than the ring is told
//! so, and reads what it has missed elsewhere; nobody waits for it. The reader waits for the fastest
//! follower only, so it reads no faster than someone takes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::sync::{Notify, watch};

use super::{
    Line,
    cursor::{Cursor, Nanos, Place, nanos, now},
    sse::Dialect,
};
use crate::telemetry::name as metric;

/// What is kept of one container at most, in bytes of text and of what is kept beside it.
pub const RING: usize = 4 << 20;

/// How far the reader may be ahead of the fastest follower.
const AHEAD: u64 = RING as u64 / 2;

/// How long after its last line a log counts as quiet, and how far behind it a reader may be that has
/// caught up.
const QUIET: Duration = Duration::from_secs(1);

/// A line and where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The line.
    pub line: Line,
    /// Where it stands.
    pub place: Place,
}

/// Lines that are not there any more, before others that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last line before the gap.
    pub after: Cursor,
    /// The time of the first line behind it, if there is one yet.
    pub before: Option<Nanos>,
}

/// Lines that came together, in the order of the log.
#[derive(Debug)]
pub struct Stretch {
    /// What is missing in front of them.
    pub gap: Option<Gap>,
    /// The lines.
    pub lines: Vec<Placed>,
    /// Where the container stopped behind them: its runs that began until then are over.
    pub stopped: Option<Nanos>,
    /// All of the lines as events, by dialect; made when someone asks.
    events: [OnceLock<Bytes>; 2],
    kept: Kept,
    came: Instant,
}

/// Counts the memory that a stretch takes.
#[derive(Debug)]
struct Kept {
    gauge: Gauge,
    size: usize,
}

impl Drop for Kept {
    fn drop(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "no stretch has 2^52 bytes")]
        self.gauge.decrement(self.size as f64);
    }
}

impl Stretch {
    /// Puts lines together, with their text in one piece of memory of its own: as slices of what was read
    /// they would keep all of that.
    pub fn new(mut lines: Vec<Placed>) -> Self {
        let len = lines.iter().map(|placed| placed.line.bytes.len()).sum();
        let mut text = BytesMut::with_capacity(len);
        for placed in &lines {
            text.extend_from_slice(&placed.line.bytes);
        }
        let mut text = text.freeze();
        for placed in &mut lines {
            placed.line.bytes = text.split_to(placed.line.bytes.len());
        }
        lines.shrink_to_fit();
        // Text, and text as events, mostly of one dialect.
        let size = 2 * len + lines.len() * (size_of::<Placed>() + 96) + size_of::<Self>();
        let gauge = gauge!(metric::RING_BYTES);
        #[expect(clippy::cast_precision_loss, reason = "no stretch has 2^52 bytes")]
        gauge.increment(size as f64);
        Self {
            gap: None,
            lines,
            stopped: None,
            events: [OnceLock::new(), OnceLock::new()],
            kept: Kept { gauge, size },
            came: Instant::now(),
        }
    }

    /// No lines, but what is missing there.
    pub fn missing(gap: Gap) -> Self {
        Self {
            gap: Some(gap),
            ..Self::new(Vec::new())
        }
    }

    /// No lines, but that the container's runs that began until `runs` are over.
    pub fn stop(runs: Nanos) -> Self {
        Self {
            stopped: Some(runs),
            ..Self::new(Vec::new())
        }
    }

    /// All of the lines as events of `dialect`, made by `encode` the first time.
    pub fn events(&self, dialect: Dialect, encode: impl FnOnce() -> Bytes) -> Bytes {
        self.events[dialect as usize].get_or_init(encode).clone()
    }

    /// The time of its lines where that is the same for all of them, and they are not counted: where they
    /// stand among others of that time is not known then.
    pub fn only_time(&self) -> Option<Nanos> {
        only_time(&self.lines)
    }

    /// The place of the last line.
    pub fn last(&self) -> Option<Place> {
        self.lines.last().map(|placed| placed.place)
    }
}

/// See [`Stretch::only_time`]. A line alone has it not, or each log that begins would.
pub(super) fn only_time(lines: &[Placed]) -> Option<Nanos> {
    let [first, _, ..] = lines else {
        return None;
    };
    let time = first.place.stamp;
    let is_alike = |placed: &Placed| !placed.place.counted && placed.place.stamp == time;
    lines.iter().all(is_alike).then_some(time)
}

/// How a container's lines ended.
#[derive(Clone, Debug)]
pub enum Ended {
    /// It stopped, or was removed.
    Closed,
    /// They can be read no longer.
    Failed(Arc<super::LogError>),
}

/// Where in the ring a follower is: before this line of this stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    stretch: u64,
    line: usize,
}

/// What a follower finds at its position.
#[derive(Debug)]
pub enum Found {
    /// The rest of a stretch, from this line on.
    Lines(Arc<Stretch>, usize),
    /// Nothing yet.
    Nothing,
    /// The ring has gone on without it.
    Passed,
    /// The end.
    End(Ended),
}

/// Where a line is, as far as the ring knows.
#[derive(Debug)]
pub enum Sought {
    /// In the ring; this is the position behind it.
    Here(Position),
    /// It has not been read yet.
    NotYet,
    /// Perhaps it is older than all that is in the ring.
    Unknown,
    /// It will not come: the end.
    End(Ended),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Ring {
    state: Mutex<State>,
    /// Changes with everything that is pushed.
    pushed: watch::Sender<()>,
    /// Told when a follower has taken something that the reader may wait for.
    taken: Notify,
    lag: Histogram,
    passed: Counter,
}

#[derive(Debug, Default)]
struct State {
    stretches: VecDeque<Arc<Stretch>>,
    /// The number of the oldest.
    first: u64,
    size: usize,
    /// All bytes ever pushed, and how many of them the fastest follower has taken.
    pushed: u64,
    taken: u64,
    /// Up to which stretch that was.
    front: u64,
    /// When the reader began to read.
    opened: Nanos,
    /// Whether the log was empty when the ring was.
    is_whole: bool,
    ended: Option<Ended>,
}

impl State {
    fn next(&self) -> u64 {
        self.first + self.stretches.len() as u64
    }

    /// Whether the reader is too far ahead of all who take.
    fn is_full(&self, size: usize) -> bool {
        self.pushed - self.taken > AHEAD.min(size as u64 / 2)
    }

    /// Whether the ring's end is the log's end, as far as can be known.
    fn is_settled(&self) -> bool {
        let Some(newest) = self.stretches.back() else {
            return false;
        };
        if newest.came.elapsed() >= QUIET {
            return !self.is_full(RING);
        }
        let recently = now() - nanos(QUIET);
        newest
            .last()
            .is_some_and(|last| last.stamp >= self.opened.max(recently))
    }

    /// A follower has gone up to stretch `number`, not included.
    fn take_up_to(&mut self, number: u64) {
        while self.front < number {
            let at = self.front.checked_sub(self.first);
            let stretch = at.and_then(|at| self.stretches.get(usize::try_from(at).ok()?));
            self.taken += stretch.map_or(0, |stretch| stretch.kept.size as u64);
            self.front += 1;
        }
    }
}

impl Ring {
    /// An empty ring.
    pub fn new() -> Self {
        Self {
            state: Mutex::default(),
            pushed: watch::Sender::new(()),
            taken: Notify::new(),
            lag: histogram!(metric::FOLLOWER_LAG),
            passed: counter!(metric::FOLLOWERS_PASSED),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there panics halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stretch and lets go of the oldest where there are more than `size` bytes, then waits until
    /// the fastest follower is not too far behind.
    pub async fn push(&self, stretch: Stretch, size: usize) {
        {
            let mut state = self.state();
            state.size += stretch.kept.size;
            state.pushed += stretch.kept.size as u64;
            state.stretches.push_back(Arc::new(stretch));
            while state.size > size && state.stretches.len() > 1 {
                // Without followers nothing is taken, and what falls out counts as taken.
                let next = state.first + 1;
                state.take_up_to(next);
                if let Some(old) = state.stretches.pop_front() {
                    state.first += 1;
                    state.size -= old.kept.size;
                }
            }
        }
        self.pushed.send_replace(());
        loop {
            let taken = self.taken.notified();
            {
                let state = self.state();
                if !state.is_full(size) {
                    return;
                }
            }
            taken.await;
        }
    }

    /// The reader begins to read, and what it reads may be old for a while.
    pub fn open(&self) {
        self.state().opened = now();
    }

    /// Whether the ring's end is the log's end, as far as can be known: not while the reader takes in what
    /// was written before it began, or is held up.
    pub fn is_settled(&self) -> bool {
        self.state().is_settled()
    }

    /// Nothing more comes.
    pub fn end(&self, how: Ended) {
        self.state().ended.get_or_insert(how);
        self.pushed.send_replace(());
    }

    /// Whether nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    /// What tells that something was pushed since it was last asked.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.pushed.subscribe()
    }

    /// What is at `position`, which moves behind it.
    pub fn take(&self, position: &mut Position) -> Found {
        let mut state = self.state();
        if position.stretch < state.first {
            self.passed.increment(1);
            return Found::Passed;
        }
        let at = usize::try_from(position.stretch - state.first).unwrap_or(usize::MAX);
        let Some(stretch) = state.stretches.get(at).cloned() else {
            return match &state.ended {
                Some(how) => Found::End(how.clone()),
                None => Found::Nothing,
            };
        };
        let line = position.line;
        *position = Position {
            stretch: position.stretch + 1,
            line: 0,
        };
        if state.front < position.stretch {
            state.take_up_to(position.stretch);
            self.taken.notify_one();
        }
        drop(state);
        self.lag.record(stretch.came.elapsed());
        Found::Lines(stretch, line)
    }

    /// The position behind the line at `place`, if that is here for certain: where lines are known by their
    /// text only, no other one of that time must have it.
    pub fn find(&self, place: &Place) -> Option<Position> {
        let state = self.state();
        let mut found = None;
        for (at, stretch) in state.stretches.iter().enumerate().rev() {
            for (line, placed) in stretch.lines.iter().enumerate().rev() {
                if !place.is(&placed.place) || place.open != placed.place.open {
                    continue;
                }
                let position = Some(Position {
                    stretch: state.first + at as u64,
                    line: line + 1,
                });
                if place.is_counted_with(&placed.place) {
                    return position;
                }
                if found.is_some() {
                    return None;
                }
                found = position;
            }
            if stretch
                .last()
                .is_some_and(|last| place.is_far_behind(&last))
            {
                break;
            }
        }
        found
    }

    /// Where the line at `place` is. Whoever asks is going to take what comes.
    pub fn seek(&self, place: &Place) -> Sought {
        if let Some(position) = self.find(place) {
            return Sought::Here(position);
        }
        let mut state = self.state();
        if let Some(how) = &state.ended {
            return Sought::End(how.clone());
        }
        // Whoever waits for the reader must not be waited for by it.
        let next = state.next();
        state.take_up_to(next);
        self.taken.notify_one();
        let newest = state
            .stretches
            .iter()
            .rev()
            .find_map(|stretch| stretch.last());
        let is_passed = |last: Place| last.stamp >= place.stamp && !last.counts_before(place);
        if newest.is_some_and(is_passed) {
            return Sought::Unknown;
        }
        Sought::NotYet
    }

    /// The position before the last `many` lines and the place of the line before it, if all of these are
    /// here, known to be the last, and none is missing among them.
    pub fn tail(&self, many: u32) -> Option<(Position, Place)> {
        let state = self.state();
        if !state.is_settled() {
            return None;
        }
        let mut more = usize::try_from(many).ok()?;
        for (at, stretch) in state.stretches.iter().enumerate().rev() {
            if let Some(before) = stretch.lines.len().checked_sub(more + 1) {
                let position = Position {
                    stretch: state.first + at as u64,
                    line: before + 1,
                };
                return Some((position, stretch.lines[before].place));
            }
            more -= stretch.lines.len();
            if stretch.gap.is_some() || stretch.stopped.is_some() {
                return None;
            }
        }
        None
    }

    /// The log has had no line so far, nor has the ring; the reader reads from its first one on.
    pub fn begin(&self) {
        self.state().is_whole = true;
    }

    /// The position before the first line of the log, if that is here or is going to be.
    pub fn first_line(&self) -> Option<Position> {
        let state = self.state();
        let begin = Position {
            stretch: 0,
            line: 0,
        };
        (state.is_whole && state.first == 0).then_some(begin)
    }

    /// The position before everything.
    pub fn first_position(&self) -> Position {
        let stretch = self.state().first;
        Position { stretch, line: 0 }
    }

    /// The position behind everything.
    pub fn end_position(&self) -> Position {
        let stretch = self.state().next();
        Position { stretch, line: 0 }
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.state()
            .stretches
            .iter()
            .all(|stretch| stretch.lines.is_empty())
    }

    /// Where the container has stopped and not been read again since: which of its runs are over.
    pub fn stopped(&self) -> Option<Nanos> {
        self.state().stretches.back()?.stopped
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}
