//! Logs that lose nothing: clients that come back, engines and agents that are killed, slow clients, many containers.

mod away;
mod clock;
mod gaps;
mod gone;
mod growing;
mod held_up;
mod killed;
mod last_words;
mod many;
mod many_cursors;
mod many_members;
mod places;
mod runs;
mod same_time;
mod shared;
mod up_to_a_time;

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::client::EventStream;
use crate::support::sse::Event;
use crate::support::wait::SOON;

/// The line that an event holds, whatever its dialect.
fn line_of(event: &Event) -> Option<String> {
    let data: Value = event.json();
    let line = data.get("log").or(data.get("line"))?.as_str()?;
    (line != "[Log stream ended]").then(|| line.to_owned())
}

/// A client that keeps its lines and its cursor over all of its streams.
#[derive(Default)]
struct Client {
    lines: Vec<String>,
    cursor: Option<String>,
    gaps: usize,
}

impl Client {
    /// Opens a stream where it was, as a browser does.
    async fn open(&self, agent: &Agent, path: &str) -> EventStream {
        let cursor = self.cursor.as_deref();
        let headers: Vec<_> = cursor
            .map(|cursor| ("last-event-id", cursor))
            .into_iter()
            .collect();
        let stream = agent.sse_with(path, &headers).await;
        assert_eq!(stream.status, 200);
        stream
    }

    fn keep(&mut self, event: &Event) {
        if event.name() == "gap" {
            self.gaps += 1;
        }
        if let Some(line) = line_of(event) {
            self.cursor = Some(event.id.clone().expect("each line has a cursor"));
            self.lines.push(line);
        }
    }

    /// Takes so many lines, or what comes until the stream ends.
    async fn take(&mut self, stream: &mut EventStream, many: usize) {
        let enough = self.lines.len() + many;
        while self.lines.len() < enough {
            match stream.next(SOON).await {
                Some(event) => self.keep(&event),
                None => return,
            }
        }
    }
}

/// Asserts that these are the same lines, and says where they part.
fn assert_same(seen: &[String], wanted: &[String], who: &str) {
    if let Some(at) = (0..seen.len().min(wanted.len())).find(|at| seen[*at] != wanted[*at]) {
        let near = at.saturating_sub(2)..(at + 3).min(seen.len()).min(wanted.len());
        panic!(
            "{who}: line {at} differs: {:#?} for {:#?}",
            &seen[near.clone()],
            &wanted[near]
        );
    }
    assert_eq!(seen.len(), wanted.len(), "{who}");
}
