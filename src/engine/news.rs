//! That something has happened to a container, told to all who wait for it by one subscription.
//!
//! What has happened is not told: whoever must know looks, which is right also where the engine was away
//! and nobody could be told anything.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use http_body_util::BodyExt;
use tokio::{sync::watch, task::AbortHandle, time::sleep};

use super::raw::Raw;

/// The events that may change which containers there are, what they are called, and which run.
const PATH: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22create%22%2C\
                    %22destroy%22%2C%22start%22%2C%22die%22%2C%22rename%22%5D%7D";

/// How long to wait before the engine is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// The subscription, as long as someone listens.
#[derive(Debug, Default)]
pub(super) struct News {
    current: Mutex<Weak<Subscription>>,
}

#[derive(Debug)]
struct Subscription {
    happened: watch::Receiver<()>,
    reader: AbortHandle,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Someone who listens.
#[derive(Debug)]
pub struct Listener {
    happened: watch::Receiver<()>,
    _subscription: Arc<Subscription>,
}

impl Listener {
    /// Waits until something has happened since the last call, or may have.
    pub async fn changed(&mut self) {
        // The sender lives as long as the subscription.
        let _ = self.happened.changed().await;
    }
}

impl News {
    /// Listens from now on.
    pub(super) fn listen(&self, raw: &Raw) -> Listener {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let subscription = current.upgrade().unwrap_or_else(|| {
            let (tell, happened) = watch::channel(());
            let task = tokio::spawn(read(raw.clone(), tell));
            let reader = task.abort_handle();
            Arc::new(Subscription { happened, reader })
        });
        *current = Arc::downgrade(&subscription);
        Listener {
            happened: subscription.happened.clone(),
            _subscription: subscription,
        }
    }
}

/// Reads events for ever.
async fn read(raw: Raw, tell: watch::Sender<()>) {
    loop {
        if let Ok(mut events) = raw.stream(PATH).await {
            // Something may have happened before.
            tell.send_replace(());
            while let Some(Ok(_)) = events.frame().await {
                tell.send_replace(());
            }
        }
        sleep(PAUSE).await;
    }
}
