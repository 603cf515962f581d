//! Ends an engine's answer that has stopped in the middle.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use middleware::BoxError;
use tokio::time::{Sleep, sleep};

use super::wire::Kept;

/// An engine's answer, which fails with [`Stalled`] where the engine pauses for too long. Time in which
/// nobody asks for more does not count: a client may be as slow as it likes.
#[derive(Debug)]
pub struct Paced<B = Kept> {
    inner: B,
    limit: Option<Duration>,
    /// The limit once the first part is there.
    then: Option<Duration>,
    /// Runs while the engine is waited for.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<B> Paced<B> {
    /// Waits for as long as `limit` for each part of `inner`; without one, for ever.
    pub(super) fn new(inner: B, limit: Option<Duration>) -> Self {
        let clock = None;
        Self {
            inner,
            limit,
            then: limit,
            clock,
        }
    }

    /// Waits for the first part without a limit.
    pub(super) fn patient_at_first(mut self) -> Self {
        self.limit = None;
        self
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        // The work before the clock: what is there is handed on, however late it was asked for.
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.clock = None;
            this.limit = this.then;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(limit) = this.limit else {
            return Poll::Pending;
        };
        let clock = this.clock.get_or_insert_with(|| Box::pin(sleep(limit)));
        clock
            .as_mut()
            .poll(cx)
            .map(|()| Some(Err(Stalled(limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The engine has begun an answer and not gone on with it.
#[derive(Clone, Copy, Debug)]
pub struct Stalled(Duration);

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing more within {} s", self.0.as_secs())
    }
}

impl std::error::Error for Stalled {}
