//! Connections that are written to once everybody else had a turn.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that lets all tasks which are ready go first, once before each write.
///
/// Whoever is written to wakes up for it, and to wake a process on another core costs more than the write. One that is
/// written to as soon as there is something for it has dealt with that when the next comes, and sleeps again. Writes that
/// follow each other at once find it awake.
///
/// On one core, with 64 connections: 54,700 `GET /` a second without this and 63,500 with it, where nginx answers 69,700
/// itself. Inspects over 16 connections: 15,300 without, 17,700 with clients written to last, 19,300 with the engine too;
/// nginx hands on 17,400. (Medians of 30 and 40 rounds in turn, against an engine that answers at once.)
#[derive(Debug)]
pub struct WriteLast<S> {
    stream: S,
    /// Whether the others had their turn.
    is_last: bool,
    /// Whether the other side had no more to say, which is not told before what is to be written is.
    has_ended: bool,
}

impl<S> WriteLast<S> {
    /// The same stream, written to last.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            is_last: false,
            has_ended: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> WriteLast<S> {
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.is_last {
            self.is_last = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // One that has to wait for room has waited enough.
        let written = ready!(write(Pin::new(&mut self.stream), cx));
        self.is_last = false;
        if mem::take(&mut self.has_ended) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(written)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteLast<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.is_last && buf.filled().len() == before {
            // Who is told of the end may throw away what is to be written, though the other side still reads.
            self.has_ended = true;
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteLast<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, buf))
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
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        rc::Rc,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Wake, Waker},
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        task::{LocalSet, spawn_local},
    };

    use super::*;

    #[tokio::test]
    async fn who_is_ready_goes_first() {
        let (ours, mut theirs) = duplex(64);
        let said = Rc::new(RefCell::new(Vec::new()));
        let local = LocalSet::new();
        let (first, second) = (Rc::clone(&said), Rc::clone(&said));
        local.spawn_local(async move {
            first.borrow_mut().push("asked");
            WriteLast::new(ours).write_all(b"ok").await.unwrap();
            first.borrow_mut().push("written");
        });
        local.spawn_local(async move {
            second.borrow_mut().push("ready");
            spawn_local(async move { second.borrow_mut().push("later") });
        });
        local.await;
        assert_eq!(*said.borrow(), ["asked", "ready", "written", "later"]);
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "ok");
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn the_end_comes_behind_what_is_to_be_written() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = WriteLast::new(ours);
        theirs.shutdown().await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut ours).poll_write(&mut cx, b"x").is_pending());
        let mut buf = [0; 8];
        let mut read = |ours: &mut WriteLast<_>| {
            let mut buf = ReadBuf::new(&mut buf);
            Pin::new(ours)
                .poll_read(&mut Context::from_waker(Waker::noop()), &mut buf)
                .map(|read| {
                    read.unwrap();
                    buf.filled().len()
                })
        };
        assert!(read(&mut ours).is_pending());
        assert!(Pin::new(&mut ours).poll_write(&mut cx, b"x").is_ready());
        assert_eq!(read(&mut ours), Poll::Ready(0));
    }

    #[tokio::test]
    async fn the_end_waits_for_room_without_being_asked_for() {
        let (ours, mut theirs) = duplex(1);
        let mut ours = WriteLast::new(ours);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let count = || woken.0.load(Ordering::Relaxed);
        ours.write_all(b"x").await.unwrap();
        let mut write = |ours: &mut WriteLast<_>| Pin::new(ours).poll_write(&mut cx, b"y");
        assert!(write(&mut ours).is_pending() && write(&mut ours).is_pending());
        theirs.shutdown().await.unwrap();
        let before = count();
        let mut buf = [0; 8];
        let mut read = |ours: &mut WriteLast<_>| {
            let mut cx = Context::from_waker(&waker);
            Pin::new(ours).poll_read(&mut cx, &mut ReadBuf::new(&mut buf))
        };
        assert!(read(&mut ours).is_pending());
        assert_eq!(count(), before, "it asks again and again");
        theirs.read_exact(&mut [0]).await.unwrap();
        let before = count();
        assert!(write(&mut ours).is_ready());
        assert_eq!(count(), before + 1, "nobody asks for the end");
        assert!(read(&mut ours).is_ready());
    }

    #[tokio::test]
    async fn who_waited_for_room_does_not_wait_again() {
        let (ours, mut theirs) = duplex(1);
        let mut ours = WriteLast::new(ours);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut write = || Pin::new(&mut ours).poll_write(&mut Context::from_waker(&waker), b"x");
        let count = || woken.0.load(Ordering::Relaxed);
        assert!(write().is_pending() && count() == 1);
        assert!(write().is_ready());
        assert!(write().is_pending() && count() == 2);
        assert!(write().is_pending() && count() == 2, "there is no room");
        theirs.read_exact(&mut [0]).await.unwrap();
        assert_eq!(count(), 3);
        assert!(write().is_ready());
    }
}
