//! What a scripted engine has been asked, and what it holds open.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::watch;

use super::connection::matches;
use crate::support::wait;

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: Method,
    /// The path as sent, percent-encoding and version prefix included.
    pub path: String,
    /// The query as sent; empty where there is none.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Recorded {
    /// A query parameter, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The path's segment of this number, from 0; empty where there is none.
    pub fn segment(&self, number: usize) -> &str {
        self.path.split('/').nth(number + 1).unwrap_or_default()
    }
}

/// Counters and records; see [`RunningEngine::wait`](super::RunningEngine::wait).
#[derive(Debug, Default)]
pub struct State {
    /// Connections accepted since the first start.
    pub accepted: usize,
    /// Connections open now, idle ones included.
    pub connections: usize,
    /// Requests whose answer's head has not been given.
    pub waiting: usize,
    pub requests: Vec<Recorded>,
    /// The bodies being sent now: number of the request → its path.
    pub(super) bodies: BTreeMap<usize, String>,
}

impl State {
    /// The answers whose bodies are being sent now.
    pub fn bodies(&self) -> usize {
        self.bodies.len()
    }

    /// The answers to this path (matched like a route's) whose bodies are being sent now.
    pub fn bodies_at(&self, path: &str) -> usize {
        self.bodies
            .values()
            .filter(|at| matches(path, at.as_str()))
            .count()
    }

    /// The requests of this method and path (matched like a route's), in order.
    pub fn requests_to(&self, method: &str, path: &str) -> impl Iterator<Item = &Recorded> {
        self.requests.iter().filter(move |request| {
            (method == "*" || request.method == method) && matches(path, &request.path)
        })
    }
}

/// The state, shared by the engine's connections; every change wakes those who wait.
#[derive(Clone, Default)]
pub(super) struct SharedState(Arc<watch::Sender<State>>);

impl SharedState {
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.0.borrow())
    }

    pub(super) async fn wait(&self, what: &str, wanted: impl FnMut(&State) -> bool) {
        let mut changes = self.0.subscribe();
        let held = tokio::time::timeout(wait::SOON, changes.wait_for(wanted))
            .await
            .is_ok();
        assert!(held, "not soon: {what}; the engine: {:#?}", self.0.borrow());
    }

    /// Changes the state now, and back when the guard is dropped.
    pub(super) fn hold(
        &self,
        enter: impl FnOnce(&mut State),
        leave: impl FnOnce(&mut State) + Send + 'static,
    ) -> Held {
        self.0.send_modify(enter);
        Held {
            state: self.clone(),
            leave: Some(Box::new(leave)),
        }
    }

    /// Records a request and returns its number.
    pub(super) fn record(&self, request: Recorded) -> usize {
        let mut number = 0;
        self.0.send_modify(|state| {
            number = state.requests.len();
            state.requests.push(request);
        });
        number
    }
}

type Change = Box<dyn FnOnce(&mut State) + Send>;

/// A change that is undone on drop.
pub(super) struct Held {
    state: SharedState,
    leave: Option<Change>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            self.state.0.send_modify(leave);
        }
    }
}
