//! One span for each request and one line for each finished answer.
//!
//! The span holds the request's id (of the header `x-request-id`, which an outer layer has set), the
//! client's address, method, path and route. Whatever is logged while the request is served, its body
//! included, is inside it. The query is left out: it may be long, and it is nobody's business.
//!
//! The line comes when the body has been sent or dropped, and says how the request went: status, the time
//! to the answer's head, the time in all, the bytes, and whether the body came to its end. It is WARN for
//! a status of 500 or more and INFO else; a route can ask for DEBUG for its successes.
//!
//! ```
//! use http::{Request, Response};
//! use middleware::trace::{Route, TraceLayer};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let layer = TraceLayer::new(|_: &http::Extensions| Route { template: "/hello", quiet: false });
//! let inside = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(String::new())));
//! layer.layer(inside).oneshot(Request::new(())).await.unwrap();
//! # }
//! ```

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Buf;
use http::{Extensions, HeaderMap, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::{Span, debug, field::Empty, info, info_span, warn};

/// The other end of the connection, as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What is logged of a request's route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its template.
    pub template: &'static str,
    /// Whether its successes are for DEBUG only.
    pub quiet: bool,
}

/// Wraps a service in [`Trace`].
#[derive(Clone, Debug)]
pub struct TraceLayer<F> {
    route: F,
}

impl<F> TraceLayer<F> {
    /// `route` says what a request's route is, from its extensions.
    pub fn new(route: F) -> Self {
        Self { route }
    }
}

impl<S, F: Clone> Layer<S> for TraceLayer<F> {
    type Service = Trace<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Trace {
            inner,
            route: self.route.clone(),
        }
    }
}

/// Traces; see the [module](self).
#[derive(Clone, Debug)]
pub struct Trace<S, F> {
    inner: S,
    route: F,
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl<S, F, ReqBody, ResBody> Service<Request<ReqBody>> for Trace<S, F>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    F: Fn(&Extensions) -> Route,
    ResBody: Body,
{
    type Response = Response<TracedBody<ResBody>>;
    type Error = S::Error;
    type Future = TraceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let route = (self.route)(request.extensions());
        let span = info_span!(
            "request",
            id = header(request.headers(), "x-request-id"),
            client = Empty,
            // What a proxy says of the client; not to be trusted, and so never used for a decision.
            forwarded_for = header(request.headers(), "x-forwarded-for"),
            method = %request.method(),
            path = request.uri().path(),
            route = route.template,
        );
        if let Some(Peer(address)) = request.extensions().get() {
            span.record("client", tracing::field::display(address));
        }
        let head_only = request.method() == Method::HEAD;
        let inner = span.in_scope(|| self.inner.call(request));
        TraceFuture {
            inner,
            tale: Some(Tale::begin(span, route.quiet, head_only)),
        }
    }
}

/// What is known of a request so far; told when it drops.
#[derive(Debug)]
struct Tale {
    span: Span,
    quiet: bool,
    head_only: bool,
    begun: Instant,
    head: Option<(u16, Duration)>,
    bytes: u64,
    end: End,
}

#[derive(Debug)]
enum End {
    /// Not reached yet; if it stays so, the client left or the connection failed.
    Open,
    Reached,
    Failed(String),
}

impl Tale {
    fn begin(span: Span, quiet: bool, head_only: bool) -> Self {
        Self {
            span,
            quiet,
            head_only,
            begun: Instant::now(),
            head: None,
            bytes: 0,
            end: End::Open,
        }
    }
}

impl Drop for Tale {
    fn drop(&mut self) {
        let _inside = self.span.enter();
        let seconds = self.begun.elapsed().as_secs_f64();
        let Some((status, head)) = self.head else {
            return info!(seconds, "client left before the answer");
        };
        let (head_seconds, bytes) = (head.as_secs_f64(), self.bytes);
        match &self.end {
            End::Failed(error) => {
                warn!(status, head_seconds, seconds, bytes, %error, "answer cut short");
            }
            End::Open => info!(status, head_seconds, seconds, bytes, "client left"),
            End::Reached if status >= 500 => {
                warn!(status, head_seconds, seconds, bytes, "answered")
            }
            End::Reached if self.quiet && status < 400 => {
                debug!(status, head_seconds, seconds, bytes, "answered");
            }
            End::Reached => info!(status, head_seconds, seconds, bytes, "answered"),
        }
    }
}

pin_project! {
    /// The future of [`Trace`].
    #[derive(Debug)]
    pub struct TraceFuture<F> {
        #[pin]
        inner: F,
        // Moves into the body.
        tale: Option<Tale>,
    }
}

impl<F, ResBody, E> Future for TraceFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Body,
{
    type Output = Result<Response<TracedBody<ResBody>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inside = this.tale.as_ref().map(|tale| tale.span.enter());
        let answer = ready!(this.inner.poll(cx))?;
        drop(inside);
        let mut tale = this.tale.take();
        if let Some(tale) = &mut tale {
            tale.head = Some((answer.status().as_u16(), tale.begun.elapsed()));
            // Such a body is dropped without being asked for anything.
            if tale.head_only || answer.body().is_end_stream() {
                tale.end = End::Reached;
            }
        }
        Poll::Ready(Ok(answer.map(|inner| TracedBody { inner, tale })))
    }
}

pin_project! {
    /// A body that is sent inside its request's span and tells how that went when it is dropped.
    #[derive(Debug)]
    pub struct TracedBody<B> {
        #[pin]
        inner: B,
        tale: Option<Tale>,
    }
}

impl<B> Body for TracedBody<B>
where
    B: Body,
    B::Error: std::fmt::Display,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(tale) = this.tale else {
            return this.inner.poll_frame(cx);
        };
        let inside = tale.span.enter();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        drop(inside);
        match &frame {
            Some(Ok(frame)) => {
                tale.bytes += frame.data_ref().map_or(0, |data| data.remaining() as u64);
                // A body of known length is not asked again once the length is reached.
                if this.inner.is_end_stream() {
                    tale.end = End::Reached;
                }
            }
            Some(Err(error)) => tale.end = End::Failed(error.to_string()),
            None => tale.end = End::Reached,
        }
        Poll::Ready(frame)
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
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use std::sync::{Arc, Mutex};
    use tower::{BoxError, ServiceExt, service_fn};

    /// What was logged, as text.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Serves one request with `status` and lets `read` treat the answer; the lines logged.
    async fn logged<Fut: Future<Output = ()>>(
        method: Method,
        status: u16,
        read: impl FnOnce(Response<TracedBody<Full<Bytes>>>) -> Fut,
    ) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let inside = service_fn(move |_: Request<()>| async move {
            debug!("inside");
            let answer = Response::builder().status(status);
            Ok::<_, BoxError>(answer.body(Full::from("12345")).unwrap())
        });
        let layer = TraceLayer::new(|_: &Extensions| Route {
            template: "/items/{id}",
            quiet: true,
        });
        let mut request = Request::builder()
            .method(method)
            .uri("/items/7?token=hidden")
            .header("x-request-id", "abc-1")
            .header("x-auth-key", "hidden")
            .body(())
            .unwrap();
        let peer = SocketAddr::from(([192, 0, 2, 1], 4321));
        request.extensions_mut().insert(Peer(peer));
        read(layer.layer(inside).oneshot(request).await.unwrap()).await;
        let lines = lines.0.lock().unwrap().clone();
        String::from_utf8(lines).unwrap()
    }

    async fn to_the_end(answer: Response<TracedBody<Full<Bytes>>>) {
        answer.into_body().collect().await.unwrap();
    }

    #[tokio::test]
    async fn tells_who_asked_what_and_how_it_went() {
        let lines = logged(Method::GET, 503, to_the_end).await;
        let told = lines.lines().last().unwrap();
        for part in [
            " WARN ",
            "id=\"abc-1\"",
            "client=192.0.2.1:4321",
            "method=GET",
            "path=\"/items/7\"",
            "route=\"/items/{id}\"",
            "answered status=503",
            "bytes=5",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert!(!lines.contains("hidden"), "{lines}");
    }

    #[tokio::test]
    async fn puts_what_the_service_logs_inside_the_span() {
        let lines = logged(Method::GET, 200, to_the_end).await;
        let first = lines.lines().next().unwrap();
        assert!(
            first.contains("request{id=\"abc-1\"") && first.ends_with("inside"),
            "{first}"
        );
    }

    #[tokio::test]
    async fn is_quiet_about_the_successes_of_a_quiet_route_only() {
        let success = logged(Method::GET, 200, to_the_end).await;
        let told = success.lines().last().unwrap();
        assert!(
            told.contains(" DEBUG ") && told.contains("answered"),
            "{told}"
        );
        let failure = logged(Method::GET, 404, to_the_end).await;
        assert!(
            failure.lines().last().unwrap().contains(" INFO "),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn tells_a_client_that_left_from_an_answer_to_head() {
        let left = logged(Method::GET, 200, async |answer| drop(answer)).await;
        assert!(left.contains("client left status=200"), "{left}");
        let head = logged(Method::HEAD, 200, async |answer| drop(answer)).await;
        assert!(head.contains("answered status=200"), "{head}");
    }
}
