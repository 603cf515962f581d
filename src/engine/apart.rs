//! An answer with its connection, which whoever reads the answer drives.
//!
//! hyper hands a body on chunk by chunk, and Docker makes each line of a log a chunk, and each 4 KiB of a list.
//! With the connection in a task of its own each chunk would wake one task and then the other. Here all
//! chunks of one read are there at once, and nobody is woken but the one who waits for the answer.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    thread::{self, ThreadId},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;

use super::{idle::Idle, pace::Unhurried};

/// What a connection goes over.
pub trait Io: Read + Write + Unpin + Send + 'static {}

impl<I: Read + Write + Unpin + Send + 'static> Io for I {}

/// A connection on which nothing is asked.
pub(super) struct Line<I: Io> {
    /// The connection would take its end for the end of all.
    sender: SendRequest<Empty<Bytes>>,
    driver: Driver<I>,
    /// The thread that opened it, and is woken when something comes.
    pub(super) thread: ThreadId,
}

impl<I: Io> Line<I> {
    /// One that reads at most `read_ahead` bytes ahead of whoever takes an answer.
    pub(super) async fn open(io: I, read_ahead: usize) -> hyper::Result<Self> {
        let (sender, connection) = Builder::new()
            .max_buf_size(read_ahead)
            // A question is one short piece.
            .writev(false)
            .handshake(io)
            .await?;
        let driver = Driver(Some(Box::new(connection)));
        let thread = thread::current().id();
        Ok(Self {
            sender,
            driver,
            thread,
        })
    }

    /// Whether one more request can be sent, as far as can be known: the other side may be about to close it.
    pub(super) async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| {
            self.driver.advance(cx);
            let ready = self.driver.0.is_some() && self.sender.poll_ready(cx).is_ready();
            Poll::Ready(ready && self.sender.is_ready())
        })
        .await
    }

    /// Sends a request and waits for the head of its answer. Where that has been read to its end, the connection
    /// goes to `home`.
    pub(super) async fn send(
        mut self,
        request: Request<Empty<Bytes>>,
        home: Option<Idle<I>>,
    ) -> hyper::Result<Response<Apart<I>>> {
        let mut answer = pin!(self.sender.send_request(request));
        let answer = poll_fn(|cx| self.driver.drive(cx, |cx| answer.as_mut().poll(cx))).await?;
        Ok(answer.map(|inner| Apart {
            inner,
            line: Some(self),
            home,
        }))
    }
}

/// A body with its connection, which is closed when this is dropped before its end.
pub struct Apart<I: Io = TokioIo<Unhurried>> {
    inner: Incoming,
    /// None: it is over, and the connection has gone home.
    line: Option<Line<I>>,
    home: Option<Idle<I>>,
}

impl<I: Io> Apart<I> {
    fn go_home(&mut self) {
        if let Some(home) = self.home.take()
            && let Some(line) = self.line.take()
            && line.driver.0.is_some()
        {
            home.put(line);
        }
    }
}

impl<I: Io> Body for Apart<I> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self { inner, line, .. } = &mut *self;
        let frame = match line {
            Some(line) => line
                .driver
                .drive(cx, |cx| Pin::new(&mut *inner).poll_frame(cx)),
            None => Pin::new(inner).poll_frame(cx),
        };
        if matches!(frame, Poll::Ready(None)) || self.inner.is_end_stream() {
            self.go_home();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<I: Io> Drop for Apart<I> {
    fn drop(&mut self) {
        // A body without a byte is not asked for any.
        if self.inner.is_end_stream() {
            self.go_home();
        }
    }
}

impl<I: Io> fmt::Debug for Apart<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Apart").field(&self.inner).finish()
    }
}

/// What moves bytes, until the connection is over. How it ends is told where the answer is read. Boxed, since answers are
/// moved a lot.
struct Driver<I: Io>(Option<Box<Connection<I, Empty<Bytes>>>>);

impl<I: Io> Driver<I> {
    /// What `wanted` gives, if need be after the connection has been moved on.
    fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let first = wanted(cx);
        if first.is_ready() || self.0.is_none() {
            return first;
        }
        self.advance(cx);
        wanted(cx)
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && Pin::new(&mut **connection).poll(cx).is_ready()
        {
            self.0 = None;
        }
    }
}
