//! Which containers there are, and how to begin to follow them.

use std::{collections::BTreeMap, collections::HashSet, time::Duration};

use futures_util::stream::{StreamExt, iter};
use jiff::Timestamp;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    super::{
        cursor::Cursor,
        follower::{FollowError, Follower, Start},
        hub::{Busy, Hub, Membership},
        place::{Nanos, Place},
        reading::Times,
    },
    Wanted,
};
use crate::engine::{self, Engine, Facts, Tail};

/// How many containers are looked at, and how many begun to be followed, at a time.
const AT_A_TIME: usize = 8;

/// How long a look may take: the engine answers it from memory.
const LOOK: Duration = Duration::from_secs(30);

/// When to try again where something could not be.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// When to look again where the engine does not let one be looked at, or does not tell what happens.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How long to wait until there may be a reader more, before the client is told to come back later.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the engine may say that a container is being removed. It says so of others too while it starts, which takes less
/// than so many seconds.
pub(super) const REMOVALS: u32 = 10;

/// Finds containers and begins to follow them.
pub(super) struct Finder {
    pub(super) engine: Engine,
    pub(super) hub: Hub,
    pub(super) wanted: Wanted,
    slots: Semaphore,
}

/// What is known of containers: which runs are over, those that began until then, where another one is of interest.
pub(super) type Known = BTreeMap<String, Option<Nanos>>;

/// What a look has found.
pub(super) struct Look {
    /// The ids of all that are wanted.
    pub(super) ids: HashSet<String>,
    /// Those that were not known, or have been started again.
    pub(super) new: Vec<New>,
    /// Whether there may be others, which the engine does not let be looked at.
    pub(super) is_partial: bool,
    /// Whether some of those may be named, so that their ids are not known.
    pub(super) hides_named: bool,
}

/// A container that may be followed.
pub(super) struct New {
    pub(super) facts: Facts,
    /// Whether the client has named it.
    pub(super) named: bool,
}

impl Finder {
    pub(super) fn new(engine: Engine, hub: Hub, wanted: Wanted) -> Self {
        let slots = Semaphore::new(AT_A_TIME);
        Self {
            engine,
            hub,
            wanted,
            slots,
        }
    }

    /// Looks which containers there are. Those that are named must exist, if `strict`; or one of them where the client comes
    /// back, since others may have been removed meanwhile.
    pub(super) async fn look(&self, known: &Known, strict: bool) -> Result<Look, engine::Error> {
        let late = |_| {
            Err(engine::Error::broken(
                "it does not say which containers there are",
            ))
        };
        let look = timeout(LOOK, self.find(known, strict));
        look.await.unwrap_or_else(late)
    }

    async fn find(&self, known: &Known, strict: bool) -> Result<Look, engine::Error> {
        let selection = &self.wanted.selection;
        let mut look = Look {
            ids: HashSet::new(),
            new: Vec::new(),
            is_partial: false,
            hides_named: false,
        };
        let named = selection.containers.iter();
        let named = named.map(|id| self.engine.facts(id)).collect::<Vec<_>>();
        let mut named = iter(named).buffered(AT_A_TIME);
        let comes_back = !self.wanted.cursors.is_empty();
        let mut gone = None;
        while let Some(facts) = named.next().await {
            match facts {
                Ok(facts) => look.add(known, facts, true),
                Err(error) if error.says_gone() && (comes_back || !strict) => gone = Some(error),
                Err(error) if error.is_refusal() && !strict => {
                    look.leave_out(&error);
                    look.hides_named = true;
                }
                Err(error) => return Err(error),
            }
        }
        let Some(labels) = &selection.labels else {
            return match gone.filter(|_| strict && look.ids.is_empty()) {
                Some(error) => Err(error),
                None => Ok(look),
            };
        };
        let listed = self.engine.with_labels(labels).await?.into_iter();
        let listed: Vec<_> = listed
            .map(|listed| listed.id)
            .filter(|id| look.ids.insert(id.clone()))
            .collect();
        let source = self.hub.source();
        let open = listed
            .iter()
            .filter(|id| known.get(*id).is_none_or(Option::is_some));
        let open = open.map(|id| source.facts(id)).collect::<Vec<_>>();
        let mut open = iter(open).buffered(AT_A_TIME);
        while let Some(facts) = open.next().await {
            match facts {
                Ok(facts) => look.add(known, facts, false),
                Err(error) if error.says_gone() => {}
                // One that is broken is no reason to leave out the others.
                Err(error) if error.is_refusal() || error.says_away() => look.leave_out(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(look)
    }

    /// Where to begin with a container: `known` is the last line of it that was sent. And the line that
    /// must come first, where that is known.
    pub(super) fn start(
        &self,
        id: &str,
        known: Option<Place>,
        appeared: bool,
    ) -> (Start, Option<Place>) {
        let Wanted {
            tail,
            times,
            cursors,
            ..
        } = &self.wanted;
        let cursor = self.cursor_of(id);
        let start = match (known, cursor) {
            (Some(place), _) => Start::After(place),
            (None, Some(cursor)) if cursor.is_before_all() => Start::Tail(Tail::All, *times),
            (None, Some(cursor)) if cursor.is_next => {
                return (from(&cursor.place), Some(cursor.place));
            }
            (None, Some(cursor)) => Start::After(cursor.place),
            // It had no line when the client was last here.
            (None, None) if !cursors.is_empty() || appeared => Start::Tail(Tail::All, *times),
            (None, None) => Start::Tail(*tail, *times),
        };
        (start, None)
    }

    /// Where the client was in a container when it came back.
    pub(super) fn cursor_of(&self, id: &str) -> Option<&Cursor> {
        let mut cursors = self.wanted.cursors.iter();
        cursors.find(|cursor| cursor.is_of(id))
    }

    /// Where the client is in a container, by what was sent or by its cursors.
    pub(super) fn place(&self, id: &str, known: Option<Place>) -> Option<Place> {
        match self.start(id, known, false) {
            (Start::After(place), _) => Some(place),
            (_, first) => first,
        }
    }

    /// Follows a container, of which the feed may be kept by a `seat`. If `patient`, only the engine's
    /// refusal is an error: it is tried again while there is too much to do, or the engine away, and up to `removals` times
    /// where that says that the container is being removed.
    pub(super) async fn follow(
        &self,
        facts: &Facts,
        start: &Start,
        mut seat: Option<Membership>,
        patient: bool,
        mut removals: u32,
    ) -> Result<Follower, FollowError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let slot = self.slots.acquire().await;
            let opened = Follower::open(&self.hub, facts.clone(), start.clone(), false, true).await;
            drop(slot);
            match opened {
                Err(FollowError::Busy(Busy::Readers)) if patient || Instant::now() < end => {
                    let end = end.max(Instant::now() + TRY_AGAIN);
                    // Either way it is told by the next try.
                    let _ = timeout_at(end, self.hub.has_room()).await;
                }
                Err(error) if patient && may_pass(&error, removals) => {
                    removals -= u32::from(error.is(engine::Error::says_half_removed));
                    tracing::debug!(%error, "cannot follow a container yet");
                    // It counts as a follower.
                    seat = None;
                    sleep(TRY_AGAIN).await;
                }
                opened => {
                    drop(seat);
                    return opened;
                }
            }
        }
    }
}

impl Look {
    fn leave_out(&mut self, error: &engine::Error) {
        tracing::debug!(%error, "cannot look at a container");
        self.is_partial = true;
    }

    fn add(&mut self, known: &Known, facts: Facts, named: bool) {
        let is_new = match known.get(&facts.id) {
            None => true,
            Some(None) => false,
            Some(Some(runs)) => {
                let run = facts.state.run();
                // One that began earlier is of a clock that was set back.
                run > *runs || (run != *runs && facts.state.running)
            }
        };
        // Two names may be of one container.
        let is_first = self.ids.insert(facts.id.clone()) || !named;
        // What was only created has no log yet, and appears when it is started.
        let has_run = facts.state.running || facts.state.run() > 0;
        if is_new && is_first && (named || has_run) {
            self.new.push(New { facts, named });
        }
    }
}

/// With all lines that may stand behind the one before this place.
pub(super) fn from(place: &Place) -> Start {
    let since = Timestamp::from_nanosecond(place.since().into()).ok();
    Start::Tail(Tail::All, Times { since, until: None })
}

/// Whether it may be otherwise the next time.
fn may_pass(error: &FollowError, removals: u32) -> bool {
    match error.is(engine::Error::says_half_removed) {
        true => removals > 0,
        false => !error.is(engine::Error::is_refusal),
    }
}
