//! Logs: once, as a stream in either dialect, and as a file.

use http::{
    HeaderValue, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION},
};
use jiff::Timestamp;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Body, Error, Question,
    body::with_type,
    query::{Format, LogParams},
};
use crate::{
    engine::{ContainerId, Engine, Tail},
    logs::{
        self, Batch, Line, LogError, Redaction,
        batch::{Json, Ndjson, Sent, Text},
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
    redaction: Redaction,
    /// Cancelled when the agent stops: streams end then, with their closing event.
    drain: CancellationToken,
}

impl Settings {
    pub(super) fn new(max_line: usize, redaction: Redaction, drain: CancellationToken) -> Self {
        Self {
            max_line,
            redaction,
            drain,
        }
    }

    /// The lines that are wanted, followed or not, of so much of the log's end if the query does not say.
    async fn lines(
        &self,
        engine: &Engine,
        id: &ContainerId,
        params: &LogParams,
        follow: bool,
        tail: Tail,
    ) -> Result<impl Stream<Item = Result<Line, LogError>> + Unpin + use<>, Error> {
        let log = engine.logs(id, &params.query(follow, tail)).await?;
        let view = params.view(&log.facts.config.env, &self.redaction);
        Ok(view.of(logs::lines(log, self.max_line)))
    }
}

/// `{"logs":[…]}`, or the first dialect's stream where the query asks to follow.
pub(super) async fn logs(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let params = LogParams::parse(question.query())?;
    if params.follow {
        return events(engine, settings, question, &params, ONCE, Dialect::Unnamed).await;
    }
    let id = question.name()?;
    let lines = settings.lines(engine, &id, &params, false, ONCE).await?;
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
    let lines = settings.lines(engine, &id, params, true, tail).await?;
    let sent = Sent::begin(question.route.template);
    let events = Events::new(lines, dialect, id.as_str(), settings.drain.clone(), sent);
    let media_type = HeaderValue::from_static("text/event-stream");
    let mut answer = with_type(media_type, Body::events(events));
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
    let params = LogParams::parse(question.query())?;
    let id = question.name()?;
    let lines = settings
        .lines(engine, &id, &params, false, Tail::All)
        .await?;
    let sent = Sent::begin(question.route.template);
    let (media_type, ending, body) = match params.format {
        Format::Text => {
            let text = Batch::new(lines, Text, b"", sent).patient(question.may_pack);
            ("text/plain; charset=utf-8", "log", Body::stream(text))
        }
        Format::Ndjson => {
            let json = Batch::new(lines, Ndjson, b"", sent).patient(question.may_pack);
            ("application/x-ndjson", "ndjson", Body::stream(json))
        }
    };
    let mut answer = with_type(HeaderValue::from_static(media_type), body);
    let time = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S");
    let name = HeaderValue::try_from(format!("attachment; filename=\"logs-{time}.{ending}\""))
        .expect("only digits, dashes and letters are filled in");
    answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(answer)
}
