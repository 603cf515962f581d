//! Refuses a request whose head is too long.
//!
//! A server has such a limit too, and a sharper one is of use behind it: hyper's is one of its buffer, and lets heads
//! through that come in few reads.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use middleware::head_limit::HeadLimitLayer;
//! use tower::{BoxError, Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let inside = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(Bytes::new())));
//! let service = HeadLimitLayer::new(1024).layer(inside);
//! let request = Request::get("/").header("cookie", "x".repeat(1024)).body(()).unwrap();
//! let answer = service.oneshot(request).await.unwrap();
//! assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
//! # }
//! ```

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service};

use crate::refusal::OrRefusal;

/// Wraps a service in [`HeadLimit`].
#[derive(Clone, Copy, Debug)]
pub struct HeadLimitLayer {
    most: usize,
}

impl HeadLimitLayer {
    /// Lets heads of at most so many bytes through, from the method to the blank line, as HTTP/1.1 writes them.
    pub fn new(most: usize) -> Self {
        Self { most }
    }
}

impl<S> Layer<S> for HeadLimitLayer {
    type Service = HeadLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HeadLimit {
            inner,
            most: self.most,
        }
    }
}

/// Answers 431 to a head that is too long; see the [module](self).
#[derive(Clone, Debug)]
pub struct HeadLimit<S> {
    inner: S,
    most: usize,
}

/// How long a request's head is, in bytes, as HTTP/1.1 writes it with the least white space.
pub fn len<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    // Those of a request to a proxy, which any server has to take.
    let scheme = uri
        .scheme_str()
        .map_or(0, |scheme| scheme.len() + "://".len());
    let authority = uri
        .authority()
        .map_or(0, |authority| authority.as_str().len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let target = scheme + authority + path;
    let first = request.method().as_str().len() + target + "  HTTP/1.1\r\n\r\n".len();
    let headers = request.headers().iter();
    first
        + headers.fold(0, |sum, (name, value)| {
            sum + name.as_str().len() + value.len() + ": \r\n".len()
        })
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for HeadLimit<S>
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
        let fits = len(&request) <= self.most;
        OrRefusal::new(
            fits.then(|| self.inner.call(request)),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The request's head is too long.",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test]
    async fn counts_every_byte_of_a_head() {
        for target in ["/a?b", "http://user@c:80/a?b"] {
            let head = format!("GET {target} HTTP/1.1\r\nhost: c\r\nx-d: \r\n\r\n");
            for (most, status) in [(head.len(), 200), (head.len() - 1, 431)] {
                let inside = service_fn(async |_| Ok::<_, Infallible>(Response::new(Bytes::new())));
                let request = Request::get(target).header("host", "c").header("x-d", "");
                let service = HeadLimitLayer::new(most).layer(inside);
                let answer = service.oneshot(request.body(()).unwrap()).await.unwrap();
                assert_eq!(answer.status(), status, "{target}");
            }
        }
    }
}
