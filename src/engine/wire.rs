//! The HTTP client under everything that is asked of the engine, over a unix socket or TCP. Connections are kept for
//! the next question, but for those of logs and of actions.

use std::{
    fmt,
    io::{self, IoSlice},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, Uri, header::HOST};
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
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_util::either::Either;
use tower::Service;

use super::{
    Address, Error,
    apart::{Apart, Line},
    idle::Idle,
    pace::Unhurried,
};
use crate::{tcp, write_last::WriteLast};

/// The most that is read ahead of whoever takes an answer.
const READ_AHEAD: usize = 64 * 1024;

/// How long an engine is given to take some of the connections that wait.
const FULL: Duration = Duration::from_millis(5);

/// A client of one engine; clones share its connections.
#[derive(Clone)]
pub struct Wire {
    /// For what bollard asks.
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    /// The engine's host and port, as requests name them.
    host: HeaderValue,
}

/// An answer whose connection is kept once it has been read.
pub type Kept = Apart<Socket>;

impl Wire {
    /// A client of the engine at `address` with at most `connections`, and one for its events; who needs one
    /// more waits. Nothing is connected yet.
    pub fn new(address: &Address, connections: usize) -> Self {
        // Its events hold one as long as someone wants to hear of them, who may ask for more.
        let connections = connections.saturating_add(1).min(Semaphore::MAX_PERMITS);
        let connector = Connector {
            address: Arc::new(address.clone()),
            free: Arc::new(Semaphore::new(connections)),
            full: Arc::default(),
            idle: Idle::default(),
        };
        let client = Client::builder(TokioExecutor::new())
            // It is little, and what is kept here could not be closed where someone else needs it.
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(READ_AHEAD)
            .build(connector.clone());
        Self {
            client,
            connector,
            host: HeaderValue::try_from(address.authority())
                .expect("an address has a valid authority"),
        }
    }

    /// Where requests must be addressed to: `http://host[:port]`.
    pub fn base(&self) -> String {
        format!("http://{}", self.connector.address.authority())
    }

    /// Sends a request and waits for the head of its answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] or [`Error::Broken`].
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        Ok(self.client.request(request).await?)
    }

    /// Gets `path` over a connection that was used before, if there is one, whatever the answer's status.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] or [`Error::Broken`].
    pub async fn get(&self, path: &str) -> Result<Response<Kept>, Error> {
        if let Some(line) = self.connector.idle.take().await {
            let home = Some(self.connector.idle.clone());
            match line.send(self.question(path)?, home).await {
                Ok(answer) => return Ok(answer),
                // It was closed just then. A question may be asked twice, and the others are no better.
                Err(_) => self.connector.idle.clear(),
            }
        }
        // Boxed, since it is rare and would make the future of each question larger.
        Box::pin(self.get_anew(path)).await
    }

    /// Gets `path` over a new connection.
    async fn get_anew(&self, path: &str) -> Result<Response<Kept>, Error> {
        let (stream, permit) = self.connect().await?;
        let line = Line::open(Socket::new(stream, permit), READ_AHEAD)
            .await
            .map_err(Error::broken)?;
        let answer = line.send(self.question(path)?, Some(self.connector.idle.clone()));
        answer.await.map_err(Error::broken)
    }

    /// Gets `path` over a connection of its own, which is read without haste, whatever the answer's status.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] or [`Error::Broken`].
    pub async fn get_apart(&self, path: &str) -> Result<Response<Apart>, Error> {
        let (stream, permit) = self.connect().await?;
        let stream = TokioIo::new(Unhurried::new(stream, permit));
        let line = Line::open(stream, READ_AHEAD)
            .await
            .map_err(Error::broken)?;
        let answer = line.send(self.question(path)?, None).await;
        answer.map_err(Error::broken)
    }

    fn question(&self, path: &str) -> Result<Request<Empty<Bytes>>, Error> {
        let request = Request::get(path).header(HOST, &self.host);
        request.body(Empty::new()).map_err(Error::broken)
    }

    async fn connect(&self) -> Result<(Stream, OwnedSemaphorePermit), Error> {
        let connected = self.connector.connect().await;
        connected.map_err(Error::unreachable)
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
    /// Whose turn it is to try again where the engine's socket is full.
    full: Arc<Mutex<()>>,
    /// Connections that are kept for the next question.
    idle: Idle<Socket>,
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
            Ok(Socket::new(stream, permit))
        })
    }
}

impl Connector {
    /// A connection, once one more may be.
    async fn connect(&self) -> io::Result<(Stream, OwnedSemaphorePermit)> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _way = self.idle.make_way();
                let permit = Arc::clone(&self.free).acquire_owned().await;
                permit.map_err(io::Error::other)?
            }
        };
        let stream = match &*self.address {
            Address::Unix(path) => Either::Left(self.connect_to(path).await?),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // An engine that has vanished would leave streams silent for ever.
                tcp::prepare(&stream)?;
                Either::Right(stream)
            }
        };
        Ok((stream, permit))
    }

    /// Connects to a socket. Where more wait there than it holds, the system does not let one wait as with TCP, but refuses.
    async fn connect_to(&self, path: &Path) -> io::Result<UnixStream> {
        let mut turn = None;
        loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                connected => return connected,
            }
            // In the order in which they came, and so that one tries for all.
            if turn.is_none() {
                turn = Some(self.full.lock().await);
            }
            sleep(FULL).await;
        }
    }
}

type Stream = Either<UnixStream, TcpStream>;

/// A connection of either kind.
pub struct Socket {
    io: TokioIo<WriteLast<Stream>>,
    _permit: OwnedSemaphorePermit,
}

impl Socket {
    fn new(stream: Stream, permit: OwnedSemaphorePermit) -> Self {
        Self {
            io: TokioIo::new(WriteLast::new(stream)),
            _permit: permit,
        }
    }
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

#[cfg(test)]
mod tests {
    use socket2::{Domain, SockAddr, Type};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn an_engine_that_is_slow_to_take_connections_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let engine = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        engine.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        engine.listen(1).unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        let wire = Wire::new(&Address::Unix(path), 1);
        let mut connecting = tokio_test::task::spawn(wire.connect());
        tokio_test::assert_pending!(connecting.poll());
        let _taken = engine.accept().unwrap();
        let soon = Duration::from_secs(15);
        assert!(timeout(soon, connecting).await.unwrap().is_ok());
    }
}
