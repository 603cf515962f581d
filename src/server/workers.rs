//! The threads that serve connections.
//!
//! Each has a runtime of its own, and a connection stays where it was put: what its client asks is read, asked of the
//! engine and answered by one thread, but for what it shares with others. Threads that take work from each other must wake
//! each other for it.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use futures_util::FutureExt;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
    task::AbortHandle,
};

/// So many connections of one thread are few.
const FEW: usize = 4;

/// A thread and its connections.
#[derive(Debug)]
pub struct Worker {
    runtime: Handle,
    /// How many it has.
    connections: Arc<AtomicUsize>,
    /// Ends the thread when it drops, if it is for nothing else.
    _thread: Option<oneshot::Sender<()>>,
}

impl Worker {
    /// The thread that is going to run the runtime, which comes along.
    ///
    /// Before it sleeps it lets others run, if it has more than a few connections, so that there is more to do at once when
    /// it looks again. On 2 cores, which the clients need too, two threads answer 122,000 `GET /` a second without that and
    /// 151,900 with it; one alone, for both cores, 130,800; two of a runtime that they share 89,900 at a time when one
    /// answered 115,800. Inspects of a real engine: 18,000 and 18,800 a second, one alone 16,300. (Medians of five rounds and
    /// more in turn.) With a single connection a list took 3 % longer where that yielded too, in one run.
    ///
    /// # Errors
    ///
    /// Those of the operating system: there are too many descriptors.
    pub fn new() -> io::Result<(Self, Runtime)> {
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || {
                if counted.load(Ordering::Relaxed) > FEW {
                    thread::yield_now();
                }
            })
            .build()?;
        let worker = Self {
            runtime: runtime.handle().clone(),
            connections,
            _thread: None,
        };
        Ok((worker, runtime))
    }

    /// A thread that serves connections and does nothing else.
    fn start(number: usize) -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let (thread, ends) = oneshot::channel::<()>();
        // Made over there, since a runtime must not be dropped within another, were there no thread for it.
        thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || match Self::new() {
                Ok((worker, runtime)) => {
                    // If nobody wants it, it ends at once.
                    drop(tell.send(Ok(worker)));
                    // Nothing is ever sent.
                    let _dropped = runtime.block_on(ends);
                    runtime.shutdown_background();
                }
                Err(error) => drop(tell.send(Err(error))),
            })?;
        let worker = told.recv().map_err(io::Error::other)??;
        Ok(Self {
            _thread: Some(thread),
            ..worker
        })
    }
}

/// The threads of one listener.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

impl Workers {
    /// The first thread, and others until there are `many`. Those end when this is dropped.
    ///
    /// # Errors
    ///
    /// Those of the operating system: there are too many threads or descriptors.
    pub fn start(first: Worker, many: usize) -> io::Result<Self> {
        let more = (1..many).map(Worker::start);
        std::iter::once(Ok(first))
            .chain(more)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// The thread that this is called on alone.
    pub fn here() -> Self {
        Self(vec![Worker {
            runtime: Handle::current(),
            connections: Arc::default(),
            _thread: None,
        }])
    }

    /// Runs a connection on the thread that has the fewest, and says what ends it.
    pub(super) fn run(&self, connection: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let few = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let worker = self.0.iter().min_by_key(few).expect("there is the first");
        let place = Place::take(&worker.connections);
        // Not as an `async` block, which has room for what it awaits twice.
        let task = worker.runtime.spawn(connection.map(|()| drop(place)));
        task.abort_handle()
    }
}

/// Counts a connection for as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{thread::ThreadId, time::Duration};

    use tokio::{sync::Notify, task::yield_now, time::timeout};

    use super::*;

    async fn until(condition: impl Fn() -> bool) {
        let holds = async {
            while !condition() {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), holds).await.unwrap();
    }

    /// The thread of the test, and others.
    fn start(many: usize) -> Workers {
        let first = Workers::here().0.remove(0);
        Workers::start(first, many).unwrap()
    }

    #[tokio::test]
    async fn give_each_connection_to_the_one_with_the_fewest() {
        let workers = start(3);
        let (tell, told) = mpsc::channel();
        let ends: Vec<_> = (0..6).map(|_| Arc::new(Notify::new())).collect();
        let run = |number: usize| {
            let (tell, end) = (tell.clone(), Arc::clone(&ends[number]));
            workers.run(async move {
                end.notified().await;
                tell.send(thread::current().id()).unwrap();
            });
        };
        (0..5).for_each(run);
        let counts = || {
            workers
                .0
                .iter()
                .map(|worker| worker.connections.load(Ordering::Relaxed))
        };
        assert!(counts().eq([2, 2, 1]));
        ends[1].notify_one();
        ends[4].notify_one();
        until(|| counts().nth(1) == Some(0)).await;
        run(5);
        assert!(counts().eq([2, 1, 1]));
        ends.iter().for_each(|end| end.notify_one());
        until(|| counts().sum::<usize>() == 0).await;
        let all: Vec<ThreadId> = told.try_iter().collect();
        let here = all.iter().filter(|id| **id == thread::current().id());
        assert_eq!((all.len(), here.count()), (6, 2));
    }

    #[tokio::test]
    async fn end_with_their_connections_when_dropped() {
        let workers = start(2);
        let endless = Arc::new(());
        for _ in 0..2 {
            let endless = Arc::clone(&endless);
            workers.run(async move {
                std::future::pending::<()>().await;
                drop(endless);
            });
        }
        drop(workers);
        // The one of the first thread ends with its runtime.
        until(|| Arc::strong_count(&endless) == 2).await;
    }
}
