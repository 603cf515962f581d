//! One span for each request and one line for each finished answer.
//!
//! The span holds the request's id (of the header `x-request-id`, which an outer layer has set), the
//! client's address, method, path and route. Whatever is logged while the request is served, its body
//! included, is inside it. The query is left out: it may be long, and it is nobody's business.
//!
//! The line comes when the body has been sent or dropped, and says how the request went: status, the time
//! to the answer's head, the time in all, the bytes, and whether the body came to its end. It is WARN for
//! a status of 500 or more and INFO else; a route that is asked for all the time can be quiet: its successes
//! are for DEBUG, and it has a span only where something is told of it. Of requests that are refused with 401, which anyone
//! can make, ten a second are told, and at DEBUG all.
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

mod ration;

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use http::{Extensions, HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use quanta::Instant;
use tower::{Layer, Service};
use tracing::{Level, Span, debug, enabled, info, info_span, warn};

use self::ration::Ration;
use crate::request_id;

/// The other end of the connection, as an extension of the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What is logged of a request's route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its template.
    pub template: &'static str,
    /// Whether its successes are for DEBUG only, and without a span. Its template must be its path.
    pub quiet: bool,
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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

/// The most that is logged of what a client sends: a stranger must not fill the log, and of a key that is
/// sent in the wrong place too much is missing here to be one.
const MAX_TEXT: usize = 96;

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
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
        let head_only = request.method() == Method::HEAD;
        let asked = Asked::of(&request);
        let (span, asked) = if route.quiet {
            (Span::none(), Some(asked))
        } else {
            let span = asked.span(cut(request.uri().path()), route.template);
            (span, None)
        };
        let tale = Box::new(Tale {
            span,
            route,
            asked,
            head_only,
            begun: Instant::now(),
            head: None,
            bytes: 0,
            end: End::Open,
        });
        TraceFuture {
            inner: tale.span.in_scope(|| self.inner.call(request)),
            tale: Some(tale),
        }
    }
}

/// What a span tells of a request.
#[derive(Debug)]
struct Asked {
    id: Option<HeaderValue>,
    client: Option<SocketAddr>,
    /// What a proxy says of the client; not to be trusted, and so never used for a decision.
    forwarded_for: Option<HeaderValue>,
    method: Method,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let peer = request.extensions().get::<Peer>();
        Self {
            id: headers.get(request_id::HEADER).cloned(),
            client: peer.map(|Peer(address)| *address),
            forwarded_for: headers.get(FORWARDED_FOR).cloned(),
            method: request.method().clone(),
        }
    }

    fn span(&self, path: &str, route: &'static str) -> Span {
        let text = |value: &Option<HeaderValue>| {
            let text = value.as_ref().and_then(|value| value.to_str().ok());
            text.map(|text| cut(text).to_owned())
        };
        info_span!(
            "request",
            id = text(&self.id),
            client = self.client.map(display),
            forwarded_for = text(&self.forwarded_for),
            method = %cut(self.method.as_str()),
            path,
            route,
        )
    }
}

/// What is known of a request so far; told when it drops.
#[derive(Debug)]
struct Tale {
    /// None where the route is quiet.
    span: Span,
    route: Route,
    /// Of a quiet route, whose span is made only where something is told.
    asked: Option<Asked>,
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

/// How many requests without the key are logged: who has it not could fill the log with them.
static UNAUTHORIZED: Ration = Ration::new(10, 100);

fn is_told(status: u16) -> bool {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let now = || u64::try_from(BEGUN.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
    status != 401 || UNAUTHORIZED.gives(now())
}

impl Drop for Tale {
    fn drop(&mut self) {
        if let Some((status, _)) = self.head
            && !is_told(status)
            && !enabled!(Level::DEBUG)
        {
            return;
        }
        if let Some(asked) = &self.asked {
            let is_fine = matches!((&self.end, self.head), (End::Reached, Some((..400, _))));
            if is_fine && !enabled!(Level::DEBUG) {
                return;
            }
            // A quiet route is its own path.
            self.span = asked.span(self.route.template, self.route.template);
        }
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
            End::Reached if self.route.quiet && status < 400 => {
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
        // Moves into the body. Boxed, since futures and answers are moved a lot.
        tale: Option<Box<Tale>>,
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
        tale: Option<Box<Tale>>,
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
mod tests;
