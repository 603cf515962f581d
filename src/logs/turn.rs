//! The right to read a part of a log at the engine, beside the reader that all who follow it share.
//!
//! There are few of them. Who has one and does not take what was read, since its client does not, loses it where others wait,
//! and begins anew when it goes on.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use metrics::{counter, gauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    LogError,
    reading::{Next, Reading},
};
use crate::telemetry::{Counted, name as metric};

/// How long a turn lasts where others wait for theirs.
const FAIR: Duration = Duration::from_secs(30);

/// How long it may be the client's turn to take something then.
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
    /// When the first lines came: the engine may have searched for long.
    begun: Option<Instant>,
    waiting: WaitingFor,
    /// Of the container's, and of all.
    permits: [OwnedSemaphorePermit; 2],
    _counted: Counted,
}

impl Held {
    /// Whether others wait for it while nobody uses it.
    fn is_idle(&self) -> bool {
        let idle = match &self.waiting {
            WaitingFor::Client(since) => Some(*since),
            WaitingFor::Engine(woken) => *lock(&woken.at),
        };
        let is_idle = idle.is_some_and(|since| since.elapsed() >= IDLE);
        let mut permits = self.permits.iter();
        is_idle && permits.any(|permit| permit.semaphore().available_permits() == 0)
    }
}

/// Whose move it is.
enum WaitingFor {
    /// The client's, which is to take something, since that time.
    Client(Instant),
    /// The engine's, until its answer wakes the client's task.
    Engine(Arc<Woken>),
}

/// Notes when a task was woken, which may not get on since its client does not read.
struct Woken {
    task: Waker,
    at: Mutex<Option<Instant>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        lock(&self.at).get_or_insert_with(Instant::now);
        self.task.wake_by_ref();
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
        let own_all_reserve = [own, all, reserve].map(Arc::clone);
        // In a task of its own: a permit that is there is held by nobody who does not get on.
        let turn = AbortOnDropHandle::new(tokio::spawn(self.clone().acquire(own_all_reserve)));
        turn.await.expect("it does not panic")
    }

    async fn acquire(self, [own, all, reserve]: [Arc<Semaphore>; 3]) -> Turn {
        let _waits = self.wait();
        let mut permits = pin!(async {
            let own = own.acquire_owned().await;
            let all = tokio::select! {
                biased;
                permit = all.acquire_owned() => permit,
                permit = reserve.acquire_owned() => permit,
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
        let held = Held {
            reading: None,
            begun: None,
            waiting: WaitingFor::Client(Instant::now()),
            permits,
            _counted: Counted::new(gauge),
        };
        let slot = Arc::new(Mutex::new(Some(held)));
        let mut all = lock(&self.0.held);
        all.retain(|slot| slot.strong_count() > 0);
        all.push(Arc::downgrade(&slot));
        Turn {
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
        self.wait_for(poll_fn(|cx| {
            let mut slot = lock(&self.slot);
            let Some(Held {
                reading: Some(reading),
                begun,
                ..
            }) = &mut *slot
            else {
                return Poll::Ready(None);
            };
            reading.poll_next(cx).map(|next| {
                begun.get_or_insert_with(Instant::now);
                Some(next)
            })
        }))
        .await
    }

    /// What the engine answers: the turn is in use until then.
    pub(super) async fn wait_for<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        // Also where it is waited for no more.
        let _over = IsOver(self);
        poll_fn(|cx| {
            let woken = Arc::new(Woken {
                task: cx.waker().clone(),
                at: Mutex::default(),
            });
            self.is_waiting(WaitingFor::Engine(Arc::clone(&woken)));
            let waker = Waker::from(woken);
            answer.as_mut().poll(&mut Context::from_waker(&waker))
        })
        .await
    }

    fn is_waiting(&self, waiting: WaitingFor) {
        if let Some(held) = &mut *lock(&self.slot) {
            held.waiting = waiting;
        }
    }

    /// Looks at what is read.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Reading) -> Option<T>) -> Option<T> {
        let slot = lock(&self.slot);
        look(slot.as_ref()?.reading.as_ref()?)
    }

    /// Whether someone else may be waiting for it, long enough.
    pub(super) fn is_over(&self) -> bool {
        let slot = lock(&self.slot);
        let begun = slot.as_ref().and_then(|held| held.begun);
        begun.is_some_and(|begun| begun.elapsed() > FAIR) && *self.turns.0.waiting.borrow() > 0
    }
}

/// Nothing is waited for any more, but the client.
struct IsOver<'a>(&'a Turn);

impl Drop for IsOver<'_> {
    fn drop(&mut self) {
        self.0.is_waiting(WaitingFor::Client(Instant::now()));
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    /// Long enough for what is not used to be taken away.
    const LATER: Duration = Duration::from_secs(10);

    /// One turn for all.
    struct One(Turns, [Arc<Semaphore>; 3]);

    impl One {
        fn new() -> Self {
            let permits = [1, 1, 0].map(|many| Arc::new(Semaphore::new(many)));
            Self(Turns::default(), permits)
        }

        async fn take(&self) -> Turn {
            let [own, all, reserve] = &self.1;
            self.0.take(own, all, reserve).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_used_goes_to_who_waits() {
        let one = One::new();
        let first = one.take().await;
        assert!(timeout(LATER, one.take()).await.is_ok());
        assert!(first.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_the_engine_is_in_use_until_that_answers() {
        let one = One::new();
        let first = one.take().await;
        let (answer, answered) = oneshot::channel::<()>();
        let mut waiting = pin!(first.wait_for(answered));
        assert!(poll!(&mut waiting).is_pending());
        assert!(timeout(LATER, one.take()).await.is_err());
        // Its client does not read, so that nobody looks.
        answer.send(()).unwrap();
        assert!(timeout(LATER, one.take()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_no_more_is_not_used() {
        let one = One::new();
        let first = one.take().await;
        let waiting = first.wait_for(std::future::pending::<()>());
        assert!(timeout(Duration::ZERO, waiting).await.is_err());
        assert!(timeout(LATER, one.take()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_and_does_not_get_on_holds_nothing() {
        let one = One::new();
        let first = one.take().await;
        let mut waiting = pin!(one.take());
        assert!(poll!(&mut waiting).is_pending());
        drop(first);
        assert!(timeout(LATER, one.take()).await.is_ok());
    }
}
