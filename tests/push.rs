//! What is told as it happens: the containers as they change, and the engine's events.

mod containers;
mod crowd;
mod events;
mod resumed;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::support::agent::Agent;
use crate::support::client::EventStream;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, Handles, RunningEngine, ScriptedEngine, StreamHandle};
use crate::support::sse::Event;
use crate::support::wait::SOON;

/// A scripted engine that lists what it is told to, and an agent on it.
struct Stage {
    engine: RunningEngine,
    agent: Agent,
    list: Arc<Mutex<String>>,
    past: Arc<Mutex<Answer>>,
    /// When lists were asked for.
    lists: Arc<Mutex<Vec<Instant>>>,
    subscriptions: Handles,
}

impl Stage {
    async fn with(list: &str) -> Self {
        Self::subscribed(list, |answer| answer).await
    }

    /// With more said in the answer to who subscribes.
    async fn subscribed(list: &str, more: impl FnOnce(Answer) -> Answer) -> Self {
        let (live, subscriptions) = Answer::handed();
        let live = more(live);
        let list = Arc::new(Mutex::new(list.to_owned()));
        let past = Arc::new(Mutex::new(Answer::bytes(200, "")));
        let lists = Arc::<Mutex<Vec<_>>>::default();
        let (now, before, asked) = (Arc::clone(&list), Arc::clone(&past), Arc::clone(&lists));
        let engine = ScriptedEngine::new()
            .route_fn("GET", "/containers/json", move |_| {
                asked.lock().unwrap().push(Instant::now());
                Answer::json(200, now.lock().unwrap())
            })
            .route_fn("GET", "/events", move |request| {
                match request.query_value("until") {
                    Some(_) => before.lock().unwrap().clone(),
                    None => live.clone(),
                }
            })
            .start()
            .await;
        let agent = agent_on(&engine).await;
        Self {
            engine,
            agent,
            list,
            past,
            lists,
            subscriptions,
        }
    }

    fn set(&self, list: &str) {
        list.clone_into(&mut self.list.lock().unwrap());
    }

    /// What the engine knows of before.
    fn set_past(&self, events: impl Into<String>) {
        self.answer_past(Answer::bytes(200, events.into()));
    }

    /// How the engine tells what it knows of before.
    fn answer_past(&self, answer: Answer) {
        *self.past.lock().unwrap() = answer;
    }

    /// A stream and the subscription that it opens.
    async fn open(&self, path: &str) -> (EventStream, StreamHandle) {
        let stream = self.agent.sse(path).await;
        assert_eq!(stream.status, 200, "{path}");
        (stream, self.subscriptions.next().await)
    }

    /// A stream that goes on behind an event.
    async fn resume(&self, path: &str, id: &str) -> EventStream {
        let stream = self.agent.sse_with(path, &[("last-event-id", id)]).await;
        assert_eq!(stream.status, 200, "{path} behind {id}");
        stream
    }
}

/// An event of a container, as the engine writes it.
pub fn event(action: &str, id: &str, nanos: i64) -> String {
    format!(
        "{{\"Type\":\"container\",\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"{id}\",\"Attributes\":{{\"name\":\"web-{id}\"}}}},\"scope\":\"local\",\"time\":{},\"timeNano\":{nanos}}}\n",
        nanos / 1_000_000_000
    )
}

async fn next(stream: &mut EventStream) -> Event {
    stream.next(SOON).await.expect("the stream goes on")
}

/// The next event, which has this name.
async fn next_is(stream: &mut EventStream, name: &str) -> Event {
    let event = next(stream).await;
    assert_eq!(event.name(), name, "{event:?}");
    event
}
