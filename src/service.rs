//! The container service: one route table, one handler a route.

mod acting;
pub mod body;
pub mod containers;
pub mod error;
pub mod images;
pub mod logs;
mod push;
pub mod query;
pub mod routes;
mod stream;

use std::{
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{TryFutureExt, future::BoxFuture};
use http::{
    HeaderValue, Request, Response, Uri, Version,
    header::{ACCEPT_ENCODING, CACHE_CONTROL},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use self::acting::{Acting, Limit};
use self::query::LogParams;
use self::routes::{Located, Op};
pub use self::{
    body::Body,
    error::{Error, rescue},
    routes::Route,
};
use crate::{
    engine::Engine,
    logs::{
        Redaction,
        cursor::Cursor,
        hub::{Hub, Limits},
    },
};

type Answer = Result<Response<Body>, Error>;

/// Does what the routes promise. Clones share everything.
#[derive(Clone, Debug)]
pub struct ContainerService {
    shared: Arc<Shared>,
}

/// What handlers have at hand.
#[derive(Debug)]
struct Shared {
    engine: Engine,
    acting: Acting,
    logs: logs::Settings,
    push: push::Settings,
}

/// What handlers must know of a request.
#[derive(Debug)]
struct Question {
    route: &'static Route,
    uri: Uri,
    version: Version,
    /// What a browser's EventSource says when it comes back.
    last_event_id: Option<HeaderValue>,
    /// Whether the answer may be compressed on its way, as far as that is offered.
    may_pack: bool,
}

impl Question {
    /// The name in the path.
    fn name<T: query::Name>(&self) -> Result<T, Error> {
        query::name(self.route.id(self.uri.path()))
    }

    /// The cursors to go on behind, one a container: of the header, or else of the query. An empty text is
    /// none.
    fn cursors(&self, params: &LogParams) -> Result<Vec<Cursor>, Error> {
        let text = self.place(params.after.as_deref())?;
        let texts = text.split(',').filter(|_| !text.is_empty());
        texts
            .map(|text| text.parse().map_err(|_| broken()))
            .collect()
    }

    /// The one place to go on behind, in the same way.
    fn after<T: FromStr>(&self, param: Option<&str>) -> Result<Option<T>, Error> {
        let text = Some(self.place(param)?).filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| broken()))
            .transpose()
    }

    /// The header first: a browser that comes back asks for the address that it began with, where the place is an older one.
    fn place<'a>(&'a self, param: Option<&'a str>) -> Result<&'a str, Error> {
        match &self.last_event_id {
            Some(header) if !header.is_empty() => header.to_str().map_err(|_| broken()),
            _ => Ok(param.unwrap_or_default()),
        }
    }

    fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

fn broken() -> Error {
    Error::Bad("The cursor is broken.".into())
}

impl ContainerService {
    /// A service on `engine`. A line of a log has at most `max_line` bytes of text, `redaction` says what is
    /// taken out of it, `limits` how many logs are read and followed, and streams end when `drain` is
    /// cancelled.
    pub fn new(
        engine: Engine,
        max_line: usize,
        limits: Limits,
        redaction: Redaction,
        drain: CancellationToken,
    ) -> Self {
        let hub = Hub::new(engine.clone(), max_line, limits);
        let push = push::Settings::new(engine.clone(), drain.clone());
        let logs = logs::Settings::new(hub, max_line, redaction, drain);
        Self {
            shared: Arc::new(Shared {
                engine,
                acting: Acting::new(),
                logs,
                push,
            }),
        }
    }

    /// Waits until no action is under way, of those whose clients have left, too.
    pub fn has_acted(&self) -> impl Future<Output = ()> + use<> {
        self.shared.acting.ended()
    }
}

impl<B> Service<Request<B>> for ContainerService {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    /// The request's body is dropped unread: no route has a use for one.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, _) = request.into_parts();
        let Some(route) = Located::of(&parts.extensions) else {
            return Answering::NoSuchPath;
        };
        if !route.takes(&parts.method) {
            return Answering::NotAllowed(route);
        }
        if route.op == Op::Health {
            return Answering::Healthy;
        }
        let question = Question {
            route,
            uri: parts.uri,
            version: parts.version,
            last_event_id: parts.headers.get("last-event-id").cloned(),
            may_pack: parts.headers.contains_key(ACCEPT_ENCODING),
        };
        Answering::Asked(Box::pin(answer(Arc::clone(&self.shared), question)))
    }
}

/// The future of [`ContainerService`]. What waits for nobody costs no box, and is made no sooner than it is wanted, since
/// futures are moved a lot.
pub enum Answering {
    /// Of a path that no route has.
    NoSuchPath,
    /// Of a method that the route does not answer.
    NotAllowed(&'static Route),
    /// `OK`.
    Healthy,
    /// By a handler.
    Asked(BoxFuture<'static, Answer>),
}

impl Future for Answering {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        Poll::Ready(match &mut *self {
            Self::NoSuchPath => Err(Error::NoSuchPath),
            Self::NotAllowed(route) => Err(Error::MethodNotAllowed(route.allow())),
            Self::Healthy => Ok(health()),
            Self::Asked(answer) => return answer.as_mut().poll(cx),
        })
    }
}

/// Kept by a client's own cache only, which asks each time whether it is still so. The key is in a header that caches do
/// not know to be one.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Reads are what is asked for all the time. The rest is boxed once more, since this future is as large as the largest
/// in it, and each answer pays for that.
async fn answer(shared: Arc<Shared>, question: Question) -> Answer {
    let engine = &shared.engine;
    let read = match question.route.op {
        Op::Containers => containers::list(engine, question.query()).await,
        Op::Container => containers::inspect(engine, &question.name()?).await,
        Op::Images => images::list(engine).await,
        Op::Image => images::inspect(engine, &question.name()?).await,
        _ => {
            let mut answer = match question.route.is_safe() {
                true => stream(&shared, &question).await?,
                false => Box::pin(see_through(shared, question)).await?,
            };
            let kept = answer.headers_mut().entry(CACHE_CONTROL);
            kept.or_insert(HeaderValue::from_static("no-store"));
            return Ok(answer);
        }
    };
    let mut read = body::in_forms(read?, question.may_pack).await?;
    read.headers_mut().insert(CACHE_CONTROL, ASK_AGAIN);
    Ok(read)
}

async fn see_through(shared: Arc<Shared>, question: Question) -> Answer {
    let (longest, uri) = (question.route.longest(), question.uri.clone());
    let action = |limit| act(Arc::clone(&shared), question, limit);
    shared.acting.see_through(uri.path(), longest, action).await
}

async fn act(shared: Arc<Shared>, question: Question, limit: Limit) -> Answer {
    let (engine, question) = (&shared.engine, &question);
    match question.route.op {
        Op::Act(action) => containers::act(engine, question, action).await,
        Op::Stop(action) => containers::stop(engine, question, action, limit).await,
        Op::RemoveContainer => containers::remove(engine, question).await,
        Op::RemoveImage => images::remove(engine, question).await,
        _ => unreachable!("it changes nothing"),
    }
}

/// What may go on for long. Boxed one by one, since one is larger than another.
fn stream<'a>(shared: &'a Shared, question: &'a Question) -> BoxFuture<'a, Answer> {
    let Shared {
        engine, logs, push, ..
    } = shared;
    match question.route.op {
        Op::Logs => Box::pin(logs::logs(engine, logs, question)),
        Op::LogStream => Box::pin(logs::stream(engine, logs, question)),
        Op::LogDownload => {
            let file = logs::download(engine, logs, question);
            Box::pin(file.map_err(|reason| Error::Download(Box::new(reason))))
        }
        Op::ManyLogs => Box::pin(logs::many(engine, logs, question)),
        Op::ContainerStream => Box::pin(push::containers(push, question)),
        Op::Events => Box::pin(push::events(engine, push, question)),
        _ => unreachable!("it is answered elsewhere"),
    }
}

fn health() -> Response<Body> {
    Response::new(Body::from(Bytes::from_static(b"OK")))
}
