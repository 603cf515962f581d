//! The real binary as a child process, in an environment of its own.

mod output;
mod process;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

pub use output::{Line, Source};
pub use process::Process;

use crate::support::client::{Client, EventStream, Open, Reply, Session};

/// A running agent that listens. What the process says and uses is reached through [`Process`].
pub struct Agent {
    process: Process,
    /// Asks the API with the agent's own key.
    pub client: Client,
    /// Asks the metrics listener; `None` where it is off.
    pub metrics: Option<Client>,
    /// The auth key.
    pub key: String,
}

/// What an agent is started with. Nothing comes from the test's own environment.
#[derive(Clone)]
pub struct AgentBuilder {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    current_dir: Option<PathBuf>,
    /// Kept with the builder and its processes, so that an agent can be started again on the same data.
    data: Arc<TempDir>,
}

/// The agent's: the one that `DOCKER_PS_AGENT` names, as the image holds it, or the one that was built with the tests.
pub fn program() -> OsString {
    std::env::var_os("DOCKER_PS_AGENT")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_docker-ps-agent").into())
}

impl Agent {
    /// An agent on free ports of 127.0.0.1 with JSON logs and a data folder of its own.
    pub fn builder() -> AgentBuilder {
        let data = tempfile::tempdir().unwrap();
        let builder = AgentBuilder {
            program: program(),
            args: Vec::new(),
            env: BTreeMap::new(),
            current_dir: None,
            data: Arc::new(data),
        };
        let folder = builder.data.path().to_owned();
        builder
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("METRICS_ADDR", "127.0.0.1:0")
            .env("LOG_FORMAT", "json")
            .data_dir(folder)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.client.get(path).await
    }

    pub async fn get_with_key(&self, path: &str, key: Option<&str>) -> Reply {
        self.client.get_with_key(path, key).await
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        self.client.request(method, path, headers, body).await
    }

    pub async fn open(&self, path: &str) -> Open {
        self.client.open(path).await
    }

    pub async fn sse(&self, path: &str) -> EventStream {
        self.client.sse(path).await
    }

    pub async fn sse_with(&self, path: &str, headers: &[(&str, &str)]) -> EventStream {
        self.client.sse_with(path, headers).await
    }

    pub async fn session(&self) -> Session {
        self.client.session().await
    }

    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.client.raw(bytes).await
    }
}

impl Deref for Agent {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl AgentBuilder {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    /// Takes away a variable, a default one too.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Arguments in front of those that are there: for a program that runs another.
    pub fn args_before(mut self, args: &[&str]) -> Self {
        self.args.splice(..0, args.iter().map(Into::into));
        self
    }

    pub fn data_dir(self, folder: impl AsRef<Path>) -> Self {
        self.env("DATA_DIR", folder.as_ref())
    }

    /// The working directory; together with `without("DATA_DIR")`, the key is in `data` below it.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.current_dir = Some(folder.as_ref().to_owned());
        self
    }

    pub fn docker_host(self, host: impl AsRef<OsStr>) -> Self {
        self.env("DOCKER_HOST", host)
    }

    /// Another program in the agent's place, such as one that sets limits and then becomes the agent.
    pub fn program(mut self, program: impl AsRef<OsStr>) -> Self {
        self.program = program.as_ref().to_owned();
        self
    }

    /// The key file, in the data folder that is set now.
    pub fn key_file(&self) -> PathBuf {
        let folder = match self.env.get("DATA_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from("data"),
        };
        match &self.current_dir {
            Some(current) => current.join(folder).join("_auth.key"),
            None => folder.join("_auth.key"),
        }
    }

    /// Starts the process without waiting for anything: for starts that are to fail.
    pub fn spawn(&self) -> Process {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env);
        if let Some(folder) = &self.current_dir {
            command.current_dir(folder);
        }
        Process::spawn(command, Arc::clone(&self.data))
    }

    /// Starts the agent and waits until it listens; panics with its output when it does not.
    pub async fn start(&self) -> Agent {
        let process = self.spawn();
        let metrics = match self.env.get("METRICS_ADDR") {
            Some(off) if off == "off" => None,
            _ => Some(Client::new(reachable(process.listening("metrics").await))),
        };
        let client = Client::new(reachable(process.listening("api").await));
        let key = process.printed_key().unwrap_or_else(|| {
            let key = std::fs::read_to_string(self.key_file()).unwrap();
            key.trim().to_owned()
        });
        Agent {
            client: client.with_key(&key),
            process,
            metrics,
            key,
        }
    }
}

/// Where a listener of all interfaces can be asked.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
