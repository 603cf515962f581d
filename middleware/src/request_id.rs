//! Gives each request an id, in its header `x-request-id` for those inside, and tells it in the answer's.
//!
//! A client's own id is kept if it is one short word, since it ends up in logs and in the answer.
//!
//! ```
//! use http::{Request, Response};
//! use middleware::request_id::{HEADER, RequestIdLayer};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let inside = service_fn(async |request: Request<()>| {
//!     Ok::<_, BoxError>(Response::new(request.headers()[HEADER].clone()))
//! });
//! let answer = RequestIdLayer::new().layer(inside).oneshot(Request::new(())).await.unwrap();
//! assert_eq!(answer.headers()[HEADER], answer.body());
//! # }
//! ```

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// Where the id stands.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client.
const MAX_LEN: usize = 64;

/// Wraps a service in [`RequestIds`].
#[derive(Clone, Debug)]
pub struct RequestIdLayer {
    ids: Ids,
}

impl RequestIdLayer {
    /// Begins to count.
    pub fn new() -> Self {
        Self { ids: Ids::new() }
    }
}

impl Default for RequestIdLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestIds<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestIds {
            inner,
            ids: self.ids.clone(),
        }
    }
}

/// Numbers requests; see the [module](self).
#[derive(Clone, Debug)]
pub struct RequestIds<S> {
    inner: S,
    ids: Ids,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RequestIds<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RequestIdFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let id = match fit(request.headers()) {
            Some(id) => id.clone(),
            None => {
                let id = self.ids.next();
                request.headers_mut().insert(HEADER, id.clone());
                id
            }
        };
        RequestIdFuture {
            inner: self.inner.call(request),
            id: Some(id),
        }
    }
}

pin_project! {
    /// The future of [`RequestIds`].
    #[derive(Debug)]
    pub struct RequestIdFuture<F> {
        #[pin]
        inner: F,
        id: Option<HeaderValue>,
    }
}

impl<F, B, E> Future for RequestIdFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx))?;
        if let Some(id) = this.id.take() {
            answer.headers_mut().insert(HEADER, id);
        }
        Poll::Ready(Ok(answer))
    }
}

/// The client's own id, if there is one and it may be used.
fn fit(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut ids = headers.get_all(HEADER).iter();
    match (ids.next(), ids.next()) {
        (Some(id), None) if is_fit(id) => Some(id),
        _ => None,
    }
}

fn is_fit(id: &HeaderValue) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&id.len()) && id.as_bytes().iter().all(is_part)
}

/// Makes ids: a random word for this process, and a number.
#[derive(Clone, Debug)]
struct Ids {
    word: [u8; 8],
    next: Arc<AtomicU64>,
}

impl Ids {
    fn new() -> Self {
        let process = getrandom::u32().unwrap_or_else(|_| std::process::id());
        let mut word = [0; 8];
        hex::encode_to_slice(process.to_be_bytes(), &mut word).expect("the digits fit");
        Self {
            word,
            next: Arc::default(),
        }
    }

    fn next(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = Id::new(self.word, itoa::Buffer::new().format(number));
        // Bytes with an owner are not allocated again when they are first cloned.
        HeaderValue::from_maybe_shared(Bytes::from_owner(id)).expect("letters, digits and a dash")
    }
}

/// `word-number`.
struct Id {
    text: [u8; 8 + 1 + 20],
    len: usize,
}

impl Id {
    fn new(word: [u8; 8], number: &str) -> Self {
        let mut text = [b'-'; 29];
        let len = 9 + number.len();
        text[..8].copy_from_slice(&word);
        text[9..len].copy_from_slice(number.as_bytes());
        Self { text, len }
    }
}

impl AsRef<[u8]> for Id {
    fn as_ref(&self) -> &[u8] {
        &self.text[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    /// The ids that the service inside and the client see.
    async fn seen(layer: &RequestIdLayer, ids: &[&str]) -> (Vec<HeaderValue>, Vec<HeaderValue>) {
        let all = |headers: &HeaderMap| headers.get_all(HEADER).iter().cloned().collect();
        let service = layer.layer(service_fn(async |request: Request<()>| {
            let inside: Vec<_> = all(request.headers());
            Ok::<_, Infallible>(Response::new(inside))
        }));
        let mut request = Request::builder();
        for id in ids {
            request = request.header(HEADER, *id);
        }
        let answer = service.oneshot(request.body(()).unwrap()).await.unwrap();
        (answer.body().clone(), all(answer.headers()))
    }

    #[tokio::test]
    async fn keeps_one_short_word() {
        let layer = RequestIdLayer::new();
        let (inside, told) = seen(&layer, &["4fa6-E.0_c"]).await;
        assert_eq!(inside, ["4fa6-E.0_c"]);
        assert_eq!(told, inside);
    }

    #[tokio::test]
    async fn replaces_everything_else() {
        let layer = RequestIdLayer::new();
        let long = "a".repeat(65);
        for ids in [
            &[][..],
            &[""],
            &["a b"],
            &["a\"b"],
            &["a;b=c"],
            &[&long],
            &["a", "b"],
        ] {
            let (inside, told) = seen(&layer, ids).await;
            assert_eq!(inside.len(), 1, "{ids:?}");
            assert!(is_fit(&inside[0]) && !ids.contains(&inside[0].to_str().unwrap()));
            assert_eq!(told, inside);
        }
    }

    #[test]
    fn makes_ids_that_differ() {
        let ids = Ids::new();
        let (one, other) = (ids.next(), ids.next());
        assert_ne!(one, other);
        for (id, end) in [(one, "-0"), (other, "-1")] {
            assert!(is_fit(&id) && id.to_str().unwrap().ends_with(end), "{id:?}");
        }
        ids.next.store(u64::MAX, Ordering::Relaxed);
        let last = ids.next();
        assert!(last.to_str().unwrap().ends_with("-18446744073709551615"));
    }
}
