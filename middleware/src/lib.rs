//! Tower layers of the agent: one concern a file, none of which knows what it stands in front of.
//!
//! # Layout
//!
//! | file | what its layer does |
//! |---|---|
//! | [`auth`] | lets a request through if its key's digest is the stored one, in constant time |
//! | [`coalesce`] | lets identical reads that wait together share one call, none older than its question |
//! | [`conditional`] | answers 304 to a client that has the answer already |
//! | [`head_limit`] | refuses a request whose head is too long |
//! | [`key_watch`] | refuses requests and cuts bodies once a token says that the key file has changed |
//! | [`metrics`] | counts requests by route, method and status, and times their heads |
//! | [`request_id`] | gives each request an id and tells it in the answer |
//! | [`rescue`] | turns errors into answers, so that nothing above it can fail |
//! | [`switch`] | takes some requests through layers that all others go past |
//! | [`timeout`] | bounds the wait for an answer's head, by route |
//! | [`trace`] | one span a request, one line a finished answer |
//!
//! Beside the layers: [`file_watch`] notices every change of one file, and [`refusal`] is the one form
//! in which a layer refuses.
//!
//! Layers that depend on the route take a function of the request's [`http::Extensions`], in which an
//! outer layer has put whatever the function looks for.

pub mod auth;
pub mod coalesce;
pub mod conditional;
pub mod file_watch;
pub mod head_limit;
pub mod key_watch;
pub mod metrics;
pub mod refusal;
pub mod request_id;
pub mod rescue;
pub mod switch;
pub mod timeout;
pub mod trace;

/// The error of bodies and of services below the place that turns causes into statuses.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
