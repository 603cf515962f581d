//! All logs that are followed: one [`Feed`] a container, and the limits of what is read and followed.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use metrics::{Gauge, counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::{
    clock::Clock,
    cursor::Cursor,
    encoding::{Encoding, Encodings},
    feed::Feed,
    place::Place,
    reading::{From, Reading, Search},
    ring::{RING, Ring},
    turn::{Turn, Turns},
};
use crate::{
    engine::{self, ContainerId, Engine, Facts},
    telemetry::name as metric,
};

/// How many logs can only be read by who reads what was written before.
const RESERVE: usize = 1;

/// What all rings together may keep, in bytes.
const ALL_RINGS: usize = 64 << 20;

/// How much may be read and followed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Logs read at the engine, in all; at least two.
    pub readers: usize,
    /// Logs read at the engine for one container, the shared reader not counted.
    pub readers_per_container: usize,
    /// Followers, in all.
    pub followers: usize,
    /// Followers of one container.
    pub followers_per_container: usize,
}

/// Too much is read or followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Logs that are read; these end sooner than clients leave.
    #[error("Too many logs are being read; try again later.")]
    Readers,
    /// Clients.
    #[error("Too many clients follow logs; try again later.")]
    Followers,
}

impl Busy {
    /// Counts a request that is refused for this.
    pub fn count(self) {
        let what = match self {
            Self::Readers => "readers",
            Self::Followers => "followers",
        };
        counter!(metric::LOG_REFUSALS, "what" => what).increment(1);
    }
}

/// Where logs come from, and how many may be read. Clones share everything.
#[derive(Clone, Debug)]
pub struct Source {
    engine: Engine,
    clock: Arc<Clock>,
    max_line: usize,
    readers: Arc<Semaphore>,
    /// A share of them for who reads what was written before: else shared readers could take them all.
    reserve: Arc<Semaphore>,
    /// As many again for what is no stream.
    once: Arc<Semaphore>,
    /// How many rings there are.
    rings: Arc<AtomicUsize>,
}

impl Source {
    /// Reads a log from some point.
    pub(super) async fn open(
        &self,
        facts: &Facts,
        from: &From,
        follow: bool,
    ) -> Result<Reading, engine::Error> {
        // Boxed, since it is large and soon over, and each of many followers may do it at any time.
        Box::pin(Reading::open(
            &self.engine,
            facts,
            from,
            follow,
            self.max_line,
        ))
        .await
    }

    /// Behind the line at this place, looked for where it is for certain.
    pub(super) fn after(&self, place: Place) -> From {
        let search = match self.clock.may_have_gone_back_since(place.stamp) {
            true => Search::All,
            false => Search::Since,
        };
        From::After(place, search)
    }

    pub(super) async fn facts(&self, id: &str) -> Result<Facts, engine::Error> {
        let id: ContainerId = id
            .parse()
            .map_err(|_| engine::Error::broken("the engine told a broken id"))?;
        self.engine.facts(&id).await
    }

    /// Whether a cursor's container does not exist any more.
    pub async fn is_gone(&self, cursor: &Cursor) -> Result<bool, engine::Error> {
        match self.facts(cursor.id()).await {
            // Another one may be called so.
            Ok(facts) => Ok(!cursor.is_of(&facts.id)),
            Err(error) if error.says_gone() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What one ring may keep, so that all of them together keep to their limit.
    pub(super) fn ring_size(&self) -> usize {
        RING.min(ALL_RINGS / self.rings.load(Ordering::Relaxed).max(1))
    }

    /// The right to read one log more at the engine for those who follow it.
    fn may_read(&self) -> Result<OwnedSemaphorePermit, Busy> {
        acquire(&self.readers)
    }

    /// The right to read one log more at the engine that nobody follows.
    ///
    /// # Errors
    ///
    /// If as many are read as may be.
    pub fn may_read_once(&self) -> Result<OwnedSemaphorePermit, Busy> {
        acquire(&self.once)
    }
}

fn acquire(readers: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Busy> {
    Arc::clone(readers)
        .try_acquire_owned()
        .map_err(|_| Busy::Readers)
}

/// See the [module](self). Clones share everything.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    limits: Limits,
    turns: Turns,
    followers: AtomicUsize,
    gauge: Gauge,
    shelves: Mutex<HashMap<String, Shelves>>,
}

/// What is followed of one container.
struct Shelves {
    share: Arc<Share>,
    /// Those that somebody holds. A feed that has ended is kept by who has not read all of it, and a new one is begun for who
    /// comes then.
    all: Vec<Weak<Shelf>>,
}

/// What one container has of what is limited.
struct Share {
    followers: AtomicUsize,
    /// Rights of followers to read what they have missed.
    catch_ups: Arc<Semaphore>,
}

/// A feed with those who share it.
struct Shelf {
    id: String,
    feed: Feed,
    encodings: Encodings,
    share: Arc<Share>,
    hub: Arc<Shared>,
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.hub.source.rings.fetch_sub(1, Ordering::Relaxed);
        let mut shelves = self.hub.shelves();
        if let Some(own) = shelves.get_mut(&self.id)
            && own.is_over()
        {
            shelves.remove(&self.id);
        }
    }
}

impl Shelves {
    fn newest(&self) -> Option<Arc<Shelf>> {
        self.all.last()?.upgrade()
    }

    /// Forgets those that nobody holds any more; whether none is left.
    fn is_over(&mut self) -> bool {
        self.all.retain(|shelf| shelf.strong_count() > 0);
        self.all.is_empty()
    }
}

impl Shared {
    fn shelves(&self) -> MutexGuard<'_, HashMap<String, Shelves>> {
        // Nothing in there panics halfway.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// A hub for the containers of `engine`, whose lines have at most `max_line` bytes of text.
    pub fn new(engine: Engine, max_line: usize, limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                source: Source {
                    engine,
                    clock: Arc::default(),
                    max_line,
                    readers: Arc::new(Semaphore::new(limits.readers - RESERVE)),
                    reserve: Arc::new(Semaphore::new(RESERVE)),
                    once: Arc::new(Semaphore::new(limits.readers)),
                    rings: Arc::default(),
                },
                limits,
                turns: Turns::default(),
                followers: AtomicUsize::new(0),
                gauge: gauge!(metric::FOLLOWERS),
                shelves: Mutex::default(),
            }),
        }
    }

    /// Where the hub reads.
    pub fn source(&self) -> &Source {
        &self.shared.source
    }

    /// Waits until someone waits for the right to read a part of a log.
    pub(super) async fn is_waited_for(&self) {
        self.shared.turns.are_waited_for().await;
    }

    /// Waits until one more log may be read; for it to stay so is not promised.
    pub(super) async fn has_room(&self) {
        let _waits = self.shared.turns.wait();
        let readers = Arc::clone(&self.shared.source.readers);
        // In a task of its own: who waits here may not get on when a permit is there.
        let free = tokio::spawn(async move { readers.acquire_owned().await.map(drop) });
        // They are never closed.
        let _ = AbortOnDropHandle::new(free).await;
    }

    /// Whether so many logs may be followed, if nobody else follows one.
    ///
    /// # Errors
    ///
    /// If not.
    pub(super) fn may_follow(&self, many: usize) -> Result<(), Busy> {
        if many > self.shared.limits.readers - RESERVE {
            return Err(Busy::Readers);
        }
        Ok(())
    }

    /// Joins those who follow a container, or begins to.
    ///
    /// # Errors
    ///
    /// If there are as many followers or readers as may be.
    pub fn join(&self, facts: &Facts) -> Result<Membership, Busy> {
        let hub = &self.shared;
        // Dropped after the lock: the last one to drop a shelf takes it from the map.
        let known;
        let mut others: Vec<Arc<Shelf>> = Vec::new();
        let mut shelves = hub.shelves();
        let own = shelves.get(&facts.id);
        known = own.and_then(Shelves::newest);
        let limits = &hub.limits;
        let share = match own {
            Some(own) => Arc::clone(&own.share),
            None => Arc::new(Share {
                followers: AtomicUsize::new(0),
                catch_ups: Arc::new(Semaphore::new(limits.readers_per_container)),
            }),
        };
        if hub.followers.load(Ordering::Relaxed) >= limits.followers
            || share.followers.load(Ordering::Relaxed) >= limits.followers_per_container
        {
            return Err(Busy::Followers);
        }
        let shelf = match &known {
            Some(shelf) if !shelf.feed.ring.has_ended() => Arc::clone(shelf),
            _ => {
                let permit = hub.source.may_read()?;
                hub.source.rings.fetch_add(1, Ordering::Relaxed);
                let shelf = Arc::new(Shelf {
                    id: facts.id.clone(),
                    feed: Feed::start(hub.source.clone(), facts.clone(), permit),
                    encodings: Encodings::default(),
                    share: Arc::clone(&share),
                    hub: Arc::clone(hub),
                });
                // With one ring more, each may keep less.
                let size = hub.source.ring_size();
                let all = shelves.values().flat_map(|shelves| &shelves.all);
                others.extend(all.filter_map(Weak::upgrade));
                for other in &others {
                    other.feed.ring.trim(size);
                }
                let own = shelves.entry(facts.id.clone());
                let own = own.or_insert_with(|| Shelves {
                    share: Arc::clone(&share),
                    all: Vec::new(),
                });
                own.all.push(Arc::downgrade(&shelf));
                shelf
            }
        };
        hub.followers.fetch_add(1, Ordering::Relaxed);
        share.followers.fetch_add(1, Ordering::Relaxed);
        hub.gauge.increment(1.0);
        drop(shelves);
        Ok(Membership { shelf })
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

/// A follower's share in a container's feed. The reader ends with the last one.
pub struct Membership {
    shelf: Arc<Shelf>,
}

impl Membership {
    /// The newest lines.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.shelf.feed.ring
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.shelf.feed
    }

    /// How many follow the container.
    pub(super) fn followers(&self) -> usize {
        self.shelf.share.followers.load(Ordering::Relaxed)
    }

    /// An encoding that is shared with all followers of the container that use the like of it.
    pub(super) fn share(&self, encoding: Encoding) -> Arc<Encoding> {
        self.shelf.encodings.share(encoding)
    }

    /// Waits for the right to read a part of this log by oneself.
    pub(super) fn turn(&self) -> impl Future<Output = Turn> + Send + use<> {
        let (hub, share) = (Arc::clone(&self.shelf.hub), Arc::clone(&self.shelf.share));
        async move {
            let Source {
                readers, reserve, ..
            } = &hub.source;
            hub.turns.take(&share.catch_ups, readers, reserve).await
        }
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Membership").field(&self.shelf.id).finish()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let hub = &self.shelf.hub;
        hub.followers.fetch_sub(1, Ordering::Relaxed);
        self.shelf.share.followers.fetch_sub(1, Ordering::Relaxed);
        hub.gauge.decrement(1.0);
    }
}
