//! One client's way through a container's log: what was written before, then what is new.
//!
//! History is read from the engine, the rest taken from the ring that all followers share. The two meet at
//! a line: where the one that the client has got last is found in the ring, the ring goes on with the next.
//! So it does not matter where the ring begins, what is written meanwhile, or how slow the client is;
//! whoever falls out of the ring reads what is missing from the engine and joins again.

mod history;

use std::{sync::Arc, time::Duration};

use metrics::counter;
use tokio::time::{Instant, timeout};

use self::history::{Aim, History, Wanted};
use super::{
    cursor::Cursor,
    demux,
    encoding::Encoding,
    feed::WaitsForStarts,
    hub::{Busy, Hub, Membership, Source},
    patience::Patience,
    place::{Nanos, Place},
    reading::{From, Times},
    ring::{Ended, Found, Listener, Position, Ring, Sought},
    stretch::{Gap, Placed, Stop, Stretch},
};
use crate::{
    engine::{self, Facts, Tail},
    telemetry::name as metric,
};

/// How long a client that comes back waits for the ring to show whether it holds the client's place. After
/// that the engine is asked, which is right too, but costs it more.
const FIRST_LINES: Duration = Duration::from_millis(250);

/// How long a client waits for its turn to read, before it is told to come back later.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a client begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// So much before the end, within these times.
    Tail(Tail, Times),
    /// Behind this line.
    After(Place),
}

/// What a client gets next.
#[derive(Debug)]
pub enum Step {
    /// The lines of a stretch, from this one on.
    Lines(Arc<Stretch>, usize),
    /// All that was written before has been given.
    Live,
    /// It has fallen behind, and some of that is to be read again before the next [`Step::Live`].
    Behind,
    /// Lines are missing here.
    Gap(Gap),
    /// Nothing more.
    End(Ended),
}

/// Why a log cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The engine does not give it.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// There is too much to do.
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl FollowError {
    /// Whether the engine says that.
    pub(super) fn is(&self, says: fn(&engine::Error) -> bool) -> bool {
        matches!(self, Self::Engine(error) if says(error))
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Follower {
    source: Source,
    facts: Facts,
    member: Membership,
    listener: Listener,
    joined: Instant,
    waits: Option<WaitsForStarts>,
    phase: Phase,
    /// The last line that was given, or was there before the first.
    at: Option<Place>,
    /// Whether that line is known, and has been told, to be gone.
    is_gone: bool,
    /// The time of the line behind the gap that was told last, as far as it was known.
    goes_on: Option<Nanos>,
    /// Where it came back: what of it the ring may give again.
    given: Option<Box<Given>>,
    /// Whether the log and the ring were empty at the same time.
    was_empty: bool,
    /// Whether all of the log was read, after it had been empty.
    is_read_whole: bool,
    /// Whether the ring is joined only where its end is known to be the log's end.
    in_order: bool,
    /// Up to where the ring holds what was written before.
    live_from: Option<Position>,
    /// Whether that has been told.
    was_live: bool,
    /// Where the ring ended when the last read began.
    read_from: Option<Position>,
    /// Whether it has given the run that it joined to its end.
    has_stopped: bool,
    /// Which of the container's runs it has given to their ends: those that began until then.
    runs: Nanos,
    patience: Patience,
    pause: Duration,
}

/// Lines without an end that a client has got, which came back behind them. In the ring they end when their outputs say more.
#[derive(Debug)]
struct Given {
    /// The one that it came back with, if that was one.
    open: Option<Place>,
    /// The other output's, and when it began.
    other: Option<(demux::Source, Nanos)>,
}

impl Given {
    fn is_empty(&self) -> bool {
        self.open.is_none() && self.other.is_none()
    }

    fn holds(&self, Placed { line, place, .. }: &Placed) -> bool {
        let is_it = self.open.is_some_and(|open| open.is(place));
        let is_other = (line.cut || line.open) && self.other == Some((line.source, place.stamp));
        is_it || is_other
    }

    /// The lines of a stretch from one on, but for these.
    fn take_out(&self, stretch: Arc<Stretch>, from: usize) -> (Arc<Stretch>, usize) {
        let lines = &stretch.lines[from..];
        if self.is_empty() || !lines.iter().any(|placed| self.holds(placed)) {
            return (stretch, from);
        }
        let others = lines.iter().filter(|placed| !self.holds(placed));
        (Arc::new(Stretch::new(others.cloned().collect())), 0)
    }
}

#[derive(Debug)]
enum Phase {
    /// Going to read from the engine.
    Wanting(Box<Wanted>),
    /// Reading from the engine.
    Reading(Box<History>),
    /// Looking for its line in the ring. Whether there may be lines behind it that the ring will not have.
    Seeking(bool),
    /// Taking from the ring.
    Live(Position),
    Over,
}

impl Follower {
    /// Follows a container from `start`, and with `restarts` also beyond its stops. What was written before
    /// is told from what is new, by [`Step::Live`]; reliably so where `in_order`, at the price of reading
    /// more from the engine.
    ///
    /// # Errors
    ///
    /// The engine's own, or [`Busy`].
    pub async fn open(
        hub: &Hub,
        facts: Facts,
        start: Start,
        restarts: bool,
        in_order: bool,
    ) -> Result<Self, FollowError> {
        let member = hub.join(&facts)?;
        let listener = member.ring().join();
        let waits = restarts.then(|| member.feed().wait_for_starts());
        let runs = facts.state.run();
        let mut this = Self {
            source: hub.source().clone(),
            facts,
            member,
            listener,
            joined: Instant::now(),
            waits,
            phase: Phase::Over,
            at: None,
            is_gone: false,
            goes_on: None,
            given: None,
            was_empty: false,
            is_read_whole: false,
            in_order,
            live_from: None,
            was_live: false,
            read_from: None,
            has_stopped: false,
            runs,
            patience: Patience::default(),
            pause: history::PAUSE,
        };
        let (from, aim) = match start {
            Start::After(place) => {
                this.at = Some(place);
                this.given = Some(Box::new(Given {
                    open: place.open.map(|_| place),
                    other: None,
                }));
                if this.joins_behind(&place).await {
                    return Ok(this);
                }
                (this.source.after(place), Aim::Lines)
            }
            // Whoever wants none of what was written wants it of no time.
            Start::Tail(Tail::Lines(many), times) if many == 0 || times.are_all() => {
                if let Some((position, before)) = this.member.ring().tail(many) {
                    this.at = Some(before);
                    this.join(position);
                    return Ok(this);
                }
                // With none wanted, it must be known where they end.
                let aim = if many == 0 { Aim::End } else { Aim::Lines };
                let last = Tail::Lines(many.max(1));
                (From::Tail(last, Times::default()), aim)
            }
            Start::Tail(tail, times) => (From::Tail(tail, times), Aim::Lines),
        };
        let turn = match timeout(PATIENCE, this.member.turn()).await {
            Ok(turn) => turn,
            Err(_) => return Err(Busy::Readers.into()),
        };
        // Now, so that the engine's refusal becomes the answer.
        this.read_from = Some(this.member.ring().end_position());
        let reading = turn.wait_for(this.first_reading(&from, &aim)).await?;
        turn.read(reading);
        this.phase = Phase::Reading(Box::new(History::new(from, turn, aim)));
        Ok(this)
    }

    /// An encoding that is shared with who uses the like of it.
    pub fn share(&self, encoding: Encoding) -> Arc<Encoding> {
        self.member.share(encoding)
    }

    /// How many follow the container, this one included.
    pub fn followers(&self) -> usize {
        self.member.followers()
    }

    /// The container.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Once it has ended: which of the container's runs it has given, those that began until then. One may have begun
    /// behind what was known of the container.
    pub fn runs(&self) -> Nanos {
        self.runs
    }

    /// The last line that was given, or was there before the first. Not known as long as the first are still to be
    /// read, also where the last of the log is: there may be some in front of it.
    pub fn at(&self) -> Option<Place> {
        self.at.filter(|_| !self.is_to_begin())
    }

    fn is_to_begin(&self) -> bool {
        match &self.phase {
            Phase::Wanting(wanted) => wanted.is_to_begin(),
            Phase::Reading(history) => history.is_to_begin(),
            _ => false,
        }
    }

    /// Whether it gives what is new as it comes, not what was written before.
    pub fn is_live(&self) -> bool {
        match &self.phase {
            Phase::Reading(_) | Phase::Wanting(..) => false,
            Phase::Live(position) => self.live_from.is_none_or(|from| *position >= from),
            Phase::Seeking(_) | Phase::Over => true,
        }
    }

    /// What all who follow the container share.
    pub(super) fn ring(&self) -> &Arc<Ring> {
        self.member.ring()
    }

    /// Whether the container's last words are to come soon: it did not run when it was looked at, before this began.
    pub fn has_last_words_to_come(&self) -> bool {
        let is_told = || match self.phase {
            Phase::Seeking(_) => self
                .member
                .ring()
                .stopped()
                .is_some_and(|stop| stop.is_of(&self.facts)),
            _ => self.has_stopped,
        };
        !self.facts.state.running && !is_told()
    }

    fn join(&mut self, position: Position) {
        self.live_from = Some(self.member.ring().end_position());
        self.go_live(position);
    }

    /// Takes what comes from the ring, behind the line that was given last.
    fn go_live(&mut self, position: Position) {
        if let (Some(given), Some(at)) = (&mut self.given, self.at) {
            let output = match at.source {
                demux::Source::Stderr => demux::Source::Stdout,
                _ => demux::Source::Stderr,
            };
            let begun = self.member.ring().begun_at(&at);
            given.other = begun.map(|begun| (output, begun));
        }
        self.phase = Phase::Live(position);
        // It may have read beyond the end of its run.
        let is_of_it = |stop: &Stop| stop.is_of(&self.facts);
        if let Some(stop) = self.member.ring().stop_before(position, is_of_it) {
            self.stop_at(stop);
        }
    }

    /// Its run ended there.
    fn stop_at(&mut self, stop: Stop) {
        self.has_stopped = true;
        if self.waits.is_none() {
            self.runs = stop.over();
            self.phase = Phase::Over;
        }
    }

    /// Where the ring goes on behind the line at `place`, if it may be joined already.
    fn place_in_ring(&self, place: &Place) -> Option<Position> {
        let ring = self.member.ring();
        let position = ring.find(place)?;
        (!self.in_order || ring.is_settled()).then_some(position)
    }

    async fn joins_behind(&mut self, place: &Place) -> bool {
        if self.member.ring().is_empty() {
            // Either way it is told below.
            let _ = timeout(FIRST_LINES, self.listener.changed()).await;
        }
        match self.place_in_ring(place) {
            Some(position) => {
                self.join(position);
                true
            }
            None => false,
        }
    }

    /// What comes next. Nothing is lost where this is not waited for.
    pub async fn next(&mut self) -> Step {
        loop {
            if !self.was_live && self.is_live() {
                self.was_live = true;
                return Step::Live;
            }
            let step = match &mut self.phase {
                Phase::Wanting(..) => self.begin().await,
                Phase::Reading(_) => self.read().await,
                Phase::Seeking(_) => self.seek().await,
                Phase::Live(_) => self.take().await,
                Phase::Over => Some(Step::End(Ended::Closed)),
            };
            if let Some(step) = step {
                match &step {
                    Step::End(_) => self.phase = Phase::Over,
                    Step::Gap(_) => counter!(metric::GAPS).increment(1),
                    Step::Lines(..) | Step::Live | Step::Behind => {}
                }
                return step;
            }
        }
    }

    /// The client has got the line at this place, or is to go on as if it had.
    fn reach(&mut self, place: Place) {
        (self.at, self.is_gone) = (Some(place), false);
    }

    async fn seek(&mut self) -> Option<Step> {
        let Phase::Seeking(gave) = self.phase else {
            return None;
        };
        let ring = self.member.ring();
        // Who is not asked for long may find that the ring has come and gone.
        let gave = gave || self.read_from != Some(ring.end_position());
        let is_over = ring.stopped().is_some_and(|stop| self.ends_with(stop));
        let Some(place) = self.at else {
            // The log was empty.
            if !ring.is_empty() {
                if let Some(position) = ring.first_line().filter(|_| self.was_empty) {
                    self.phase = Phase::Live(position);
                } else if self.is_read_whole {
                    self.phase = Phase::Live(ring.first_position());
                } else {
                    self.is_read_whole = true;
                    return self.read_on();
                }
            } else if let Found::End(how) = ring.take(&mut ring.end_position()) {
                return Some(self.end_with_ring(how));
            } else if is_over {
                return Some(Step::End(Ended::Closed));
            } else {
                self.listener.changed().await;
            }
            return None;
        };
        match ring.seek(&place) {
            Sought::Here(position) => self.go_live(position),
            Sought::End(how) if ring.is_before(&place) => return Some(self.end_ahead(how, place)),
            Sought::End(_) | Sought::Unknown if gave => return self.read_on(),
            // Whatever comes seems older.
            Sought::NotYet if gave && place.is_ahead() => return self.read_on(),
            Sought::End(how) => return Some(self.end_with_ring(how)),
            Sought::Unknown | Sought::NotYet if is_over => {
                return Some(Step::End(Ended::Closed));
            }
            // The reader is behind what was read here, or what comes next stands behind a line that the
            // ring will not have.
            Sought::NotYet | Sought::Unknown => {
                self.listener.changed().await;
                self.phase = Phase::Seeking(true);
            }
        }
        None
    }

    /// Reads what the ring does not have.
    fn read_on(&mut self) -> Option<Step> {
        self.want(self.rest(), Aim::Lines);
        std::mem::take(&mut self.was_live).then_some(Step::Behind)
    }

    async fn take(&mut self) -> Option<Step> {
        let Phase::Live(position) = &mut self.phase else {
            return None;
        };
        match self.member.ring().take(position) {
            Found::Lines(stretch, from) => {
                self.member.ring().count_lag(&stretch, self.joined);
                if let Some(place) = stretch.last() {
                    self.reach(place);
                }
                if let Some(gap) = &stretch.gap {
                    (self.is_gone, self.goes_on) = (true, gap.before);
                    return Some(Step::Gap(gap.clone()));
                }
                if let Some(stop) = stretch
                    .stopped
                    .as_deref()
                    .filter(|stop| stop.is_of(&self.facts))
                {
                    let stop = *stop;
                    self.stop_at(stop);
                    if let Phase::Over = self.phase {
                        return Some(Step::End(Ended::Closed));
                    }
                }
                let (stretch, from) = match &self.given {
                    Some(given) => given.take_out(stretch, from),
                    None => (stretch, from),
                };
                (from < stretch.lines.len()).then_some(Step::Lines(stretch, from))
            }
            Found::Nothing => {
                self.listener.changed().await;
                None
            }
            Found::Passed => self.read_on(),
            Found::End(how) => Some(self.end_with_ring(how)),
        }
    }

    /// Ends with a ring that has nothing behind the line at `place`, since its log is gone.
    fn end_ahead(&mut self, how: Ended, place: Place) -> Step {
        let end = self.end_with_ring(how);
        if !self.member.ring().is_cut() || self.is_gone {
            return end;
        }
        self.phase = Phase::Over;
        self.miss(place, None)
    }

    /// The line at `place` is gone, and the log goes on at `before`, as far as that is known.
    fn miss(&mut self, place: Place, before: Option<Nanos>) -> Step {
        (self.is_gone, self.goes_on) = (true, before);
        let after = Cursor::new(&self.facts.id, place);
        Step::Gap(Gap { after, before })
    }

    fn end_with_ring(&mut self, how: Ended) -> Step {
        let ring = self.member.ring();
        self.runs = match how {
            // Which may have been before the run that it joined had been seen.
            Ended::Closed if ring.has_ended() => ring.runs(),
            _ => self.runs.max(ring.runs()),
        };
        Step::End(how)
    }

    /// Whether it ends at a stop.
    fn ends_with(&self, stop: Stop) -> bool {
        self.waits.is_none() && stop.is_of(&self.facts)
    }
}
