//! Containers: list, inspect, act, remove.

use std::time::Duration;

use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Limited};
use middleware::timeout::Elapsed;

use super::{
    Answer, Body, Error, Question, acting::Limit, body, query::ListParams, routes::UNATTENDED,
};
use crate::engine::{self, Action, ContainerId, Engine, Facts};

/// How much longer than its grace period a stop may take.
const MARGIN: Duration = Duration::from_secs(30);

/// The engine's grace period where a container has none of its own.
const GRACE: Duration = Duration::from_secs(10);

/// The most that is read of a list of which parts are wanted, in bytes.
const MAX_LIST: usize = 64 << 20;

pub(super) async fn list(engine: &Engine, query: &str) -> Answer {
    let params = ListParams::parse(query)?;
    let answer = engine.containers(&params.query).await?;
    let Some(fields) = &params.fields else {
        return Ok(body::untouched(answer));
    };
    let whole = Limited::new(answer.body, MAX_LIST).collect().await;
    let whole = whole.map_err(engine::Error::broken)?.to_bytes();
    let picked = fields.pick(&whole).map_err(engine::Error::broken)?;
    let json = HeaderValue::from_static("application/json");
    Ok(body::with_type(json, picked.into()))
}

pub(super) async fn inspect(engine: &Engine, id: &ContainerId) -> Answer {
    Ok(body::untouched(engine.container(id).await?))
}

/// Acts, and answers what the container is then.
pub(super) async fn act(engine: &Engine, question: &Question, action: Action) -> Answer {
    act_on(engine, &question.name()?, action).await
}

async fn act_on(engine: &Engine, id: &ContainerId, action: Action) -> Answer {
    engine.act(id, action).await?;
    match engine.container(id).await {
        Ok(answer) => Ok(body::untouched(answer)),
        // One that is removed when it stops, which it may do at once.
        Err(error) if error.says_gone() => Ok(removed("Container", id.as_str())),
        Err(error) => Err(error.into()),
    }
}

/// Acts in a way that waits for the container to stop: the client for as long as that may take, the agent for longer, and
/// neither for ever on an engine that hangs.
pub(super) async fn stop(
    engine: &Engine,
    question: &Question,
    action: Action,
    limit: Limit,
) -> Answer {
    let id = &question.name()?;
    let facts = within(MARGIN, async { Ok(engine.facts(id).await?) }).await?;
    let acts = act_on(engine, id, action);
    let Some(grace) = grace(&facts) else {
        return acts.await;
    };
    // The client may have left.
    let _ = limit.send(grace + MARGIN);
    within(grace + UNATTENDED, acts).await
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Elapsed::after(limit).into()),
    }
}

/// How long the engine waits before it kills; none: for ever.
fn grace(facts: &Facts) -> Option<Duration> {
    match facts.config.stop_timeout {
        None => Some(GRACE),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    }
}

pub(super) async fn remove(engine: &Engine, question: &Question) -> Answer {
    let id: ContainerId = question.name()?;
    engine.remove_container(&id).await?;
    Ok(removed("Container", id.as_str()))
}

/// What the app shows of a removal.
pub(super) fn removed(what: &str, id: &str) -> Response<Body> {
    let message = format!("{what} {id} has been removed.");
    body::json(&serde_json::json!({ "message": message }))
}
