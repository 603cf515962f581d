//! An agent with its key in a folder that can be replaced, and open streams. What must happen on a change is here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::agent::{Agent, AgentBuilder};
use crate::support::client::{Client, EventStream, NoEvent};
use crate::support::fixture::engine_with_log;
use crate::support::scripted::{Answer, Gate, Handles, RunningEngine};
use crate::support::wait::SOON;

/// The line that the original agent writes too.
pub const LAST_WORDS: &str =
    "Auth Key file has been changed externally. Service will terminate for security reasons.";

/// How soon a change must have ended the service, on a machine that is busy with other tests too: before what is under way could
/// be waited for.
pub const AT_ONCE: Duration = Duration::from_secs(8);

pub struct Watching {
    engine: RunningEngine,
    _logs: Handles,
    builder: AgentBuilder,
    pub agent: Agent,
    folder: TempDir,
}

impl Watching {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The agent starts after `prepare` has seen the path of its key.
    pub async fn start_with(prepare: impl FnOnce(&Path)) -> Self {
        let (answer, logs) = Answer::handed();
        let engine = engine_with_log(answer.clone());
        // For the download, which wants all, it goes on for ever.
        let engine = engine.route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") || request.query.contains("tail=all") {
                true => answer.clone(),
                false => Answer::bytes(200, ""),
            }
        });
        let engine = engine.start().await;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        prepare(&data.join("_auth.key"));
        let builder = Agent::builder()
            .docker_host(engine.docker_host())
            .data_dir(data);
        Self {
            agent: builder.start().await,
            engine,
            _logs: logs,
            builder,
            folder,
        }
    }

    /// The key's path.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("data/_auth.key")
    }

    /// Starts again with whatever is there now.
    pub async fn start_again(&self) -> Agent {
        self.builder.start().await
    }

    /// Makes the change, and sees the service end as it must: how soon is returned.
    pub async fn ends_on(&self, change: impl FnOnce(&Path)) -> Duration {
        let streams = [
            self.agent.sse("/containers/c/logs/stream").await,
            self.agent.sse("/containers/c/logs?follow=true").await,
        ];
        let mut kept = self.agent.session().await;
        assert_eq!(kept.get("/").await.unwrap().status, 200);
        let gate = Gate::shut();
        let list = Answer::json(200, "[]").behind(&gate);
        self.engine.route("GET", "/containers/json", list);
        let mut waiting = self.agent.session().await;
        let waiting = tokio::spawn(async move { waiting.get("/containers").await });
        let download = self.agent.open("/containers/c/logs/download").await;
        self.engine
            .wait("two logs are read, one list is asked for", |state| {
                state.bodies() == 2 && state.waiting == 1
            })
            .await;

        let changed = Instant::now();
        change(&self.file());
        let words = self.agent.wait_for_output(LAST_WORDS).await;
        let (said, event) = (changed.elapsed(), words.event().unwrap());
        assert_eq!(event["level"], "ERROR");
        gate.open();
        if let Ok(reply) = waiting.await.unwrap() {
            assert_eq!(reply.status, 503, "{reply:?}");
        }
        if let Ok(reply) = kept.get("/containers").await {
            assert_eq!(reply.status, 503, "{reply:?}");
            assert!(reply.text().contains("auth key has changed"));
        }
        while let Some(status) = status(&self.agent.client).await {
            assert_eq!(status, 503);
        }
        let exit = self.agent.wait_exit(SOON).await;
        let ended = changed.elapsed();
        assert_eq!(exit.code(), Some(1));
        assert!(
            ended <= AT_ONCE,
            "said after {said:?}, ended after {ended:?}"
        );

        for stream in streams {
            is_torn(stream).await;
        }
        assert!(download.read_to_end().await.is_err(), "a whole download");
        ended
    }
}

/// The service ends soon after; on a busy machine that may be before the client has asked.
pub async fn tells_who_asks_then() {
    for _ in 0..10 {
        let watching = Watching::start().await;
        let mut kept = watching.agent.session().await;
        assert_eq!(kept.get("/").await.unwrap().status, 200);
        fs::write(watching.file(), "another").unwrap();
        watching.agent.wait_for_output(LAST_WORDS).await;
        if let Ok(reply) = kept.get("/").await {
            assert_eq!(reply.status, 503);
            assert!(reply.text().contains("auth key has changed"));
            return;
        }
    }
    panic!("nobody was told");
}

/// The stream breaks off without a word of farewell.
async fn is_torn(mut stream: EventStream) {
    loop {
        match stream.try_next(SOON).await {
            Ok(Some(event)) => assert_eq!(event.name(), "connected"),
            Ok(None) => panic!("the stream came to a proper end"),
            Err(NoEvent::TimedOut) => panic!("the stream is still open"),
            Err(NoEvent::Torn(_)) => return,
        }
    }
}

/// The status of an answer; none where there is no answer, for the service has gone.
async fn status(client: &Client) -> Option<u16> {
    let ask = async {
        let mut stream = TcpStream::connect(client.address).await?;
        let key = client.key.as_deref().unwrap();
        let request = format!("GET / HTTP/1.0\r\nx-auth-key: {key}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = ask.await.ok()?;
    answer.get(9..12)?.parse().ok()
}
