//! Logs: once, as a stream in either dialect, and as a file.

use http::{
    HeaderValue, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION},
};
use jiff::Timestamp;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::{Answer, Body, Error, Question, body::with_type, query::LogParams};
use crate::{
    engine::{ContainerId, Engine, LogQuery, Tail},
    logs::{
        self, Batch, Line, LogError,
        batch::{Json, Sent, Text},
        follower::{Follower, Start},
        hub::{Hub, Limits},
        sse::{Dialect, Events},
    },
};

/// How many lines of a log's end are sent where the client does not say.
const ONCE: Tail = Tail::Lines(1000);
const STREAM: Tail = Tail::Lines(100);

/// What every log answer depends on.
#[derive(Debug)]
pub(super) struct Settings {
    max_line: usize,
    /// Cancelled when the agent stops: streams end then, with their closing event.
    drain: CancellationToken,
    hub: Hub,
}

impl Settings {
    pub(super) fn new(
        engine: Engine,
        max_line: usize,
        limits: Limits,
        drain: CancellationToken,
    ) -> Self {
        let hub = Hub::new(engine, max_line, limits);
        Self {
            max_line,
            drain,
            hub,
        }
    }

    async fn lines(
        &self,
        engine: &Engine,
        id: &ContainerId,
        query: &LogQuery,
    ) -> Result<impl Stream<Item = Result<Line, LogError>> + Unpin + use<>, Error> {
        Ok(logs::lines(engine.logs(id, query).await?, self.max_line))
    }
}

/// `{"logs":[…]}`, or the first dialect's stream where the query asks to follow.
pub(super) async fn logs(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let params = LogParams::parse(question.query())?;
    if params.follow {
        return events(engine, settings, question, &params, ONCE, Dialect::Unnamed).await;
    }
    let query = params.query(false, ONCE);
    let lines = settings.lines(engine, &question.name()?, &query).await?;
    let sent = Sent::begin(question.route.template);
    let json = Batch::new(lines, Json::default(), Json::OPENING, sent);
    let media_type = HeaderValue::from_static("application/json");
    Ok(with_type(media_type, Body::stream(json)))
}

/// The second dialect's stream.
pub(super) async fn stream(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let params = LogParams::parse(question.query())?;
    events(engine, settings, question, &params, STREAM, Dialect::Named).await
}

async fn events(
    engine: &Engine,
    settings: &Settings,
    question: &Question,
    params: &LogParams,
    tail: Tail,
    dialect: Dialect,
) -> Answer {
    let id: ContainerId = question.name()?;
    let facts = engine.facts(&id).await?;
    let start = match question.cursor(params)? {
        Some(cursor) if cursor.is_of(&facts.id) => Start::After(cursor.place),
        Some(_) => return Err(Error::Bad("The cursor is of another container.".into())),
        None => params.start(tail),
    };
    let follower = Follower::open(&settings.hub, facts, start, params.restarts).await?;
    let sent = Sent::begin(question.route.template);
    let drain = settings.drain.clone();
    let events = Events::new(follower, dialect, id.as_str(), params.times(), drain, sent);
    let media_type = HeaderValue::from_static("text/event-stream");
    let mut answer = with_type(media_type, Body::events(events.into_stream()));
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Else nginx collects events before it sends them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if question.version == Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    Ok(answer)
}

/// All of a log as a file.
pub(super) async fn download(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let query = LogParams::parse(question.query())?.query(false, Tail::All);
    let lines = settings.lines(engine, &question.name()?, &query).await?;
    let sent = Sent::begin(question.route.template);
    let text = Batch::new(lines, Text, b"", sent);
    let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
    let mut answer = with_type(media_type, Body::stream(text));
    let name = Timestamp::now().strftime("attachment; filename=\"logs-%Y-%m-%dT%H-%M-%S.log\"");
    let name =
        HeaderValue::try_from(name.to_string()).expect("only digits and dashes are filled in");
    answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(answer)
}
