//! The scripted engine's bodies: pulled, counted, and torn on demand.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::state::Held;

/// A body's chunks; an error tears the connection.
pub(super) type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// Writes one body. Dropped: the body ends as it should.
pub struct StreamHandle(mpsc::Sender<io::Result<Bytes>>);

impl StreamHandle {
    pub(super) fn pair() -> (Self, Chunks) {
        let (handle, chunks) = mpsc::channel(1);
        let chunks = stream::unfold(chunks, async |mut chunks| {
            chunks.recv().await.map(|chunk| (chunk, chunks))
        });
        (Self(handle), chunks.boxed())
    }

    /// Writes a chunk, waiting for a reader that is slow; false once the reader has gone.
    pub async fn send(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Ok(bytes.into())).await.is_ok()
    }

    /// Ends the body as it should end.
    pub fn finish(self) {}

    /// Closes the connection with the body unfinished; what was sent before arrives.
    pub async fn abort(self) {
        self.0.send(Err(torn())).await.ok();
    }

    /// Returns when the reader has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// What makes hyper close a connection in the middle of a body.
pub(super) fn torn() -> io::Error {
    io::Error::other("torn by the script")
}

/// The chunks that `feed` writes. The feed runs inside the body, so it is dropped with it.
pub(super) fn fed<F>(feed: impl Fn(StreamHandle) -> F) -> Chunks
where
    F: Future<Output = ()> + Send + 'static,
{
    let (handle, chunks) = StreamHandle::pair();
    let feed = stream::once(feed(handle)).filter_map(async |()| None);
    stream::select(feed, chunks).boxed()
}

/// The response body of every answer.
pub(super) struct EngineBody {
    chunks: Chunks,
    length: Option<u64>,
    /// A chunk has been handed out: hyper gets the chance to flush it before the next one, or an abort, comes.
    flush: bool,
    _open: Held,
}

impl EngineBody {
    pub(super) fn fixed(bytes: Bytes, open: Held) -> Self {
        let length = Some(bytes.len() as u64);
        Self {
            length,
            ..Self::chunked(stream::iter([Ok(bytes)]).boxed(), open)
        }
    }

    pub(super) fn chunked(chunks: Chunks, open: Held) -> Self {
        Self {
            chunks,
            length: None,
            flush: false,
            _open: open,
        }
    }
}

impl Body for EngineBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if std::mem::take(&mut self.flush) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.chunks.poll_next_unpin(cx).map(|chunk| {
            self.flush = true;
            chunk.map(|chunk| chunk.map(Frame::data))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
