//! Fairness among threads: whoever fills what tasks on several threads empty can wait until each thread has had its turn.
//!
//! A thread that shares its core with others may be behind for longer than a buffer lasts, and all of its tasks with it,
//! while those of another thread take everything at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio::{runtime::Handle, task::yield_now};

/// The runtimes that some tasks run on. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Rounds(Arc<Mutex<Vec<Place>>>);

#[derive(Debug)]
struct Place {
    runtime: Handle,
    tasks: usize,
}

impl Rounds {
    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        // Nothing in there panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the task that calls, which stays on its runtime, until the guard is dropped.
    pub fn join(&self) -> Seat {
        let runtime = Handle::current();
        let mut places = self.places();
        let known = places
            .iter_mut()
            .find(|place| place.runtime.id() == runtime.id());
        match known {
            Some(place) => place.tasks += 1,
            None => places.push(Place {
                runtime: runtime.clone(),
                tasks: 1,
            }),
        }
        Seat {
            rounds: self.clone(),
            runtime,
        }
    }

    /// Waits until each of the runtimes has run what it could when this was called.
    pub async fn finish(&self) {
        let round = |place: &Place| {
            place.runtime.spawn(async {
                // What comes from another thread may be run before what waits here; once it has yielded, it comes behind that
                // and behind what one look at the sockets has woken.
                yield_now().await;
            })
        };
        let rounds: Vec<_> = self.places().iter().map(round).collect();
        // One that ends has run all it ever will.
        let _ended = join_all(rounds).await;
    }
}

/// See [`Rounds::join`].
#[derive(Debug)]
pub struct Seat {
    rounds: Rounds,
    runtime: Handle,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut places = self.rounds.places();
        if let Some(at) = places
            .iter()
            .position(|place| place.runtime.id() == self.runtime.id())
        {
            places[at].tasks -= 1;
            if places[at].tasks == 0 {
                drop(places.swap_remove(at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use tokio::{net::UnixStream, runtime::Builder, sync::oneshot, time::timeout};

    use super::*;

    #[tokio::test]
    async fn end_once_a_thread_that_is_behind_has_run_its_tasks() {
        const TASKS: usize = 200;
        let rounds = Rounds::default();
        let here = [rounds.join(), rounds.join()];
        let (tell, told) = oneshot::channel();
        let (hold, held) = mpsc::channel::<()>();
        let (end, over) = oneshot::channel::<()>();
        let ran = Arc::<AtomicUsize>::default();
        let (there, count) = (rounds.clone(), Arc::clone(&ran));
        let (socket, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        other.write_all(b"here").unwrap();
        socket.set_nonblocking(true).unwrap();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async move {
                let seat = there.join();
                let socket = UnixStream::from_std(socket).unwrap();
                // So many that the runtime looks at what comes from elsewhere meanwhile.
                for _ in 0..TASKS {
                    let ran = Arc::clone(&count);
                    tokio::spawn(async move {
                        thread::sleep(Duration::from_micros(100));
                        ran.fetch_add(1, Ordering::SeqCst);
                    });
                }
                // One more, which waits for what has come already.
                let read = tokio::spawn(async move {
                    socket.readable().await.unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                });
                tell.send(()).unwrap();
                held.recv().unwrap();
                read.await.unwrap();
                drop(seat);
                // It must not end before the round.
                over.await.unwrap();
            })
        });
        told.await.unwrap();
        assert_eq!(rounds.places().len(), 2);
        let mut round = Box::pin(rounds.finish());
        let early = timeout(Duration::from_millis(50), &mut round).await;
        assert!(early.is_err(), "the thread is held up");
        hold.send(()).unwrap();
        round.await;
        assert_eq!(ran.load(Ordering::SeqCst), TASKS + 1);
        end.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(rounds.places().len(), 1);
        drop(here);
        assert!(rounds.places().is_empty());
        rounds.finish().await;
    }
}
