//! Lines of a container that came together.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use metrics::{Gauge, gauge};

use super::{
    Line,
    cursor::Cursor,
    encoding,
    place::{Nanos, Place},
};
use crate::{engine::Facts, telemetry::name as metric};

/// A line and where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The line.
    pub line: Line,
    /// Where it stands.
    pub place: Place,
    /// Where whoever has got it goes on, if not behind it.
    goes_on: Option<Box<Place>>,
}

impl Placed {
    /// A line behind which one goes on.
    pub fn new(line: Line, place: Place) -> Self {
        Self {
            line,
            place,
            goes_on: None,
        }
    }

    /// Whether it was under way where the line at `last` ended, the last one that did.
    pub fn had_begun_at(&self, last: &Place) -> bool {
        let begun = (last.floor < last.stamp).then_some(last.floor);
        self.place.source != last.source && begun == Some(self.place.stamp)
    }

    /// Where whoever has got it goes on.
    pub fn cursor(&self) -> Place {
        self.goes_on.as_deref().copied().unwrap_or(self.place)
    }
}

/// Lines that are not there any more, before others that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last line before the gap.
    pub after: Cursor,
    /// The time of the first line behind it, if there is one yet.
    pub before: Option<Nanos>,
}

/// Where a container stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Its runs that began until then are over.
    runs: Nanos,
    /// But not the one that began then: the next.
    next: Option<Nanos>,
    /// When that was known here.
    known: Instant,
}

impl Stop {
    /// The end of the runs that began until then.
    pub fn new(runs: Nanos) -> Self {
        Self {
            runs,
            next: None,
            known: Instant::now(),
        }
    }

    /// The same, where the next run has begun already: by a clock that was set back perhaps at an earlier time.
    pub fn before(self, next: Nanos) -> Self {
        let next = Some(next);
        Self { next, ..self }
    }

    /// Whether the container's run that was seen so ended there. Stops of earlier ones may have been kept for others.
    pub fn is_of(&self, facts: &Facts) -> bool {
        let run = facts.state.run();
        if self.known < facts.asked {
            // Only if nothing has run since.
            return !facts.state.running && self.next.is_none() && run == self.runs;
        }
        run <= self.runs && Some(run) != self.next
    }

    /// Which runs are over for who goes on with the next: those that began until then.
    pub fn over(&self) -> Nanos {
        self.next.map_or(self.runs, |next| next - 1)
    }
}

/// Lines that came together, in the order of the log.
#[derive(Debug)]
pub struct Stretch {
    /// What is missing in front of them.
    pub gap: Option<Gap>,
    /// The lines.
    pub lines: Vec<Placed>,
    /// Where the container stopped behind them.
    pub stopped: Option<Box<Stop>>,
    /// The lines as events, in the encodings asked for.
    pub encoded: encoding::Kept,
    memory: Memory,
    pub(super) came: Instant,
}

/// Counts the memory that a stretch takes.
#[derive(Debug)]
struct Memory {
    gauge: Gauge,
    size: usize,
}

impl Drop for Memory {
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
        // Text, and text as events, mostly in one encoding; each further one that is
        // kept takes as much again as its events.
        let size = 2 * len + lines.len() * (size_of::<Placed>() + 96) + size_of::<Self>();
        let gauge = gauge!(metric::RING_BYTES);
        #[expect(clippy::cast_precision_loss, reason = "no stretch has 2^52 bytes")]
        gauge.increment(size as f64);
        Self {
            gap: None,
            lines,
            stopped: None,
            encoded: encoding::Kept::default(),
            memory: Memory { gauge, size },
            came: Instant::now(),
        }
    }

    /// The lines without a newline that a log ends with, behind the one at `last`. One that was under way there comes late, and
    /// whoever has got it goes on behind that line, with nothing under way.
    pub fn rest(mut lines: Vec<Placed>, last: Option<Place>) -> Self {
        for placed in &mut lines {
            if let Some(last) = last.filter(|last| placed.had_begun_at(last)) {
                let floor = last.stamp;
                placed.goes_on = Some(Box::new(Place { floor, ..last }));
            }
        }
        Self::new(lines)
    }

    /// No lines, but what is missing there.
    pub fn missing(gap: Gap) -> Self {
        Self {
            gap: Some(gap),
            ..Self::new(Vec::new())
        }
    }

    /// No lines, but that the container stopped.
    pub fn stop(stop: Stop) -> Self {
        Self {
            stopped: Some(Box::new(stop)),
            ..Self::new(Vec::new())
        }
    }

    /// From when on its lines have to be counted: where they stand among others is not known. All are of one time, or one of
    /// them is a part of a line, whose other parts a read that begins elsewhere cuts elsewhere.
    pub fn uncounted(&self) -> Option<Nanos> {
        uncounted(&self.lines)
    }

    /// The memory that it takes, in bytes, as far as that is known before it is encoded.
    pub fn size(&self) -> usize {
        self.memory.size
    }

    /// How long it has been here.
    pub fn age(&self) -> Duration {
        self.came.elapsed()
    }

    /// Where whoever has got the last line goes on.
    pub fn last(&self) -> Option<Place> {
        self.lines.last().map(Placed::cursor)
    }
}

/// See [`Stretch::uncounted`].
pub(super) fn uncounted(lines: &[Placed]) -> Option<Nanos> {
    let is_part = |placed: &Placed| !placed.place.counted && placed.line.first && placed.line.more;
    if lines.iter().any(is_part) {
        return lines.iter().map(|placed| placed.place.stamp).min();
    }
    // A line alone is not enough, or each log that begins would be counted.
    let [first, _, ..] = lines else {
        return None;
    };
    let time = first.place.stamp;
    let is_alike = |placed: &Placed| !placed.place.counted && placed.place.stamp == time;
    lines.iter().all(is_alike).then_some(time)
}
