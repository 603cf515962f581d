//! What a follower reads from the engine: what was written before, and what the ring no longer has.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{FIRST_LINES, Follower, Phase, Step};
use crate::{
    engine::{self, Tail},
    logs::{
        LogError,
        place::{Place, SKEW, nanos, now},
        reading::{From, Next, Reading, Search, Times},
        ring::{Ended, Position, Sought},
        turn::Turn,
    },
};

/// So many pieces of lines without a newline are as good as a whole log of them.
const MOST_OPEN: u32 = 1 << 20;

/// How long the lines of one time are counted. After that they are known by their text.
const COUNTING: Duration = Duration::from_secs(2);

/// The pauses between tries to read from the engine.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A read that is under way.
#[derive(Debug)]
pub(super) struct History {
    from: From,
    /// It holds the reading.
    turn: Turn,
    aim: Aim,
    /// The last line of this read.
    last: Option<Place>,
}

impl History {
    /// Of what is read with a turn.
    pub(super) fn new(from: From, turn: Turn, aim: Aim) -> Self {
        Self {
            from,
            turn,
            aim,
            last: None,
        }
    }

    /// Whether these are the lines that the client wanted at first, and none has come.
    pub(super) fn is_to_begin(&self) -> bool {
        is_for_first(&self.from, &self.aim) && self.last.is_none()
    }
}

/// A read that is to be.
#[derive(Debug)]
pub(super) struct Wanted {
    from: From,
    aim: Aim,
    /// A task of its own, which keeps what it waits for, its turn or the engine's answer, however seldom it is asked.
    opening: AbortOnDropHandle<Opened>,
}

/// What was wanted.
#[derive(Debug)]
struct Opened {
    opened: Result<(), engine::Error>,
    /// The right to it; it holds the reading.
    turn: Turn,
    /// Where the ring ended when it was asked for.
    read_from: Position,
}

impl Wanted {
    /// Whether these are the lines that the client wanted at first.
    pub(super) fn is_to_begin(&self) -> bool {
        is_for_first(&self.from, &self.aim)
    }
}

fn is_for_first(from: &From, aim: &Aim) -> bool {
    matches!((from, aim), (From::Tail(..), Aim::Lines))
}

/// What is read for.
#[derive(Clone, Debug)]
pub(super) enum Aim {
    /// The lines.
    Lines,
    /// The place of the last line, to go on behind.
    End,
    /// The same, since there was none of those lines; some may have been written meanwhile.
    EndOf(From),
    /// The same, since there were none but lines without a newline within these times, the first and the last of them at these
    /// places.
    EndBehind([Place; 2], Times),
    /// The same, since the client's line is gone and was of a time to come.
    EndBefore(Place),
}

impl Follower {
    /// Begins to read what is wanted at first, so that the engine's refusal becomes the client's answer.
    pub(super) async fn first_reading(
        &self,
        from: &From,
        aim: &Aim,
    ) -> Result<Reading, engine::Error> {
        let mut reading = self.source.open(&self.facts, from, false).await?;
        // Later, if the engine takes its time: then they are known by their text.
        if let (From::Tail(Tail::Lines(many), times), Aim::Lines) = (from, aim)
            && let Ok(Some(time)) = timeout(FIRST_LINES, reading.uncounted()).await
        {
            // What is open is of no use, and the engine has few to give.
            drop(reading);
            let since = From::since(time, *times);
            reading = match self.counted(&since, *many).await? {
                Some(counted) => counted,
                None => self.source.open(&self.facts, from, false).await?,
            };
        }
        Ok(reading)
    }

    /// The last lines of a log, of which the first have to be counted: read `since` the first of their time, so that it is
    /// known which of them the client has got. None where there are more than can be counted while a client waits for
    /// its answer.
    async fn counted(&self, since: &From, many: u32) -> Result<Option<Reading>, engine::Error> {
        let all = self.source.open(&self.facts, since, false).await?;
        let Ok(Ok(all)) = timeout(COUNTING, all.count()).await else {
            return Ok(None);
        };
        let mut reading = self.source.open(&self.facts, since, false).await?;
        reading.skip(all.saturating_sub(many.into()));
        Ok(Some(reading))
    }

    /// Is going to read from the engine, at once.
    pub(super) fn want(&mut self, from: From, aim: Aim) {
        self.want_at(Instant::now(), from, aim);
    }

    fn want_at(&mut self, due: Instant, from: From, aim: Aim) {
        let (source, facts) = (self.source.clone(), self.facts.clone());
        let (turn, ring) = (self.member.turn(), Arc::clone(self.member.ring()));
        let wanted = from.clone();
        let opening = async move {
            sleep_until(due).await;
            let turn = turn.await;
            let read_from = ring.end_position();
            let reading = turn.wait_for(source.open(&facts, &wanted, false)).await;
            Opened {
                opened: reading.map(|reading| turn.read(reading)),
                turn,
                read_from,
            }
        };
        self.phase = Phase::Wanting(Box::new(Wanted {
            from,
            aim,
            opening: AbortOnDropHandle::new(tokio::spawn(opening)),
        }));
    }

    /// All that the client has not got.
    pub(super) fn rest(&self) -> From {
        match self.at {
            None => From::Tail(Tail::All, Times::default()),
            Some(place) if self.is_gone => From::Beyond(place),
            Some(place) => self.source.after(place),
        }
    }

    /// Where a read that was cut short goes on, and what for.
    fn unread(&self) -> Option<(From, Aim)> {
        let Phase::Reading(history) = &self.phase else {
            return None;
        };
        let from = match (&history.aim, history.last) {
            (Aim::Lines, Some(_)) => self.rest(),
            _ => history.from.clone(),
        };
        Some((from, history.aim.clone()))
    }

    /// Bears a failed read and tries again later, or not.
    fn bear(&mut self, error: LogError, from: From, aim: Aim) -> Option<Step> {
        if !self.patience.bears(&error) {
            if error.says_removed() {
                return self.go_on_without_log();
            }
            return Some(Step::End(Ended::Failed(Arc::new(error))));
        }
        self.want_at(Instant::now() + self.pause, from, aim);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        None
    }

    /// Goes on with what the ring holds of a log that is gone, as its container is.
    fn go_on_without_log(&mut self) -> Option<Step> {
        let Some(place) = self.at else {
            return Some(Step::End(Ended::Closed));
        };
        let ring = self.member.ring();
        let how = match ring.seek(&place) {
            Sought::Here(position) => {
                self.go_live(position);
                return None;
            }
            Sought::NotYet if !place.is_ahead() => {
                self.phase = Phase::Seeking(false);
                return None;
            }
            Sought::End(how) => how,
            Sought::NotYet | Sought::Unknown => Ended::Closed,
        };
        if ring.is_empty() || ring.is_before(&place) {
            return Some(self.end_ahead(how, place));
        }
        let behind = ring.first_behind(&place);
        let before = behind.map(|(_, first)| first);
        self.phase = match behind {
            Some((position, _)) => Phase::Live(position),
            // What it holds may have been given.
            None => Phase::Over,
        };
        // It may have fallen out of the ring again since.
        let is_told = self.is_gone && self.goes_on == before;
        (!is_told).then(|| self.miss(place, before))
    }

    /// Begins a read once it is open.
    pub(super) async fn begin(&mut self) -> Option<Step> {
        let Phase::Wanting(wanted) = &mut self.phase else {
            return None;
        };
        let opened = (&mut wanted.opening).await;
        let Opened {
            opened,
            turn,
            read_from,
        } = opened.expect("it does not panic");
        let (from, aim) = (wanted.from.clone(), wanted.aim.clone());
        self.read_from = Some(read_from);
        match opened {
            Ok(()) => {
                self.phase = Phase::Reading(Box::new(History::new(from, turn, aim)));
                None
            }
            Err(error) => self.bear(error.into(), from, aim),
        }
    }

    /// Takes what has been read.
    pub(super) async fn read(&mut self) -> Option<Step> {
        let Phase::Reading(history) = &mut self.phase else {
            return None;
        };
        let Some(next) = history.turn.next().await else {
            // It was taken away.
            let (from, aim) = self.unread()?;
            self.want(from, aim);
            return None;
        };
        match next {
            Ok(Next::Lines(stretch)) => {
                let place = stretch.last()?;
                history.last = Some(place);
                // What is read for its end only is read from its beginning again, if it breaks off.
                let Aim::Lines = history.aim else {
                    return None;
                };
                self.patience.renew();
                self.pause = PAUSE;
                let is_over = history.turn.is_over();
                self.reach(place);
                if let Some(position) = self.place_in_ring(&place) {
                    self.join(position);
                } else if is_over {
                    self.want(self.rest(), Aim::Lines);
                }
                Some(Step::Lines(Arc::new(stretch), 0))
            }
            Ok(Next::Missing(before)) => {
                let place = self.at?;
                if let From::After(_, Search::Since) = history.from
                    && !place.is_ahead()
                {
                    // It may be in what the engine leaves out then.
                    self.want(From::After(place, Search::All), Aim::Lines);
                    return None;
                }
                if place.is_ahead() {
                    let end = From::Tail(Tail::Lines(1), Times::default());
                    self.want(end, Aim::EndBefore(place));
                } else {
                    self.want(From::Beyond(place), Aim::Lines);
                }
                Some(self.miss(place, before))
            }
            Ok(Next::End) => {
                self.patience.renew();
                let last = history.last.or_else(|| history.turn.look(Reading::found));
                let gave = history.last.is_some();
                let (from, aim) = (history.from.clone(), history.aim.clone());
                let open = history.turn.look(Reading::open_ends);
                match (aim, last, open) {
                    (Aim::EndBehind(then, times), Some(last), open) => {
                        self.read_behind_open_lines(then, times, last, open);
                    }
                    (aim, None, Some(open)) => self.read_open_lines_only(from, aim, open),
                    (aim, last, _) => self.read_to_its_end(from, aim, last, gave),
                }
                None
            }
            Err(error) => {
                let (from, aim) = self.unread()?;
                self.bear(error, from, aim)
            }
        }
    }

    /// Goes on behind a read that had nothing but lines without a newline, the first and the last of them `open`: they come again
    /// once they have ended. Where the log's end was read, what is before them must be known, or all of them
    /// would seem to be new.
    fn read_open_lines_only(&mut self, from: From, aim: Aim, open: [Place; 2]) {
        let From::Tail(Tail::Lines(many), times) = &from else {
            return self.read_to_its_end(from, aim, None, false);
        };
        // Whoever wants none gets none, if it goes on nowhere.
        let wants_none = matches!(aim, Aim::End) && *many == 1;
        if wants_none && !self.facts.state.running {
            return self.read_to_its_end(from, aim, Some(open[1]), false);
        }
        if *many > MOST_OPEN {
            return self.read_to_its_end(from, aim, None, false);
        }
        // The engine counts the pieces of a line.
        let more = From::Tail(Tail::Lines(many * 8), Times::default());
        let aim = match aim {
            Aim::Lines | Aim::End => Aim::EndBehind(open, *times),
            Aim::EndOf(_) | Aim::EndBehind(..) | Aim::EndBefore(_) => aim,
        };
        self.want(more, aim);
    }

    /// Goes on in a log that ended `then` in lines without a newline and now has a `last` line, and ends in those that are `open`.
    /// New to the client are those of them that have ended since, with what came behind them, or else what came since it asked.
    fn read_behind_open_lines(
        &mut self,
        then: [Place; 2],
        times: Times,
        last: Place,
        open: Option<[Place; 2]>,
    ) {
        let is_open = |then: &&Place| {
            // More of its beginning may have been read.
            let is_it = |now: &Place| now.source == then.source && now.stamp <= then.stamp;
            open.is_some_and(|open| open.iter().any(is_it))
        };
        let begun = |then: &Place| match then.source == last.source {
            true => then.stamp.min(last.stamp),
            false => then.stamp,
        };
        let ended = then.iter().filter(|then| !is_open(then));
        if let Some(since) = ended.map(begun).min() {
            return self.want(From::since(since, times), Aim::Lines);
        }
        let first = then[0].stamp;
        let asked = now() - nanos(self.facts.asked.elapsed());
        let since = if first >= asked - nanos(SKEW) {
            first
        } else {
            asked
        };
        let new = From::since(since, times);
        self.read_to_its_end(new.clone(), Aim::EndOf(new), Some(last), false);
    }

    /// Goes on behind a read whose last line is known, if it had or found one.
    fn read_to_its_end(&mut self, from: From, aim: Aim, last: Option<Place>, gave: bool) {
        match (aim, last) {
            (Aim::Lines, None) => {
                // Nothing within the times wanted; still it must be known where that was.
                if let (From::Tail(_, times), None) = (&from, self.at)
                    && !times.are_all()
                {
                    let end = From::Tail(Tail::Lines(1), Times::default());
                    // However many there are by then: all of them are new.
                    return self.want(end, Aim::EndOf(From::Tail(Tail::All, *times)));
                }
            }
            (Aim::EndOf(from), Some(place)) => {
                self.reach(place);
                if let From::Tail(_, times) = &from
                    && times.hold(place.stamp)
                {
                    return self.want(from, Aim::Lines);
                }
            }
            (Aim::EndBefore(gone), Some(place)) if place.stamp >= gone.stamp => {
                return self.want(From::Beyond(gone), Aim::Lines);
            }
            (_, Some(place)) => self.reach(place),
            (_, None) => {}
        }
        if self.at.is_none() && self.member.ring().is_empty() {
            self.was_empty = true;
            self.member.feed().saw_nothing();
        }
        self.phase = Phase::Seeking(gave);
    }
}
