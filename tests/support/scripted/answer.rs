//! The answers that a route can give.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::body::{Chunks, StreamHandle, fed, torn};
use crate::support::wait;

/// What an engine says to one request. Cheap to clone: a route gives it to each who asks.
#[derive(Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    pub(super) gate: Option<Gate>,
    pub(super) delay: Duration,
}

#[derive(Clone)]
pub(super) enum Content {
    /// A body with a content length.
    Bytes(Bytes),
    /// A chunked body, made anew for each request.
    Chunks(Arc<dyn Fn() -> Chunks + Send + Sync>),
    HangHead,
    /// Bytes in place of an HTTP answer, then the connection's end.
    Garbage(Bytes),
}

impl Answer {
    fn new(status: u16, content: Content) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content,
            gate: None,
            delay: Duration::ZERO,
        }
    }

    fn made(chunks: impl Fn() -> Chunks + Send + Sync + 'static) -> Self {
        Self::new(200, Content::Chunks(Arc::new(chunks)))
    }

    /// Exactly these bytes, with a content length and no content type.
    pub fn bytes(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, Content::Bytes(body.into()))
    }

    /// A status without a body: 204, 304.
    pub fn empty(status: u16) -> Self {
        Self::bytes(status, "")
    }

    /// This text as `application/json`: a string's characters or a `serde_json::Value`.
    pub fn json(status: u16, body: impl Display) -> Self {
        Self::bytes(status, body.to_string()).header("Content-Type", "application/json")
    }

    /// The engine's form of an error.
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, serde_json::json!({ "message": message }))
    }

    /// A chunked body of these chunks, each flushed by itself.
    pub fn chunks<C: Into<Bytes>>(chunks: impl IntoIterator<Item = C>) -> Self {
        let chunks: Vec<Bytes> = chunks.into_iter().map(Into::into).collect();
        Self::made(move || stream::iter(chunks.clone()).map(Ok).boxed())
    }

    /// A chunked body that `feed` writes while it is read; it ends when `feed` does.
    pub fn stream<F>(feed: impl Fn(StreamHandle) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::made(move || fed(&feed))
    }

    /// A chunked body that the test feeds: each request's handle comes out of [`Handles`].
    pub fn handed() -> (Self, Handles) {
        let (give, take) = mpsc::unbounded_channel();
        let answer = Self::made(move || {
            let (handle, chunks) = StreamHandle::pair();
            // Nobody takes it any more: the handle is dropped, the body ends.
            give.send(handle).ok();
            chunks
        });
        (answer, Handles(Mutex::new(take)))
    }

    /// A chunked body of any length, made chunk by chunk as it is read.
    pub fn generated<I>(chunks: impl Fn() -> I + Send + Sync + 'static) -> Self
    where
        I: Iterator<Item = Bytes> + Send + 'static,
    {
        Self::made(move || stream::iter(chunks()).map(Ok).boxed())
    }

    /// A chunked body that stalls for ever after these bytes.
    pub fn hang_body(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::made(move || {
            let bytes = stream::iter([Ok(bytes.clone())]);
            bytes.chain(stream::pending()).boxed()
        })
    }

    /// A chunked body that is torn after these bytes.
    pub fn torn(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::made(move || stream::iter([Ok(bytes.clone()), Err(torn())]).boxed())
    }

    /// No answer at all, on a connection that stays open.
    pub fn hang_head() -> Self {
        Self::new(200, Content::HangHead)
    }

    /// Bytes that need not be HTTP (none: a connection closed without an answer), then the connection's end.
    pub fn garbage(bytes: impl Into<Bytes>) -> Self {
        Self::new(200, Content::Garbage(bytes.into()))
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// Another status than the one of the constructor.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The head is given only when the gate lets the request pass.
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// The head is given so much later: an engine that works as slowly as a real one.
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// Holds requests back until the test lets them pass. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A shut gate.
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets so many requests pass, now or when they come.
    pub fn pass(&self, requests: usize) {
        self.0.add_permits(requests);
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.0.close();
    }

    pub(super) async fn wait(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// The handles of the bodies of [`Answer::handed`], in the order of their requests.
pub struct Handles(Mutex<mpsc::UnboundedReceiver<StreamHandle>>);

impl Handles {
    /// The next request's handle; panics when none comes soon.
    pub async fn next(&self) -> StreamHandle {
        let mut handles = self.0.lock().await;
        wait::within("a request for a fed body", wait::SOON, handles.recv())
            .await
            .expect("the route is still there")
    }

    /// The handle of the reader of a log that is known to be empty, for which it asks a second time.
    pub async fn of_an_empty_log(&self) -> StreamHandle {
        let first = self.next().await;
        wait::within("the reader begins anew", wait::SOON, first.closed()).await;
        self.next().await
    }
}
