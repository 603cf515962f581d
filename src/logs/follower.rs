//! One client's way through a container's log: what was written before, then what is new.
//!
//! History is read from the engine, the rest taken from the ring that all followers share. The two meet at
//! a line: where the one that the client has got last is found in the ring, the ring goes on with the next.
//! So it does not matter where the ring begins, what is written meanwhile, or how slow the client is;
//! whoever falls out of the ring reads what is missing from the engine and joins again.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use super::{
    LogError,
    cursor::{Cursor, Nanos, Place},
    feed::WaitsForStarts,
    hub::{Busy, Hub, Membership, Source, Turn},
    reading::{From, Next, Reading, Times},
    ring::{Ended, Found, Gap, Position, Sought, Stretch},
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

/// The pauses between tries to read from the engine.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often a read may fail in a row, with the engine there and no line read.
const FAILURES: u32 = 5;

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
    /// All that was written before has been given. Told once.
    Live,
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

/// See the [module](self).
#[derive(Debug)]
pub struct Follower {
    source: Source,
    facts: Facts,
    member: Membership,
    pushed: watch::Receiver<()>,
    waits: Option<WaitsForStarts>,
    phase: Phase,
    /// The last line that was given, or was there before the first.
    at: Option<Place>,
    /// Whether all of the log was read, after it had been empty.
    is_read_whole: bool,
    /// Whether the ring is joined only where its end is known to be the log's end.
    in_order: bool,
    /// Up to where the ring holds what was written before.
    live_from: Option<Position>,
    /// Whether that has been told.
    was_live: bool,
    failures: u32,
    pause: Duration,
}

#[derive(Debug)]
enum Phase {
    /// Going to read from the engine, not before that time.
    Wanting(From, Instant, Option<Turn>),
    /// Reading from the engine.
    Reading(Box<History>),
    /// Looking for its line in the ring. Whether the last read gave lines.
    Seeking(bool),
    /// Taking from the ring.
    Live(Position),
    Over,
}

#[derive(Debug)]
struct History {
    reading: Reading,
    from: From,
    turn: Turn,
    /// Whether only the place of the last line is wanted.
    mute: bool,
    gave: bool,
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
        let pushed = member.ring().watch();
        let waits = restarts.then(|| member.feed().wait_for_starts());
        let mut this = Self {
            source: hub.source().clone(),
            facts,
            member,
            pushed,
            waits,
            phase: Phase::Over,
            at: None,
            is_read_whole: false,
            in_order,
            live_from: None,
            was_live: false,
            failures: 0,
            pause: PAUSE,
        };
        let (from, mute) = match start {
            Start::After(place) => {
                this.at = Some(place);
                if this.joins_behind(&place).await {
                    return Ok(this);
                }
                (From::After(place), false)
            }
            Start::Tail(Tail::Lines(many), times) if times.are_all() => {
                if let Some((position, before)) = this.member.ring().tail(many) {
                    this.at = Some(before);
                    this.join(position);
                    return Ok(this);
                }
                // With none wanted, it must be known where they end.
                (From::Tail(Tail::Lines(many.max(1)), times), many == 0)
            }
            Start::Tail(tail, times) => (From::Tail(tail, times), false),
        };
        let turn = match timeout(PATIENCE, this.member.turn()).await {
            Ok(turn) => turn,
            Err(_) => return Err(Busy::of_readers().into()),
        };
        // Now, so that the engine's refusal becomes the answer.
        let reading = this.source.open(&this.facts, &from, false).await?;
        this.phase = Phase::Reading(Box::new(History {
            reading,
            from,
            turn,
            mute,
            gave: false,
        }));
        Ok(this)
    }

    /// The container.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The last line that was given, or was there before the first.
    pub fn at(&self) -> Option<Place> {
        self.at
    }

    /// Whether it gives what is new as it comes, not what was written before.
    pub fn is_live(&self) -> bool {
        match &self.phase {
            Phase::Reading(_) | Phase::Wanting(..) => false,
            Phase::Live(position) => self.live_from.is_none_or(|from| *position >= from),
            Phase::Seeking(_) | Phase::Over => true,
        }
    }

    fn join(&mut self, position: Position) {
        self.live_from = Some(self.member.ring().end_position());
        self.phase = Phase::Live(position);
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
            let _ = timeout(FIRST_LINES, self.pushed.changed()).await;
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
                if matches!(step, Step::End(_)) {
                    self.phase = Phase::Over;
                }
                return step;
            }
        }
    }

    fn want(&mut self, from: From, due: Instant) {
        self.phase = Phase::Wanting(from, due, None);
    }

    /// Bears a failed read and tries again later, or not.
    fn bear(&mut self, error: LogError, from: From) -> Option<Step> {
        if error.says_gone() {
            return Some(Step::End(Ended::Closed));
        }
        if !error.is_outage() {
            self.failures += 1;
            if self.failures > FAILURES {
                return Some(Step::End(Ended::Failed(Arc::new(error))));
            }
        }
        self.want(from, Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        None
    }

    async fn begin(&mut self) -> Option<Step> {
        let Phase::Wanting(from, due, turn) = &mut self.phase else {
            return None;
        };
        sleep_until(*due).await;
        if turn.is_none() {
            *turn = Some(self.member.turn().await);
        }
        let opened = self.source.open(&self.facts, from, false).await;
        let (from, turn) = (from.clone(), turn.take()?);
        match opened {
            Ok(reading) => {
                self.phase = Phase::Reading(Box::new(History {
                    reading,
                    from,
                    turn,
                    mute: false,
                    gave: false,
                }));
                None
            }
            Err(error) => self.bear(error.into(), from),
        }
    }

    async fn read(&mut self) -> Option<Step> {
        let Phase::Reading(history) = &mut self.phase else {
            return None;
        };
        match history.reading.next().await {
            Ok(Next::Lines(stretch)) => {
                (self.failures, self.pause) = (0, PAUSE);
                history.gave = true;
                let place = stretch.last()?;
                self.at = Some(place);
                if history.mute {
                    return None;
                }
                let is_over = history.turn.is_over();
                if let Some(position) = self.place_in_ring(&place) {
                    self.join(position);
                } else if is_over {
                    self.want(From::After(place), Instant::now());
                }
                Some(Step::Lines(Arc::new(stretch), 0))
            }
            Ok(Next::Missing(before)) => {
                let place = self.at?;
                counter!(metric::GAPS).increment(1);
                self.want(From::Beyond(place), Instant::now());
                let after = Cursor::new(&self.facts.id, place);
                Some(Step::Gap(Gap { after, before }))
            }
            Ok(Next::End) => {
                let gave = history.gave;
                if !gave && let Some(found) = history.reading.found() {
                    self.at = Some(found);
                }
                // Nothing within the times wanted; still it must be known where that was.
                let was_limited = matches!(&history.from, From::Tail(_, times) if !times.are_all());
                if self.at.is_none() && was_limited && !history.mute {
                    history.from = From::Tail(Tail::Lines(1), Times::default());
                    let opened = self.source.open(&self.facts, &history.from, false).await;
                    match opened {
                        Ok(reading) => (history.reading, history.mute) = (reading, true),
                        Err(error) => {
                            let from = history.from.clone();
                            return self.bear(error.into(), from);
                        }
                    }
                    return None;
                }
                self.phase = Phase::Seeking(gave);
                None
            }
            Err(error) => {
                let from = self.at.map_or(history.from.clone(), From::After);
                self.bear(error, from)
            }
        }
    }

    async fn seek(&mut self) -> Option<Step> {
        let Phase::Seeking(gave) = self.phase else {
            return None;
        };
        let ring = self.member.ring();
        let is_over = ring.stopped().is_some_and(|runs| self.ends_with(runs));
        let Some(place) = self.at else {
            // The log was empty.
            if !ring.is_empty() {
                if self.is_read_whole {
                    self.phase = Phase::Live(ring.first_position());
                } else {
                    self.is_read_whole = true;
                    self.want(From::Tail(Tail::All, Times::default()), Instant::now());
                }
            } else if let Found::End(how) = ring.take(&mut ring.end_position()) {
                return Some(Step::End(how));
            } else if is_over {
                return Some(Step::End(Ended::Closed));
            } else {
                self.changed().await;
            }
            return None;
        };
        match ring.seek(&place) {
            Sought::Here(position) => self.phase = Phase::Live(position),
            Sought::End(_) | Sought::Unknown if gave => {
                self.want(From::After(place), Instant::now());
            }
            Sought::End(how) => return Some(Step::End(how)),
            Sought::Unknown | Sought::NotYet if is_over => {
                return Some(Step::End(Ended::Closed));
            }
            Sought::NotYet => self.changed().await,
            Sought::Unknown => {
                // The reader is behind what was read here.
                self.changed().await;
                self.phase = Phase::Seeking(true);
            }
        }
        None
    }

    async fn take(&mut self) -> Option<Step> {
        let Phase::Live(position) = &mut self.phase else {
            return None;
        };
        match self.member.ring().take(position) {
            Found::Lines(stretch, from) => {
                self.at = stretch.last().or(self.at);
                if let Some(gap) = &stretch.gap {
                    return Some(Step::Gap(gap.clone()));
                }
                if stretch.stopped.is_some_and(|runs| self.ends_with(runs)) {
                    return Some(Step::End(Ended::Closed));
                }
                (from < stretch.lines.len()).then_some(Step::Lines(stretch, from))
            }
            Found::Nothing => {
                self.changed().await;
                None
            }
            Found::Passed => {
                let from = self
                    .at
                    .map_or(From::Tail(Tail::All, Times::default()), From::After);
                self.want(from, Instant::now());
                None
            }
            Found::End(how) => Some(Step::End(how)),
        }
    }

    /// Whether it ends where the runs that began until `runs` are over: not with those before the one that
    /// it joined, whose stops others may have kept in the ring.
    fn ends_with(&self, runs: Nanos) -> bool {
        self.waits.is_none() && self.facts.state.run() <= runs
    }

    async fn changed(&mut self) {
        // The ring, and so its sender, lives as long as the membership.
        let _ = self.pushed.changed().await;
    }
}
