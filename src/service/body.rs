//! The body of every answer.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{
    HeaderValue, Response,
    header::{CONTENT_TYPE, VARY},
};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use middleware::BoxError;
use pin_project_lite::pin_project;
use tokio_stream::Stream;
use tower_http::compression::CompressionBody;

use crate::engine::{self, raw, stall::Paced};

/// The longest answer that is shared, in bytes, and so that is read before it is packed.
pub(crate) const SHORT: usize = 8 << 20;

pin_project! {
    /// What is sent after an answer's head.
    #[project = BodyProj]
    pub struct Body {
        #[pin]
        inner: Inner,
        // What was read of it already.
        first: Option<Bytes>,
        // Why it ends too early, and how often that is still put off, so that what came before gets out.
        failed: Option<(BoxError, u8)>,
    }
}

pin_project! {
    #[project = InnerProj]
    enum Inner {
        Bytes { bytes: Option<Bytes> },
        // Boxed, since it holds a connection, and each answer is moved through all layers.
        Engine { body: Pin<Box<Paced>> },
        Stream { stream: Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>> },
        Packed { body: Pin<Box<CompressionBody<Body>>> },
    }
}

impl Body {
    fn new(inner: Inner) -> Self {
        Self {
            inner,
            first: None,
            failed: None,
        }
    }

    /// Puts `read` in front, which was taken from this body.
    pub fn put_back(mut self, read: Bytes) -> Self {
        self.first = (!read.is_empty()).then_some(read);
        self
    }

    /// The same in one piece, if it has no more than `most` bytes.
    async fn gathered(mut self, most: usize) -> Result<Self, BoxError> {
        let mut read = BytesMut::new();
        while read.len() <= most {
            match self.frame().await {
                None => return Ok(read.freeze().into()),
                Some(frame) => read.extend(frame?.into_data().ok()),
            }
        }
        Ok(self.put_back(read.freeze()))
    }

    /// The engine's own bytes, as they arrive.
    pub fn engine(body: Paced) -> Self {
        let body = Box::pin(body);
        Self::new(Inner::Engine { body })
    }

    /// Bytes as they are made. An error cuts the answer short in a way that the client can see.
    pub fn stream<S, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let stream = stream.map(|item| item.map_err(Into::into));
        Self::new(Inner::Stream {
            stream: Box::pin(stream),
        })
    }

    /// A body in a smaller form.
    pub fn packed(body: CompressionBody<Body>) -> Self {
        let body = Box::pin(body);
        Self::new(Inner::Packed { body })
    }

    /// Bytes as they are made, which cannot fail.
    pub fn events(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::stream(stream.map(Ok::<_, Infallible>))
    }
}

/// An answer that is the engine's, untouched.
pub(super) fn untouched(answer: raw::Answer) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    with_type(
        answer.content_type.unwrap_or(json),
        Body::engine(answer.body),
    )
}

/// An answer that may be sent in several forms. One that is to be packed is read first, if it is not long: it would be
/// packed as its parts come, into other bytes each time, and a tag would be good for one call.
///
/// # Errors
///
/// The engine's, where it breaks off within what is read.
pub(crate) async fn in_forms(
    answer: Response<Body>,
    is_packed: bool,
) -> Result<Response<Body>, engine::Error> {
    let answer = varying(answer);
    if !is_packed {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body = Box::pin(body.gathered(SHORT)).await;
    Ok(Response::from_parts(
        head,
        body.map_err(engine::Error::broken)?,
    ))
}

/// Says that an answer may be sent in several forms, so that it is packed for those who like that.
pub(super) fn varying(mut answer: Response<Body>) -> Response<Body> {
    let by = HeaderValue::from_static("accept-encoding");
    answer.headers_mut().insert(VARY, by);
    answer
}

/// An answer that is `value`.
pub(super) fn json(value: &serde_json::Value) -> Response<Body> {
    let json = HeaderValue::from_static("application/json");
    with_type(json, Bytes::from(value.to_string()).into())
}

/// An answer of a media type.
pub(super) fn with_type(media_type: HeaderValue, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, media_type);
    answer
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        let bytes = (!bytes.is_empty()).then_some(bytes);
        Self::new(Inner::Bytes { bytes })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Some((error, left)) = this.failed.take() {
            let Some(left) = left.checked_sub(1) else {
                return Poll::Ready(Some(Err(error)));
            };
            *this.failed = Some((error, left));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let frame = match this.inner.project() {
            InnerProj::Bytes { bytes } => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            InnerProj::Engine { body } => ready!(body.as_mut().poll_frame(cx)),
            InnerProj::Stream { stream } => {
                let item = ready!(stream.as_mut().poll_next(cx));
                item.map(|item| item.map(Frame::data))
            }
            InnerProj::Packed { body } => ready!(body.as_mut().poll_frame(cx)),
        };
        if let Some(Err(error)) = frame {
            // hyper throws away what it has not sent yet when a body fails, the head included. Waiting
            // makes it send that first: once for the others, which go before a write, and once for the write.
            *this.failed = Some((error, 1));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if self.first.is_some() || self.failed.is_some() {
            return false;
        }
        match &self.inner {
            Inner::Bytes { bytes } => bytes.is_none(),
            Inner::Engine { body } => body.is_end_stream(),
            Inner::Stream { .. } | Inner::Packed { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.first.is_some() {
            return SizeHint::default();
        }
        match &self.inner {
            Inner::Bytes { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Inner::Engine { body } => body.size_hint(),
            Inner::Stream { .. } | Inner::Packed { .. } => SizeHint::default(),
        }
    }
}
