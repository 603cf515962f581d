//! What happens, as it happens: the containers as they change, and the engine's events.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use metrics::{counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Body, Error, Question,
    query::{self, EventParams},
    stream::{Source, endless, event_stream},
};
use crate::{
    containers::{Containers, Watcher},
    engine::{
        Engine,
        events::{Event, Gap, Id, Listener, Nanos, Step, filter::Filter},
    },
    telemetry::{Counted, name as metric},
};

/// The most streams of both kinds together.
pub(super) const LISTENERS: usize = 4096;

/// What the answers depend on.
#[derive(Debug)]
pub(super) struct Settings {
    containers: Containers,
    free: Arc<Semaphore>,
    /// Cancelled when the agent stops: streams end then, with their closing event.
    drain: CancellationToken,
}

impl Settings {
    pub(super) fn new(engine: Engine, drain: CancellationToken) -> Self {
        Self {
            containers: Containers::new(engine),
            free: Arc::new(Semaphore::new(LISTENERS)),
            drain,
        }
    }

    fn open(&self, stream: &'static str) -> Result<Open, Error> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        let permit = permit.map_err(|_| Error::Crowded)?;
        let gauge = gauge!(metric::LISTENERS, "stream" => stream);
        Ok(Open {
            _counted: Counted::new(gauge),
            _permit: permit,
        })
    }
}

/// Counts a stream for as long as it is open.
struct Open {
    _counted: Counted,
    _permit: OwnedSemaphorePermit,
}

/// The containers as they change.
pub(super) async fn containers(settings: &Settings, question: &Question) -> Answer {
    let after = query::after(question.query())?;
    let open = settings.open("containers")?;
    let after = question.after(after.as_deref())?;
    let watcher = settings.containers.watch(after).await?;
    let events = endless(Watching(watcher, open), settings.drain.clone());
    Ok(event_stream(question, Body::events(events)))
}

struct Watching(Watcher, #[expect(dead_code, reason = "it counts")] Open);

impl Source for Watching {
    async fn next(&mut self) -> Bytes {
        self.0.next().await
    }
}

/// The engine's events.
pub(super) async fn events(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let EventParams {
        after,
        since,
        filter,
    } = EventParams::parse(question.query())?;
    let after: Option<Id> = question.after(after.as_deref())?;
    let open = settings.open("events")?;
    let mut listener = engine.listen();
    listener.stands().await?;
    let gap = match (after, since) {
        (Some(id), _) => listener.behind(id).await?,
        (None, Some(time)) => listener.since(time).await?,
        (None, None) => None,
    };
    let telling = Telling {
        listener,
        filter,
        since: since.filter(|_| after.is_none()),
        gap,
        sent: after,
        seen: None,
        _open: open,
    };
    let events = endless(telling, settings.drain.clone());
    Ok(event_stream(question, Body::events(events)))
}

/// The events that someone wants.
struct Telling {
    listener: Listener,
    filter: Filter,
    since: Option<Nanos>,
    /// To be told first.
    gap: Option<Gap>,
    /// The last event that was sent.
    sent: Option<Id>,
    /// The last event that has come behind it and was not wanted.
    seen: Option<Id>,
    _open: Open,
}

impl Telling {
    fn wants(&self, event: &Event) -> bool {
        self.since.is_none_or(|since| event.id.nanos >= since) && self.filter.takes(event)
    }
}

impl Source for Telling {
    async fn next(&mut self) -> Bytes {
        if let Some(gap) = self.gap.take() {
            return tell_gap(&gap);
        }
        loop {
            match self.listener.next().await {
                Step::Event(event) if self.wants(&event) => {
                    (self.sent, self.seen) = (Some(event.id), None);
                    return event.encoded(|| encode(&event));
                }
                Step::Event(event) => self.seen = Some(event.id),
                Step::Again => {}
                Step::Gap(gap) => return tell_gap(&gap),
                Step::Passed(gap) => {
                    counter!(metric::LISTENERS_PASSED, "stream" => "events").increment(1);
                    let last = self.seen.or(self.sent).map(|id| id.nanos);
                    let after = last.or(self.since);
                    return tell_gap(&Gap { after, ..gap });
                }
            }
        }
    }

    /// Without data it is no event, but a client that comes back goes on there.
    fn place(&mut self) -> Option<Bytes> {
        let id = self.seen.take()?;
        self.sent = Some(id);
        Some(format!(": heartbeat\nid: {id}\n\n").into())
    }
}

/// Unnamed, so that a browser's `onmessage` gets it.
fn encode(event: &Event) -> Bytes {
    let head = format!("id: {}\ndata: ", event.id);
    [head.as_bytes(), event.line(), b"\n\n"].concat().into()
}

fn tell_gap(gap: &Gap) -> Bytes {
    let time = |nanos: Nanos| Timestamp::from_nanosecond(nanos.into()).ok();
    let text = |nanos: Option<Nanos>| nanos.and_then(time).map(|time| time.to_string());
    let data = serde_json::json!({ "after": text(gap.after), "before": text(gap.before) });
    format!("event: gap\ndata: {data}\n\n").into()
}
