//! What Prometheus reads: `GET /metrics` on a listener of its own, without a key.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use metrics::gauge;
use middleware::refusal::refusal;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    engine::Engine,
    telemetry::{Metrics, name as metric},
};

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How old the knowledge may be whether the engine is reachable; a scrape asks it no more often.
const FRESH: Duration = Duration::from_secs(1);

/// How long a scrape waits for the engine.
const PATIENCE: Duration = Duration::from_secs(2);

/// The service behind the metrics listener.
#[derive(Clone)]
pub struct Exposition {
    metrics: Metrics,
    engine: Engine,
    asked: Arc<Mutex<Option<Instant>>>,
}

impl Exposition {
    /// Shows `metrics`, and whether `engine` is reachable at that moment.
    pub fn new(metrics: Metrics, engine: Engine) -> Self {
        Self {
            metrics,
            engine,
            asked: Arc::default(),
        }
    }

    /// Answers one request.
    pub async fn answer<B>(self, request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.uri().path() != "/metrics" {
            let message = "There is no such path; metrics are at /metrics.";
            return Ok(refusal::<Bytes>(StatusCode::NOT_FOUND, message).map(Full::new));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let message = "This path does not answer that method.";
            let mut answer = refusal::<Bytes>(StatusCode::METHOD_NOT_ALLOWED, message);
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            return Ok(answer.map(Full::new));
        }
        self.ask_engine().await;
        let mut answer = Response::new(Full::from(self.metrics.render()));
        let text = HeaderValue::from_static(TEXT);
        answer.headers_mut().insert(CONTENT_TYPE, text);
        Ok(answer)
    }

    /// Pings the engine, which sets the gauge, unless that was done just now.
    async fn ask_engine(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() > FRESH) {
            if timeout(PATIENCE, self.engine.ping()).await.is_err() {
                tracing::warn!("the Docker Engine does not answer a ping");
                gauge!(metric::ENGINE_REACHABLE).set(0.0);
            }
            *asked = Some(Instant::now());
        }
    }
}
