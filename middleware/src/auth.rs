//! Lets a request through if one header holds the key, compared by SHA-256 digest in constant time.
//!
//! ```
//! use bytes::Bytes;
//! use http::{HeaderName, Request, Response, StatusCode};
//! use http_body_util::Full;
//! use middleware::auth::{AuthLayer, KeyDigest};
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let inside = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(Full::<Bytes>::default())));
//! let layer = AuthLayer::new(HeaderName::from_static("x-auth-key"), KeyDigest::of(b"opensesame"));
//!
//! let answer = layer.layer(inside).oneshot(Request::new(())).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
//! # }
//! ```

use std::{
    fmt,
    task::{Context, Poll},
};

use ::metrics::Counter;
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower::{Layer, Service};

use crate::refusal::OrRefusal;

/// The SHA-256 digest of a key; the key itself is not kept. In words, of which fewer are compared than of bytes.
#[derive(Clone)]
pub struct KeyDigest([u64; 4]);

impl KeyDigest {
    /// Hashes `key`.
    pub fn of(key: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let (words, _) = digest.as_chunks();
        Self(std::array::from_fn(|n| u64::from_ne_bytes(words[n])))
    }

    /// Whether `candidate` has this digest. Takes the same time wherever the two differ.
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.ct_eq(&Self::of(candidate).0).into()
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(redacted)")
    }
}

/// Why a request was refused; the label of a count, never told to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Missing,
    Wrong,
}

/// Wraps a service in [`Auth`].
#[derive(Clone, Debug)]
pub struct AuthLayer {
    header: HeaderName,
    digest: KeyDigest,
    missing: Counter,
    wrong: Counter,
    greet: fn(&Extensions, bool),
}

impl AuthLayer {
    /// Asks for a key of `digest` in `header`.
    pub fn new(header: HeaderName, digest: KeyDigest) -> Self {
        Self {
            header,
            digest,
            missing: Counter::noop(),
            wrong: Counter::noop(),
            greet: |_, _| {},
        }
    }

    /// Counts the refused requests: those without a key, and those with a wrong, empty or repeated one.
    pub fn count(self, missing: Counter, wrong: Counter) -> Self {
        Self {
            missing,
            wrong,
            ..self
        }
    }

    /// Calls this with the extensions of each request, and whether it has the key.
    pub fn greet(self, greet: fn(&Extensions, bool)) -> Self {
        Self { greet, ..self }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Flaw> {
        let mut keys = headers.get_all(&self.header).iter();
        match (keys.next(), keys.next()) {
            (None, _) => Err(Flaw::Missing),
            (Some(key), None) if self.digest.matches(key.as_bytes()) => Ok(()),
            _ => Err(Flaw::Wrong),
        }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth {
            inner,
            layer: self.clone(),
        }
    }
}

/// Answers 401 to a request without the key; see the [module](self).
#[derive(Clone, Debug)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Auth<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = OrRefusal<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let checked = self.layer.check(request.headers());
        (self.layer.greet)(request.extensions(), checked.is_ok());
        match checked {
            Ok(()) => {}
            Err(Flaw::Missing) => self.layer.missing.increment(1),
            Err(Flaw::Wrong) => self.layer.wrong.increment(1),
        }
        OrRefusal::new(
            checked.is_ok().then(|| self.inner.call(request)),
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower_test::mock;

    const KEY: &str = "docker_ps_0123456789abcdef";

    /// The status for a request with `keys`, and whether the request went through.
    async fn knock(keys: &[&[u8]]) -> (StatusCode, bool) {
        let layer = AuthLayer::new(
            HeaderName::from_static("x-auth-key"),
            KeyDigest::of(KEY.as_bytes()),
        );
        let (mut service, mut handle) = mock::spawn_layer::<Request<()>, Response<Bytes>, _>(layer);
        handle.allow(1);
        let mut request = Request::new(());
        for key in keys {
            let value = http::HeaderValue::from_bytes(key).unwrap();
            request.headers_mut().append("x-auth-key", value);
        }
        assert!(service.poll_ready().is_ready());
        let answer = tokio::spawn(service.call(request));
        // The mock's handle ends without a request when the service was never called.
        drop(service);
        let passed = match handle.next_request().await {
            Some((_, respond)) => {
                respond.send_response(Response::new(Bytes::new()));
                true
            }
            None => false,
        };
        (answer.await.unwrap().unwrap().status(), passed)
    }

    #[tokio::test]
    async fn lets_the_key_through() {
        assert_eq!(knock(&[KEY.as_bytes()]).await, (StatusCode::OK, true));
    }

    #[tokio::test]
    async fn refuses_every_other_header() {
        let wrong_digit = KEY.replace('f', "e");
        let upper = KEY.to_uppercase();
        let longer = format!("{KEY}0");
        let cases: [&[&[u8]]; 9] = [
            &[],
            &[b""],
            &[wrong_digit.as_bytes()],
            &[upper.as_bytes()],
            &[longer.as_bytes()],
            &[&KEY.as_bytes()[..KEY.len() - 1]],
            &[KEY.as_bytes(), KEY.as_bytes()],
            &[KEY.as_bytes(), b""],
            &[b"\xff\xfe"],
        ];
        for keys in cases {
            let (status, passed) = knock(keys).await;
            assert_eq!(
                (status, passed),
                (StatusCode::UNAUTHORIZED, false),
                "{keys:?}"
            );
        }
    }

    #[test]
    fn never_shows_the_digest() {
        let layer = AuthLayer::new(HeaderName::from_static("x-auth-key"), KeyDigest::of(b"k"));
        assert!(format!("{layer:?}").contains("KeyDigest(redacted)"));
    }
}
