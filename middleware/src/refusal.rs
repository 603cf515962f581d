//! The one form in which a request is refused: a status and `{"message": "…"}` as JSON.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use pin_project_lite::pin_project;

/// An answer of `status` whose JSON body has `message` as its only member.
///
/// ```
/// use middleware::refusal::refusal;
///
/// let answer = refusal::<bytes::Bytes>(http::StatusCode::NOT_FOUND, "no such page");
/// assert_eq!(answer.body(), r#"{"message":"no such page"}"#);
/// ```
pub fn refusal<B: From<Bytes>>(status: StatusCode, message: &str) -> Response<B> {
    let body = serde_json::json!({ "message": message }).to_string();
    let mut answer = Response::new(B::from(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Caches may keep a 404 by themselves.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pin_project! {
    /// The answer of the service below, or a refusal where that was not called.
    #[derive(Debug)]
    pub struct OrRefusal<F> {
        // None: refused.
        #[pin]
        inner: Option<F>,
        status: StatusCode,
        message: &'static str,
    }
}

impl<F> OrRefusal<F> {
    /// What `inner` answers; without one, a [`refusal`].
    pub fn new(inner: Option<F>, status: StatusCode, message: &'static str) -> Self {
        Self {
            inner,
            status,
            message,
        }
    }
}

impl<F, B, E> Future for OrRefusal<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<Bytes>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx),
            None => Poll::Ready(Ok(refusal(*this.status, this.message))),
        }
    }
}
