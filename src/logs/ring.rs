//! The newest lines of one container, for all who follow it.
//!
//! One reader pushes, many followers take, each at its own pace. Whoever is slower than the ring is told
//! so, and reads what it has missed elsewhere; nobody waits for it. The reader waits for the fastest
//! follower only, so it reads no faster than someone takes, and for the threads that followers run on: it is
//! clients that are slow, not these.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{Counter, Histogram, counter, histogram};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{
    place::{Nanos, Place, nanos, now, steps::Steps},
    rounds::{Rounds, Seat},
    stretch::{Stop, Stretch},
};
use crate::telemetry::name as metric;

/// What is kept of one container at most, in bytes of text and of what is kept beside it.
pub const RING: usize = 4 << 20;

/// How far the reader may be ahead of the fastest follower.
const AHEAD: u64 = RING as u64 / 2;

/// How often, while as much is pushed as the ring keeps, the threads of its followers have their turn.
const ROUNDS: usize = 4;

/// How long they are waited for each time: what one of them does for another container must not hold up this one.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long after its last line a log counts as quiet, and how far behind it a reader may be that has
/// caught up.
const QUIET: Duration = Duration::from_secs(1);

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

/// A follower's ear at the ring.
#[derive(Debug)]
pub struct Listener {
    pushed: watch::Receiver<()>,
    _seat: Seat,
}

impl Listener {
    /// Waits for news since it was last asked; for ever if the ring is gone.
    pub async fn changed(&mut self) {
        if self.pushed.changed().await.is_err() {
            pending().await
        }
    }
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
    /// Of the followers.
    rounds: Rounds,
    patience: Duration,
    lag: Histogram,
    passed: Counter,
}

#[derive(Debug, Default)]
struct State {
    stretches: VecDeque<Arc<Stretch>>,
    /// The number of the oldest.
    first: u64,
    size: usize,
    /// How many bytes there may be, as was last said.
    most: usize,
    /// All bytes ever pushed, and how many of them the fastest follower has taken.
    pushed: u64,
    taken: u64,
    /// Up to which stretch that was.
    front: u64,
    /// How many bytes were pushed since the followers' threads have had their turn.
    fresh: usize,
    /// Whether the reader has stopped before the log's end, and is not known to have got further since.
    is_behind: bool,
    /// When the reader began to read.
    opened: Nanos,
    /// What the times of all lines ever pushed tell.
    steps: Steps,
    /// Whether the log was empty when the ring was.
    is_whole: bool,
    /// How many have joined.
    joined: u64,
    ended: Option<Ended>,
    /// Whether the log went before it was read to its end.
    is_cut: bool,
    /// Which of the container's runs are over with that: those that began until then.
    runs: Nanos,
}

impl State {
    fn next(&self) -> u64 {
        self.first + self.stretches.len() as u64
    }

    fn newest(&self) -> Option<Place> {
        self.stretches
            .iter()
            .rev()
            .find_map(|stretch| stretch.last())
    }

    /// Whether the reader is too far ahead of all who take.
    fn is_full(&self) -> bool {
        self.pushed - self.taken > self.ahead()
    }

    /// Whether it is not far ahead of someone any more.
    fn is_drained(&self) -> bool {
        self.pushed - self.taken <= self.ahead() / 8
    }

    /// How far it may be ahead.
    fn ahead(&self) -> u64 {
        AHEAD.min(self.most as u64 / 2)
    }

    /// Whether the ring's end is the log's end, as far as can be known.
    fn is_settled(&self) -> bool {
        if self.is_behind {
            return false;
        }
        let Some(newest) = self.stretches.back() else {
            return false;
        };
        if newest.age() >= QUIET {
            return !self.is_full();
        }
        let recently = now() - nanos(QUIET);
        newest
            .last()
            .is_some_and(|last| last.stamp >= self.opened.max(recently))
    }

    /// Lets go of the oldest where there are more than `size` bytes.
    fn trim(&mut self, size: usize) {
        self.most = size;
        while self.size > size && self.stretches.len() > 1 {
            // Without followers nothing is taken, and what falls out counts as taken.
            self.take_up_to(self.first + 1);
            if let Some(old) = self.stretches.pop_front() {
                self.first += 1;
                self.size -= old.size();
            }
        }
    }

    /// A follower has gone up to stretch `number`, not included.
    fn take_up_to(&mut self, number: u64) {
        while self.front < number {
            let at = self.front.checked_sub(self.first);
            let stretch = at.and_then(|at| self.stretches.get(usize::try_from(at).ok()?));
            self.taken += stretch.map_or(0, |stretch| stretch.size() as u64);
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
            rounds: Rounds::default(),
            patience: PATIENCE,
            lag: histogram!(metric::FOLLOWER_LAG),
            passed: counter!(metric::FOLLOWERS_PASSED),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there panics halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stretch and lets go of the oldest where there are more than `size` bytes, then waits until the fastest follower
    /// is not too far behind. Before that it lets, now and then, the threads of all followers go on with what is there, so
    /// that mostly nobody falls out but for a client that is slow. How long the follower was waited for is returned.
    pub async fn push(&self, stretch: Stretch, size: usize) -> Duration {
        // First, since what is added may push out what some have not had the time to see.
        if self.is_round_due(&stretch, size) {
            let _late = timeout(self.patience, self.rounds.finish()).await;
        }
        {
            let mut state = self.state();
            state.is_behind = false;
            state.fresh += stretch.size();
            state.size += stretch.size();
            state.pushed += stretch.size() as u64;
            for placed in &stretch.lines {
                state.steps.see(placed.place.stamp);
            }
            state.stretches.push_back(Arc::new(stretch));
            state.trim(size);
        }
        self.pushed.send_replace(());
        let begun = Instant::now();
        self.until(|state| !state.is_full()).await;
        begun.elapsed()
    }

    /// The reader has stopped before the log's end.
    pub(super) fn fall_behind(&self) {
        self.state().is_behind = true;
    }

    /// It reads again, and all that was written meanwhile has come.
    pub(super) fn catch_up(&self) {
        self.state().is_behind = false;
    }

    /// Whether there may be lines that were written long before they will come.
    pub(super) fn is_behind(&self) -> bool {
        self.state().is_behind
    }

    /// The reader stops before the log's end; waits until the fastest follower has taken nearly all of what there is.
    pub async fn drained(&self) {
        self.fall_behind();
        self.until(State::is_drained).await;
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let taken = self.taken.notified();
            if condition(&self.state()) {
                return;
            }
            taken.await;
        }
    }

    /// Keeps no more than `size` bytes from now on, since there are more rings.
    pub(super) fn trim(&self, size: usize) {
        self.state().trim(size);
        self.taken.notify_one();
    }

    /// Whether the followers' threads are to have their turn before this stretch; then they are going to.
    fn is_round_due(&self, stretch: &Stretch, size: usize) -> bool {
        let mut state = self.state();
        let is_due = state.fresh > 0 && state.fresh + stretch.size() > size / ROUNDS;
        if is_due {
            state.fresh = 0;
        }
        is_due
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

    /// Nothing more comes, and of the container's runs those that began until `runs` are over.
    pub fn end(&self, how: Ended, runs: Nanos) {
        {
            let mut state = self.state();
            if state.ended.is_none() {
                (state.ended, state.runs) = (Some(how), runs);
            }
        }
        self.pushed.send_replace(());
    }

    /// What the log had behind all that was read is lost.
    pub fn cut(&self) {
        self.state().is_cut = true;
    }

    /// Whether something was lost there.
    pub fn is_cut(&self) -> bool {
        self.state().is_cut
    }

    /// Which runs were over when it ended.
    pub fn runs(&self) -> Nanos {
        self.state().runs
    }

    /// Whether nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    /// Counts how late a follower, who is here since then, has got a stretch.
    pub fn count_lag(&self, stretch: &Stretch, joined: Instant) {
        self.lag.record(stretch.age().min(joined.elapsed()));
    }

    /// Lets the task that calls take part. It must stay on its runtime.
    pub fn join(&self) -> Listener {
        self.state().joined += 1;
        Listener {
            pushed: self.pushed.subscribe(),
            _seat: self.rounds.join(),
        }
    }

    /// How many have taken part so far.
    pub fn joined(&self) -> u64 {
        self.state().joined
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
        Found::Lines(stretch, line)
    }

    /// The position behind the line at `place`, if that is here for certain: where lines are known by their
    /// text only, no other one of that time must have it. What had begun before it and not ended must be here too.
    pub fn find(&self, place: &Place) -> Option<Position> {
        let found = self.look_for(place, |here| here.floor <= place.floor)?;
        Some(found.0)
    }

    /// Since when a line is under way behind the one at `place`, of which whoever comes from there has got as much as there
    /// is: nothing was, as far as that place tells.
    pub fn begun_at(&self, place: &Place) -> Option<Nanos> {
        let (_, floor) = self.look_for(place, |_| true)?;
        (floor < place.floor).then_some(floor)
    }

    /// The position behind the line at `place`, and since when what is under way there is.
    fn look_for(
        &self,
        place: &Place,
        is_fit: impl Fn(&Place) -> bool,
    ) -> Option<(Position, Nanos)> {
        let state = self.state();
        let mut found = None;
        let mut found_late = false;
        for (at, stretch) in state.stretches.iter().enumerate().rev() {
            for (line, placed) in stretch.lines.iter().enumerate().rev() {
                let here = placed.cursor();
                // Last words that come late leave their reader where another line did, but for what had begun.
                let is_late = here != placed.place;
                if !place.is(&here)
                    || place.open != here.open
                    || !is_fit(&here)
                    || is_late && here.floor > place.floor
                {
                    continue;
                }
                let position = Position {
                    stretch: state.first + at as u64,
                    line: line + 1,
                };
                let is_here = Some((position, here.floor));
                if place.is_counted_with(&here) {
                    return is_here;
                }
                // The one that a late line stands behind is no other one.
                match (found, std::mem::replace(&mut found_late, is_late)) {
                    (None, _) => found = is_here,
                    (Some(_), true) => {}
                    (Some(_), false) => return None,
                }
            }
            let is_behind = stretch
                .last()
                .is_some_and(|last| place.is_far_behind(&last));
            if is_behind && !state.steps.hold(place.stamp) {
                break;
            }
        }
        found
    }

    /// Whether the line at `place` is here for certain.
    pub(super) fn holds(&self, place: &Place) -> bool {
        self.look_for(place, |_| true).is_some()
    }

    /// Where the line at `place` is. Whoever asks is going to take what comes.
    pub fn seek(&self, place: &Place) -> Sought {
        // Even where something had begun: all that could be read elsewhere has been.
        if let Some((position, _)) = self.look_for(place, |_| true) {
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
        let newest = state.newest();
        let is_passed = |last: Place| last.stamp >= place.stamp && !last.counts_before(place);
        if newest.is_some_and(is_passed) {
            return Sought::Unknown;
        }
        Sought::NotYet
    }

    /// Whether all lines that it has had are known to be older than the one at `place`.
    pub fn is_before(&self, place: &Place) -> bool {
        let state = self.state();
        let is_older = |newest: Place| newest.stamp < place.stamp;
        state.newest().is_some_and(is_older) && !state.steps.hold(place.stamp)
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
                return Some((position, stretch.lines[before].cursor()));
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

    /// The position before the oldest line and its time, if the line at `place` is known to be older.
    pub fn first_behind(&self, place: &Place) -> Option<(Position, Nanos)> {
        let state = self.state();
        let mut stretches = state.stretches.iter().enumerate();
        let (at, first) = stretches.find_map(|(at, stretch)| Some((at, stretch.lines.first()?)))?;
        let position = Position {
            stretch: state.first + at as u64,
            line: 0,
        };
        let is_older = place.stamp < first.place.stamp || place.counts_before(&first.place);
        is_older.then_some((position, first.place.stamp))
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

    /// The newest stop before a position that is one of `whose`.
    pub fn stop_before(&self, position: Position, whose: impl Fn(&Stop) -> bool) -> Option<Stop> {
        let state = self.state();
        let many = usize::try_from(position.stretch.saturating_sub(state.first)).ok()?;
        let stretches = state.stretches.iter().take(many).rev();
        let mut stops = stretches.filter_map(|stretch| stretch.stopped.as_deref());
        stops.find(|stop| whose(stop)).copied()
    }

    /// Where the container has stopped and not been read again since.
    pub fn stopped(&self) -> Option<Stop> {
        self.state().stretches.back()?.stopped.as_deref().copied()
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Instant};

    use tokio::{runtime::Builder, sync::oneshot};

    use super::*;
    use crate::logs::{Line, place::Places, stretch::Placed};

    fn stretch(places: &mut Places) -> Stretch {
        let line = Line::bare(vec![b'x'; RING / 32]);
        let place = places.next(&line, None);
        Stretch::new(vec![Placed::new(line, place)])
    }

    #[tokio::test]
    async fn first_line_is_behind_one_of_the_same_time_in_front_of_it() {
        let (ring, mut places) = (Ring::new(), Places::new(true));
        let given = stretch(&mut places).lines[0].place;
        let first = stretch(&mut places);
        let place = first.lines[0].place;
        ring.push(first, RING).await;
        assert_eq!(given.stamp, place.stamp);
        let behind = ring.first_behind(&given);
        assert_eq!(behind, Some((ring.first_position(), place.stamp)));
        assert_eq!(ring.first_behind(&place), None);
    }

    /// Takes so many stretches; whether the ring went on without this one.
    async fn take(ring: &Ring, many: usize) -> bool {
        let mut listener = ring.join();
        let (mut position, mut taken) = (ring.first_position(), 0);
        while taken < many {
            match ring.take(&mut position) {
                Found::Lines(..) => taken += 1,
                Found::Nothing => listener.changed().await,
                Found::Passed => return true,
                Found::End(how) => panic!("{how:?}"),
            }
        }
        false
    }

    /// Pushes to a ring for a follower on this thread and one on a thread that is held up meanwhile, until that is over, or
    /// for so long; whether the ring went on without the other one.
    async fn is_passed(patience: Duration, held_up: Duration) -> bool {
        const MANY: usize = 100;
        let ring = Arc::new(Ring {
            patience,
            ..Ring::new()
        });
        let (tell, told) = oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        let there = Arc::clone(&ring);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let follower = tokio::spawn(async move { take(&there, MANY).await });
                tokio::task::yield_now().await;
                tell.send(()).unwrap();
                let _timeout = released.recv_timeout(held_up);
                follower.await.unwrap()
            })
        });
        told.await.unwrap();
        let here = Arc::clone(&ring);
        let fast = tokio::spawn(async move { take(&here, MANY).await });
        let mut places = Places::new(true);
        for _ in 0..MANY {
            ring.push(stretch(&mut places), RING).await;
        }
        assert!(!fast.await.unwrap());
        drop(release);
        thread.join().unwrap()
    }

    #[tokio::test]
    async fn finds_a_line_behind_which_the_clock_went_back() {
        const SECOND: Nanos = 1_000_000_000;
        let ring = Ring::new();
        let place = |stamp| Place {
            stamp,
            ..Places::new(true).next(&Line::bare("x"), None)
        };
        for seconds in [50, 10, 60] {
            let line = Line::bare("x");
            let place = place(seconds * SECOND);
            ring.push(Stretch::new(vec![Placed::new(line, place)]), RING)
                .await;
        }
        assert!(ring.find(&place(50 * SECOND)).is_some());
        assert!(ring.find(&place(40 * SECOND)).is_none());
        let is_before = |seconds| ring.is_before(&place(seconds * SECOND));
        assert!(is_before(61) && !is_before(60) && !is_before(40));
    }

    #[tokio::test]
    async fn a_line_behind_which_the_clock_went_back_is_not_behind_all() {
        let ring = Ring::new();
        let mut places = Places::new(true);
        for seconds in ["50", "10"] {
            let stamp = format!("2024-01-01T00:00:{seconds}.000000000Z ");
            let line = Line {
                stamp: stamp.len(),
                ..Line::bare(stamp)
            };
            let place = places.next(&line, None);
            let stretch = Stretch::new(vec![Placed::new(line, place)]);
            ring.push(stretch, RING).await;
            assert_eq!(
                ring.is_before(&Place {
                    stamp: place.stamp + 1,
                    ..place
                }),
                seconds == "50"
            );
        }
    }

    #[tokio::test]
    async fn is_not_settled_while_its_reader_is_held_up() {
        let ring = Ring::new();
        let mut places = Places::new(true);
        let mut lines = || {
            let mut stretch = stretch(&mut places);
            stretch.came = Instant::now().checked_sub(QUIET).unwrap();
            stretch
        };
        // Smaller than it may be, as where there are many.
        let size = 2 * lines().size();
        ring.push(lines(), size).await;
        assert!(ring.is_settled());
        let held_up = timeout(Duration::from_millis(1), ring.push(lines(), size)).await;
        assert!(held_up.is_err());
        assert!(!ring.is_settled());
        assert!(ring.tail(1).is_none());
        // Nor while it goes to read anew what stands behind that.
        assert!(matches!(
            ring.take(&mut ring.first_position()),
            Found::Lines(..)
        ));
        assert!(matches!(
            ring.take(&mut Position {
                stretch: 1,
                line: 0
            }),
            Found::Lines(..)
        ));
        assert!(ring.is_settled());
        ring.drained().await;
        assert!(!ring.is_settled());
        ring.push(lines(), size).await;
        assert!(ring.is_settled());
        // Nor where the engine is away, and nothing may have been written meanwhile.
        ring.fall_behind();
        assert!(!ring.is_settled());
        ring.catch_up();
        assert!(ring.is_settled());
    }

    #[tokio::test]
    async fn nobody_falls_out_whose_thread_is_held_up() {
        // Long enough for the others to get far, were they let.
        let held_up = Duration::from_millis(200);
        assert!(!is_passed(Duration::from_secs(60), held_up).await);
    }

    #[tokio::test]
    async fn a_thread_that_is_stuck_is_not_waited_for() {
        let held_up = Duration::from_secs(60);
        assert!(is_passed(Duration::from_millis(1), held_up).await);
    }
}
