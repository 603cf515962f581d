//! Turns errors into answers, so that nothing above this layer can fail.
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use middleware::{BoxError, refusal::refusal, rescue::RescueLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let broken = service_fn(async |_: Request<()>| Err::<Response<bytes::Bytes>, _>("no paper"));
//! let layer = RescueLayer::new(|cause: BoxError| {
//!     refusal(StatusCode::SERVICE_UNAVAILABLE, &cause.to_string())
//! });
//!
//! let answer = layer.layer(broken).oneshot(Request::new(())).await.unwrap();
//! assert_eq!(answer.body(), r#"{"message":"no paper"}"#);
//! # }
//! ```

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::BoxError;

/// Wraps a service in [`Rescue`].
#[derive(Clone, Debug)]
pub struct RescueLayer<F> {
    rescue: F,
}

impl<F> RescueLayer<F> {
    /// `rescue` makes the answer that an error deserves.
    pub fn new(rescue: F) -> Self {
        Self { rescue }
    }
}

impl<S, F: Clone> Layer<S> for RescueLayer<F> {
    type Service = Rescue<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Rescue {
            inner,
            rescue: self.rescue.clone(),
            unready: None,
        }
    }
}

/// Answers instead of failing; see the [module](self).
#[derive(Debug)]
pub struct Rescue<S, F> {
    inner: S,
    rescue: F,
    /// Why the inner service cannot be called; told in answer to the next request.
    unready: Option<BoxError>,
}

impl<S: Clone, F: Clone> Clone for Rescue<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rescue: self.rescue.clone(),
            // That is this one's own affair.
            unready: None,
        }
    }
}

impl<S, F, Request, B> Service<Request> for Rescue<S, F>
where
    S: Service<Request, Response = Response<B>>,
    S::Error: Into<BoxError>,
    F: Fn(BoxError) -> Response<B> + Clone,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = RescueFuture<S::Future, F>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Err(error) = ready!(self.inner.poll_ready(cx)) {
            self.unready = Some(error.into());
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let work = match self.unready.take() {
            Some(error) => Work::Failed { error: Some(error) },
            None => Work::Called {
                future: self.inner.call(request),
            },
        };
        RescueFuture {
            work,
            rescue: self.rescue.clone(),
        }
    }
}

pin_project! {
    /// The future of [`Rescue`].
    pub struct RescueFuture<Fut, F> {
        #[pin]
        work: Work<Fut>,
        rescue: F,
    }
}

pin_project! {
    #[project = WorkProj]
    enum Work<Fut> {
        Called { #[pin] future: Fut },
        Failed { error: Option<BoxError> },
    }
}

impl<Fut, F, B, E> Future for RescueFuture<Fut, F>
where
    Fut: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    F: Fn(BoxError) -> Response<B>,
{
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.work.project() {
            WorkProj::Called { future } => ready!(future.poll(cx)).map_err(Into::into),
            WorkProj::Failed { error } => Err(error.take().expect("polled after it was ready")),
        };
        Poll::Ready(Ok(result.unwrap_or_else(this.rescue)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt;
    use tower_test::mock;

    fn tell(cause: BoxError) -> Response<String> {
        Response::new(cause.to_string())
    }

    #[tokio::test]
    async fn answers_for_a_service_that_cannot_be_called() {
        let (mock, mut handle) = mock::pair::<(), Response<String>>();
        let mut service = RescueLayer::new(tell).layer(mock);
        handle.send_error("worn out");
        let answer = service.ready().await.unwrap().call(()).await.unwrap();
        assert_eq!(answer.body(), "worn out");
    }

    #[tokio::test]
    async fn leaves_answers_alone() {
        let (mock, mut handle) = mock::pair::<(), Response<String>>();
        let answer = tokio::spawn(RescueLayer::new(tell).layer(mock).oneshot(()));
        let (_, respond) = handle.next_request().await.unwrap();
        respond.send_response(Response::new("fine".into()));
        assert_eq!(answer.await.unwrap().unwrap().body(), "fine");
    }
}
