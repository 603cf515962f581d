//! Answers 304 where a client has the answer already: its `If-None-Match` names the `ETag` of what it would
//! get.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode, header::{ETAG, IF_NONE_MATCH}};
//! use middleware::conditional::{ConditionalLayer, tag};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let inside = service_fn(async |_: Request<()>| {
//!     let mut answer = Response::new(Bytes::from("hello"));
//!     tag(&mut answer);
//!     Ok::<_, BoxError>(answer)
//! });
//! let service = ConditionalLayer.layer(inside);
//! let first = service.clone().oneshot(Request::new(())).await.unwrap();
//!
//! let again = Request::builder().header(IF_NONE_MATCH, &first.headers()[ETAG]).body(()).unwrap();
//! let again = service.oneshot(again).await.unwrap();
//! assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
//! # }
//! ```

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Another one in each process, so that nobody can find two answers of the same tag.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("etag"));

/// Gives an answer of status 200 a strong `ETag`: the XXH3 hash of its body, 128 bits.
pub fn tag(answer: &mut Response<Bytes>) {
    if answer.status() != StatusCode::OK {
        return;
    }
    // A digest like SHA-256 would cost more than all else that is done with an answer.
    let hash = xxh3_128_with_seed(answer.body(), *SEED);
    let mut tag = [b'"'; 34];
    hex::encode_to_slice(hash.to_be_bytes(), &mut tag[1..33]).expect("the digits fit");
    let tag = HeaderValue::from_bytes(&tag).expect("digits and quotes are allowed");
    answer.headers_mut().insert(ETAG, tag);
}

/// Wraps a service in [`Conditional`].
#[derive(Clone, Copy, Debug)]
pub struct ConditionalLayer;

impl<S> Layer<S> for ConditionalLayer {
    type Service = Conditional<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Conditional { inner }
    }
}

/// Spares clients what they have; see the [module](self).
#[derive(Clone, Debug)]
pub struct Conditional<S> {
    inner: S,
}

impl<S, ReqBody, B> Service<Request<ReqBody>> for Conditional<S>
where
    S: Service<Request<ReqBody>, Response = Response<B>>,
    B: From<Bytes>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ConditionalFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let known = known(request.headers());
        ConditionalFuture {
            inner: self.inner.call(request),
            known,
        }
    }
}

/// What the client has, in one line.
fn known(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(IF_NONE_MATCH).iter();
    let first = lines.next()?.clone();
    let mut all = match lines.next() {
        None => return Some(first),
        Some(second) => [first.as_bytes(), second.as_bytes()].join(&b","[..]),
    };
    for line in lines {
        all.push(b',');
        all.extend_from_slice(line.as_bytes());
    }
    // What was allowed in several values is allowed in one.
    HeaderValue::from_bytes(&all).ok()
}

/// Whether one of these tags is `tag`, be it a weak one (RFC 9110, 13.1.2).
fn names(known: &[u8], tag: &[u8]) -> bool {
    if known.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = known;
    // A tag is what stands between quotes, commas and all.
    while let Some(open) = rest.iter().position(|byte| *byte == b'"') {
        let Some(len) = rest[open + 1..].iter().position(|byte| *byte == b'"') else {
            return false;
        };
        let close = open + 1 + len;
        if &rest[open..=close] == tag {
            return true;
        }
        rest = &rest[close + 1..];
    }
    false
}

pin_project! {
    /// The future of [`Conditional`].
    #[derive(Debug)]
    pub struct ConditionalFuture<F> {
        #[pin]
        inner: F,
        known: Option<HeaderValue>,
    }
}

impl<F, B, E> Future for ConditionalFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: From<Bytes>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.inner.poll(cx))?;
        if let Some(known) = this.known
            && answer.status() == StatusCode::OK
            && let Some(tag) = answer.headers().get(ETAG)
            && names(known.as_bytes(), tag.as_bytes())
        {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
                answer.headers_mut().remove(name);
            }
            answer = answer.map(|_| B::from(Bytes::new()));
        }
        Poll::Ready(Ok(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(body: &'static str) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::from(body));
        tag(&mut answer);
        answer
    }

    /// Opaque, between quotes, and not marked as weak (RFC 9110, 8.8.3).
    fn is_strong(tag: &HeaderValue) -> bool {
        let inside = tag.as_bytes().strip_prefix(b"\"");
        let inside = inside.and_then(|rest| rest.strip_suffix(b"\""));
        inside.is_some_and(|inside| inside.len() == 32 && !inside.contains(&b'"'))
    }

    #[test]
    fn tags_what_is_whole_by_its_bytes() {
        let tag_of = |body| tagged(body).headers()[ETAG].clone();
        assert_eq!(tag_of("a"), tag_of("a"));
        assert_ne!(tag_of("a"), tag_of("b"));
        let text = tag_of("abc");
        let hash = xxh3_128_with_seed(b"abc", *SEED);
        assert_eq!(text, format!("\"{hash:032x}\""));
        assert!(is_strong(&text));
        let mut refused = Response::new(Bytes::new());
        *refused.status_mut() = StatusCode::NOT_FOUND;
        tag(&mut refused);
        assert!(!refused.headers().contains_key(ETAG));
    }

    #[test]
    fn finds_a_tag_among_others() {
        let tag = b"\"abc\"";
        for known in [
            "*",
            " * ",
            "\"abc\"",
            "W/\"abc\"",
            "\"x\", \"abc\"",
            "W/\"a,b\",W/\"abc\"",
            "\"\",\"abc\"",
        ] {
            assert!(names(known.as_bytes(), tag), "{known}");
        }
        for known in [
            "",
            "abc",
            "\"ab\"",
            "\"abc",
            "\"x,\"abc",
            "\"*\"",
            "*, \"x\"",
        ] {
            assert!(!names(known.as_bytes(), tag), "{known}");
        }
    }

    #[test]
    fn reads_several_lines_as_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(known(&headers), None);
        for tag in ["\"a\"", "\"b\"", "\"c\""] {
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(tag));
        }
        assert_eq!(known(&headers).unwrap(), "\"a\",\"b\",\"c\"");
    }
}
