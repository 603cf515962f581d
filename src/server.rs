//! Listeners, connections and their limits, the threads that serve them, and the drain.

mod connections;
mod gather;
mod head_timer;
mod strangers;
mod workers;

use std::{
    cell::RefCell,
    convert::{Infallible, identity},
    future::pending,
    io,
    net::{self, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    TryFutureExt,
    future::{Either, MapOk, select},
};
use http::{HeaderValue, Request, Response, header::CONNECTION};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use metrics::gauge;
use middleware::{BoxError, head_limit, trace::Peer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt, util::Oneshot};

pub use self::{
    connections::Connections,
    strangers::greet,
    workers::{Worker, Workers},
};
use self::{
    gather::Gather,
    head_timer::HeadTimer,
    strangers::{Guest, Room, Strangers},
};
use crate::{
    tcp,
    telemetry::{Counted, name as metric},
};

/// How long a client may take to send a request's head, and how long a connection may be unused.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest head of a request; a longer one is answered 431. hyper may let through what
/// comes in few reads up to twice as long, [`stack`](crate::stack) does not.
pub const MAX_HEAD: usize = 64 * 1024;

/// The longest body of a request that is taken notice of: none needs one.
const MAX_BODY: usize = 64 * 1024;

/// How long requests may go on once the agent is to stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// How long a client that has not shown the key may go on with its head then.
const STRANGERS: Duration = Duration::from_secs(1);

/// How long to wait where a connection cannot be taken, for want of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections may wait to be taken.
const BACKLOG: i32 = 1024;

/// One of the agent's listeners.
#[derive(Debug)]
pub struct Listener {
    name: &'static str,
    socket: TcpListener,
    max_connections: usize,
}

impl Listener {
    /// Listens at `address`. `[::]` is for IPv4 too, and means `0.0.0.0` where there is no IPv6.
    ///
    /// # Errors
    ///
    /// Those of the operating system, with the address: the port is taken, or not allowed.
    pub fn bind(
        name: &'static str,
        address: SocketAddr,
        max_connections: usize,
    ) -> io::Result<Self> {
        let socket = match listen(address) {
            Err(error) if is_without_ipv6(&error) && address.ip() == Ipv6Addr::UNSPECIFIED => {
                listen((Ipv4Addr::UNSPECIFIED, address.port()).into())
            }
            bound => bound,
        };
        let socket = socket.map_err(|error| {
            let message = format!("Cannot listen on {address} ({name}): {error}");
            io::Error::new(error.kind(), message)
        })?;
        let listener = Self {
            name,
            socket,
            max_connections,
        };
        let address = listener.socket.local_addr()?;
        tracing::info!(listener = name, %address, "listening");
        Ok(listener)
    }

    /// Serves connections on `workers` until `stop` is cancelled, then lets those that are open finish for [`DRAIN`], and
    /// then what else `has_ended` waits for.
    ///
    /// Where it is full, the client that came first of those that have not shown the key leaves for the one that comes. The
    /// service says who has, by [`greet`].
    pub async fn serve<S, B>(
        self,
        service: S,
        workers: Workers,
        stop: CancellationToken,
        has_ended: impl Future<Output = ()>,
    ) where
        S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let open = gauge!(metric::CONNECTIONS, "listener" => self.name);
        open.set(0.0);
        let strangers = Strangers::default();
        let mut http = http1::Builder::new();
        http.header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD);
        while let Some(accepted) = stop.run_until_cancelled(self.accept()).await {
            let Some((stream, peer)) = accepted else {
                continue;
            };
            // Above the limit this one waits, and all others do in the backlog; they are not turned away.
            let permit = self.permit(&permits, &strangers);
            let Some(permit) = stop.run_until_cancelled(permit).await else {
                break;
            };
            let guest = strangers.admit();
            let service = service
                .clone()
                .map_request(introduce(peer, Arc::clone(&guest)));
            let mut http = http.clone();
            let (open, watcher) = (Counted::new(open.clone()), graceful.watcher());
            let sending = Arc::clone(&guest);
            let connection = workers.run(async move {
                let _open = open;
                // Both belong to the runtime that they are made on.
                let Ok(stream) = TcpStream::from_std(stream) else {
                    return;
                };
                let connection = http.timer(HeadTimer::default()).serve_connection(
                    TokioIo::new(Gather::new(stream, sending)),
                    OneByOne(RefCell::new(service)),
                );
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%peer, %error, "connection failed");
                }
                drop(permit);
            });
            guest.is_served_by(connection);
        }
        drop(self.socket);
        let left = graceful.count();
        tracing::info!(listener = self.name, connections = left, "draining");
        // One after the other: as long as there is a connection, something may begin.
        let all = pin!(async {
            graceful.shutdown().await;
            has_ended.await;
        });
        let sending_away = pin!(async {
            sleep(STRANGERS).await;
            strangers.dismiss_all();
            pending::<()>().await;
        });
        if timeout(DRAIN, select(all, sending_away)).await.is_err() {
            tracing::warn!(listener = self.name, "connections are cut off");
        }
    }

    /// The right to serve one more; where there is none left, a stranger's.
    async fn permit(
        &self,
        permits: &Arc<Semaphore>,
        strangers: &Strangers,
    ) -> OwnedSemaphorePermit {
        let mut permit = pin!(Arc::clone(permits).acquire_owned());
        loop {
            // One that is free is taken first.
            let room = match permits.available_permits() {
                0 => strangers.make_room(),
                _ => Room::Made,
            };
            let again = async {
                match room {
                    Room::From(time) => sleep_until(time).await,
                    Room::Made | Room::None => pending().await,
                }
            };
            tokio::select! {
                biased;
                permit = &mut permit => return permit.expect("it is never closed"),
                () = again => {}
            }
        }
    }

    /// The next connection, which belongs to no runtime yet; none if it could not be taken.
    async fn accept(&self) -> Option<(net::TcpStream, SocketAddr)> {
        match self.socket.accept().await {
            // An error: the client has gone already.
            Ok((stream, peer)) => match tcp::prepare(&stream).and_then(|()| stream.into_std()) {
                Ok(stream) => Some((stream, peer)),
                Err(_) => None,
            },
            Err(error) => {
                tracing::warn!(listener = self.name, %error, "cannot take a connection");
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }
}

/// A request as the service sees it: with who asks.
fn introduce(
    peer: SocketAddr,
    guest: Arc<Guest>,
) -> impl Fn(Request<Incoming>) -> Request<()> + Clone + Send + 'static {
    move |mut request| {
        let head = (!guest.is_known()).then(|| head_limit::len(&request));
        let extensions = request.extensions_mut();
        extensions.insert(Peer(peer));
        if let Some(head) = head {
            guest.asked(head);
            extensions.insert(Arc::clone(&guest));
        }
        request.map(ignore)
    }
}

/// Takes a body that no route has a use for off its connection, so that the client can read its answer. One that is long, or
/// takes long, is cut off.
fn ignore(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(timeout(HEAD_TIMEOUT, async move {
        let mut left = MAX_BODY;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(len) {
                Some(less) => left = less,
                None => break,
            }
        }
    }));
}

/// A service for the requests of one connection, which come one after the other, so that it need not be cloned
/// for each.
///
/// One with a body is the last of them: hyper would take the next while the answer is still to be sent, and keep as many
/// answers as the client asks for without reading them.
struct OneByOne<S>(RefCell<S>);

/// What is done to an answer.
type Finish<B> = fn(Response<B>) -> Response<B>;

fn as_last<B>(mut answer: Response<B>) -> Response<B> {
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

impl<S, R, B> hyper::service::Service<Request<R>> for OneByOne<S>
where
    S: Service<Request<R>, Response = Response<B>> + Clone,
    R: Body,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = MapOk<Either<S::Future, Pin<Box<Oneshot<S, Request<R>>>>>, Finish<B>>;

    fn call(&self, request: Request<R>) -> Self::Future {
        let finish: Finish<B> = match request.body().is_end_stream() {
            true => identity,
            false => as_last,
        };
        let mut service = self.0.borrow_mut();
        // Mostly it is ready; else a clone waits until it is.
        let answer = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => Either::Left(service.call(request)),
            _ => Either::Right(Box::pin(service.clone().oneshot(request))),
        };
        answer.map_ok(finish)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether the machine has no IPv6, or has it switched off.
fn is_without_ipv6(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    matches!(code, Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}
