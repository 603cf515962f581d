//! Connections that are kept for the next question.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, ThreadId},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::apart::{Io, Line};

/// How long an unused connection is kept. Podman closes its side after 10 s, Docker never.
const KEEP: Duration = Duration::from_secs(5);

/// How many unused connections are kept of each thread.
const MOST: usize = 16;

/// Unused connections; clones are the same ones.
pub(super) struct Idle<I: Io>(Arc<Mutex<Shelf<I>>>);

struct Shelf<I: Io> {
    /// With the times since when; the newest last.
    lines: Vec<(Instant, Line<I>)>,
    /// Whether someone looks after them.
    is_swept: bool,
    /// How many wait for connections to go.
    waiting: usize,
}

impl<I: Io> Clone for Idle<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Io> Default for Idle<I> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            lines: Vec::new(),
            is_swept: false,
            waiting: 0,
        })))
    }
}

impl<I: Io> fmt::Debug for Idle<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Idle({} connections)", lock(&self.0).lines.len())
    }
}

fn lock<I: Io>(shelf: &Mutex<Shelf<I>>) -> MutexGuard<'_, Shelf<I>> {
    // Nothing in there panics halfway.
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<I: Io> Idle<I> {
    /// One of this thread's that can be used, if there is one: of another's, both would be woken each time.
    pub(super) async fn take(&self) -> Option<Line<I>> {
        loop {
            let mut line = lock(&self.0).pop()?;
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

    /// Closes all of them, and keeps none as long as what is given lives.
    pub(super) fn make_way(&self) -> Way<I> {
        lock(&self.0).waiting += 1;
        self.clear();
        Way(self.clone())
    }

    /// Keeps one more, if there are not many and nobody waits for one to go.
    pub(super) fn put(&self, line: Line<I>) {
        let mut shelf = lock(&self.0);
        if !shelf.has_room(line.thread) || !self.is_swept(&mut shelf) {
            drop(shelf);
            return drop(line);
        }
        shelf.lines.push((Instant::now(), line));
    }

    /// Sees to it that what is kept for too long is closed, as long as something is kept. False where that
    /// cannot be: the runtime has gone.
    fn is_swept(&self, shelf: &mut Shelf<I>) -> bool {
        if !shelf.is_swept
            && let Ok(runtime) = Handle::try_current()
        {
            shelf.is_swept = true;
            runtime.spawn(sweep(Arc::downgrade(&self.0)));
        }
        shelf.is_swept
    }
}

impl<I: Io> Shelf<I> {
    fn pop(&mut self) -> Option<Line<I>> {
        let thread = thread::current().id();
        let mut lines = self.lines.iter();
        let own = lines.rposition(|(_, line)| line.thread == thread)?;
        Some(self.lines.remove(own).1)
    }

    /// Whether there is room for one more of this thread.
    fn has_room(&self, thread: ThreadId) -> bool {
        let own = self.lines.iter().filter(|(_, line)| line.thread == thread);
        self.waiting == 0 && own.count() < MOST
    }
}

/// Someone waits for connections to go.
pub(super) struct Way<I: Io>(Idle<I>);

impl<I: Io> Drop for Way<I> {
    fn drop(&mut self) {
        lock(&self.0.0).waiting -= 1;
    }
}

async fn sweep<I: Io>(shelf: Weak<Mutex<Shelf<I>>>) {
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

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        time::timeout,
    };

    use super::*;

    /// A connection, and the engine's end of it.
    async fn line() -> (Line<TokioIo<DuplexStream>>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        (
            Line::open(TokioIo::new(ours), 1 << 16).await.unwrap(),
            theirs,
        )
    }

    async fn is_closed_within(engine: &mut DuplexStream, limit: Duration) -> bool {
        let read = timeout(limit, engine.read(&mut [0])).await;
        read.is_ok_and(|read| read.unwrap() == 0)
    }

    #[tokio::test(start_paused = true)]
    async fn closes_what_comes_home_long_after_all_others_were_closed() {
        let idle = Idle::default();
        for _ in 0..2 {
            let (line, mut engine) = line().await;
            idle.put(line);
            assert!(!is_closed_within(&mut engine, KEEP - Duration::from_millis(1)).await);
            assert!(is_closed_within(&mut engine, KEEP).await);
            sleep(2 * KEEP).await;
            assert!(!lock(&idle.0).is_swept, "with nothing to do, it ends");
        }
    }

    #[tokio::test]
    async fn gives_a_thread_its_own_only() {
        let idle = Idle::default();
        let (own, _first) = line().await;
        let (mut strange, _second) = line().await;
        let here = thread::current().id();
        strange.thread = thread::spawn(|| thread::current().id()).join().unwrap();
        idle.put(own);
        idle.put(strange);
        assert!(idle.take().await.unwrap().thread == here);
        assert!(idle.take().await.is_none());
        let strange = lock(&idle.0).lines[0].1.thread;
        for _ in 0..MOST {
            let (mut more, _end) = line().await;
            more.thread = strange;
            idle.put(more);
        }
        assert_eq!(lock(&idle.0).lines.len(), MOST);
        let (own, _third) = line().await;
        idle.put(own);
        assert!(idle.take().await.is_some(), "the others' are full");
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_nothing_while_someone_waits_for_connections_to_go() {
        let idle = Idle::default();
        let (one, mut first) = line().await;
        let (other, mut second) = line().await;
        idle.put(one);
        let way = idle.make_way();
        idle.put(other);
        for engine in [&mut first, &mut second] {
            assert!(is_closed_within(engine, Duration::ZERO).await);
        }
        drop(way);
        let (one, mut third) = line().await;
        idle.put(one);
        assert!(!is_closed_within(&mut third, Duration::ZERO).await);
    }
}
