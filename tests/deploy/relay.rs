//! A relay between an agent and its engine, which counts: what the engine itself counts is everybody's.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

use crate::contract::host::Host;
use crate::support::agent::Agent;
use crate::support::dockerd::RealEngine;

/// Hands bytes on in both directions until it is dropped.
pub struct Relay {
    /// Each connection that the engine has not ended holds a clone.
    open: Arc<()>,
    accepting: AbortHandle,
    folder: TempDir,
}

impl Relay {
    /// An agent on the engine that tests share, by way of a relay.
    pub async fn to_shared_engine() -> (Self, Host) {
        let engine = RealEngine::shared().await;
        let relay = Self::start(engine.socket());
        let socket = relay.folder.path().join("s");
        let builder = Agent::builder().docker_host(format!("unix://{}", socket.display()));
        let agent = builder.start().await;
        (relay, Host { agent, engine })
    }

    fn start(engine: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let open = Arc::new(());
        let counted = Arc::clone(&open);
        let accepting = tokio::spawn(async move {
            while let Ok((mut agent, _)) = listener.accept().await {
                let (engine, counted) = (engine.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut engine = UnixStream::connect(engine).await.unwrap();
                    // Returns when both sides have closed.
                    copy_bidirectional(&mut agent, &mut engine).await.ok();
                    drop(counted);
                });
            }
        });
        Self {
            open,
            accepting: accepting.abort_handle(),
            folder,
        }
    }

    /// The agent's connections that the engine has open, unused ones included.
    pub fn connections(&self) -> usize {
        const OURS: usize = 2;
        Arc::strong_count(&self.open) - OURS
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
