//! An answer on a connection of its own, which whoever reads the answer drives.
//!
//! hyper hands a body on chunk by chunk, and Docker makes each line of a log a chunk. With the connection in
//! a task of its own, as the pool's are, each line would wake one task and then the other, and go out to the
//! client by itself. Here all chunks of one read are there at once.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;

use super::pace::Unhurried;

/// Sends a request over a new connection and waits for the head of its answer.
pub(super) async fn send(
    stream: Unhurried,
    read_ahead: usize,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<Response<Apart>> {
    let (mut sender, connection) = Builder::new()
        .max_buf_size(read_ahead)
        .handshake(TokioIo::new(stream))
        .await?;
    let mut driver = Driver(Some(connection));
    let mut answer = pin!(sender.send_request(request));
    let answer = poll_fn(|cx| driver.drive(cx, |cx| answer.as_mut().poll(cx))).await?;
    Ok(answer.map(|inner| Apart {
        inner,
        driver,
        _sender: sender,
    }))
}

/// A body with its connection, which is closed when this is dropped.
pub struct Apart {
    inner: Incoming,
    driver: Driver,
    /// The connection would take its end for the end of all.
    _sender: SendRequest<Empty<Bytes>>,
}

impl Body for Apart {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self { inner, driver, .. } = &mut *self;
        driver.drive(cx, |cx| Pin::new(&mut *inner).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Apart").field(&self.inner).finish()
    }
}

/// What moves bytes, until the connection is over. How it ends is told where the answer is read.
struct Driver(Option<Connection<TokioIo<Unhurried>, Empty<Bytes>>>);

impl Driver {
    /// What `wanted` gives, if need be after the connection has been moved on.
    fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let first = wanted(cx);
        if first.is_ready() {
            return first;
        }
        let Some(connection) = &mut self.0 else {
            return Poll::Pending;
        };
        if Pin::new(connection).poll(cx).is_ready() {
            self.0 = None;
        }
        wanted(cx)
    }
}
