//! Counts requests by route, method and status, times the heads of their answers, and knows how many are
//! in flight, from the request's arrival until the last byte of the answer's body is handed over.
//!
//! A request whose client leaves before the head of the answer counts with the status 499.
//!
//! ```
//! use http::{Request, Response};
//! use middleware::metrics::{MetricsLayer, Names};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let names = Names {
//!     requests: "requests_total",
//!     seconds: "request_duration_seconds",
//!     in_flight: "requests_in_flight",
//! };
//! let layer = MetricsLayer::new(names, |_: &http::Extensions| "/hello");
//! let inside = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(String::new())));
//! layer.layer(inside).oneshot(Request::new(())).await.unwrap();
//! # }
//! ```

mod series;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::metrics::{Gauge, counter, gauge, histogram};
use http::{Extensions, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use quanta::Instant;
use tower::{Layer, Service};

pub use self::series::Timed;

/// The status under which a request is counted whose client left before the answer.
const CLIENT_LEFT: u16 = 499;

/// What the series are called.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// A counter with the labels `route`, `method` and `status`.
    pub requests: &'static str,
    /// A histogram of seconds with the labels `route` and `method`.
    pub seconds: &'static str,
    /// A gauge.
    pub in_flight: &'static str,
}

/// Wraps a service in [`Metrics`].
#[derive(Clone, Debug)]
pub struct MetricsLayer<F> {
    series: Arc<SeriesTable>,
    route: F,
}

impl<F> MetricsLayer<F> {
    /// `route` names a request's route from its extensions: a template, of which there are few, and
    /// never anything that a client can choose.
    ///
    /// Handles are taken from the recorder that is installed now and when a series is first met.
    pub fn new(names: Names, route: F) -> Self {
        let in_flight = gauge!(names.in_flight);
        in_flight.set(0.0);
        Self {
            series: Arc::new(SeriesTable {
                names,
                in_flight,
                answers: Timed::default(),
            }),
            route,
        }
    }
}

impl<S, F: Clone> Layer<S> for MetricsLayer<F> {
    type Service = Metrics<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Metrics {
            inner,
            layer: self.clone(),
        }
    }
}

/// The handles of every series met so far.
#[derive(Debug)]
struct SeriesTable {
    names: Names,
    in_flight: Gauge,
    /// By route, method and status.
    answers: Timed<(&'static str, &'static str, u16)>,
}

/// The label of a method; those that no route has share one, since a client can make them up.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts and times; see the [module](self).
#[derive(Clone, Debug)]
pub struct Metrics<S, F> {
    inner: S,
    layer: MetricsLayer<F>,
}

impl<S, F, ReqBody, ResBody> Service<Request<ReqBody>> for Metrics<S, F>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    F: Fn(&Extensions) -> &'static str,
{
    type Response = Response<CountedBody<ResBody>>;
    type Error = S::Error;
    type Future = MetricsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        self.layer.series.in_flight.increment(1.0);
        let flight = Flight {
            series: Arc::clone(&self.layer.series),
            route: (self.layer.route)(request.extensions()),
            method: method_label(request.method()),
            begun: Instant::now(),
            answered: false,
        };
        MetricsFuture {
            inner: self.inner.call(request),
            flight: Some(flight),
        }
    }
}

/// One request, in flight for as long as this lives.
#[derive(Debug)]
struct Flight {
    series: Arc<SeriesTable>,
    route: &'static str,
    method: &'static str,
    begun: Instant,
    answered: bool,
}

impl Flight {
    fn answer(&mut self, status: u16) {
        self.answered = true;
        let (route, method, names) = (self.route, self.method, &self.series.names);
        let key = (route, method, status);
        self.series.answers.record(key, self.begun, || {
            let requests = counter!(names.requests,
                "route" => route, "method" => method, "status" => status.to_string());
            let seconds = histogram!(names.seconds, "route" => route, "method" => method);
            (requests, seconds)
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.answered {
            self.answer(CLIENT_LEFT);
        }
        self.series.in_flight.decrement(1.0);
    }
}

pin_project! {
    /// The future of [`Metrics`].
    #[derive(Debug)]
    pub struct MetricsFuture<F> {
        #[pin]
        inner: F,
        // Moves into the body.
        flight: Option<Flight>,
    }
}

impl<F, ResBody, E> Future for MetricsFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
{
    type Output = Result<Response<CountedBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx))?;
        let mut flight = this.flight.take();
        if let Some(flight) = &mut flight {
            flight.answer(answer.status().as_u16());
        }
        Poll::Ready(Ok(answer.map(|inner| CountedBody {
            inner,
            _flight: flight,
        })))
    }
}

pin_project! {
    /// A body that keeps its request in flight until it is dropped.
    #[derive(Debug)]
    pub struct CountedBody<B> {
        #[pin]
        inner: B,
        _flight: Option<Flight>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
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
    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
    use tower_test::mock::{self, Handle, Spawn};

    type Mocked =
        Metrics<mock::Mock<Request<()>, Response<String>>, fn(&Extensions) -> &'static str>;

    /// A counted service whose series go to a recorder of the test's own.
    fn counted() -> (
        Spawn<Mocked>,
        Handle<Request<()>, Response<String>>,
        Snapshotter,
        impl Drop,
    ) {
        // Leaked, since a local recorder must outlive its guard; a test's worth.
        let recorder = Box::leak(Box::new(DebuggingRecorder::new()));
        let snapshotter = recorder.snapshotter();
        let guard = ::metrics::set_default_local_recorder(recorder);
        let names = Names {
            requests: "requests",
            seconds: "seconds",
            in_flight: "in_flight",
        };
        let route: fn(&Extensions) -> &'static str = |_| "/items/{id}";
        let (service, handle) = mock::spawn_layer(MetricsLayer::new(names, route));
        (service, handle, snapshotter, guard)
    }

    /// `name{label,…} = value` for each counter and gauge.
    fn series(snapshotter: &Snapshotter) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let value = match value {
                DebugValue::Counter(count) => count.to_string(),
                DebugValue::Gauge(level) => level.to_string(),
                DebugValue::Histogram(samples) => format!("{} samples", samples.len()),
            };
            let labels: Vec<_> = key.key().labels().map(|label| label.value()).collect();
            lines.push(format!(
                "{}{{{}}} = {value}",
                key.key().name(),
                labels.join(",")
            ));
        }
        lines.sort();
        lines
    }

    #[tokio::test]
    async fn counts_by_route_method_and_status_and_stays_in_flight_until_the_body_drops() {
        let (mut service, mut handle, snapshotter, _guard) = counted();
        assert!(service.poll_ready().is_ready());
        let request = Request::builder().method("BREW").body(()).unwrap();
        let answer = tokio::spawn(service.call(request));
        let (_, respond) = handle.next_request().await.unwrap();
        let mut teapot = Response::new(String::from("short and stout"));
        *teapot.status_mut() = http::StatusCode::IM_A_TEAPOT;
        respond.send_response(teapot);
        let answer = answer.await.unwrap().unwrap();
        let during = series(&snapshotter);
        assert!(during.contains(&"in_flight{} = 1".into()), "{during:?}");
        assert!(
            during.contains(&"requests{/items/{id},other,418} = 1".into()),
            "{during:?}"
        );
        assert!(during.contains(&"seconds{/items/{id},other} = 1 samples".into()));
        drop(answer);
        // A snapshot tells what has changed since the one before.
        assert!(series(&snapshotter).contains(&"in_flight{} = -1".into()));
    }

    #[tokio::test]
    async fn counts_a_client_that_left_before_the_answer() {
        let (mut service, mut handle, snapshotter, _guard) = counted();
        assert!(service.poll_ready().is_ready());
        let answer = service.call(Request::new(()));
        let _held = handle.next_request().await;
        drop(answer);
        let after = series(&snapshotter);
        assert!(
            after.contains(&"requests{/items/{id},GET,499} = 1".into()),
            "{after:?}"
        );
        assert!(after.contains(&"in_flight{} = 0".into()), "{after:?}");
    }
}
