//! The connection of a client.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::strangers::Guest;
use crate::write_last::WriteLast;

/// Pieces that are shorter together, in bytes, are written as one: a head and a short body.
const SHORT: usize = 512;

/// A stream that gathers short pieces before it writes them: the system takes longer to do that. And what a stranger sends is
/// bounded.
#[derive(Debug)]
pub(super) struct Gather {
    stream: WriteLast<TcpStream>,
    guest: Arc<Guest>,
}

impl Gather {
    pub(super) fn new(stream: TcpStream, guest: Arc<Guest>) -> Self {
        let stream = WriteLast::new(stream);
        Self { stream, guest }
    }
}

impl AsyncRead for Gather {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(match self.guest.sent(buf.filled().len() - before) {
            true => Ok(()),
            false => Err(io::Error::other("strangers send too much")),
        })
    }
}

impl AsyncWrite for Gather {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if let [one] = bufs {
            return stream.poll_write(cx, one);
        }
        let mut all = [0; SHORT];
        match gather(bufs, &mut all) {
            Some(len) => stream.poll_write(cx, &all[..len]),
            None => stream.poll_write_vectored(cx, bufs),
        }
    }
}

/// Puts the pieces into `all`, if there is room for them, and says how long they are.
fn gather(bufs: &[IoSlice<'_>], all: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    for buf in bufs {
        let end = len + buf.len();
        all.get_mut(len..end)?.copy_from_slice(buf);
        len = end;
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::{super::strangers::Strangers, *};

    #[tokio::test]
    async fn writes_short_and_long_pieces_in_their_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, theirs) = tokio::join!(ours, listener.accept());
        let (mut ours, (mut theirs, _)) = (
            Gather::new(ours.unwrap(), Strangers::default().admit()),
            theirs.unwrap(),
        );
        let long = vec![b'c'; SHORT];
        for pieces in [
            &[&b"a"[..]][..],
            &[b"a", b"", b"bc"],
            &[&long[..SHORT - 1], b"b"],
            &[&long[..], b"b"],
            &[b"a", &long, b"b"],
        ] {
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let write = poll_fn(|cx| Pin::new(&mut ours).poll_write_vectored(cx, &slices));
            let len = write.await.unwrap();
            let mut read = vec![0; len];
            theirs.read_exact(&mut read).await.unwrap();
            assert_eq!(read, pieces.concat());
        }
    }
}
