//! The stack without a process around it, so that a test can stop the clock.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use docker_ps_agent::engine::Engine;
use docker_ps_agent::logs::{Redaction, hub::Limits};
use docker_ps_agent::service::{Body, ContainerService};
use docker_ps_agent::stack::stack;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use middleware::{BoxError, auth::KeyDigest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt, util::BoxCloneService};

use crate::support::scripted::RunningEngine;

const KEY: &str = "key";

const LIMITS: Limits = Limits {
    readers: 16,
    readers_per_container: 4,
    followers: 16,
    followers_per_container: 16,
};

/// An answer whose body is still to be read.
pub type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The stack; clones share it.
#[derive(Clone)]
pub struct Inside(BoxCloneService<Request<()>, Answer, Infallible>);

impl Inside {
    /// Around the container service on this engine.
    pub fn on(engine: &RunningEngine) -> Self {
        let engine = Engine::new(&engine.docker_host().parse().unwrap(), 8);
        let drain = CancellationToken::new();
        let redaction = Redaction::default();
        let service = ContainerService::new(engine, 1 << 20, LIMITS, redaction, drain);
        Self::around(service)
    }

    /// Around any service.
    pub fn around<S>(service: S) -> Self
    where
        S: Service<Request<()>, Response = Response<Body>> + Clone + Send + 'static,
        S::Error: Into<BoxError> + Clone + Send,
        S::Future: Send,
    {
        let stack = stack(
            service,
            KeyDigest::of(KEY.as_bytes()),
            CancellationToken::new(),
        );
        let stack = stack.map_response(|answer| answer.map(BodyExt::boxed_unsync));
        Self(BoxCloneService::new(stack))
    }

    /// `GET`, the head.
    pub async fn get(self, path: &str) -> Answer {
        let request = Request::get(path).header("x-auth-key", KEY);
        let request = request.body(()).unwrap();
        self.0.oneshot(request).await.unwrap()
    }
}

/// The next piece of a body; none at its end, an error where it is cut.
pub async fn piece(answer: &mut Answer) -> Option<Result<Bytes, BoxError>> {
    let frame = answer.body_mut().frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

/// Stops the clock, which then goes on in leaps, over all the time in which nothing happens but that something is
/// waited for; gives what `wait` does, and the time that has passed for it.
///
/// Leaps do not wait for sockets. So this is for waits in which no byte moves.
pub async fn leaping<T>(wait: impl Future<Output = T>) -> (T, Duration) {
    tokio::time::pause();
    let begun = Instant::now();
    let done = wait.await;
    let passed = begun.elapsed();
    tokio::time::resume();
    (done, passed)
}

/// Whether it took so many seconds, but for what had passed before the clock stood still.
pub fn is_about(passed: Duration, seconds: u64) -> bool {
    let wanted = Duration::from_secs(seconds);
    (wanted.saturating_sub(Duration::from_secs(4))..wanted + Duration::from_secs(1))
        .contains(&passed)
}
