//! A scripted Docker Engine: routes with fixed, streamed or broken answers on a temporary socket, which records
//! every request and counts what is open.

mod answer;
mod body;
mod connection;
mod frames;
mod state;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use answer::{Answer, Gate, Handles};
pub use body::StreamHandle;
pub use frames::{STDERR, STDOUT, frame, line, timestamp};
pub use state::{Recorded, State};

use connection::{Listener, Script};

/// The script of an engine that is not running yet.
pub struct ScriptedEngine {
    script: Script,
    tcp: bool,
}

impl ScriptedEngine {
    /// An engine that answers nothing but `/_ping`.
    pub fn new() -> Self {
        let ping = Answer::bytes(200, "OK")
            .header("Api-Version", "1.41")
            .header("Ostype", "linux");
        let script = Script::default();
        script.route("GET", "/_ping", Arc::new(move |_| ping.clone()));
        Self { script, tcp: false }
    }

    /// Answers requests of this method and path; the latest registered wins. A version prefix (`/v1.41`) and the query
    /// are not part of the match; in a path `*` is any one segment and a last `**` any number; the method `*` is any.
    pub fn route(self, method: &str, path: &str, answer: Answer) -> Self {
        self.route_fn(method, path, move |_| answer.clone())
    }

    /// Like [`route`](Self::route), the answer made for each request.
    pub fn route_fn(
        self,
        method: &str,
        path: &str,
        answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.script.route(method, path, Arc::new(answer));
        self
    }

    /// Listens on 127.0.0.1 in place of a unix socket.
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Binds and serves.
    pub async fn start(self) -> RunningEngine {
        let folder = tempfile::tempdir().unwrap();
        let place = match self.tcp {
            false => Place::Unix(folder.path().join("docker.sock")),
            true => Place::Tcp(Mutex::new(0)),
        };
        let engine = RunningEngine {
            script: Arc::new(self.script),
            place,
            run: Mutex::default(),
            folder,
        };
        engine.start_again().await;
        engine
    }
}

enum Place {
    Unix(PathBuf),
    /// The port, kept over restarts; 0 before the first.
    Tcp(Mutex<u16>),
}

/// An engine that serves its script until it is stopped or dropped.
pub struct RunningEngine {
    script: Arc<Script>,
    place: Place,
    run: Mutex<Option<(CancellationToken, TaskTracker)>>,
    folder: TempDir,
}

impl RunningEngine {
    /// What goes into the agent's `DOCKER_HOST`.
    pub fn docker_host(&self) -> String {
        match &self.place {
            Place::Unix(path) => format!("unix://{}", path.display()),
            Place::Tcp(port) => format!("tcp://127.0.0.1:{}", port.lock().unwrap()),
        }
    }

    /// The socket's path; panics for an engine on TCP.
    pub fn socket(&self) -> &Path {
        match &self.place {
            Place::Unix(path) => path,
            Place::Tcp(_) => panic!("this engine listens on TCP"),
        }
    }

    /// Adds or replaces a route while the engine runs.
    pub fn route(&self, method: &str, path: &str, answer: Answer) {
        self.route_fn(method, path, move |_| answer.clone());
    }

    /// Adds or replaces a route while the engine runs, the answer made for each request.
    pub fn route_fn(
        &self,
        method: &str,
        path: &str,
        answer: impl Fn(&Recorded) -> Answer + Send + Sync + 'static,
    ) {
        self.script.route(method, path, Arc::new(answer));
    }

    /// Looks at what has been asked and what is open.
    pub fn state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.script.state.look(look)
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state(|state| state.requests.clone())
    }

    /// The requests of this method and path (matched like a route's), in order.
    pub fn requests_to(&self, method: &str, path: &str) -> Vec<Recorded> {
        self.state(|state| state.requests_to(method, path).cloned().collect())
    }

    /// Waits until the state is as wanted; panics with `what` if that does not happen soon.
    pub async fn wait(&self, what: &str, wanted: impl FnMut(&State) -> bool) {
        self.script.state.wait(what, wanted).await;
    }

    /// Waits until there were more than `many` requests of this method and path.
    pub async fn wait_for_more(&self, many: usize, method: &str, path: &str) {
        let what = format!("more than {many} times {method} {path}");
        self.wait(&what, |state| {
            state.requests_to(method, path).count() > many
        })
        .await;
    }

    /// Tears every connection, and goes on listening.
    pub fn drop_connections(&self) {
        self.script.kick.notify_waiters();
    }

    /// Tears every connection and removes the socket.
    pub async fn stop(&self) {
        self.crash().await;
        if let Place::Unix(path) = &self.place {
            // Moved away, not removed: the next socket cannot get the same inode.
            std::fs::rename(path, self.folder.path().join("gone")).ok();
        }
    }

    /// Tears every connection and leaves a dead socket behind, as a killed engine does.
    pub async fn crash(&self) {
        let run = self.run.lock().unwrap().take();
        if let Some((stop, tasks)) = run {
            stop.cancel();
            tasks.close();
            tasks.wait().await;
        }
    }

    /// Listens again: a new inode at the same path, or the same port.
    pub async fn start_again(&self) {
        self.stop().await;
        let listener = match &self.place {
            Place::Unix(path) => Listener::Unix(UnixListener::bind(path).unwrap()),
            Place::Tcp(port) => {
                let last = *port.lock().unwrap();
                let listener = TcpListener::bind(("127.0.0.1", last)).await.unwrap();
                *port.lock().unwrap() = listener.local_addr().unwrap().port();
                Listener::Tcp(listener)
            }
        };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(connection::accept(
            listener,
            Arc::clone(&self.script),
            stop.clone(),
            tasks.clone(),
        ));
        *self.run.lock().unwrap() = Some((stop, tasks));
    }
}

impl Drop for RunningEngine {
    fn drop(&mut self) {
        if let Some((stop, _)) = self.run.lock().unwrap().take() {
            stop.cancel();
        }
    }
}
