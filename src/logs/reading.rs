//! One read of a container's log at the engine, in stretches of lines that know their places.

use std::{
    future::poll_fn,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll},
};

use jiff::Timestamp;
use tokio_stream::Stream;

use super::{
    Line, LogError, LogLines,
    lines::stamp_len,
    place::{Nanos, Place, Places},
    stretch::{Placed, Stretch, uncounted},
};
use crate::engine::{self, Engine, Facts, LogQuery, Tail};

/// A stretch that has grown to this goes out.
const ENOUGH: usize = 16 * 1024;

/// Where a read begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// So much before the end, within these times.
    Tail(Tail, Times),
    /// Behind the line at this place, looked for there. Where it is not: [`Next::Missing`].
    After(Place, Search),
    /// With all lines that may stand behind it, which is gone.
    Beyond(Place),
}

/// Where the line that a read goes on behind is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Among those of its time and later ones. A read that follows ends with the first that seems to stand behind it,
    /// since it never comes to the log's end.
    Since,
    /// Among all, whatever their times. Not for a read that follows.
    All,
    /// Among so many at the beginning and the next one.
    First(u64),
}

/// The times within which lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// None that was written before.
    pub since: Option<Timestamp>,
    /// None that was written after.
    pub until: Option<Timestamp>,
}

impl Times {
    /// Whether they leave nothing out.
    pub fn are_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether they hold this one.
    pub fn hold(&self, time: Nanos) -> bool {
        let time = i128::from(time);
        self.since.is_none_or(|since| since.as_nanosecond() <= time)
            && self.until.is_none_or(|until| time <= until.as_nanosecond())
    }
}

impl From {
    /// With all lines of this time and later, up to the end of `times`.
    pub fn since(time: Nanos, times: Times) -> Self {
        let since = Timestamp::from_nanosecond(time.into()).ok();
        Self::Tail(Tail::All, Times { since, ..times })
    }

    fn query(&self, follow: bool) -> LogQuery {
        let (tail, times) = match self {
            Self::Tail(tail, times) => (*tail, *times),
            // All of it, since the engine leaves out what is older; before its version 23 also whatever stands behind a
            // packed file that is, though that is later.
            Self::After(_, Search::All | Search::First(_)) | Self::Beyond(_) => {
                (Tail::All, Times::default())
            }
            Self::After(place, Search::Since) if place.is_ahead() => (Tail::All, Times::default()),
            Self::After(place, Search::Since) => {
                let since = Timestamp::from_nanosecond(place.since().into()).ok();
                (Tail::All, Times { since, until: None })
            }
        };
        LogQuery {
            follow,
            tail,
            since: times.since,
            until: times.until,
        }
    }

    /// Whether the read begins with the first line of its time.
    fn is_whole(&self) -> bool {
        !matches!(self, Self::Tail(Tail::Lines(_), _))
    }
}

/// What a read gives.
#[derive(Debug)]
pub enum Next {
    /// The next lines.
    Lines(Stretch),
    /// The line to go on behind is not where it was looked for. Nothing was given; the time is that of the first later line
    /// there.
    Missing(Option<Nanos>),
    /// The end of the log.
    End,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Reading {
    lines: LogLines,
    places: Places,
    /// The place to go on behind, until it has been found.
    sought: Option<Place>,
    search: Search,
    follow: bool,
    /// How many lines stand in front of it, as far as it was looked for.
    passed: u64,
    /// The time at its beginning as the engine writes it, where lines of a terminal may hide it.
    hidden: Option<String>,
    /// That line, once it has been found.
    found: Option<Place>,
    /// How many lines are left out.
    skip: u64,
    /// The place that is gone; earlier lines are left out, up to the first of its source that is later.
    gone: Option<Place>,
    /// The time of the first line that is later than the one that is sought.
    first: Option<Nanos>,
    stretch: Vec<Placed>,
    len: usize,
    /// Lines that the log breaks off in. They may go on later.
    open: Vec<Placed>,
    over: Option<Result<Next, LogError>>,
    waited: bool,
}

impl Reading {
    /// Asks the engine for a container's log.
    ///
    /// # Errors
    ///
    /// Those of the engine.
    pub async fn open(
        engine: &Engine,
        facts: &Facts,
        from: &From,
        follow: bool,
        max_line: usize,
    ) -> Result<Self, engine::Error> {
        let log = engine.log(facts, &from.query(follow)).await?;
        let (sought, search) = match from {
            From::After(place, search) => (Some(*place), *search),
            From::Tail(..) | From::Beyond(_) => (None, Search::All),
        };
        let hidden = sought.filter(|_| facts.config.tty).and_then(|place| {
            let time = Timestamp::from_nanosecond(place.stamp.into()).ok()?;
            Some(format!("{time:.9} "))
        });
        Ok(Self {
            lines: super::lines(log, max_line),
            places: Places::new(from.is_whole()),
            sought,
            search,
            follow,
            passed: 0,
            hidden,
            found: None,
            skip: 0,
            gone: match from {
                From::Beyond(place) => Some(*place),
                From::Tail(..) | From::After(..) => None,
            },
            first: None,
            stretch: Vec::new(),
            len: 0,
            open: Vec::new(),
            over: None,
            waited: false,
        })
    }

    /// What comes next. Nothing is lost where this is not waited for.
    ///
    /// # Errors
    ///
    /// Where the log breaks off; all that was whole has been given then.
    pub async fn next(&mut self) -> Result<Next, LogError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether it has had to wait for the engine since this was last asked, and so had all that it gave.
    pub(super) fn has_waited(&mut self) -> bool {
        std::mem::take(&mut self.waited)
    }

    /// Whether it has come to where it goes on.
    pub(super) fn has_begun(&self) -> bool {
        let is_here = |sought: Place| self.open_at(&sought, sought.open?);
        self.sought.is_none_or(|sought| is_here(sought).is_some())
    }

    /// How many lines have come before that, or before what is behind a gap.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// The place that it went on behind, as this read has seen it.
    pub fn found(&self) -> Option<Place> {
        self.found
    }

    /// The places of the first and the last line without a newline that the log ends with.
    pub fn open_ends(&self) -> Option<[Place; 2]> {
        let places = || self.open.iter().map(|placed| placed.place);
        let first = places().min_by_key(|place| place.stamp)?;
        Some([first, places().last()?])
    }

    /// The lines without a newline that the log ends with, for whoever knows that they do not go on.
    pub fn rest(&mut self) -> Vec<Placed> {
        std::mem::take(&mut self.open)
    }

    /// From when on the first lines have to be counted, where they are not; see [`Stretch::uncounted`].
    pub async fn uncounted(&mut self) -> Option<Nanos> {
        poll_fn(|cx| {
            self.fill(cx);
            match self.stretch.is_empty() && self.over.is_none() {
                true => Poll::Pending,
                false => Poll::Ready(uncounted(&self.stretch)),
            }
        })
        .await
    }

    /// How many lines there are.
    ///
    /// # Errors
    ///
    /// Where the log breaks off.
    pub async fn count(mut self) -> Result<u64, LogError> {
        let mut count = 0;
        while let Next::Lines(stretch) = self.next().await? {
            count += stretch.lines.len() as u64;
        }
        Ok(count)
    }

    /// How many lines stand before the one that is sought, if it is found.
    ///
    /// # Errors
    ///
    /// Where the log breaks off before it.
    pub async fn find(mut self) -> Result<Option<u64>, LogError> {
        Ok(match self.next().await? {
            Next::Lines(_) | Next::End => Some(self.passed),
            Next::Missing(_) => None,
        })
    }

    /// Leaves out so many lines.
    pub fn skip(&mut self, many: u64) {
        self.skip = many;
    }

    /// Leaves out what was written from this time on, when the container's next run had begun.
    pub fn end_before(&mut self, next: Nanos) {
        self.lines.end_before(next);
    }

    /// The same, as a future is asked.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, LogError>> {
        self.fill(cx);
        if !self.stretch.is_empty() {
            self.len = 0;
            let lines = std::mem::take(&mut self.stretch);
            return Poll::Ready(Ok(Next::Lines(Stretch::new(lines))));
        }
        match self.over.take() {
            Some(over) => Poll::Ready(over),
            None => Poll::Pending,
        }
    }

    /// Takes lines until there are enough, or none is there yet.
    fn fill(&mut self, cx: &mut Context<'_>) {
        while self.over.is_none() && self.len < ENOUGH {
            match Pin::new(&mut self.lines).poll_next(cx) {
                Poll::Ready(Some(Ok(line))) => self.take(line),
                Poll::Ready(Some(Err(error))) => self.over = Some(Err(error)),
                Poll::Ready(None) if self.sought.is_some() => {
                    self.over = Some(Ok(Next::Missing(self.first)));
                }
                Poll::Ready(None) => self.over = Some(Ok(Next::End)),
                Poll::Pending => {
                    self.waited = true;
                    break;
                }
            }
        }
    }

    fn take(&mut self, mut line: Line) {
        // There may be many: what a container writes may look like seams.
        while let Some(at) = self.seam(&line) {
            let bytes = line.bytes.split_off(at);
            let rest = Line {
                stamp: stamp_len(&bytes),
                bytes,
                continued: false,
                first: false,
                ..line
            };
            (line.more, line.cut, line.open) = (false, false, false);
            self.take_whole(line);
            line = rest;
            if self.over.is_some() {
                return;
            }
        }
        self.take_whole(line);
    }

    fn take_whole(&mut self, mut line: Line) {
        if let (Some(found), Some(begun)) = (self.find_begun(), line.time()) {
            // It may have begun before that too, and break off here.
            line.given |= line.cut && found.is_begun_behind(line.source, begun);
        }
        let place = self.places.next(&line, self.lines.under_way());
        if self.sought.is_none_or(|sought| sought.stamp < place.stamp) {
            self.first.get_or_insert(place.stamp);
        }
        let is_before_gap = self.is_before_gap(&place);
        match self.sought {
            _ if line.given => {}
            None if self.skip > 0 => self.skip -= 1,
            None if is_before_gap => self.passed += 1,
            None if line.open => self.open.push(Placed::new(line, place)),
            None => {
                self.len += line.bytes.len();
                self.stretch.push(Placed::new(line, place));
            }
            Some(sought) if sought.is(&place) => {
                self.lines.give_before(&sought);
                let begun = self.lines.under_way().unwrap_or(place.stamp);
                let floor = begun.min(place.stamp);
                (self.sought, self.found) = (None, Some(Place { floor, ..place }));
            }
            Some(sought) => {
                self.passed += 1;
                if self.gives_up(&sought, &place) {
                    self.over = Some(Ok(Next::Missing(self.first)));
                }
            }
        }
    }

    fn is_before_gap(&mut self, place: &Place) -> bool {
        match self.gone {
            None => false,
            Some(gone) if gone.source != place.source => place.stamp < gone.since(),
            Some(gone) if gone.stamp > place.stamp => true,
            Some(_) => {
                self.gone = None;
                false
            }
        }
    }

    /// Last words without a newline do not end before their source says more, which may be never. Whoever has got them has
    /// all that was written before them. Their place, where they are found now.
    fn find_begun(&mut self) -> Option<Place> {
        let sought = self.sought?;
        let begun = self.open_at(&sought, sought.open?)?;
        let place = self.places.clone().next(&begun, None);
        if !sought.is(&place) {
            return None;
        }
        self.lines.give(&sought);
        (self.sought, self.found) = (None, Some(place));
        Some(sought)
    }

    fn open_at(&self, place: &Place, len: NonZeroU32) -> Option<Line> {
        let len = usize::try_from(len.get()).ok()?;
        self.lines.open_at(place.source, place.stamp, len)
    }

    /// Whether the line that is sought is not looked for beyond the one at `place`.
    fn gives_up(&self, sought: &Place, place: &Place) -> bool {
        match self.search {
            // A line that the client got without its end comes later here than what was written after it.
            Search::Since => {
                let ends = self.follow || sought.open.is_some();
                ends && sought.is_passed_by(place)
                    && !self.lines.is_open(sought.source, sought.stamp)
            }
            // Times do not tell what stands behind it.
            Search::All => false,
            Search::First(many) => self.passed > many,
        }
    }

    /// Where the line that is sought, or the one behind it, begins within `line`: a terminal's log has no
    /// newline where one run ended without, and the client has got both as lines.
    fn seam(&self, line: &Line) -> Option<usize> {
        let (hidden, sought) = (self.hidden.as_ref()?, self.sought?);
        if line.time() == Some(sought.stamp) {
            let end = line.stamp + usize::try_from(sought.open?.get()).ok()?;
            // What ended in `\r` was given without.
            let ends = [end, end + 1].into_iter();
            let mut seams = ends.filter(|at| {
                line.bytes
                    .get(*at..)
                    .is_some_and(|rest| stamp_len(rest) > 0)
            });
            return seams.next();
        }
        let at = memchr::memmem::find(line.text(), hidden.as_bytes())?;
        Some(line.stamp + at)
    }
}
