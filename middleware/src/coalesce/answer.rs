//! The making of one answer: the call, and the reading of its body to the end, as far as that may be held.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use tokio::time::timeout;
use tower::{Service, ServiceExt};

use super::{Limits, Settings};
use crate::{BoxError, timeout::Elapsed};

/// The making of one answer.
pub(super) type Call<B, E> = Pin<Box<dyn Future<Output = Made<B, E>> + Send>>;

/// What a call has come to.
pub(super) enum Made<B, E> {
    /// What all of its askers are told.
    Told(Outcome<E>),
    /// An answer that cannot be held, as it comes.
    Long(Response<B>),
}

/// What an asker is told.
#[derive(Clone)]
pub(super) enum Outcome<E> {
    Answer(Response<Bytes>),
    Failed(E),
    Torn(Torn),
    TooLate(Elapsed),
    Panicked,
    /// Nothing: it must ask by itself.
    Alone,
}

/// An answer ended before its end.
#[derive(Clone, Debug)]
pub struct Torn(Arc<dyn std::error::Error + Send + Sync>);

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Torn {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The service below panicked while it made the answer.
#[derive(Clone, Copy, Debug)]
pub struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a panic in the call that this request shared")
    }
}

impl std::error::Error for Panicked {}

/// Bytes that count as held until the last of those who share them is gone.
struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A share of what may be held.
struct Share {
    held: Arc<AtomicUsize>,
    len: usize,
}

impl Share {
    /// Grows by so much; whether that is within the limits.
    fn grow(&mut self, by: usize, limits: &Limits) -> bool {
        self.len += by;
        let held = self.held.fetch_add(by, Ordering::Relaxed) + by;
        self.len <= limits.answer && held <= limits.answers
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// Makes one answer and reads it to its end, in the time that there is for a call.
pub(super) async fn make<S, R, B>(
    inner: S,
    request: Request<R>,
    settings: Settings<B>,
    held: Arc<AtomicUsize>,
) -> Made<B, S::Error>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let limit = (settings.limit)(request.extensions());
    let made = pin!(read(inner, request, settings, held));
    match limit {
        None => made.await,
        Some(limit) => timeout(limit, made)
            .await
            .unwrap_or_else(|_| Made::Told(Outcome::TooLate(Elapsed::after(limit)))),
    }
}

async fn read<S, R, B>(
    inner: S,
    request: R,
    settings: Settings<B>,
    held: Arc<AtomicUsize>,
) -> Made<B, S::Error>
where
    S: Service<R, Response = Response<B>>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let (parts, mut body) = match inner.oneshot(request).await {
        Ok(answer) => answer.into_parts(),
        Err(error) => return Made::Told(Outcome::Failed(error)),
    };
    let mut share = Share { held, len: 0 };
    let mut read = Read::default();
    while !body.is_end_stream() {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => break,
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                let fits = share.grow(data.len(), &settings.limits);
                read.push(data);
                if !fits {
                    let body = (settings.put_back)(body, hold(read, share));
                    return Made::Long(Response::from_parts(parts, body));
                }
            }
            Some(Err(error)) => return Made::Told(Outcome::Torn(Torn(error.into().into()))),
        }
    }
    let mut answer = Response::from_parts(parts, hold(read, share));
    (settings.seal)(&mut answer);
    Made::Told(Outcome::Answer(answer))
}

fn hold(read: Read, share: Share) -> Bytes {
    Bytes::from_owner(Held {
        bytes: read.bytes(),
        _share: share,
    })
}

/// What was read of a body. A single part is not copied.
#[derive(Default)]
struct Read {
    first: Bytes,
    all: BytesMut,
}

impl Read {
    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(2 * (self.first.len() + data.len()));
            self.all.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.all.extend_from_slice(&data);
    }

    fn bytes(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}
