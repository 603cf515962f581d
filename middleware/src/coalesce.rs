//! Lets identical reads that wait together share one call, and never hands out an answer that is older than
//! its question.
//!
//! A request that arrives while a call for its key is under way may not have that call's answer, which may
//! tell of a time before the question. It joins the next call, which begins when the one under way has ended,
//! and serves all who have gathered by then. Behind a call that took some milliseconds and had several askers it begins a
//! little later, for those of them who ask again at once. So there is at most one call a key at a time, and the more ask,
//! the more answers each call gives.
//!
//! A call is made by those who wait for it: the first of them polls it. Where that one leaves, the next
//! takes over; where all leave, the call is dropped. Errors and panics reach all askers of their call and
//! nobody else. The answer is read to its end first; the askers share its bytes.
//!
//! A call may be given a time, see [`CoalesceLayer::limit`]. Each asker has all of it, since it begins with the call.
//!
//! What is held has a limit, see [`Limits`]. An answer past it goes to one asker as it comes, and the others
//! ask by themselves.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Method, Request, Response};
//! use http_body_util::Full;
//! use middleware::coalesce::{CoalesceLayer, Limits};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
//! let inside = {
//!     let calls = calls.clone();
//!     service_fn(move |_: Request<()>| {
//!         calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
//!         async {
//!             tokio::task::yield_now().await;
//!             Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("hello")))
//!         }
//!     })
//! };
//! let key = |request: &Request<()>| (request.method() == Method::GET).then(|| request.uri().clone());
//! let layer = CoalesceLayer::new(key, |body, _read: Bytes| body, Limits::default());
//! let service = layer.layer(inside);
//!
//! let ask = || service.clone().oneshot(Request::new(()));
//! // The second and the third come while the first call is under way.
//! let (one, two, three) = tokio::join!(ask(), ask(), ask());
//! assert!(one.is_ok() && two.is_ok() && three.is_ok());
//! assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 2);
//! # }
//! ```

mod answer;
mod lanes;
mod linger;

use std::{
    fmt,
    future::Future,
    hash::Hash,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll, ready},
    time::Duration,
};

use ::metrics::Counter;
use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};
use tower::{Layer, Service, ServiceExt, util::Oneshot};

pub use self::answer::{Panicked, Torn};
use self::{
    answer::{Call, Made, Outcome, make},
    lanes::{Lanes, Step, Ticket},
};
use crate::{BoxError, timeout::TimeoutFuture};

/// How much is shared at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest answer that is held, in bytes.
    pub answer: usize,
    /// All answers that are held, in bytes, until the last of their askers has sent them.
    pub answers: usize,
    /// The most keys. A request past them is not shared.
    pub keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: 8 << 20,
            answers: 64 << 20,
            keys: 1024,
        }
    }
}

/// Wraps a service of errors `E` and bodies `B` in [`Coalesce`].
pub struct CoalesceLayer<F, K, B, E> {
    key: F,
    settings: Settings<B>,
    lanes: PhantomData<fn() -> (K, E)>,
}

impl<F: Clone, K, B, E> Clone for CoalesceLayer<F, K, B, E> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            settings: self.settings.clone(),
            lanes: PhantomData,
        }
    }
}

impl<F, K, B, E> fmt::Debug for CoalesceLayer<F, K, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceLayer")
            .field("limits", &self.settings.limits)
            .finish_non_exhaustive()
    }
}

struct Settings<B> {
    limits: Limits,
    limit: fn(&Extensions) -> Option<Duration>,
    put_back: fn(B, Bytes) -> B,
    seal: fn(&mut Response<Bytes>),
    shared: Counter,
}

// Written out, since a derived one would want `B: Clone`.
impl<B> Clone for Settings<B> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            ..*self
        }
    }
}

impl<F, K, B, E> CoalesceLayer<F, K, B, E> {
    /// Requests of the same `key` share calls; those without one are let through. A key must hold all that
    /// an answer depends on. `put_back` makes a body of what was read of it already, and the rest.
    pub fn new<R>(key: F, put_back: fn(B, Bytes) -> B, limits: Limits) -> Self
    where
        F: Fn(&Request<R>) -> Option<K>,
    {
        let settings = Settings {
            limits,
            limit: |_| None,
            put_back,
            seal: |_| {},
            shared: Counter::noop(),
        };
        Self {
            key,
            settings,
            lanes: PhantomData,
        }
    }

    /// How long a call may take, from its beginning until its answer has been read, by the extensions of the request that it
    /// is made with. After that its askers get the error [`Elapsed`](crate::timeout::Elapsed). They may have waited as long
    /// for the call before it.
    pub fn limit(mut self, limit: fn(&Extensions) -> Option<Duration>) -> Self {
        self.settings.limit = limit;
        self
    }

    /// Does this once to each answer that is held.
    pub fn seal(mut self, seal: fn(&mut Response<Bytes>)) -> Self {
        self.settings.seal = seal;
        self
    }

    /// Counts the requests that were answered by a call which another one had made.
    pub fn count(mut self, shared: Counter) -> Self {
        self.settings.shared = shared;
        self
    }
}

impl<S, F, K, B, E> Layer<S> for CoalesceLayer<F, K, B, E>
where
    F: Clone,
    K: Hash + Eq + Clone,
    E: Clone,
{
    type Service = Coalesce<S, F, K, B, E>;

    fn layer(&self, inner: S) -> Self::Service {
        Coalesce {
            inner,
            key: self.key.clone(),
            shared: Arc::new(Shared {
                lanes: Lanes::new(self.settings.limits.keys),
                held: Arc::default(),
                settings: self.settings.clone(),
            }),
        }
    }
}

/// Shares calls; see the [module](self).
pub struct Coalesce<S, F, K, B, E> {
    inner: S,
    key: F,
    shared: Arc<Shared<B, K, E>>,
}

impl<S: Clone, F: Clone, K, B, E> Clone for Coalesce<S, F, K, B, E> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            key: self.key.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: fmt::Debug, F, K, B, E> fmt::Debug for Coalesce<S, F, K, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesce")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

struct Shared<B, K, E> {
    lanes: Lanes<K, Call<B, E>, Outcome<E>>,
    /// The bytes of all answers that are held.
    held: Arc<AtomicUsize>,
    settings: Settings<B>,
}

impl<S, F, B, K, ReqBody> Service<Request<ReqBody>> for Coalesce<S, F, K, B, S::Error>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Clone + Into<BoxError> + Send + 'static,
    S::Future: Send,
    F: Fn(&Request<ReqBody>) -> Option<K>,
    K: Hash + Eq + Clone,
    B: Body<Data = Bytes> + From<Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
    ReqBody: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = CoalesceFuture<S, B, K, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Some(key) = (self.key)(&request) else {
            let inner = self.inner.call(request);
            return CoalesceFuture {
                way: Way::Through { inner },
            };
        };
        // The ready one makes the call, if this request is the one that does.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let own = Box::new((inner, request));
        CoalesceFuture {
            way: Way::Asking {
                own: Some((key, own)),
                shared: Arc::clone(&self.shared),
            },
        }
    }
}

/// An asker's place at a call. Dropped: it has left.
struct Seat<B, K: Hash + Eq + Clone, E: Clone> {
    shared: Arc<Shared<B, K, E>>,
    key: K,
    /// None: it was told.
    ticket: Option<Ticket>,
    /// For how long its call lingers.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<B, K: Hash + Eq + Clone, E: Clone> Drop for Seat<B, K, E> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.lanes.leave(&self.key, ticket);
        }
    }
}

impl<B, K: Hash + Eq + Clone, E: Clone> Seat<B, K, E> {
    /// Waits for what the call comes to, and polls it where that falls to this asker.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Made<B, E>> {
        let ticket = self.ticket.expect("polled after it was ready");
        let lanes = &self.shared.lanes;
        let mut call = loop {
            match lanes.step(&self.key, ticket, cx.waker()) {
                Step::Wait => return Poll::Pending,
                Step::Linger(until) => {
                    let sleep = || Box::pin(sleep_until(until));
                    ready!(self.linger.get_or_insert_with(sleep).as_mut().poll(cx));
                    self.linger = None;
                }
                Step::Take(told) => {
                    self.ticket = None;
                    return Poll::Ready(Made::Told(told));
                }
                Step::Poll(call) => {
                    self.linger = None;
                    break call;
                }
            }
        };
        let made = match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                lanes.park(&self.key, ticket, call);
                return Poll::Pending;
            }
            Ok(Poll::Ready(made)) => made,
            Err(_) => Made::Told(Outcome::Panicked),
        };
        // Before the next one may begin.
        drop(call);
        self.ticket = None;
        let may_return = matches!(made, Made::Told(Outcome::Answer(_)));
        let others = lanes.end(&self.key, ticket, may_return, || match &made {
            Made::Told(outcome) => outcome.clone(),
            Made::Long(_) => Outcome::Alone,
        });
        if let Made::Told(_) = made {
            let others = u64::try_from(others).unwrap_or(u64::MAX);
            self.shared.settings.shared.increment(others);
        }
        Poll::Ready(made)
    }
}

/// What a request is made with.
type Own<S, ReqBody> = Box<(S, Request<ReqBody>)>;

pin_project! {
    /// The future of [`Coalesce`].
    pub struct CoalesceFuture<S, B, K, ReqBody>
    where
        S: Service<Request<ReqBody>>,
        S::Error: Clone,
        K: Hash,
        K: Eq,
        K: Clone,
    {
        #[pin]
        way: Way<S, B, K, ReqBody>,
    }
}

pin_project! {
    #[project = WayProj]
    enum Way<S, B, K, ReqBody>
    where
        S: Service<Request<ReqBody>>,
        S::Error: Clone,
        K: Hash,
        K: Eq,
        K: Clone,
    {
        // Not shared.
        Through { #[pin] inner: S::Future },
        // Has not been polled yet. Only whoever is polled takes a place: it may lead a call that others wait for, and a
        // server may let a request wait behind an answer that its client does not read.
        Asking {
            own: Option<(K, Own<S, ReqBody>)>,
            shared: Arc<Shared<B, K, S::Error>>,
        },
        // Waits with others. What it would ask with, if it must ask by itself.
        Joined { seat: Seat<B, K, S::Error>, own: Option<Own<S, ReqBody>> },
        // Had to ask by itself after all.
        Alone { inner: Pin<Box<TimeoutFuture<Oneshot<S, Request<ReqBody>>>>> },
    }
}

impl<S, B, K, ReqBody> Future for CoalesceFuture<S, B, K, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Send + 'static,
    S::Error: Clone + Into<BoxError> + Send + 'static,
    S::Future: Send,
    K: Hash + Eq + Clone,
    B: Body<Data = Bytes> + From<Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
    ReqBody: Send + 'static,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut way = self.project().way;
        loop {
            let (seat, own) = match way.as_mut().project() {
                WayProj::Through { inner } => return inner.poll(cx).map_err(Into::into),
                WayProj::Alone { inner } => return inner.as_mut().poll(cx),
                WayProj::Asking { own, shared } => {
                    let (key, own) = own.take().expect("it asks once");
                    let next = take_place(Arc::clone(shared), key, own);
                    way.set(next);
                    continue;
                }
                WayProj::Joined { seat, own } => (seat, own),
            };
            return Poll::Ready(match ready!(seat.poll(cx)) {
                Made::Long(answer) => Ok(answer),
                Made::Told(Outcome::Answer(answer)) => Ok(answer.map(B::from)),
                Made::Told(Outcome::Failed(error)) => Err(error.into()),
                Made::Told(Outcome::Torn(error)) => Err(error.into()),
                Made::Told(Outcome::TooLate(error)) => Err(error.into()),
                Made::Told(Outcome::Panicked) => Err(Panicked.into()),
                Made::Told(Outcome::Alone) => {
                    let own = own.take().expect("whoever made the call was answered");
                    let limit = seat.shared.settings.limit;
                    way.set(alone(*own, limit));
                    continue;
                }
            });
        }
    }
}

/// Joins the call that has not begun or makes one; asks alone where there are too many keys.
fn take_place<S, B, K, ReqBody>(
    shared: Arc<Shared<B, K, S::Error>>,
    key: K,
    own: Own<S, ReqBody>,
) -> Way<S, B, K, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<B>> + Send + 'static,
    S::Error: Clone + Send + 'static,
    S::Future: Send,
    K: Hash + Eq + Clone,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
    ReqBody: Send + 'static,
{
    let (settings, held) = (&shared.settings, &shared.held);
    let make = |own: Own<S, ReqBody>| -> Call<B, S::Error> {
        let (inner, request) = *own;
        Box::pin(make(inner, request, settings.clone(), Arc::clone(held)))
    };
    match shared.lanes.arrive(&key, own, make) {
        (Some(ticket), own) => {
            let ticket = Some(ticket);
            let seat = Seat {
                shared,
                key,
                ticket,
                linger: None,
            };
            Way::Joined { seat, own }
        }
        (None, own) => {
            let own = own.expect("without a ticket all comes back");
            alone(*own, settings.limit)
        }
    }
}

fn alone<S, B, K, ReqBody>(
    (inner, request): (S, Request<ReqBody>),
    limit: fn(&Extensions) -> Option<Duration>,
) -> Way<S, B, K, ReqBody>
where
    S: Service<Request<ReqBody>>,
    S::Error: Clone,
    K: Hash + Eq + Clone,
{
    let limit = limit(request.extensions());
    Way::Alone {
        inner: Box::pin(TimeoutFuture::new(inner.oneshot(request), limit)),
    }
}

#[cfg(test)]
mod again;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod tests;
