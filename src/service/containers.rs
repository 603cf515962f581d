//! Containers: list, inspect, act, remove.

use std::time::Duration;

use http::Response;
use middleware::timeout::Elapsed;

use super::{Answer, Body, Error, body};
use crate::engine::{Action, ContainerId, Engine, Facts};

/// How much longer than its grace period a stop may take.
const MARGIN: Duration = Duration::from_secs(30);

/// The engine's grace period where a container has none of its own.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn list(engine: &Engine) -> Answer {
    Ok(body::untouched(engine.containers().await?))
}

pub(super) async fn inspect(engine: &Engine, id: &ContainerId) -> Answer {
    Ok(body::untouched(engine.container(id).await?))
}

/// Acts, and answers what the container is then.
pub(super) async fn act(engine: &Engine, id: &ContainerId, action: Action) -> Answer {
    match action {
        Action::Stop | Action::Restart => stop(engine, id, action).await?,
        Action::Start | Action::Pause | Action::Unpause => engine.act(id, action).await?,
    }
    inspect(engine, id).await
}

/// Waits for as long as the container may take to stop, and not for ever on an engine that hangs.
async fn stop(engine: &Engine, id: &ContainerId, action: Action) -> Result<(), Error> {
    let facts = tokio::time::timeout(MARGIN, engine.facts(id))
        .await
        .map_err(|_| Elapsed::after(MARGIN))??;
    let Some(grace) = grace(&facts) else {
        return Ok(engine.act(id, action).await?);
    };
    let limit = grace + MARGIN;
    tokio::time::timeout(limit, engine.act(id, action))
        .await
        .map_err(|_| Elapsed::after(limit))??;
    Ok(())
}

/// How long the engine waits before it kills; none: for ever.
fn grace(facts: &Facts) -> Option<Duration> {
    match facts.config.stop_timeout {
        None => Some(GRACE),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    }
}

pub(super) async fn remove(engine: &Engine, id: &ContainerId) -> Answer {
    engine.remove_container(id).await?;
    Ok(removed("Container", id.as_str()))
}

/// What the app shows of a removal.
pub(super) fn removed(what: &str, id: &str) -> Response<Body> {
    let message = format!("{what} {id} has been removed.");
    body::json(&serde_json::json!({ "message": message }))
}
