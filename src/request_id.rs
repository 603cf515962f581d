//! Ids of requests.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Request};
use tower_http::request_id::{MakeRequestId, RequestId};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client.
const MAX_LEN: usize = 64;

/// Takes a client's id away unless it is one short word, since it ends up in logs and in the answer.
pub fn drop_unfit<B>(mut request: Request<B>) -> Request<B> {
    let mut ids = request.headers().get_all(HEADER).iter();
    let fit = match (ids.next(), ids.next()) {
        (Some(id), None) => is_fit(id),
        (None, _) => true,
        _ => false,
    };
    if !fit {
        request.headers_mut().remove(HEADER);
    }
    request
}

fn is_fit(id: &HeaderValue) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_LEN).contains(&id.len()) && id.as_bytes().iter().all(is_part)
}

/// Makes ids: a random word for this process, and a number.
#[derive(Clone, Debug)]
pub struct Numbered {
    process: u32,
    next: Arc<AtomicU64>,
}

impl Numbered {
    /// Begins to count.
    pub fn new() -> Self {
        let process = getrandom::u32().unwrap_or_else(|_| std::process::id());
        Self {
            process,
            next: Arc::default(),
        }
    }
}

impl Default for Numbered {
    fn default() -> Self {
        Self::new()
    }
}

impl MakeRequestId for Numbered {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = BytesMut::with_capacity(32);
        write!(id, "{:08x}-{number}", self.process).ok()?;
        HeaderValue::from_maybe_shared(id.freeze())
            .ok()
            .map(RequestId::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(ids: &[&str]) -> bool {
        let mut request = Request::builder();
        for id in ids {
            request = request.header(HEADER, *id);
        }
        let request = drop_unfit(request.body(()).unwrap());
        request.headers().contains_key(HEADER)
    }

    #[test]
    fn keeps_one_short_word_and_nothing_else() {
        assert!(kept(&["4fa6-E.0_c"]));
        let long = "a".repeat(65);
        for ids in [
            &[""][..],
            &["a b"],
            &["a\"b"],
            &["a;b=c"],
            &[&long],
            &["a", "b"],
        ] {
            assert!(!kept(ids), "{ids:?}");
        }
    }

    #[test]
    fn makes_ids_that_differ() {
        let mut maker = Numbered::new();
        let mut id = || {
            maker
                .make_request_id(&Request::new(()))
                .unwrap()
                .into_header_value()
        };
        let (one, other) = (id(), id());
        assert_ne!(one, other);
        assert!(is_fit(&one), "{one:?}");
    }
}
