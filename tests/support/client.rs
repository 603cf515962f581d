//! An HTTP/1.1 client that shows what came over the wire: broken bodies, single chunks, single events.
//! Each request has a connection of its own unless it is made on a [`Session`].

mod events;
mod open;
mod session;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub use events::{EventStream, NoEvent};
pub use open::Open;
pub use session::Session;

use crate::support::wait;

/// How long an answer's head, or the next piece of a body, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body is no JSON ({error}): {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header's value; panics where it is repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next().map(|value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} is repeated: {headers:?}");
    value
}

/// Asks one address, with one key or none.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: SocketAddr,
    /// What goes into `x-auth-key`, unless a request names that header itself.
    pub key: Option<String>,
}

impl Client {
    /// A client without a key.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, key: None }
    }

    /// The same client with this key.
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self {
            address: self.address,
            key: Some(key.into()),
        }
    }

    /// The same client without a key.
    pub fn without_key(&self) -> Self {
        Self::new(self.address)
    }

    /// `GET`, the whole answer.
    pub async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, &[], "").await
    }

    /// `GET` with exactly this key, or with none.
    pub async fn get_with_key(&self, path: &str, key: Option<&str>) -> Reply {
        let client = key.map_or_else(|| self.without_key(), |key| self.with_key(key));
        client.get(path).await
    }

    /// Any request, the whole answer; panics when it is torn.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let open = self.open_with(method, path, headers, body).await;
        open.reply()
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: the answer is torn: {error}"))
    }

    /// `GET`, the head; the body is read piece by piece. Dropping it closes the connection.
    pub async fn open(&self, path: &str) -> Open {
        self.open_with("GET", path, &[], "").await
    }

    /// Any request, the head.
    pub async fn open_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Open {
        let mut session = self.session().await;
        let (head, body) = session.send(self.make(method, path, headers, body)).await;
        Open::new(head, body, session)
    }

    /// `GET` of an event stream.
    pub async fn sse(&self, path: &str) -> EventStream {
        self.sse_with(path, &[]).await
    }

    /// `GET` of an event stream with more headers, such as `Last-Event-ID`.
    pub async fn sse_with(&self, path: &str, headers: &[(&str, &str)]) -> EventStream {
        EventStream::new(self.open_with("GET", path, headers, "").await)
    }

    /// A connection kept for several requests.
    pub async fn session(&self) -> Session {
        Session::connect(self.clone()).await
    }

    /// A bare connection.
    pub async fn connect(&self) -> TcpStream {
        wait::within("a connection", PATIENCE, TcpStream::connect(self.address))
            .await
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", self.address))
    }

    /// Writes these bytes as they are and reads until the peer closes; once it has begun, after two quiet seconds, what there is.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let (mut read, mut write) = self.connect().await.into_split();
        // The peer may refuse and close before it has read everything.
        write.write_all(bytes.as_ref()).await.ok();
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        let mut quiet = PATIENCE;
        while let Ok(Ok(length @ 1..)) = tokio::time::timeout(quiet, read.read(&mut piece)).await {
            answer.extend(&piece[..length]);
            quiet = Duration::from_secs(2);
        }
        answer
    }

    fn make(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap_or_else(|error| {
            panic!("{path:?} is no request target ({error}): use `raw` for it")
        });
        let own = request.headers_mut();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            own.append(name, HeaderValue::from_str(value).unwrap());
        }
        let host = self.address.to_string().parse().unwrap();
        own.entry("host").or_insert(host);
        if let Some(key) = &self.key {
            let key = HeaderValue::from_str(key).unwrap();
            own.entry("x-auth-key").or_insert(key);
        }
        request
    }
}
