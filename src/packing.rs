//! Which answers tower-http compresses: downloads of logs, and nothing else.

use http::{
    Extensions, HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{ACCEPT_ENCODING, CONTENT_DISPOSITION, CONTENT_ENCODING},
};
use tower_http::{
    CompressionLevel,
    compression::{CompressionBody, CompressionLayer},
};

use crate::service::{
    Body,
    routes::{Located, Op},
};

/// Which answers are packed, were they asked for so.
pub type Which = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Packs downloads by zstd or gzip, as the client prefers.
pub fn layer() -> CompressionLayer<Which> {
    CompressionLayer::new()
        // The host's processor and memory are its containers', and logs become small by the least effort.
        .quality(CompressionLevel::Fastest)
        .compress_when(is_download)
}

fn is_download(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers.contains_key(CONTENT_DISPOSITION)
}

/// A request as the layer may see it.
///
/// Where a client accepts nothing that the layer knows, its answer is 406, whatever has been done by then.
/// So it reads that header for downloads only, and an unpacked one is always acceptable (RFC 9110, 12.5.3,
/// lets a server disregard the header).
pub fn negotiable<B>(mut request: Request<B>) -> Request<B> {
    let is_download =
        Located::of(request.extensions()).is_some_and(|route| route.op == Op::LogDownload);
    let headers = request.headers_mut();
    if !is_download {
        headers.remove(ACCEPT_ENCODING);
    } else if let Some(first) = headers.get(ACCEPT_ENCODING) {
        let last_resort = b"identity;q=0.001, ";
        let wanted = HeaderValue::from_bytes(&[last_resort, first.as_bytes()].concat());
        let wanted = wanted.expect("a value in front of which plain text is put stays one");
        if let Some(first) = headers.get_mut(ACCEPT_ENCODING) {
            *first = wanted;
        }
    }
    request
}

/// The layer's answer with the one body type that there is.
pub fn body(answer: Response<CompressionBody<Body>>) -> Response<Body> {
    let is_packed = answer.headers().contains_key(CONTENT_ENCODING);
    answer.map(|body| {
        if is_packed {
            Body::packed(body)
        } else {
            body.into_inner()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::routes;

    /// What the layer sees of a request's `Accept-Encoding`.
    fn seen(path: &str, accepted: &[&'static str]) -> Vec<String> {
        let mut request = Request::builder().uri(path);
        for accepted in accepted {
            request = request.header(ACCEPT_ENCODING, *accepted);
        }
        let request = negotiable(routes::locate(request.body(()).unwrap()));
        let values = request.headers().get_all(ACCEPT_ENCODING).iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn only_who_downloads_is_asked() {
        for path in [
            "/",
            "/containers/a/logs",
            "/containers/a/logs/stream",
            "/containers/a/stop",
            "/x",
        ] {
            assert!(seen(path, &["gzip"]).is_empty(), "{path}");
        }
        let path = "/containers/a/logs/download";
        assert!(seen(path, &[]).is_empty());
        let expected = ["identity;q=0.001, *;q=0", "zstd"];
        assert_eq!(seen(path, &["*;q=0", "zstd"]), expected);
    }
}
