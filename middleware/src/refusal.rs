//! The one form in which a request is refused: a status and `{"message": "…"}` as JSON.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

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
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
