//! An answer whose body is read piece by piece.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, response::Parts};
use http_body_util::BodyExt;
use hyper::{Error, body::Incoming};

use super::{PATIENCE, Reply, Session, header};
use crate::support::wait;

/// A head, and a body that is still on its way. Dropped, it closes the connection.
pub struct Open {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
    _session: Session,
}

impl Open {
    pub(super) fn new(head: Parts, body: Incoming, session: Session) -> Self {
        Self {
            status: head.status,
            headers: head.headers,
            body,
            _session: session,
        }
    }

    /// A header's value; panics where it is repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The next piece as it comes; `None` at the proper end, an error where the body is torn.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        chunk(&mut self.body).await
    }

    /// Reads until there are so many bytes, or the body ends.
    pub async fn read_at_least(&mut self, length: usize) -> Result<Bytes, Error> {
        let mut bytes = BytesMut::new();
        while bytes.len() < length
            && let Some(chunk) = self.chunk().await
        {
            bytes.extend(chunk?);
        }
        Ok(bytes.freeze())
    }

    /// The rest of the body; an error where it is torn.
    pub async fn read_to_end(mut self) -> Result<Bytes, Error> {
        self.read_at_least(usize::MAX).await
    }

    /// Reads the rest and keeps nothing but its length.
    pub async fn drain(mut self) -> Result<u64, Error> {
        let mut length = 0;
        while let Some(chunk) = self.chunk().await {
            length += chunk?.len() as u64;
        }
        Ok(length)
    }

    /// The whole answer.
    pub async fn reply(self) -> Result<Reply, Error> {
        let (status, headers) = (self.status, self.headers.clone());
        let body = self.read_to_end().await?;
        Ok(Reply {
            status,
            headers,
            body,
        })
    }
}

async fn chunk(body: &mut Incoming) -> Option<Result<Bytes, Error>> {
    loop {
        let frame = wait::within("the next piece of a body", PATIENCE, body.frame()).await?;
        // Trailers are no part of a body.
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => return Some(Ok(data)),
            Ok(Err(_)) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

pub(super) async fn reply(head: Parts, mut body: Incoming) -> Result<Reply, Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = chunk(&mut body).await {
        bytes.extend(chunk?);
    }
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: bytes.freeze(),
    })
}
