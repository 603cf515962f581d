//! The scripted engine's side of the wire: accept, record, match a route, answer.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::answer::{Answer, Content};
use super::body::EngineBody;
use super::state::{Recorded, SharedState};

pub(super) type MakeAnswer = Arc<dyn Fn(&Recorded) -> Answer + Send + Sync>;

struct Route {
    method: String,
    path: String,
    answer: MakeAnswer,
}

/// The routes and the record.
#[derive(Default)]
pub(super) struct Script {
    routes: Mutex<Vec<Route>>,
    pub(super) state: SharedState,
    /// Tells every connection to go.
    pub(super) kick: Notify,
}

impl Script {
    pub(super) fn route(&self, method: &str, path: &str, answer: MakeAnswer) {
        let (method, path) = (method.to_owned(), path.to_owned());
        let route = Route {
            method,
            path,
            answer,
        };
        self.routes.lock().unwrap().push(route);
    }

    fn answer(&self, request: &Recorded) -> Answer {
        let make = self
            .routes
            .lock()
            .unwrap()
            .iter()
            .rev()
            .find(|route| {
                (route.method == "*" || request.method == *route.method)
                    && matches(&route.path, &request.path)
            })
            .map(|route| Arc::clone(&route.answer));
        // Called outside the lock: the closure may take its time, or panic.
        make.map_or_else(
            || Answer::message(404, "page not found"),
            |make| make(request),
        )
    }
}

/// Whether a path, less its version prefix, is the pattern's.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let versioned = path
        .strip_prefix("/v")
        .and_then(|rest| rest.split_once('/'));
    let path = match versioned {
        Some((version, rest)) if version.bytes().all(|b| b.is_ascii_digit() || b == b'.') => rest,
        _ => path.trim_start_matches('/'),
    };
    let mut segments = path.split('/');
    for wanted in pattern.trim_start_matches('/').split('/') {
        match (wanted, segments.next()) {
            ("**", _) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

pub(super) async fn accept(
    listener: Listener,
    script: Arc<Script>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (script, stop) = (Arc::clone(&script), stop.clone());
        let stream = accepted.expect("accepting on a socket of our own");
        tasks.spawn(async move { stop.run_until_cancelled(serve(stream, script)).await });
    }
}

async fn serve(stream: Box<dyn Stream>, script: Arc<Script>) {
    let kicked = script.kick.notified();
    let _open = script.state.hold(
        |state| {
            state.accepted += 1;
            state.connections += 1;
        },
        |state| state.connections -= 1,
    );
    let (hijack, mut hijacked) = mpsc::channel(1);
    let service = service_fn(|request| respond(request, &script, hijack.clone()));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut connection => {}
        () = kicked => {}
        Some(garbage) = hijacked.recv() => {
            let mut stream = connection.into_parts().io.into_inner();
            // The reader may have gone: that is its affair.
            let _: io::Result<()> = async {
                stream.write_all(&garbage).await?;
                stream.shutdown().await
            }
            .await;
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    script: &Script,
    hijack: mpsc::Sender<Bytes>,
) -> Result<Response<EngineBody>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let request = Recorded {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: body.unwrap_or_default(),
    };
    let waiting = script
        .state
        .hold(|state| state.waiting += 1, |state| state.waiting -= 1);
    let number = script.state.record(request.clone());
    let answer = script.answer(&request);
    if let Some(gate) = &answer.gate {
        gate.wait().await;
    }
    tokio::time::sleep(answer.delay).await;
    let open = |path| {
        script.state.hold(
            |state| drop(state.bodies.insert(number, path)),
            move |state| drop(state.bodies.remove(&number)),
        )
    };
    let body = match answer.content {
        Content::Bytes(bytes) => EngineBody::fixed(bytes, open(request.path)),
        Content::Chunks(make) => EngineBody::chunked(make(), open(request.path)),
        Content::HangHead => std::future::pending().await,
        Content::Garbage(bytes) => {
            hijack.send(bytes).await.ok();
            std::future::pending().await
        }
    };
    drop(waiting);
    let mut response = Response::new(body);
    *response.status_mut() = answer.status.try_into().unwrap();
    *response.headers_mut() = answer.headers;
    Ok(response)
}
