//! One of many containers.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::super::{
    View,
    cursor::{Cursor, write_cursor, write_front},
    follower::Follower,
    hub::Membership,
    place::{Nanos, Place},
    ring::Ring,
    stretch::{Placed, Stretch},
};
use crate::engine::Facts;

/// A container that is or was followed.
pub(super) struct Member {
    pub(super) facts: Facts,
    /// Once it has stopped: which of its runs are over, those that began until then.
    pub(super) runs: Nanos,
    pub(super) view: View,
    /// Whether the client has named it.
    pub(super) named: bool,
    /// What to say of it when it can be followed.
    pub(super) news: Option<&'static str>,
    /// The last line that was sent, or was there before the first.
    pub(super) at: Option<Place>,
    /// The first line that is to be sent, as long as none was.
    pub(super) first: Option<Place>,
    /// Whether that one is still looked for.
    pub(super) seeks: bool,
    /// Whether what was written before is merged with that of others.
    pub(super) merges: bool,
    /// Whether all that was written before has been sent.
    pub(super) live: bool,
    /// Whether it has fallen behind since.
    pub(super) behind: bool,
    /// Its ring, once it is followed.
    pub(super) ring: Weak<Ring>,
    pub(super) state: State,
}

pub(super) enum State {
    /// It is about to be followed.
    Opening,
    /// Its follower is among the steps.
    Waiting,
    /// Lines that were written before, from this one on; others may have older ones.
    Holding(Source, Arc<Stretch>, usize),
    /// It has no more of those, others have.
    Parked(Follower),
    /// What is written now is later than what is wanted.
    Past,
    /// Its log is at its end, or cannot be read.
    Stopped,
}

/// Where more lines come from.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly always it is the large one"
)]
pub(super) enum Source {
    Follower(Follower),
    /// Another follower, for which the feed is kept: others had to read meanwhile.
    Seat(Option<Membership>),
}

/// Where the line that must come first stands among others.
pub(super) enum Sought {
    At(usize),
    Later,
    /// It is not there any more; the time is that of the first of the others.
    Gone(Nanos),
}

impl Member {
    /// Looks for the first line that is to be sent.
    pub(super) fn seek(&self, lines: &[Placed]) -> Sought {
        let Some(first) = self.first.filter(|_| self.seeks) else {
            return Sought::At(0);
        };
        if let Some(at) = lines.iter().position(|placed| first.is(&placed.place)) {
            return Sought::At(at);
        }
        let passed = lines.iter().any(|placed| first.is_passed_by(&placed.place));
        if passed {
            Sought::Gone(lines[0].place.stamp)
        } else {
            Sought::Later
        }
    }

    /// Whether it did not run when it was last followed, and that has not ended.
    pub(super) fn is_ending(&self) -> bool {
        !self.facts.state.running && !matches!(self.state, State::Past | State::Stopped)
    }

    /// Whether lines may come that were written long ago, since the engine does not give them just now.
    pub(super) fn is_behind(&self) -> bool {
        let is_over = matches!(self.state, State::Past | State::Stopped);
        !is_over && self.ring.upgrade().is_some_and(|ring| ring.is_behind())
    }

    /// Whether it is not known yet where the client is to begin in it, if it is to be merged with others.
    pub(super) fn has_no_place(&self) -> bool {
        self.merges && !self.live && self.at.is_none() && self.first.is_none()
    }

    /// Keeps lines until it is their turn.
    pub(super) fn hold(&mut self, follower: Follower, stretch: Arc<Stretch>, from: usize) {
        if self.at.is_none() {
            self.first = stretch.lines.get(from).map(|placed| placed.place);
        }
        self.state = State::Holding(Source::Follower(follower), stretch, from);
    }

    /// Writes where the client is in this log: behind a line, in front of one, or nothing.
    pub(super) fn write_cursor(&self, f: &mut impl fmt::Write) -> Result<bool, fmt::Error> {
        let id = &self.facts.id;
        match (&self.at, &self.first) {
            (Some(at), _) => write_cursor(f, id, at)?,
            (None, Some(first)) => write_front(f, id, first)?,
            // Its log was empty.
            (None, None) if self.live => write!(f, "{}", Cursor::before_all(id))?,
            (None, None) => return Ok(false),
        }
        Ok(true)
    }
}
