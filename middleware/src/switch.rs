//! Takes some requests through layers that all others go past.
//!
//! ```
//! use http::{Request, Response, header::SERVER};
//! use middleware::switch::SwitchLayer;
//! use tower::{BoxError, Layer, ServiceExt, layer::layer_fn, service_fn};
//!
//! #[derive(Clone)]
//! struct Long;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let inside = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new("short")));
//! let longer = tower::util::MapResponseLayer::new(|_: Response<&'static str>| Response::new("long"));
//! let layer = SwitchLayer::new(|extensions: &http::Extensions| extensions.get::<Long>().is_some(), longer);
//! let service = layer.layer(inside);
//!
//! let answer = service.clone().oneshot(Request::new(())).await.unwrap();
//! assert_eq!(*answer.body(), "short");
//! let long = Request::builder().extension(Long).body(()).unwrap();
//! assert_eq!(*service.oneshot(long).await.unwrap().body(), "long");
//! # }
//! ```

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Extensions, Request};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::BoxError;

/// Wraps a service in [`Switch`].
#[derive(Clone, Debug)]
pub struct SwitchLayer<F, L> {
    goes_through: F,
    layer: L,
}

impl<F, L> SwitchLayer<F, L> {
    /// Requests of which `goes_through` says so, from their extensions, go through `layer`.
    pub fn new(goes_through: F, layer: L) -> Self {
        Self {
            goes_through,
            layer,
        }
    }
}

impl<S, F, L> Layer<S> for SwitchLayer<F, L>
where
    S: Clone,
    F: Clone,
    L: Layer<S>,
{
    type Service = Switch<L::Service, S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Switch {
            layered: self.layer.layer(inner.clone()),
            inner,
            goes_through: self.goes_through.clone(),
        }
    }
}

/// One service with and without layers; see the [module](self).
#[derive(Clone, Debug)]
pub struct Switch<T, S, F> {
    layered: T,
    inner: S,
    goes_through: F,
}

impl<T, S, F, ReqBody> Service<Request<ReqBody>> for Switch<T, S, F>
where
    T: Service<Request<ReqBody>, Response = S::Response>,
    T::Error: Into<BoxError>,
    S: Service<Request<ReqBody>>,
    S::Error: Into<BoxError>,
    F: Fn(&Extensions) -> bool,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = SwitchFuture<T::Future, S::Future>;

    /// Ready when both ways are, since it is not known yet which one the request takes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.layered.poll_ready(cx)).map_err(Into::into)?;
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let way = if (self.goes_through)(request.extensions()) {
            Way::Through {
                layered: self.layered.call(request),
            }
        } else {
            Way::Past {
                inner: self.inner.call(request),
            }
        };
        SwitchFuture { way }
    }
}

pin_project! {
    /// The future of [`Switch`].
    #[derive(Debug)]
    pub struct SwitchFuture<T, S> {
        #[pin]
        way: Way<T, S>,
    }
}

pin_project! {
    #[project = WayProj]
    #[derive(Debug)]
    enum Way<T, S> {
        Through { #[pin] layered: T },
        Past { #[pin] inner: S },
    }
}

impl<T, S, Answer, E1, E2> Future for SwitchFuture<T, S>
where
    T: Future<Output = Result<Answer, E1>>,
    S: Future<Output = Result<Answer, E2>>,
    E1: Into<BoxError>,
    E2: Into<BoxError>,
{
    type Output = Result<Answer, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().way.project() {
            WayProj::Through { layered } => layered.poll(cx).map_err(Into::into),
            WayProj::Past { inner } => inner.poll(cx).map_err(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
    use tower::{ServiceBuilder, layer::layer_fn};
    use tower_test::mock::{self, Mock};

    use super::*;

    #[derive(Clone)]
    struct Through;

    fn goes_through(extensions: &Extensions) -> bool {
        extensions.get::<Through>().is_some()
    }

    type Plain = Mock<Request<()>, Response<()>>;

    #[tokio::test]
    async fn is_ready_when_both_ways_are_and_fails_as_either_does() {
        let (layered, mut with) = mock::pair::<Request<()>, Response<()>>();
        let layer = layer_fn(move |_: Plain| layered.clone());
        let layer = SwitchLayer::new(goes_through, ServiceBuilder::new().layer(layer));
        let (mut service, mut without) = mock::spawn_layer(layer);
        with.allow(1);
        without.allow(0);
        assert_pending!(service.poll_ready());
        without.allow(1);
        assert_ready_ok!(service.poll_ready());

        let through = Request::builder().extension(Through).body(()).unwrap();
        let mut answer = tokio_test::task::spawn(service.call(through));
        let (_, respond) = with.next_request().await.unwrap();
        respond.send_error("broken with");
        assert_eq!(assert_ready_err!(answer.poll()).to_string(), "broken with");

        with.allow(1);
        assert_ready_ok!(service.poll_ready());
        let mut answer = tokio_test::task::spawn(service.call(Request::new(())));
        let (_, respond) = without.next_request().await.unwrap();
        respond.send_error("broken without");
        let error = assert_ready_err!(answer.poll());
        assert_eq!(error.to_string(), "broken without");
    }
}
