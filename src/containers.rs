//! The containers as they change, for all who watch them.
//!
//! As long as someone watches, one task lists them again when an event says that they may have changed, and
//! tells what differs from the list before. The last list and the last changes stay when nobody watches, so
//! that who comes back gets what has changed meanwhile, whatever happened to the events.

mod changes;
mod history;
mod refresh;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use metrics::counter;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep},
};

pub use self::history::{InvalidVersion, Version};
use self::{history::History, refresh::refresh};
use crate::{
    engine::{Engine, Error},
    telemetry::name as metric,
};

/// When to look again whether there is room for a snapshot.
const LOOK: Duration = Duration::from_secs(1);

/// The least time from the beginning of a list to that of the next.
const GATHER: Duration = Duration::from_millis(100);

/// Why the containers cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The engine does not tell its events, or list its containers.
    #[error(transparent)]
    Engine(#[from] Error),
    /// Those who watch have not read what they began with, and it is too much.
    #[error("too many snapshots have not been read")]
    Unread,
}

/// See the [module](self). Clones share everything.
#[derive(Clone, Debug)]
pub struct Containers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    state: Mutex<State>,
    /// Changes with what the history holds.
    changed: watch::Sender<()>,
    listed: watch::Sender<Listed>,
    refresher: Mutex<Weak<Refresher>>,
}

#[derive(Debug)]
struct State {
    history: History,
    /// How many have asked for a list.
    asked: u64,
    /// How many lists have begun.
    begun: u64,
    last_began: Option<Instant>,
}

/// How the last list went, and whose question it answers.
#[derive(Debug, Default)]
struct Listed {
    asked: u64,
    error: Option<Error>,
}

/// The task, as long as someone watches.
#[derive(Debug)]
struct Refresher {
    wanted: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Someone who watches.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    _refresher: Arc<Refresher>,
    changed: watch::Receiver<()>,
    /// The last version that was given.
    at: Option<u64>,
}

/// See [`WatchError::Unread`].
struct Unread;

impl Containers {
    /// The containers of `engine`. Nothing is asked yet.
    pub fn new(engine: Engine) -> Self {
        let state = State {
            history: History::new(),
            asked: 0,
            begun: 0,
            last_began: None,
        };
        Self {
            shared: Arc::new(Shared {
                engine,
                state: Mutex::new(state),
                changed: watch::Sender::default(),
                listed: watch::Sender::default(),
                refresher: Mutex::default(),
            }),
        }
    }

    /// Watches the containers from now on, or from what they were at `after` if that is still known: what
    /// is told is never older than this call.
    ///
    /// # Errors
    ///
    /// The engine's, or that there is too much that was not read.
    pub async fn watch(&self, after: Option<Version>) -> Result<Watcher, WatchError> {
        let shared = Arc::clone(&self.shared);
        let refresher = shared.refresher();
        let changed = shared.changed.subscribe();
        // What changes after the list must be told.
        shared.engine.listen().stands().await?;
        shared.list_again(&refresher.wanted).await?;
        let at = {
            let state = shared.state();
            let at = after.and_then(|version| state.history.behind(version));
            if at.is_none() && !state.history.has_snapshot() {
                return Err(WatchError::Unread);
            }
            at
        };
        Ok(Watcher {
            shared,
            _refresher: refresher,
            changed,
            at,
        })
    }
}

impl Watcher {
    /// What comes next, if it is there: a snapshot or one change, as an event. An error where a snapshot has no room.
    fn take(&mut self) -> Result<Option<Bytes>, Unread> {
        let mut state = self.shared.state();
        if let Some(at) = self.at
            && let Ok(change) = state.history.after(at)
        {
            self.at = Some(at + u64::from(change.is_some()));
            return Ok(change);
        }
        let (version, snapshot) = state.history.snapshot().ok_or(Unread)?;
        if self.at.replace(version).is_some() {
            counter!(metric::LISTENERS_PASSED, "stream" => "containers").increment(1);
        }
        Ok(Some(snapshot))
    }

    /// What comes next.
    pub async fn next(&mut self) -> Bytes {
        loop {
            self.changed.mark_unchanged();
            match self.take() {
                Ok(Some(event)) => return event,
                Ok(None) => {
                    // The sender lives as long as what is shared.
                    let _ = self.changed.changed().await;
                }
                Err(Unread) => sleep(LOOK).await,
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresher(self: &Arc<Self>) -> Arc<Refresher> {
        let mut current = self
            .refresher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let refresher = current.upgrade().unwrap_or_else(|| {
            let wanted = Arc::new(Notify::new());
            let events = self.engine.listen();
            let task = tokio::spawn(refresh(Arc::clone(self), events, Arc::clone(&wanted)));
            let task = task.abort_handle();
            Arc::new(Refresher { wanted, task })
        });
        *current = Arc::downgrade(&refresher);
        refresher
    }

    /// Waits for a list that begins after this call; all who wait for one share it.
    async fn list_again(&self, wanted: &Notify) -> Result<(), Error> {
        let mut listed = self.listed.subscribe();
        let mine = {
            let mut state = self.state();
            state.asked += 1;
            state.asked
        };
        wanted.notify_one();
        loop {
            {
                let listed = listed.borrow_and_update();
                if listed.asked >= mine {
                    return listed
                        .error
                        .as_ref()
                        .map_or(Ok(()), |error| Err(error.clone()));
                }
            }
            // The sender lives as long as what is shared.
            let _ = listed.changed().await;
        }
    }
}
