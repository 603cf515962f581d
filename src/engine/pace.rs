//! The socket of a log: it is read in steps of half a millisecond where the engine writes without a pause.
//!
//! Docker writes each line of a log by itself. Who is woken by each of them pays for 150 bytes with a system
//! call or two and a change of tasks, on the engine's side too. So a socket that is read too often is no
//! longer watched: it is looked at once in a while, and then has a hundred lines.

use std::{
    io::{self, Read},
    mem,
    os::{fd::OwnedFd, unix::net as unix},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd},
    net::{TcpStream, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::either::Either;

/// How long a socket rests: at full speed, the buffer between the engine and the agent would be full in three
/// times that, and the engine would wait.
const REST: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000,
};

/// How often a watched socket may be read for a long time,
const SPACING: Duration = Duration::from_millis(1);

/// and by how much it may be ahead of that: 32 reads.
const AHEAD: Duration = Duration::from_millis(32);

/// A connection to the engine over which a log comes.
pub struct Unhurried {
    state: State,
    /// When as many reads as there were would have been, one in each [`SPACING`].
    due: Instant,
    /// The right to have it open.
    permit: OwnedSemaphorePermit,
}

enum State {
    /// The runtime tells when it can be read.
    Watched(Either<UnixStream, TcpStream>),
    /// It is read when the clock says so.
    Resting(Either<unix::UnixStream, std::net::TcpStream>, Clock),
    /// It could not be watched again, or not be left alone.
    Lost,
}

impl Unhurried {
    /// The connection keeps `permit`, and takes another one of those for its clock.
    pub(super) fn new(stream: Either<UnixStream, TcpStream>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            state: State::Watched(stream),
            due: Instant::now(),
            permit,
        }
    }

    /// The stream, watched if it was not.
    fn watched(&mut self) -> io::Result<Pin<&mut Either<UnixStream, TcpStream>>> {
        self.state = match mem::replace(&mut self.state, State::Lost) {
            State::Resting(Either::Left(stream), _) => {
                State::Watched(Either::Left(UnixStream::from_std(stream)?))
            }
            State::Resting(Either::Right(stream), _) => {
                State::Watched(Either::Right(TcpStream::from_std(stream)?))
            }
            state => state,
        };
        match &mut self.state {
            State::Watched(stream) => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes note of a read of the watched stream.
    fn note(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.due = self.due.max(now) + SPACING;
        if self.due <= now + AHEAD {
            return Ok(());
        }
        let Some(clock) = Clock::started(self.permit.semaphore()) else {
            // No descriptor is left for one. It works without, at a higher price.
            return Ok(());
        };
        self.state = match mem::replace(&mut self.state, State::Lost) {
            State::Watched(Either::Left(stream)) => {
                State::Resting(Either::Left(stream.into_std()?), clock)
            }
            State::Watched(Either::Right(stream)) => {
                State::Resting(Either::Right(stream.into_std()?), clock)
            }
            state => state,
        };
        Ok(())
    }
}

/// Finer than the runtime's, of which half a millisecond may become two.
struct Clock {
    timer: AsyncFd<OwnedFd>,
    runs: bool,
    /// It is a descriptor too.
    _permit: OwnedSemaphorePermit,
}

impl Clock {
    /// One that runs, if it may be.
    fn started(descriptors: &Arc<Semaphore>) -> Option<Self> {
        let permit = Arc::clone(descriptors).try_acquire_owned().ok()?;
        let mut clock = Self {
            timer: timer().ok()?,
            runs: false,
            _permit: permit,
        };
        clock.start().ok()?;
        Some(clock)
    }

    /// Goes off after [`REST`].
    fn start(&mut self) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: REST,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.runs = true;
        Ok(())
    }

    /// Waits until it has gone off; not at all where it does not run.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.runs {
            ready!(self.timer.poll_read_ready(cx))?.clear_ready();
            self.runs = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for descriptors that might be closed; this one is owned"
)]
fn timer() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    AsyncFd::with_interest(timer, Interest::READABLE)
}

impl AsyncRead for Unhurried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        if let State::Resting(stream, clock) = &mut self.state {
            ready!(clock.poll(cx))?;
            let read = match stream {
                Either::Left(stream) => stream.read(buf.initialize_unfilled()),
                Either::Right(stream) => stream.read(buf.initialize_unfilled()),
            };
            match read {
                Ok(len) => {
                    buf.advance(len);
                    if len < room {
                        clock.start()?;
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        ready!(self.watched()?.poll_read(cx, buf))?;
        if buf.remaining() > 0 {
            self.note()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unhurried {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watched()?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper asks for this all the time, and there is nothing to do: a rest goes on.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The agent's end, for which there are so many descriptors, and the engine's.
    fn pair(descriptors: usize) -> (Unhurried, unix::UnixStream) {
        let (ours, theirs) = unix::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = UnixStream::from_std(ours).unwrap();
        let descriptors = Arc::new(Semaphore::new(descriptors));
        let permit = descriptors.try_acquire_owned().unwrap();
        (Unhurried::new(Either::Left(ours), permit), theirs)
    }

    fn is_watched(paced: &Unhurried) -> bool {
        matches!(paced.state, State::Watched(_))
    }

    #[tokio::test]
    async fn rests_where_there_is_always_something_and_loses_nothing() {
        let (mut paced, mut engine) = pair(2);
        let mut buf = [0; 64];
        for number in 0..1000_u32 {
            engine.write_all(&number.to_be_bytes()).unwrap();
            let len = paced.read(&mut buf).await.unwrap();
            assert_eq!(buf[..len], number.to_be_bytes());
        }
        assert!(!is_watched(&paced));

        // Quiet again: the next line is waited for, and comes at once.
        let late = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(20));
            engine.write_all(b"late").unwrap();
            engine
        });
        assert_eq!(paced.read(&mut buf).await.unwrap(), 4);
        let mut engine = late.await.unwrap();

        paced.write_all(b"question").await.unwrap();
        let len = engine.read(&mut buf).unwrap();
        assert_eq!(&buf[..len], b"question");
        drop(engine);
        assert_eq!(paced.read(&mut buf).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn is_watched_where_no_descriptor_is_left_for_the_clock() {
        let (mut paced, mut engine) = pair(1);
        for _ in 0..1000 {
            engine.write_all(b"a line").unwrap();
            assert_eq!(paced.read(&mut [0; 64]).await.unwrap(), 6);
        }
        assert!(is_watched(&paced));
    }

    #[tokio::test]
    async fn is_watched_where_there_is_something_now_and_then() {
        let (mut paced, mut engine) = pair(2);
        for _ in 0..20 {
            engine.write_all(b"a line").unwrap();
            assert_eq!(paced.read(&mut [0; 64]).await.unwrap(), 6);
            assert!(is_watched(&paced));
        }
    }
}
