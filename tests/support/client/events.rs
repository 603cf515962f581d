//! An answer read as server-sent events.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::Open;
use crate::support::sse::{Event, Parser};

/// Why there is no next event.
#[derive(Debug)]
pub enum NoEvent {
    /// The stream is open, and quiet.
    TimedOut,
    /// The connection broke before the body's end.
    Torn(hyper::Error),
}

impl fmt::Display for NoEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no event in time"),
            Self::Torn(error) => write!(f, "the stream is torn: {error}"),
        }
    }
}

/// An open event stream. Dropped, it closes the connection.
pub struct EventStream {
    pub status: StatusCode,
    pub headers: HeaderMap,
    open: Open,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl EventStream {
    pub(super) fn new(open: Open) -> Self {
        Self {
            status: open.status,
            headers: open.headers.clone(),
            open,
            parser: Parser::default(),
            ready: VecDeque::new(),
        }
    }

    /// A header's value; panics where it is repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.open.header(name)
    }

    /// The next event, or `None` at the proper end; panics when there is neither within `deadline`.
    pub async fn next(&mut self, deadline: Duration) -> Option<Event> {
        self.try_next(deadline)
            .await
            .unwrap_or_else(|why| panic!("{why} ({deadline:?}); status {}", self.status))
    }

    /// The next event, `None` at the proper end, or why there is neither.
    pub async fn try_next(&mut self, deadline: Duration) -> Result<Option<Event>, NoEvent> {
        let read = async {
            loop {
                if let Some(event) = self.ready.pop_front() {
                    return Ok(Some(event));
                }
                match self.open.chunk().await {
                    Some(Ok(chunk)) => self.ready.extend(self.parser.push(&chunk)),
                    Some(Err(error)) => return Err(NoEvent::Torn(error)),
                    None => return Ok(None),
                }
            }
        };
        tokio::time::timeout(deadline, read)
            .await
            .unwrap_or(Err(NoEvent::TimedOut))
    }

    /// All events up to the proper end; panics when that does not come within `deadline`.
    pub async fn rest(mut self, deadline: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let end = async {
            while let Some(event) = self.next(deadline).await {
                events.push(event);
            }
        };
        super::wait::within("the end of the event stream", deadline, end).await;
        events
    }

    /// Comment lines so far: heartbeats.
    pub fn comments(&self) -> usize {
        self.parser.comments
    }

    /// What a client that reconnects would send as `Last-Event-ID`.
    pub fn last_id(&self) -> Option<&str> {
        self.parser.last_id.as_deref()
    }

    /// Reads until there is something that a client that reconnects would send; events that come first are kept as by
    /// [`comment`](Self::comment).
    pub async fn id(&mut self, deadline: Duration) -> String {
        let is_there = |parser: &Parser| parser.last_id.is_some();
        self.until("an id", deadline, is_there).await;
        self.parser.last_id.clone().unwrap()
    }

    /// The last `retry:`, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.parser.retry
    }

    /// Reads until a comment has come that had not been seen; events that come first are kept for [`next`](Self::next).
    pub async fn comment(&mut self, deadline: Duration) {
        let seen = self.comments();
        let is_there = |parser: &Parser| parser.comments != seen;
        self.until("a comment", deadline, is_there).await;
    }

    /// Reads until this has come, and keeps the events.
    async fn until(&mut self, what: &str, deadline: Duration, is_there: impl Fn(&Parser) -> bool) {
        let read = async {
            while !is_there(&self.parser) {
                let chunk = self.open.chunk().await.expect("the stream is still open");
                self.ready.extend(self.parser.push(&chunk.unwrap()));
            }
        };
        super::wait::within(what, deadline, read).await;
    }
}
