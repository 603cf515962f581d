//! Actions are seen through, also where their clients leave.
//!
//! An engine that is left in the midst of a stop may kill at once, and in the midst of a restart it may not start again.

use std::{
    collections::HashMap,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};
use tracing::Instrument;

use super::{Answer, Error};
use crate::engine;

/// How many actions are under way at a time; more wait.
const MOST: u32 = 256;

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
}

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
            all: Arc::new(Semaphore::new(MOST as usize)),
            alike: Arc::default(),
        }
    }

    /// Waits until no action is under way.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let all = Arc::clone(&self.all).acquire_many_owned(MOST);
        async {
            // It is never closed.
            let _ = all.await;
        }
    }

    /// What an action comes to, which was asked for by `path`. Once begun it goes on where this is not waited for, but not for
    /// `longest`.
    pub(super) async fn see_through(
        &self,
        path: &str,
        longest: Duration,
        action: impl Future<Output = Answer> + Send + 'static,
    ) -> Answer {
        let counted = self.alike.count(path).ok_or(Error::Acting)?;
        let permit = timeout(PATIENCE, Arc::clone(&self.all).acquire_owned()).await;
        let permit = permit.map_err(|_| Error::Acting)?;
        let permit = permit.expect("it is never closed");
        let (here, left) = oneshot::channel::<()>();
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
        let answer = tokio::spawn(task.in_current_span()).await;
        drop(here);
        answer.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(engine::Error::broken("the agent ends").into()),
        })
    }
}
