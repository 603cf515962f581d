//! Actions are seen through, also where their clients leave.
//!
//! An engine that is left in the midst of a stop may kill at once, and in the midst of a restart it may not start again.

use std::{
    collections::HashMap,
    future::pending,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use middleware::timeout::Elapsed;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::{Answer, Error};
use crate::engine;

/// How many actions are under way at a time; more wait.
const MOST: usize = 256;

/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many of them may be of one path. A client that gives up and asks again leaves each of its tries under way, for as long
/// as a container does not stop.
const MOST_ALIKE: usize = 8;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Acting {
    all: Arc<Semaphore>,
    alike: Arc<Alike>,
    tasks: TaskTracker,
}

/// How long the client of an action waits at most, once that is known.
pub(super) type Limit = oneshot::Sender<Duration>;

/// How many are under way, or wait, of each path.
#[derive(Debug, Default)]
struct Alike(Mutex<HashMap<Box<str>, usize>>);

impl Alike {
    fn all(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        // Nothing in there panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, if it may be.
    fn count(self: &Arc<Self>, path: &str) -> Option<OneOf> {
        let mut all = self.all();
        let many = all.entry(path.into()).or_default();
        (*many < MOST_ALIKE).then(|| {
            *many += 1;
            OneOf(Arc::clone(self), path.into())
        })
    }
}

/// Counts for as long as it lives.
struct OneOf(Arc<Alike>, Box<str>);

impl Drop for OneOf {
    fn drop(&mut self) {
        let mut all = self.0.all();
        if let Some(many) = all.get_mut(&self.1) {
            *many -= 1;
            if *many == 0 {
                all.remove(&self.1);
            }
        }
    }
}

impl Acting {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MOST)),
            alike: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Waits until no action is under way.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let tasks = self.tasks.clone();
        async move {
            tasks.close();
            tasks.wait().await;
        }
    }

    /// What an action comes to, which was asked for by `path`. Once begun it goes on where this is not waited for, or not any
    /// more, by the limit that it may set; but not for `longest`.
    pub(super) async fn see_through<F>(
        &self,
        path: &str,
        longest: Duration,
        action: impl FnOnce(Limit) -> F,
    ) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let counted = self.alike.count(path).ok_or(Error::Acting)?;
        let permit = timeout(PATIENCE, Arc::clone(&self.all).acquire_owned()).await;
        let permit = permit.map_err(|_| Error::Acting)?;
        let permit = permit.expect("it is never closed");
        let (here, left) = oneshot::channel::<()>();
        let (limit, limited) = oneshot::channel();
        let action = action(limit);
        let task = async move {
            let _guards = (permit, counted);
            tokio::select! {
                answer = action => answer,
                () = async {
                    // It is never told otherwise than by being dropped.
                    let _ = left.await;
                    sleep(longest).await;
                } => Err(engine::Error::broken("an action took too long").into()),
            }
        };
        let task = self.tasks.spawn(task.in_current_span());
        let late = async {
            let Ok(limit) = limited.await else {
                return pending().await;
            };
            sleep(limit).await;
            Elapsed::after(limit)
        };
        let answer = tokio::select! {
            answer = task => answer,
            elapsed = late => return Err(elapsed.into()),
        };
        drop(here);
        answer.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(engine::Error::broken("the agent ends").into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use tokio::time::Instant;

    use super::*;
    use crate::service::body;

    const LONGEST: Duration = Duration::from_secs(600);

    fn done() -> Answer {
        Ok(body::json(&serde_json::json!({})))
    }

    /// The engine is not left in the midst of it.
    #[tokio::test(start_paused = true)]
    async fn goes_on_when_its_client_has_waited_long_enough() {
        let acting = Acting::new();
        let has_acted = Arc::new(AtomicBool::new(false));
        let acts = Arc::clone(&has_acted);
        let begun = Instant::now();
        let answer = acting
            .see_through("/a", LONGEST, |limit| async move {
                limit.send(Duration::from_secs(1)).unwrap();
                sleep(Duration::from_secs(60)).await;
                acts.store(true, Relaxed);
                done()
            })
            .await;
        assert!(answer.is_err());
        assert_eq!(begun.elapsed().as_secs(), 1);
        assert!(!has_acted.load(Relaxed));
        acting.ended().await;
        assert!(has_acted.load(Relaxed));
        assert_eq!(begun.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_waited_for_holds_up_no_other() {
        let acting = Acting::new();
        let slow = acting.see_through("/slow", LONGEST, |_| async {
            sleep(Duration::from_secs(60)).await;
            done()
        });
        let next = async {
            sleep(Duration::from_secs(1)).await;
            let begun = Instant::now();
            let answer = acting.see_through("/next", LONGEST, |_| async { done() });
            answer.await.unwrap();
            begun.elapsed()
        };
        let (_, (), waited) = tokio::join!(slow, acting.ended(), next);
        assert_eq!(waited, Duration::ZERO);
    }
}
