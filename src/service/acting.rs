//! Actions are seen through, also where their clients leave.
//!
//! An engine that is left in the midst of a stop may kill at once, and in the midst of a restart it may not start again.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};
use tracing::Instrument;

use super::Answer;
use crate::engine;

/// How many actions are under way at a time; more wait as long as their clients do.
const MOST: u32 = 256;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Acting(Arc<Semaphore>);

impl Acting {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST as usize)))
    }

    /// Waits until no action is under way.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let all = Arc::clone(&self.0).acquire_many_owned(MOST);
        async {
            // It is never closed.
            let _ = all.await;
        }
    }

    /// What an action comes to. Once begun it goes on where this is not waited for, but not for `longest`.
    pub(super) async fn see_through(
        &self,
        longest: Duration,
        action: impl Future<Output = Answer> + Send + 'static,
    ) -> Answer {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let permit = permit.expect("it is never closed");
        let (here, left) = oneshot::channel::<()>();
        let task = async move {
            let _permit = permit;
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
