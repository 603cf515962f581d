//! Which answers are compressed, and how: reads and downloads of logs, by the client's choice.

use http::{
    Extensions, HeaderMap, HeaderValue, Request, Response, StatusCode, Version,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY},
};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionBody, CompressionLayer,
        predicate::{And, Predicate, SizeAbove},
    },
};

use crate::service::Body;

/// Which answers are packed, were they asked for so.
pub type Which = And<fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool, SizeAbove>;

/// What is shorter than this, in bytes, is sent as it is.
const WORTHWHILE: u64 = 1024;

/// Packs by zstd or gzip, as was [chosen](choose).
pub fn layer() -> CompressionLayer<Which> {
    let varies: fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool = varies;
    CompressionLayer::new()
        // The host's processor and memory are its containers', and JSON and logs become small by the least effort.
        .quality(CompressionLevel::Fastest)
        .compress_when(varies.and(SizeAbove::new(WORTHWHILE)))
}

/// Handlers say by `Vary` that an answer may come in several forms.
fn varies(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers.contains_key(VARY)
}

/// A request as those inside may see it: with the one coding that its answer is sent in, if it is packed.
///
/// So requests that accept different codings may share an answer, and the layer never finds that a client
/// accepts nothing: an unpacked answer is always acceptable (RFC 9110, 12.5.3, lets a server disregard the
/// header).
pub fn choose<B>(mut request: Request<B>) -> Request<B> {
    if !request.headers().contains_key(ACCEPT_ENCODING) {
        return request;
    }
    let coding = best(request.headers());
    let headers = request.headers_mut();
    match coding {
        Some(coding) => headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding)),
        None => headers.remove(ACCEPT_ENCODING),
    };
    request
}

/// The coding that the client likes best of those that there are; zstd where it likes both the same.
fn best(headers: &HeaderMap) -> Option<&'static str> {
    let weight = |coding| weight(headers, coding);
    let zstd = weight("zstd").or_else(|| weight("*")).unwrap_or(0);
    let gzip = weight("gzip")
        .max(weight("x-gzip"))
        .or_else(|| weight("*"))
        .unwrap_or(0);
    // Plain is worth what the client says, and else the least.
    let plain = weight("identity").unwrap_or(0);
    match zstd.max(gzip) {
        0 => None,
        best if best < plain => None,
        best if best == zstd => Some("zstd"),
        _ => Some("gzip"),
    }
}

/// The weight that the client gives a coding, in thousandths; none where it does not name it. What cannot be
/// read is not named.
fn weight(headers: &HeaderMap, coding: &str) -> Option<u16> {
    let lines = headers.get_all(ACCEPT_ENCODING).iter();
    let mut items = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    items.find_map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, "q=1"));
        if !name.trim().eq_ignore_ascii_case(coding) {
            return None;
        }
        let parameters = parameters.trim();
        let weight = parameters
            .strip_prefix("q=")
            .or_else(|| parameters.strip_prefix("Q="))?;
        thousandths(weight)
    })
}

/// A weight of RFC 9110, 12.4.2: `0` or `1`, and up to three decimals.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1000),
        _ => None,
    }
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
    use bytes::Bytes;
    use futures_util::{StreamExt, stream::unfold};
    use http_body_util::BodyExt;
    use tokio::task::yield_now;
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::service::body::in_forms;

    /// What those inside see of a request's `Accept-Encoding`.
    fn seen(accepted: &[&'static str]) -> Option<String> {
        let mut request = Request::builder();
        for accepted in accepted {
            request = request.header(ACCEPT_ENCODING, *accepted);
        }
        let request = choose(request.body(()).unwrap());
        let mut values = request.headers().get_all(ACCEPT_ENCODING).iter();
        let seen = values.next().map(|value| value.to_str().unwrap().into());
        assert!(values.next().is_none());
        seen
    }

    #[test]
    fn chooses_what_the_client_likes_best() {
        for (accepted, coding) in [
            (&[][..], None),
            (&["gzip"], Some("gzip")),
            (&["gzip, deflate, br, zstd"], Some("zstd")),
            (&["zstd;q=0.5, gzip"], Some("gzip")),
            (&["ZSTD ; q=0.8", "x-gzip;q=0.801"], Some("gzip")),
            (&["*"], Some("zstd")),
            (&["*, zstd;q=0"], Some("gzip")),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some("gzip")),
            (&["gzip;q=0"], None),
            (&["*;q=0"], None),
            (&["identity;q=0"], None),
            (&["deflate, br"], None),
            (&["gzip;q=2"], None),
            (&["gzip;q=0.0001"], None),
            (&["gzip;level=1"], None),
            (&[""], None),
        ] {
            assert_eq!(seen(accepted).as_deref(), coding, "{accepted:?}");
        }
    }

    /// The packed bytes of an answer that comes in these pieces, with a pause behind each.
    async fn packed(pieces: &[&'static str]) -> Bytes {
        let pieces = pieces.to_vec();
        let inside = service_fn(move |_: Request<()>| {
            let pieces = unfold(pieces.clone().into_iter(), async |mut pieces| {
                yield_now().await;
                Some((Ok(Bytes::from(pieces.next()?)), pieces))
            })
            .fuse();
            let answer = Response::new(Body::stream::<_, std::io::Error>(pieces));
            in_forms(answer, true)
        });
        let request = Request::builder().header(ACCEPT_ENCODING, "gzip");
        let answer = layer().layer(inside).oneshot(request.body(()).unwrap());
        let answer = body(answer.await.unwrap());
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
        answer.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn what_breaks_off_before_it_can_be_packed_is_an_error() {
        let answer = || {
            let pieces = [Ok(Bytes::from("[")), Err(std::io::Error::other("cut"))];
            Response::new(Body::stream(futures_util::stream::iter(pieces)))
        };
        assert!(in_forms(answer(), true).await.is_err());
        assert!(in_forms(answer(), false).await.is_ok());
    }

    #[tokio::test]
    async fn packs_into_the_same_bytes_however_an_answer_comes() {
        static TEXT: &str = include_str!("packing.rs");
        let whole = packed(&[TEXT]).await;
        for cut in [1, 700, 2000] {
            let (one, two) = TEXT.split_at(cut);
            assert_eq!(packed(&[one, two]).await, whole, "cut at {cut}");
        }
    }
}
