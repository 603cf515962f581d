//! The one reader of a container's log, and the ring that it fills.
//!
//! The reader outlives the engine: where a read breaks off it goes on behind the last line, as soon as it
//! can and for as long as someone follows. It ends when the container has stopped, unless a follower waits
//! for its next start.

mod last_words;

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics::gauge;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::{
    LogError,
    cursor::Cursor,
    hub::Source,
    lull::{LULL, Lull},
    patience::Patience,
    place::{Nanos, Place, nanos, now},
    reading::{From, Next, Search, Times},
    repeats::{Doubt, Repeats},
    ring::{Ended, Ring},
    stretch::{Gap, Placed, Stop, Stretch},
};
use crate::{
    engine::{self, Facts, State, Tail},
    telemetry::{Counted, name as metric},
};

/// With how many lines the ring begins, so that who comes back soon finds its place there.
const HISTORY: Tail = Tail::Lines(1000);

/// The first and the longest pause before the engine is tried again.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often it is looked whether a stopped container has been started.
const LOOK: Duration = Duration::from_millis(500);

/// For how long a read may be held up by its followers, since it last had all that the engine gave, where the log rotates:
/// an engine that is held up with it goes on with the newest file, and leaves out those between.
const HELD_UP: Duration = Duration::from_millis(100);

/// How old the last line of a read is at most that has all that there is.
const CURRENT: Duration = Duration::from_secs(1);

/// How long after a read was begun anew since a line was older than those before it, such lines are borne: the clock may go
/// back and forth.
const DOUBTS: Duration = Duration::from_secs(1);

/// What the followers of one container share.
#[derive(Debug)]
pub struct Feed {
    /// The newest lines.
    pub ring: Arc<Ring>,
    waiting: Arc<Waiting>,
    emptiness: Arc<Notify>,
    reader: AbortHandle,
}

/// The followers that go on when the container is started again.
#[derive(Debug, Default)]
struct Waiting {
    many: AtomicUsize,
    fewer: Notify,
}

impl Feed {
    /// Starts to read.
    pub(super) fn start(source: Source, facts: Facts, permit: OwnedSemaphorePermit) -> Self {
        let ring = Arc::new(Ring::new());
        let waiting = Arc::<Waiting>::default();
        let emptiness = Arc::<Notify>::default();
        let reader = Reader {
            source,
            facts,
            ring: Arc::clone(&ring),
            waiting: Arc::clone(&waiting),
            emptiness: Arc::clone(&emptiness),
            last: None,
            is_gone: false,
            patience: Patience::default(),
            pause: PAUSE,
            doubted: None,
            rest: Vec::new(),
            is_cut: false,
        };
        let counted = Counted::new(gauge!(metric::LOG_READERS, "kind" => "live"));
        let task = tokio::spawn(async move {
            let _guards = (permit, counted);
            reader.run().await;
        });
        Self {
            ring,
            waiting,
            emptiness,
            reader: task.abort_handle(),
        }
    }

    /// Tells the reader that the log had no line just now. If it has read none either it begins anew, with the first
    /// that comes, so that whoever waits for that finds it in the ring.
    pub(super) fn saw_nothing(&self) {
        self.emptiness.notify_one();
    }

    /// Keeps the reader beyond the container's stop until the guard is dropped.
    pub(super) fn wait_for_starts(&self) -> WaitsForStarts {
        self.waiting.many.fetch_add(1, Ordering::Relaxed);
        WaitsForStarts(Arc::clone(&self.waiting))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// See [`Feed::wait_for_starts`].
#[derive(Debug)]
pub(super) struct WaitsForStarts(Arc<Waiting>);

impl Drop for WaitsForStarts {
    fn drop(&mut self) {
        self.0.many.fetch_sub(1, Ordering::Relaxed);
        self.0.fewer.notify_one();
    }
}

/// Ends the ring, if it has not ended otherwise.
struct EndOfRing(Arc<Ring>);

impl Drop for EndOfRing {
    fn drop(&mut self) {
        let error = engine::Error::broken("the log's reader has ended");
        self.0.end(Ended::Failed(Arc::new(error.into())), 0);
    }
}

struct Reader {
    source: Source,
    /// What the container was when it was last looked at.
    facts: Facts,
    ring: Arc<Ring>,
    waiting: Arc<Waiting>,
    /// Told when someone has seen that the log is empty.
    emptiness: Arc<Notify>,
    /// The last line that was pushed.
    last: Option<Place>,
    /// Whether it is gone, and that was told.
    is_gone: bool,
    patience: Patience,
    /// How long to wait before the next try.
    pause: Duration,
    /// When a line was last older than it should be.
    doubted: Option<Instant>,
    /// The last words of the last run, which have no newline yet.
    rest: Vec<Place>,
    /// Whether the log was last read to a place before its end.
    is_cut: bool,
}

impl Reader {
    async fn run(mut self) {
        // A panic in here must not leave the followers waiting.
        let _end = EndOfRing(Arc::clone(&self.ring));
        let how = match self.read_all().await {
            Ok(()) => Ended::Closed,
            // All that was to be borne has been.
            Err(error) if error.says_removed() => {
                self.push_loss().await;
                Ended::Closed
            }
            Err(error) => Ended::Failed(Arc::new(error)),
        };
        self.ring.end(how, self.facts.state.run());
    }

    /// Says that the end of the log is missing, if it was not read before that was gone.
    async fn push_loss(&mut self) {
        if !self.is_cut {
            return;
        }
        // For who has read more of it than this.
        self.ring.cut();
        if let Some(last) = self.last {
            let (after, before) = (Cursor::new(&self.facts.id, last), None);
            self.push(Stretch::missing(Gap { after, before })).await;
        }
    }

    /// Reads until the container has stopped for good.
    async fn read_all(&mut self) -> Result<(), LogError> {
        let mut from = From::Tail(HISTORY, Times::default());
        loop {
            let last = self.last;
            match self.read(&from, true).await {
                Ok(Read::ToItsEnd(rest)) => {
                    self.is_cut = false;
                    self.ring.fall_behind();
                    let (run, ended) = (self.facts.state.clone(), Instant::now());
                    if let Err(error) = self.look().await {
                        // It may have been the engine that ended.
                        self.is_cut = self.patience.was_tried_since(ended);
                        // They will not go on.
                        self.push_rest(rest).await;
                        return Err(error);
                    }
                    let ended = self.facts.state.clone();
                    // The engine ends its answers when it stops; then the same run goes on.
                    if !self.facts.state.running || self.facts.state.started_at != run.started_at {
                        let last = self.last;
                        let read = match self.are_last_words(&rest) {
                            true => Ok(()),
                            false => self.read_last_words(run.run()).await,
                        };
                        // As much as is known of it, where it was not read.
                        if self.last == last {
                            self.push_rest(self.new_rest(rest)).await;
                        }
                        read?;
                        if !self.goes_on(run.run(), &ended).await? {
                            return Ok(());
                        }
                        // The next run is to be read.
                        self.ring.fall_behind();
                    }
                    // What comes next was not read.
                    self.is_cut = true;
                }
                Ok(Read::Missing(gap)) => {
                    from = self.go_beyond(gap, &from).await;
                    continue;
                }
                Ok(Read::Uncounted(time)) => {
                    from = From::since(time, Times::default());
                    continue;
                }
                Ok(Read::Anew) => {
                    self.is_cut = true;
                    self.ring.drained().await;
                }
                Ok(Read::InDoubt) => {
                    self.is_cut = true;
                    self.ring.drained().await;
                    self.pause().await;
                    from = self
                        .last
                        .map_or(from, |last| From::After(last, Search::All));
                    continue;
                }
                Ok(Read::Nothing) => {
                    self.ring.begin();
                    from = From::Tail(Tail::All, Times::default());
                    continue;
                }
                Err(error) => {
                    self.is_cut |= !error.says_removed();
                    self.ring.fall_behind();
                    self.allow(error)?;
                }
            }
            self.pause().await;
            // Where nothing came, the same again: a gap is told once.
            if self.last != last || self.is_gone {
                from = self.behind_last(from);
            }
        }
    }

    /// What stands behind the last line, if there is one.
    fn behind_last(&self, otherwise: From) -> From {
        match self.last {
            None => otherwise,
            Some(last) if !self.is_gone => self.source.after(last),
            Some(last) if last.is_ahead() => From::Tail(Tail::Lines(0), Times::default()),
            Some(last) => From::Beyond(last),
        }
    }

    /// Where to go on after a read `from` a line that is not there: what is missing is told, once that is certain.
    async fn go_beyond(&mut self, gap: Gap, from: &From) -> From {
        let place = gap.after.place;
        // What seems to stand behind it may be of a clock that was set back.
        if let From::After(_, Search::Since) = from {
            return From::After(place, Search::All);
        }
        self.push(Stretch::missing(gap)).await;
        self.is_gone = true;
        self.ring.fall_behind();
        self.behind_last(From::After(place, Search::All))
    }

    /// Reads until the engine ends its answer, which is not before the container stops if it is to `follow`.
    async fn read(&mut self, from: &From, follow: bool) -> Result<Read, LogError> {
        self.ring.open();
        let from = match from {
            From::After(place, Search::All) if follow => {
                &From::After(*place, Search::First(self.find(from).await?))
            }
            from => from,
        };
        let mut reading = self.source.open(&self.facts, from, follow).await?;
        // An engine that starts the container again lets such a read wait for that, and what it gives then is the new run's.
        if !follow && !self.is_still_stopped().await? {
            return Ok(Read::ToItsEnd(Vec::new()));
        }
        let begun = Instant::now();
        let (mut held_up, mut lull) = (Duration::ZERO, Lull::default());
        let rotates = follow && self.facts.host.log.rotates;
        let mut repeats = Repeats::behind(&self.rest, rotates);
        let mut set_back = pin!(async {
            match from {
                From::After(place, Search::Since) => is_set_back(place).await,
                _ => pending().await,
            }
        });
        loop {
            // A line that has come is news to whoever saw none.
            let next = tokio::select! {
                biased;
                next = reading.next() => next,
                () = sleep(LULL), if follow && self.ring.is_behind() => {
                    if lull.tells(&reading) {
                        self.ring.catch_up();
                    }
                    continue;
                }
                () = self.emptiness.notified(), if follow && self.may_begin() => {
                    return Ok(Read::Nothing);
                }
                () = &mut set_back, if follow => return Ok(Read::InDoubt),
            };
            let next = next.inspect_err(|error| {
                // A log that is broken may take the engine long to search.
                let is_cut = matches!(error, LogError::Engine(_));
                if is_cut && begun.elapsed() > LONGEST_PAUSE {
                    self.patience.renew();
                }
            });
            match next? {
                Next::Lines(stretch) => {
                    if self.last.is_none()
                        && let Some(time) = stretch.uncounted()
                    {
                        return Ok(Read::Uncounted(time));
                    }
                    self.patience.renew();
                    self.pause = PAUSE;
                    // What it waits for may still be behind the log's end, if the engine was held up too.
                    let last = stretch.last().map_or(0, |last| last.stamp);
                    if reading.has_waited() && last >= now() - nanos(CURRENT) {
                        held_up = Duration::ZERO;
                    }
                    let trusted = self.doubted.is_some_and(|at| at.elapsed() < DOUBTS);
                    let news = repeats.take_out(stretch, &self.ring, trusted);
                    if let Some(lines) = news.lines {
                        held_up += self.push(lines).await;
                    }
                    match news.doubt {
                        Some(Doubt::Older) => {
                            self.doubted = Some(Instant::now());
                            return Ok(Read::InDoubt);
                        }
                        Some(Doubt::Much) => return Ok(Read::Anew),
                        None if rotates && held_up > HELD_UP => return Ok(Read::Anew),
                        None => {}
                    }
                }
                Next::Missing(before) => {
                    let place = self
                        .last
                        .unwrap_or_else(|| unreachable!("only then it is sought"));
                    let after = Cursor::new(&self.facts.id, place);
                    return Ok(Read::Missing(Gap { after, before }));
                }
                Next::End => {
                    return Ok(Read::ToItsEnd(self.new_rest(reading.rest())));
                }
            }
        }
    }

    /// How many lines stand in front of the one to go on behind; none if it is gone.
    async fn find(&self, from: &From) -> Result<u64, LogError> {
        let reading = self.source.open(&self.facts, from, false).await?;
        Ok(Box::pin(reading.find()).await?.unwrap_or(0))
    }

    /// Whether the ring can still begin with the first line of the log.
    fn may_begin(&self) -> bool {
        self.last.is_none() && self.ring.first_line().is_none()
    }

    /// How long the followers held that up is returned.
    async fn push(&mut self, stretch: Stretch) -> Duration {
        if let Some(last) = stretch.last() {
            (self.last, self.is_gone) = (Some(last), false);
        }
        self.ring.push(stretch, self.source.ring_size()).await
    }

    /// Whether a failure is to be borne.
    fn allow(&mut self, error: LogError) -> Result<(), LogError> {
        if !self.patience.bears(&error) {
            return Err(error);
        }
        tracing::debug!(%error, "a container's log broke off");
        Ok(())
    }

    /// Looks at the container, waiting for an engine that is away.
    async fn look(&mut self) -> Result<(), LogError> {
        loop {
            match self.source.facts(&self.facts.id).await {
                Ok(facts) => {
                    self.facts = facts;
                    return Ok(());
                }
                Err(error) => self.allow(error.into())?,
            }
            self.pause().await;
        }
    }

    /// Looks whether no run has begun since the container was last looked at.
    async fn is_still_stopped(&mut self) -> Result<bool, LogError> {
        let run = self.facts.state.clone();
        self.look().await?;
        Ok(self.facts.state == run)
    }

    async fn pause(&mut self) {
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Ends the runs that are over, and waits for the next one: false where nobody does any more. The one whose log was read
    /// began at `run`, and `ended` is what the container was when that had come to an end.
    async fn goes_on(&mut self, run: Nanos, ended: &State) -> Result<bool, LogError> {
        let mut told = false;
        loop {
            let waiting = Arc::clone(&self.waiting);
            let fewer = waiting.fewer.notified();
            let joined = self.ring.joined();
            // What was read and pushed since may have taken long, and someone may have joined the next run.
            self.look().await?;
            let state = &self.facts.state;
            let begun = state.run();
            // It may have ended again, unread.
            let has_begun = state.running || state.started_at != ended.started_at || ended.running;
            if has_begun || begun < run {
                if !told {
                    // Who joined the run that has begun meanwhile stays, whether or not someone else waits.
                    let runs = run.max(begun - 1);
                    let stop = Stop::new(runs).before(begun);
                    self.push(Stretch::stop(stop)).await;
                }
                return Ok(true);
            }
            if waiting.many.load(Ordering::Relaxed) == 0 {
                // Whoever has come meanwhile may have seen the next one.
                if self.ring.joined() == joined {
                    return Ok(false);
                }
                continue;
            }
            if !told {
                self.push(Stretch::stop(Stop::new(begun))).await;
                told = true;
            }
            tokio::select! {
                () = fewer => {}
                () = sleep(LOOK) => {}
            }
        }
    }
}

/// Waits until the clock shows a time before those that are read from this place on: an engine that is asked for what came
/// since then leaves out all that seems to be older, for as long as it is followed.
async fn is_set_back(place: &Place) {
    while !place.is_ahead() {
        sleep(LOOK).await;
    }
}

enum Read {
    /// To its end, with lines that it broke off in.
    ToItsEnd(Vec<Placed>),
    /// Nothing: the line to go on behind is gone.
    Missing(Gap),
    /// Nothing: the lines must be counted from the first one of this time.
    Uncounted(Nanos),
    /// Nothing: there is none, as others have seen too.
    Nothing,
    /// Not to its end: what would come may not be what stands behind the last line.
    Anew,
    /// The same, and the clock may have been set back since that line.
    InDoubt,
}
