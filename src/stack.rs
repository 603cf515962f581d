//! The stack: every layer around the one container service, outer to inner, as a request walks.

use std::{any::Any, convert::Infallible};

use bytes::Bytes;
use http::{Extensions, HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use metrics::counter;
use middleware::{
    BoxError,
    auth::{AuthLayer, KeyDigest},
    coalesce::{self, CoalesceLayer},
    conditional::{self, ConditionalLayer},
    head_limit::HeadLimitLayer,
    key_watch::KeyWatchLayer,
    metrics::{MetricsLayer, Names},
    refusal::refusal,
    request_id::RequestIdLayer,
    rescue::RescueLayer,
    switch::SwitchLayer,
    timeout::TimeoutLayer,
    trace::{self, TraceLayer},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceBuilder};
use tower_http::{ServiceBuilderExt, catch_panic::CatchPanicLayer};

use crate::{
    packing,
    server::{self, MAX_HEAD},
    service::{Body, body, rescue, routes},
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
    S: Service<Request<B>, Response = Response<Body>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Clone + Send,
    S::Future: Send,
    B: Send + 'static,
{
    ServiceBuilder::new()
        // The route is found once. Being told that there is none is for those inside only.
        .map_request(routes::locate)
        // From here on the key does not show where a header is printed.
        .sensitive_request_headers([AUTH_HEADER].into())
        // An id for each request, the client's own if it is fit to be logged; told back in the answer.
        .layer(RequestIdLayer::new())
        // Outside of all that can refuse, so that what is refused is logged and counted too.
        .layer(TraceLayer::new(traced))
        .layer(MetricsLayer::new(METRICS, routes::label))
        // A panic below becomes a 500, logged and counted. Boxes the body, the one time that this is done.
        .layer(CatchPanicLayer::custom(panicked))
        // Outside of auth: a key that may be stolen opens nothing.
        .layer(KeyWatchLayer::new(key_changed))
        // Nothing below is reached without the key, not even the news that a path is unknown.
        .layer(AuthLayer::new(AUTH_HEADER, key).greet(server::greet).count(
            counter!(metric::REFUSED_KEYS, "reason" => "missing"),
            counter!(metric::REFUSED_KEYS, "reason" => "wrong"),
        ))
        // The server lets longer heads through that come in few reads. Inside auth: without the key it is 401.
        .layer(HeadLimitLayer::new(MAX_HEAD))
        // Errors exist below this line only.
        .layer(RescueLayer::new(rescue))
        // Inside rescue, so that a timeout is answered. Until the head: streams are not cut. Reads have the time of their
        // calls, below.
        .layer(TimeoutLayer::new(routes::limit))
        // What stands in here is for reads and downloads only; all else goes past it.
        .layer(SwitchLayer::new(
            routes::has_forms,
            ServiceBuilder::new()
                // Sees the tag of what would be sent, packed or not.
                .layer(ConditionalLayer)
                // First, since an answer is shared by those who get it in the same form.
                .map_request(packing::choose)
                // Reads only. All below is done once for all who share a call.
                .layer(
                    CoalesceLayer::new(routes::shared_key, Body::put_back, SHARED)
                        .limit(routes::call_limit)
                        .seal(conditional::tag)
                        .count(counter!(metric::SHARED_ANSWERS)),
                )
                // Errors never come by here, so a refusal is never packed.
                .map_response(packing::body)
                .layer(packing::layer()),
        ))
        .service(service)
}

fn traced(extensions: &Extensions) -> trace::Route {
    trace::Route {
        template: routes::label(extensions),
        quiet: routes::is_probe(extensions),
    }
}

/// How much of answers is held while they are shared.
const SHARED: coalesce::Limits = coalesce::Limits {
    answer: body::SHORT,
    answers: 64 << 20,
    keys: 1024,
};

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
