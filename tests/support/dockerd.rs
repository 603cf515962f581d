//! A real Docker Engine of our own, beside any other on the machine: its folder, socket and containers are gone
//! when it is dropped.

mod folder;
mod image;
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::support::wait;
use folder::Folder;
use process::{Dockerd, Network};

/// The image that every engine has: Debian's static busybox with all its applets.
pub const IMAGE: &str = "busybox:test";

/// A running engine with [`IMAGE`] and no container.
pub struct RealEngine {
    // Dropped in this order: the process first, its folder last.
    dockerd: Mutex<Dockerd>,
    folder: Folder,
}

impl RealEngine {
    /// The engine that tests share: started for the first who asks, stopped when the last has dropped it. Containers need
    /// names of their own.
    pub async fn shared() -> Arc<Self> {
        static SHARED: tokio::sync::Mutex<Weak<RealEngine>> =
            tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(engine) = shared.upgrade() {
            return engine;
        }
        let engine = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&engine);
        engine
    }

    /// An engine for one test alone.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// An engine for one test alone with more flags, such as `--live-restore`.
    pub async fn start_with(flags: &[&str]) -> Self {
        Self::start_on(flags, Network::None).await
    }

    /// An engine for one test alone, in a network of its own, where it can publish any port.
    pub async fn start_networked(flags: &[&str]) -> Self {
        Self::start_on(flags, Network::Own).await
    }

    async fn start_on(flags: &[&str], network: Network) -> Self {
        let folder = Folder::make();
        let dockerd = Mutex::new(Dockerd::new(folder.path(), flags, network));
        let engine = Self { dockerd, folder };
        engine.start_again().await;
        image::import(&engine).await;
        engine
    }

    /// Starts a stopped or killed engine on the same data and waits until it answers.
    pub async fn start_again(&self) {
        self.dockerd.lock().unwrap().spawn();
        wait::until("dockerd answers a ping", 4 * wait::SOON, async || {
            // In the loop: a dockerd that gave up is reported at once, with its log.
            self.dockerd.lock().unwrap().assert_running();
            matches!(
                self.try_raw("GET", "/_ping").await,
                Ok((StatusCode::OK, ..))
            )
        })
        .await;
    }

    /// Stops dockerd as a service manager does; its data stays.
    pub async fn stop(&self) {
        self.dockerd.lock().unwrap().terminate();
    }

    /// Kills dockerd, and returns when it is gone. Its socket and its pid files stay behind.
    pub async fn kill9(&self) {
        self.dockerd.lock().unwrap().kill();
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// What goes into the agent's `DOCKER_HOST`.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A program in the engine's network.
    pub fn in_network(&self, program: &str) -> Command {
        let pid = self.dockerd.lock().unwrap().pid();
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{pid}/ns/net"))
            .arg(program);
        command.kill_on_drop(true);
        command
    }

    /// What dockerd has logged.
    pub fn log(&self) -> String {
        self.dockerd.lock().unwrap().log()
    }

    /// The docker CLI's standard output, trimmed; panics with its error when it fails.
    pub async fn docker(&self, args: &[&str]) -> String {
        self.try_docker(args)
            .await
            .unwrap_or_else(|error| panic!("docker {args:?}: {error}"))
    }

    /// The docker CLI's standard output, trimmed, or its standard error.
    pub async fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::from(process::docker(self.folder.path()))
            .args(args)
            .kill_on_drop(true)
            .output();
        let what = format!("docker {args:?}");
        let output = wait::within(&what, 4 * wait::SOON, output)
            .await
            .unwrap_or_else(|error| panic!("cannot run the docker CLI: {error}"));
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// A detached container of [`IMAGE`] that runs a shell script; returns its id.
    pub async fn run(&self, name: &str, options: &[&str], script: &str) -> String {
        let mut args = vec!["run", "-d", "--name", name];
        args.extend(["--network", "none", "--stop-signal", "SIGKILL"]);
        args.extend(["--label", "test=1"]);
        args.extend(options);
        args.extend([IMAGE, "sh", "-c", script]);
        self.docker(&args).await
    }

    /// Removes a container with force.
    pub async fn remove(&self, name: &str) {
        self.docker(&["rm", "-f", "-v", name]).await;
    }

    /// What the engine itself answers, byte for byte.
    pub async fn raw(&self, method: &str, path: &str) -> (StatusCode, HeaderMap, Bytes) {
        let what = format!("{method} {path}");
        wait::within(&what, 4 * wait::SOON, self.try_raw(method, path))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    async fn try_raw(
        &self,
        method: &str,
        path: &str,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::connect(self.socket()).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "docker")
            .body(Empty::<Bytes>::new())?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        drop(sender);
        driver.await??;
        Ok((head.status, head.headers, body))
    }

    /// The connections that the engine's socket has now, idle ones included.
    pub fn connections(&self) -> usize {
        const CONNECTED: &str = "03";
        let socket = self.socket();
        let table = fs::read_to_string("/proc/net/unix").unwrap();
        // Num RefCount Protocol Flags Type St Inode Path: an accepted socket carries the path that was bound.
        let ours = |line: &&str| {
            let mut fields = line.split_whitespace().skip(5);
            fields.next() == Some(CONNECTED) && fields.nth(1).map(Path::new) == Some(&socket)
        };
        table.lines().filter(ours).count()
    }
}
