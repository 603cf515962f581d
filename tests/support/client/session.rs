//! One connection, used for one request after the other.

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::{Client, PATIENCE, Reply};
use crate::support::{client::open::reply, wait};

/// A kept connection; closed on drop.
pub struct Session {
    client: Client,
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Session {
    pub(super) async fn connect(client: Client) -> Self {
        let stream = TokioIo::new(client.connect().await);
        let (sender, connection) = handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection).abort_handle();
        Self {
            client,
            sender,
            driver,
        }
    }

    /// Any request on this connection, the whole answer.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, hyper::Error> {
        let request = self.client.make(method, path, headers, body);
        let (head, body) = self.try_send(request).await?.into_parts();
        reply(head, body).await
    }

    /// `GET` on this connection, the whole answer.
    pub async fn get(&mut self, path: &str) -> Result<Reply, hyper::Error> {
        self.request("GET", path, &[], "").await
    }

    /// Whether the peer has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> (Parts, Incoming) {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request)
            .await
            .unwrap_or_else(|error| panic!("{what}: no answer: {error:?}"))
            .into_parts()
    }

    async fn try_send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let what = format!("an answer to {} {}", request.method(), request.uri());
        wait::within(&what, PATIENCE, async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        })
        .await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
