//! Refuses requests and cuts answers once a token says that the key file has changed.
//!
//! The layer does not look at the file: whoever does (see [`crate::file_watch`]) cancels the token. From
//! then on each request is answered 503, and each body that is still being sent, endless ones included,
//! ends with an error, which closes its connection.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use middleware::key_watch::KeyWatchLayer;
//! use tokio_util::sync::CancellationToken;
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let inside = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())));
//! let changed = CancellationToken::new();
//! let guarded = KeyWatchLayer::new(changed.clone()).layer(inside);
//!
//! changed.cancel();
//! let answer = guarded.oneshot(Request::new(())).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
//! # }
//! ```

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::{Layer, Service};

use crate::{BoxError, refusal::refusal};

/// Wraps a service in [`KeyWatch`].
#[derive(Clone, Debug)]
pub struct KeyWatchLayer {
    // A clone of a token takes a lock.
    changed: Arc<CancellationToken>,
}

impl KeyWatchLayer {
    /// Refuses everything from the moment that `changed` is cancelled.
    pub fn new(changed: CancellationToken) -> Self {
        let changed = Arc::new(changed);
        Self { changed }
    }
}

impl<S> Layer<S> for KeyWatchLayer {
    type Service = KeyWatch<S>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyWatch {
            inner,
            changed: Arc::clone(&self.changed),
        }
    }
}

/// Serves until the key has changed; see the [module](self).
#[derive(Clone, Debug)]
pub struct KeyWatch<S> {
    inner: S,
    changed: Arc<CancellationToken>,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for KeyWatch<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    type Response = Response<CutBody<ResBody>>;
    type Error = S::Error;
    type Future = KeyWatchFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let refused = self.changed.is_cancelled();
        KeyWatchFuture {
            inner: (!refused).then(|| self.inner.call(request)),
            changed: Arc::clone(&self.changed),
        }
    }
}

pin_project! {
    /// The future of [`KeyWatch`].
    pub struct KeyWatchFuture<F> {
        // None: refused.
        #[pin]
        inner: Option<F>,
        changed: Arc<CancellationToken>,
    }
}

impl<F, ResBody, E> Future for KeyWatchFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: From<Bytes>,
{
    type Output = Result<Response<CutBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // An answer that was under way when the key changed is not handed out either.
        let answer = match this.inner.as_pin_mut() {
            Some(inner) => Some(ready!(inner.poll(cx))?).filter(|_| !this.changed.is_cancelled()),
            None => None,
        };
        Poll::Ready(Ok(match answer {
            Some(answer) => answer.map(|inner| CutBody {
                inner,
                cut: Some(Cut {
                    changed: Arc::clone(this.changed),
                    wake: None,
                }),
            }),
            None => refusal::<ResBody>(
                StatusCode::SERVICE_UNAVAILABLE,
                "The auth key has changed; the service is terminating.",
            )
            // It must get out whole.
            .map(|inner| CutBody { inner, cut: None }),
        }))
    }
}

pin_project! {
    /// A body that ends with [`KeyChanged`] once the key has changed.
    #[derive(Debug)]
    pub struct CutBody<B> {
        #[pin]
        inner: B,
        #[pin]
        cut: Option<Cut>,
    }
}

pin_project! {
    #[derive(Debug)]
    struct Cut {
        changed: Arc<CancellationToken>,
        // Made when the body first waits, so that answers that are ready pay nothing for it.
        #[pin]
        wake: Option<WaitForCancellationFutureOwned>,
    }
}

/// The error of a body that was cut because the key has changed.
#[derive(Clone, Copy, Debug)]
pub struct KeyChanged;

impl std::fmt::Display for KeyChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the auth key has changed")
    }
}

impl std::error::Error for KeyChanged {}

impl<B> Body for CutBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        let mut cut = this.cut.as_pin_mut().map(|cut| cut.project());
        if let Some(cut) = &cut
            && cut.changed.is_cancelled()
        {
            return Poll::Ready(Some(Err(KeyChanged.into())));
        }
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(cut) = &mut cut else {
            return Poll::Pending;
        };
        if cut.wake.is_none() {
            let changed = CancellationToken::clone(cut.changed);
            cut.wake.set(Some(changed.cancelled_owned()));
        }
        if let Some(wake) = cut.wake.as_mut().as_pin_mut() {
            ready!(wake.poll(cx));
        }
        Poll::Ready(Some(Err(KeyChanged.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Either, Full, StreamBody};
    use tower::{ServiceExt, service_fn};

    type TestBody =
        Either<Full<Bytes>, StreamBody<tokio_stream::Pending<Result<Frame<Bytes>, BoxError>>>>;

    struct Answer(TestBody);

    impl From<Bytes> for Answer {
        fn from(bytes: Bytes) -> Self {
            Self(Either::Left(Full::new(bytes)))
        }
    }

    impl Body for Answer {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_end_stream()
        }
    }

    async fn serve(changed: &CancellationToken, body: TestBody) -> Response<CutBody<Answer>> {
        let mut body = Some(Answer(body));
        let inside = service_fn(move |_: Request<()>| {
            let body = body.take().unwrap();
            async move { Ok::<_, BoxError>(Response::new(body)) }
        });
        let service = KeyWatchLayer::new(changed.clone()).layer(inside);
        service.oneshot(Request::new(())).await.unwrap()
    }

    #[tokio::test]
    async fn cuts_a_quiet_stream_at_once() {
        let changed = CancellationToken::new();
        let quiet = Either::Right(StreamBody::new(tokio_stream::pending()));
        let answer = serve(&changed, quiet).await;
        let reader = tokio::spawn(answer.into_body().collect());
        tokio::task::yield_now().await;
        assert!(!reader.is_finished());
        changed.cancel();
        let error = reader.await.unwrap().unwrap_err();
        assert!(error.is::<KeyChanged>());
    }

    #[tokio::test]
    async fn cuts_an_answer_that_is_always_ready() {
        let changed = CancellationToken::new();
        let answer = serve(&changed, Either::Left(Full::from("much"))).await;
        changed.cancel();
        let error = answer.into_body().collect().await.unwrap_err();
        assert!(error.is::<KeyChanged>());
    }

    #[tokio::test]
    async fn refuses_whole_once_changed() {
        let changed = CancellationToken::new();
        changed.cancel();
        let answer = serve(&changed, Either::Left(Full::from("secret"))).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"{\"message\":"));
    }

    #[tokio::test]
    async fn leaves_answers_alone_while_nothing_changed() {
        let changed = CancellationToken::new();
        let answer = serve(&changed, Either::Left(Full::from("text"))).await;
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            "text"
        );
        for text in ["", "text"] {
            let answer = serve(&changed, Either::Left(Full::from(text))).await;
            assert_eq!(answer.into_body().is_end_stream(), text.is_empty());
        }
    }
}
