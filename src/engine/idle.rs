//! Connections that are kept for the next question.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use hyper::rt::{Read, Write};
use tokio::time::{Instant, sleep};

use super::apart::Line;

/// How long an unused connection is kept. Podman closes its side after 10 s, Docker never.
pub(super) const KEEP: Duration = Duration::from_secs(5);

/// How many unused connections are kept.
pub(super) const MOST: usize = 16;

/// Unused connections; clones are the same ones.
pub(super) struct Idle<I: Read + Write + Unpin>(Arc<Mutex<Shelf<I>>>);

struct Shelf<I: Read + Write + Unpin> {
    /// With the times since when; the newest last.
    lines: Vec<(Instant, Line<I>)>,
    /// Whether someone looks after them.
    is_swept: bool,
}

impl<I: Read + Write + Unpin> Clone for Idle<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Read + Write + Unpin> Default for Idle<I> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            lines: Vec::new(),
            is_swept: false,
        })))
    }
}

impl<I: Read + Write + Unpin> fmt::Debug for Idle<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Idle({} connections)", lock(&self.0).lines.len())
    }
}

fn lock<I: Read + Write + Unpin>(shelf: &Mutex<Shelf<I>>) -> MutexGuard<'_, Shelf<I>> {
    // Nothing in there panics halfway.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<I: Read + Write + Unpin> Idle<I> {
    /// One that can be used, if there is one.
    pub(super) async fn take(&self) -> Option<Line<I>> {
        loop {
            let (_, mut line) = lock(&self.0).lines.pop()?;
            if line.is_ready().await {
                return Some(line);
            }
        }
    }

    /// Closes all of them.
    pub(super) fn clear(&self) {
        let lines = std::mem::take(&mut lock(&self.0).lines);
        drop(lines);
    }

    /// Keeps one more, if there are not many.
    pub(super) fn put(&self, line: Line<I>) {
        let mut shelf = lock(&self.0);
        if shelf.lines.len() >= MOST {
            drop(shelf);
            return drop(line);
        }
        shelf.lines.push((Instant::now(), line));
    }
}

impl<I: Read + Write + Unpin + Send + 'static> Idle<I> {
    /// Sees to it that what is kept for too long is closed, as long as something is kept.
    pub(super) fn sweep(&self) {
        let mut shelf = lock(&self.0);
        if shelf.is_swept {
            return;
        }
        shelf.is_swept = true;
        tokio::spawn(sweep(Arc::downgrade(&self.0)));
    }
}

async fn sweep<I: Read + Write + Unpin>(shelf: Weak<Mutex<Shelf<I>>>) {
    let mut quiet = false;
    loop {
        sleep(KEEP / 2).await;
        let Some(shelf) = shelf.upgrade() else { return };
        let old = {
            let mut shelf = lock(&shelf);
            let now = Instant::now();
            let old = shelf
                .lines
                .iter()
                .take_while(|(since, _)| now - *since >= KEEP);
            let old = old.count();
            // Once more, since what was taken comes back.
            if shelf.lines.is_empty() && quiet {
                shelf.is_swept = false;
                return;
            }
            quiet = shelf.lines.is_empty();
            shelf.lines.drain(..old).collect::<Vec<_>>()
        };
        drop(old);
    }
}
