//! The right to read a part of a log at the engine, beside the reader that all who follow it share.
//!
//! There are few of them. Who has one and does not take what was read, since its client does not, loses it where others wait,
//! and begins anew when it goes on.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Poll, ready},
    time::Duration,
};

use metrics::{Gauge, counter, gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep},
};

use super::{
    LogError,
    reading::{Next, Reading},
};
use crate::telemetry::name as metric;

/// How long a turn lasts where others wait for theirs.
const FAIR: Duration = Duration::from_secs(30);

/// How long what was read may lie there then.
const IDLE: Duration = Duration::from_secs(5);

/// How often it is looked whether some does.
const LOOK: Duration = Duration::from_secs(1);

/// All turns; clones share them.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<State>);

#[derive(Default)]
struct State {
    /// How many wait for theirs.
    waiting: watch::Sender<usize>,
    held: Mutex<Vec<Weak<Slot>>>,
}

/// What goes with a turn; empty where it was taken away.
type Slot = Mutex<Option<Held>>;

struct Held {
    reading: Option<Reading>,
    /// Since when it has been the client's turn to take something.
    idle: Option<Instant>,
    /// Of the container's, and of all.
    permits: [OwnedSemaphorePermit; 2],
    gauge: Gauge,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

impl Held {
    /// Whether others wait for it while nobody uses it.
    fn is_idle(&self) -> bool {
        let is_idle = self.idle.is_some_and(|since| since.elapsed() >= IDLE);
        let mut permits = self.permits.iter();
        is_idle && permits.any(|permit| permit.semaphore().available_permits() == 0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in there panics halfway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turns {
    /// Waits until someone waits for a turn.
    pub(super) async fn are_waited_for(&self) {
        let mut waiting = self.0.waiting.subscribe();
        // The sender lives as long as this.
        let _ = waiting.wait_for(|many| *many > 0).await;
    }

    /// Counts as one who waits as long as what is given lives.
    pub(super) fn wait(&self) -> Waits<'_> {
        Waits::begin(&self.0.waiting)
    }

    /// Waits for a turn: one of the container's, and one of those of all or of the reserve.
    pub(super) async fn take(
        &self,
        own: &Arc<Semaphore>,
        all: &Arc<Semaphore>,
        reserve: &Arc<Semaphore>,
    ) -> Turn {
        let _waits = self.wait();
        let mut permits = pin!(async {
            let own = Arc::clone(own).acquire_owned().await;
            let all = tokio::select! {
                biased;
                permit = Arc::clone(all).acquire_owned() => permit,
                permit = Arc::clone(reserve).acquire_owned() => permit,
            };
            [own, all].map(|permit| permit.expect("they are never closed"))
        });
        loop {
            tokio::select! {
                biased;
                permits = &mut permits => return self.begin(permits),
                () = sleep(LOOK) => self.revoke(),
            }
        }
    }

    fn begin(&self, permits: [OwnedSemaphorePermit; 2]) -> Turn {
        counter!(metric::CATCH_UPS).increment(1);
        let gauge = gauge!(metric::LOG_READERS, "kind" => "catch_up");
        gauge.increment(1.0);
        let held = Held {
            reading: None,
            idle: None,
            permits,
            gauge,
        };
        let slot = Arc::new(Mutex::new(Some(held)));
        let mut all = lock(&self.0.held);
        all.retain(|slot| slot.strong_count() > 0);
        all.push(Arc::downgrade(&slot));
        Turn {
            begun: Instant::now(),
            slot,
            turns: self.clone(),
        }
    }

    /// Takes those away that nobody uses.
    fn revoke(&self) {
        let all: Vec<_> = lock(&self.0.held)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for slot in all {
            // Whoever has it locked uses it.
            let idle = slot.try_lock().ok().and_then(|mut held| {
                let is_idle = held.as_ref().is_some_and(Held::is_idle);
                is_idle.then(|| held.take())
            });
            // What it held goes when it is not locked any more.
            drop(idle);
        }
    }
}

/// Counts who waits for a turn.
pub(super) struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn begin(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|many| *many += 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|many| *many -= 1);
    }
}

/// The right to read a part of a log; counted while it is held.
pub(super) struct Turn {
    begun: Instant,
    slot: Arc<Slot>,
    turns: Turns,
}

impl Turn {
    /// What is read with it.
    pub(super) fn read(&self, reading: Reading) {
        if let Some(held) = &mut *lock(&self.slot) {
            held.reading = Some(reading);
        }
    }

    /// What comes next of that; none where the turn was taken away.
    pub(super) async fn next(&self) -> Option<Result<Next, LogError>> {
        poll_fn(|cx| {
            let mut slot = lock(&self.slot);
            let Some(Held {
                reading: Some(reading),
                idle,
                ..
            }) = &mut *slot
            else {
                return Poll::Ready(None);
            };
            *idle = None;
            let next = ready!(reading.poll_next(cx));
            *idle = Some(Instant::now());
            Poll::Ready(Some(next))
        })
        .await
    }

    /// Looks at what is read.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Reading) -> Option<T>) -> Option<T> {
        let slot = lock(&self.slot);
        look(slot.as_ref()?.reading.as_ref()?)
    }

    /// Whether someone else may be waiting for it, long enough.
    pub(super) fn is_over(&self) -> bool {
        self.begun.elapsed() > FAIR && *self.turns.0.waiting.borrow() > 0
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}
