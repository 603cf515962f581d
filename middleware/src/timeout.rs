//! Bounds the wait for the head of an answer; what is sent after it is not timed.
//!
//! ```
//! use std::{convert::Infallible, future::pending, time::Duration};
//! use http::{Request, Response};
//! use middleware::timeout::{Elapsed, TimeoutLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let stuck = service_fn(async |_: Request<()>| pending::<Result<Response<()>, Infallible>>().await);
//! let layer = TimeoutLayer::new(|_: &http::Extensions| Some(Duration::from_secs(30)));
//!
//! let error = layer.layer(stuck).oneshot(Request::new(())).await.unwrap_err();
//! assert!(error.is::<Elapsed>());
//! # }
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Extensions, Request};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower::{Layer, Service};

use crate::BoxError;

/// Wraps a service in [`Timeout`].
#[derive(Clone, Debug)]
pub struct TimeoutLayer<F> {
    limit: F,
}

impl<F> TimeoutLayer<F> {
    /// `limit` says how long a request may wait, from its extensions; `None` is for ever.
    pub fn new(limit: F) -> Self {
        Self { limit }
    }
}

impl<S, F: Clone> Layer<S> for TimeoutLayer<F> {
    type Service = Timeout<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout {
            inner,
            limit: self.limit.clone(),
        }
    }
}

/// Errs with [`Elapsed`] where the answer's head takes too long; see the [module](self).
#[derive(Clone, Debug)]
pub struct Timeout<S, F> {
    inner: S,
    limit: F,
}

impl<S, F, ReqBody> Service<Request<ReqBody>> for Timeout<S, F>
where
    S: Service<Request<ReqBody>>,
    S::Error: Into<BoxError>,
    F: Fn(&Extensions) -> Option<Duration>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let limit = (self.limit)(request.extensions());
        TimeoutFuture::new(self.inner.call(request), limit)
    }
}

pin_project! {
    /// The future of [`Timeout`].
    #[derive(Debug)]
    pub struct TimeoutFuture<F> {
        #[pin]
        inner: F,
        limit: Option<Duration>,
        // Started when the answer is first waited for: one that is ready at once costs no timer. Boxed, since it is large
        // and futures are moved a lot.
        clock: Option<Pin<Box<Sleep>>>,
    }
}

impl<F> TimeoutFuture<F> {
    pub(crate) fn new(inner: F, limit: Option<Duration>) -> Self {
        Self {
            inner,
            limit,
            clock: None,
        }
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer.map_err(Into::into));
        }
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        let clock = this.clock.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(Err(Elapsed(limit).into()))
    }
}

/// No answer came within the time that its route allows.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed(Duration);

impl Elapsed {
    /// For those who keep the time themselves.
    pub fn after(limit: Duration) -> Self {
        Self(limit)
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {} s", self.0.as_secs())
    }
}

impl std::error::Error for Elapsed {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
    use tower_test::mock;

    /// The limit is the request's `Duration` extension, if it has one.
    fn from_request(extensions: &Extensions) -> Option<Duration> {
        extensions.get().copied()
    }

    #[tokio::test(start_paused = true)]
    async fn errs_exactly_when_the_limit_of_the_request_is_over() {
        let (mut service, mut handle) = mock::spawn_layer(TimeoutLayer::new(from_request));
        assert_ready_ok!(service.poll_ready());
        let mut request = Request::new(());
        request.extensions_mut().insert(Duration::from_secs(30));
        let mut answer = tokio_test::task::spawn(service.call(request));
        let _held: Option<(Request<()>, mock::SendResponse<()>)> = handle.next_request().await;
        assert_pending!(answer.poll());
        tokio::time::advance(Duration::from_millis(29_999)).await;
        assert_pending!(answer.poll());
        tokio::time::advance(Duration::from_millis(2)).await;
        let error = assert_ready_err!(answer.poll());
        assert_eq!(error.to_string(), "no answer within 30 s");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_ever_where_there_is_no_limit() {
        let (mut service, mut handle) = mock::spawn_layer(TimeoutLayer::new(from_request));
        assert_ready_ok!(service.poll_ready());
        let mut answer = tokio_test::task::spawn(service.call(Request::new(())));
        let (_, respond) = handle.next_request().await.unwrap();
        assert_pending!(answer.poll());
        tokio::time::advance(Duration::from_secs(100_000)).await;
        assert_pending!(answer.poll());
        respond.send_response(());
        assert_ready_ok!(answer.poll());
    }
}
