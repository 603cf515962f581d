//! The HTTP client under everything that is asked of the engine, over a unix socket or TCP: pooled, but for logs.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri, header::HOST};
use http_body_util::{Empty, Full};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::either::Either;
use tower::Service;

use super::{
    Address, Error,
    apart::{self, Apart},
    pace::Unhurried,
};

/// How long an unused connection is kept. Podman closes its side after 10 s, Docker never.
const IDLE: Duration = Duration::from_secs(5);

/// How many unused connections are kept.
const MAX_IDLE: usize = 16;

/// The most that is read ahead of whoever takes an answer.
const READ_AHEAD: usize = 64 * 1024;

/// A client of one engine; clones share its connections.
#[derive(Clone)]
pub struct Wire {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    authority: Arc<str>,
}

impl Wire {
    /// A client of the engine at `address` with at most `connections`; who needs one more waits. Nothing is
    /// connected yet.
    pub fn new(address: &Address, connections: usize) -> Self {
        let connector = Connector {
            address: Arc::new(address.clone()),
            free: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(READ_AHEAD)
            .build(connector.clone());
        Self {
            client,
            connector,
            authority: address.authority().into(),
        }
    }

    /// Where requests must be addressed to: `http://host[:port]`.
    pub fn base(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Sends a request and waits for the head of its answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] or [`Error::Broken`].
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        Ok(self.client.request(request).await?)
    }

    /// Gets `path` over a connection of its own, whatever the answer's status.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] or [`Error::Broken`].
    pub async fn get_apart(&self, path: &str) -> Result<Response<Apart>, Error> {
        let request = Request::get(path)
            .header(HOST, &*self.authority)
            .body(Empty::new())
            .map_err(Error::broken)?;
        let (stream, permit) = self.connector.connect().await.map_err(Error::unreachable)?;
        let answer = apart::send(Unhurried::new(stream, permit), READ_AHEAD, request).await;
        answer.map_err(Error::broken)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.connector.address)
    }
}

/// Connects to the one address, whatever a request's URI says.
#[derive(Clone, Debug)]
struct Connector {
    address: Arc<Address>,
    free: Arc<Semaphore>,
}

impl Service<Uri> for Connector {
    type Response = Socket;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Socket>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let (stream, permit) = connector.connect().await?;
            Ok(Socket {
                io: TokioIo::new(stream),
                _permit: permit,
            })
        })
    }
}

impl Connector {
    /// A connection, once one more may be.
    async fn connect(&self) -> io::Result<(Either<UnixStream, TcpStream>, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let stream = match &*self.address {
            Address::Unix(path) => Either::Left(UnixStream::connect(path).await?),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Either::Right(stream)
            }
        };
        Ok((stream, permit))
    }
}

/// A connection of either kind.
struct Socket {
    io: TokioIo<Either<UnixStream, TcpStream>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
