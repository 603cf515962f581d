//! Logs: once, as a stream in either dialect, and as a file.

use std::sync::Arc;

use http::{HeaderValue, header::CONTENT_DISPOSITION};
use jiff::Timestamp;
use metrics::gauge;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Body, Error, Question,
    body::{varying, with_type},
    query::{self, Format, LogParams},
    stream::event_stream,
};
use crate::{
    engine::{ContainerId, Engine, Facts, Tail},
    logs::{
        self, Batch, Line, LogError, Redaction,
        batch::{Json, Ndjson, Sent, Text},
        encoding::Encoding,
        follower::{Follower, Start},
        hub::Hub,
        many::{Many, Wanted},
        reading::Times,
        sse::{Dialect, Events},
        stretch::Gap,
    },
    telemetry::{Counted, name as metric},
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
    hub: Hub,
}

impl Settings {
    pub(super) fn new(
        hub: Hub,
        max_line: usize,
        redaction: Redaction,
        drain: CancellationToken,
    ) -> Self {
        Self {
            max_line,
            redaction,
            drain,
            hub,
        }
    }

    /// The lines that are wanted, as of now, of so much of the log's end if the query does not say.
    async fn lines(
        &self,
        engine: &Engine,
        id: &ContainerId,
        params: &LogParams,
        tail: Tail,
    ) -> Result<impl Stream<Item = Result<Line, LogError>> + Unpin + use<>, Error> {
        if params
            .after
            .as_deref()
            .is_some_and(|after| !after.is_empty())
        {
            let message =
                "The parameter after is for streams: what is no stream ends where the log does.";
            return Err(Error::Bad(message.into()));
        }
        let permit = self.hub.source().may_read_once()?;
        let counted = Counted::new(gauge!(metric::LOG_READERS, "kind" => "once"));
        let log = engine.logs(id, &params.query(tail)).await?;
        let view = params.view(&log.facts.config.env, &self.redaction);
        let lines = view.of(logs::lines(log, self.max_line));
        Ok(lines.map(move |line| {
            // For as long as there may be more.
            let _guards = (&permit, &counted);
            line
        }))
    }
}

/// `{"logs":[…]}`, or the first dialect's stream where the query asks to follow.
pub(super) async fn logs(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let params = LogParams::parse(question.query())?;
    if params.follow {
        return events(engine, settings, question, &params, ONCE, Dialect::Unnamed).await;
    }
    let id = question.name()?;
    let lines = settings.lines(engine, &id, &params, ONCE).await?;
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
    let foreign = || Error::Bad("The cursor is of another container.".into());
    let whole = Start::Tail(Tail::All, Times::default());
    let mut gap = None;
    let start = match &question.cursors(params)?[..] {
        [] => params.start(tail),
        [cursor] if cursor.is_of(&facts.id) => match cursor.is_next {
            false => Start::After(cursor.place),
            true if cursor.is_before_all() => whole,
            // In front of a line only those of many logs are.
            true => return Err(foreign()),
        },
        // The container has been made anew.
        [cursor] if settings.hub.source().is_gone(cursor).await? => {
            let after = cursor.clone();
            gap = Some(Gap {
                after,
                before: None,
            });
            whole
        }
        _ => return Err(foreign()),
    };
    // A client that comes back has had what it wants to be left out; counted from now, more would be.
    let times = match start {
        Start::Tail(_, times) => times,
        Start::After(_) => Times::default(),
    };
    let times = Times {
        until: params.times().until,
        ..times
    };
    let view = params.view(&facts.config.env, &settings.redaction);
    let follower = Follower::open(&settings.hub, facts, start, params.restarts, false).await?;
    let sent = Sent::begin(question.route.template);
    let drain = settings.drain.clone();
    let events = Events::new(
        follower,
        Encoding::new(dialect, view),
        id.as_str(),
        times,
        drain,
        sent,
    );
    let events = events.behind(gap.as_ref());
    Ok(event_stream(question, Body::events(events.into_stream())))
}

/// The logs of many containers as one stream.
pub(super) async fn many(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let params = LogParams::parse(question.query())?;
    let cursors = question.cursors(&params)?;
    let mut times = params.times();
    if !cursors.is_empty() {
        times.since = None;
    }
    let wanted = Wanted {
        selection: query::selection(question.query())?,
        tail: params.tail(STREAM),
        times,
        cursors,
    };
    let redaction = settings.redaction.clone();
    let views = move |facts: &Facts| params.view(&facts.config.env, &redaction);
    let many = Many::open(
        engine.clone(),
        settings.hub.clone(),
        Arc::new(views),
        wanted,
        settings.drain.clone(),
        Sent::begin(question.route.template),
    );
    let events = many.await?.into_stream();
    Ok(event_stream(question, Body::events(events)))
}

/// All of a log as a file.
pub(super) async fn download(engine: &Engine, settings: &Settings, question: &Question) -> Answer {
    let params = LogParams::parse(question.query())?;
    let id = question.name()?;
    let lines = settings.lines(engine, &id, &params, Tail::All).await?;
    let sent = Sent::begin(question.route.template);
    let (media_type, ending, body) = match params.format {
        Format::Text => {
            let text = Batch::new(lines, Text::default(), b"", sent).patient(question.may_pack);
            ("text/plain; charset=utf-8", "log", Body::stream(text))
        }
        Format::Ndjson => {
            let json = Batch::new(lines, Ndjson, b"", sent).patient(question.may_pack);
            ("application/x-ndjson", "ndjson", Body::stream(json))
        }
    };
    let mut answer = varying(with_type(HeaderValue::from_static(media_type), body));
    let time = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S");
    let name = HeaderValue::try_from(format!("attachment; filename=\"logs-{time}.{ending}\""))
        .expect("only digits, dashes and letters are filled in");
    answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(answer)
}
