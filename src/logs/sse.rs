//! Whole lines → server-sent events, in either dialect of the docker.ps app.
//!
//! A stream says when it has ended, and why, by an event, and by a comment now and then that it is alive:
//! proxies cut connections that are quiet for long.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    Line, LogError,
    batch::{Batch, Form, Sent, json_string},
};

/// How long a stream may be quiet before a comment is sent.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// The comment: no event, so nothing that a client sees.
const COMMENT: &[u8] = b": heartbeat\n\n";

/// The form of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Of the app's first generation: unnamed events.
    Unnamed,
    /// Of its second: `connected`, `log`, `close` and `error`.
    Named,
}

impl Dialect {
    /// The event at the beginning of the stream, if there is one.
    fn opening(self, container: &str) -> Bytes {
        match self {
            Self::Unnamed => Bytes::new(),
            Self::Named => {
                let id = serde_json::Value::from(container);
                format!(
                    "event: connected\ndata: {{\"status\":\"connected\",\"containerId\":{id}}}\n\n"
                )
                .into()
            }
        }
    }

    /// The event at the end of a stream that has run its course.
    fn ending(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Unnamed => b"data: {\"line\":\"[Log stream ended]\"}\n\n",
            Self::Named => b"event: close\ndata: {\"status\":\"closed\"}\n\n",
        })
    }

    /// The event at the end of a stream that failed.
    fn failure(self, error: &LogError) -> Bytes {
        let data = serde_json::json!({ "error": error.to_string() });
        match self {
            Self::Unnamed => format!("data: {data}\n\n"),
            Self::Named => format!("event: error\ndata: {data}\n\n"),
        }
        .into()
    }
}

impl Form for Dialect {
    fn line(&mut self, line: &Line, out: &mut BytesMut) {
        out.extend_from_slice(match self {
            Self::Unnamed => b"data: {\"line\":",
            Self::Named => b"event: log\ndata: {\"log\":",
        });
        json_string(&line.bytes, out);
        if line.continued {
            out.extend_from_slice(b",\"continued\":true");
        }
        out.extend_from_slice(b"}\n\n");
    }
}

pin_project! {
    /// The events of one log, from the opening to the end. It never fails: a failure is its last event.
    #[derive(Debug)]
    pub struct Events<S> {
        batches: Batch<S, Dialect>,
        dialect: Dialect,
        ended: bool,
        #[pin]
        quiet: Sleep,
        #[pin]
        stop: WaitForCancellationFutureOwned,
    }
}

impl<S> Events<S>
where
    S: Stream<Item = Result<Line, LogError>> + Unpin,
{
    /// Streams `lines` of `container` until they end or `stop` is cancelled, and counts them in `sent`.
    pub fn new(
        lines: S,
        dialect: Dialect,
        container: &str,
        stop: CancellationToken,
        sent: Sent,
    ) -> Self {
        Self {
            batches: Batch::new(lines, dialect, &dialect.opening(container), sent),
            dialect,
            ended: false,
            quiet: sleep(HEARTBEAT),
            stop: stop.cancelled_owned(),
        }
    }
}

impl<S> Stream for Events<S>
where
    S: Stream<Item = Result<Line, LogError>> + Unpin,
{
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        // First, since a log that is written all the time would never let it have its turn.
        if this.stop.as_mut().poll(cx).is_ready() {
            *this.ended = true;
            return Poll::Ready(Some(this.dialect.ending()));
        }
        let events = match Pin::new(this.batches).poll_next(cx) {
            Poll::Ready(Some(Ok(events))) => events,
            Poll::Ready(Some(Err(error))) => {
                *this.ended = true;
                tracing::warn!(%error, "log stream failed");
                this.dialect.failure(&error)
            }
            Poll::Ready(None) => {
                *this.ended = true;
                this.dialect.ending()
            }
            Poll::Pending if this.quiet.as_mut().poll(cx).is_ready() => Bytes::from_static(COMMENT),
            Poll::Pending => return Poll::Pending,
        };
        this.quiet.reset(Instant::now() + HEARTBEAT);
        Poll::Ready(Some(events))
    }
}
