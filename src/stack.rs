//! The stack: every layer around the one container service, outer to inner, as a request walks.

use std::{any::Any, convert::Infallible};

use bytes::Bytes;
use http::{Extensions, HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use metrics::counter;
use middleware::{
    BoxError,
    auth::{AuthLayer, KeyDigest},
    key_watch::KeyWatchLayer,
    metrics::{MetricsLayer, Names},
    refusal::refusal,
    rescue::RescueLayer,
    timeout::TimeoutLayer,
    trace::{self, TraceLayer},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceBuilder};
use tower_http::{ServiceBuilderExt, catch_panic::CatchPanicLayer};

use crate::{
    request_id,
    service::{Body, rescue, routes},
    telemetry::name as metric,
};

/// The header that holds the key.
pub const AUTH_HEADER: HeaderName = HeaderName::from_static("x-auth-key");

/// Builds the stack around `service`. It refuses whoever does not know the key of digest `key`, and
/// everyone once `key_changed` is cancelled.
pub fn stack<S, B>(
    service: S,
    key: KeyDigest,
    key_changed: CancellationToken,
) -> impl Service<
    Request<B>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ 'static
where
    S: Service<Request<B>, Response = Response<Body>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    ServiceBuilder::new()
        // The route is found once. Being told that there is none is for those inside only.
        .map_request(routes::locate)
        // From here on the key does not show where a header is printed.
        .sensitive_request_headers([AUTH_HEADER].into())
        // An id for each request, the client's own if it is fit to be logged; told back in the answer.
        .map_request(request_id::drop_unfit)
        .set_x_request_id(request_id::Numbered::new())
        .propagate_x_request_id()
        // Outside of all that can refuse, so that what is refused is logged and counted too.
        .layer(TraceLayer::new(traced))
        .layer(MetricsLayer::new(METRICS, routes::label))
        // A panic below becomes a 500, logged and counted. Boxes the body, the one time that this is done.
        .layer(CatchPanicLayer::custom(panicked))
        // Outside of auth: a key that may be stolen opens nothing.
        .layer(KeyWatchLayer::new(key_changed))
        // Nothing below is reached without the key, not even the news that a path is unknown.
        .layer(AuthLayer::new(AUTH_HEADER, key).count(
            counter!(metric::REFUSED_KEYS, "reason" => "missing"),
            counter!(metric::REFUSED_KEYS, "reason" => "wrong"),
        ))
        // Errors exist below this line only.
        .layer(RescueLayer::new(rescue))
        // Inside rescue, so that a timeout is answered. Until the head: streams are not cut.
        .layer(TimeoutLayer::new(routes::limit))
        .service(service)
}

fn traced(extensions: &Extensions) -> trace::Route {
    trace::Route {
        template: routes::label(extensions),
        quiet: routes::is_probe(extensions),
    }
}

const METRICS: Names = Names {
    requests: metric::REQUESTS,
    seconds: metric::REQUEST_SECONDS,
    in_flight: metric::IN_FLIGHT,
};

/// What a client sees of a panic; the panic hook has logged the rest.
fn panicked(_: Box<dyn Any + Send>) -> Response<Full<Bytes>> {
    let message = "The agent failed; its log has more.";
    refusal::<Bytes>(StatusCode::INTERNAL_SERVER_ERROR, message).map(Full::new)
}
