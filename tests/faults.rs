//! What an engine or a client does wrong, and what becomes of it.

mod errors;
mod escape;
mod frames;
mod inside;
mod panic;
mod paths;
mod quiet;
mod slow;
mod torn;
mod unreachable;

use crate::support::client::Reply;

/// An answer in the one form of a refusal: its `message`.
fn refusal(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let json = reply.json();
    assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
    json["message"].as_str().unwrap().to_owned()
}

/// A request for each kind of call that is made to the engine.
const EVERY_KIND: [&str; 8] = [
    "/containers",
    "/containers/c",
    "/containers/c/start",
    "/containers/c/remove",
    "/containers/c/logs",
    "/containers/c/logs/stream",
    "/images",
    "/images/i/remove",
];
