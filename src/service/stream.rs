//! Answers that are streams of events.

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{
    HeaderValue, Response, Version,
    header::{CACHE_CONTROL, CONNECTION},
};
use tokio::time::{Instant, sleep_until};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::{Body, Question, body::with_type};
use crate::logs::sse::{CLOSE, COMMENT, HEARTBEAT};

/// An answer of events.
pub(super) fn event_stream(question: &Question, body: Body) -> Response<Body> {
    let mut answer = with_type(HeaderValue::from_static("text/event-stream"), body);
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Else nginx collects events before it sends them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if question.version == Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    answer
}

/// What gives events one by one, and never ends.
pub(super) trait Source: Send + 'static {
    /// The next event. Nothing is lost where this is given up.
    fn next(&mut self) -> impl Future<Output = Bytes> + Send;

    /// What a comment that says that the stream is alive may say more.
    fn place(&mut self) -> Option<Bytes> {
        None
    }
}

/// The events of a source until `stop` is cancelled, with comments where it is quiet.
pub(super) fn endless(
    source: impl Source,
    stop: CancellationToken,
) -> impl Stream<Item = Bytes> + Send {
    let quiet = Instant::now() + HEARTBEAT;
    unfold(Some((source, stop, quiet)), async |state| {
        let (mut source, stop, mut quiet) = state?;
        let event = tokio::select! {
            // First, since events that come all the time would never let it have its turn.
            biased;
            () = stop.cancelled() => return Some((Bytes::from_static(CLOSE), None)),
            event = source.next() => event,
            () = sleep_until(quiet) => {
                source.place().unwrap_or(Bytes::from_static(COMMENT))
            }
        };
        quiet = Instant::now() + HEARTBEAT;
        Some((event, Some((source, stop, quiet))))
    })
}
