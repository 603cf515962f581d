//! Bytes → pieces of records, of a container with a terminal.
//!
//! Such a log has no frames: it is the records alone, one after the other. A record ends with a newline,
//! or where the engine has cut a line: after [`CUT`] bytes of text, if the same time stands there again, or with some drivers
//! any time.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio_stream::Stream;

use super::{
    LogError, append,
    demux::{Piece, Source},
    lines::{MAX_STAMP, stamp_len},
};

/// After how many bytes of text the engine cuts a line (moby, `daemon/logger/copier.go`).
pub const CUT: usize = 16 * 1024;

/// The first stage; see the [module](self).
#[derive(Debug)]
pub struct Terminal<S> {
    inner: S,
    /// What has arrived and is not handed on.
    chunk: Bytes,
    at: At,
    /// The time of the record under way.
    stamp: Bytes,
    /// Whether what the engine has cut off may have a time of its own.
    times_parts: bool,
    ended: bool,
}

/// Where in the log the chunk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind a newline.
    Start,
    /// Within a record, so many bytes of text before the place where it may be cut.
    Text(usize),
    /// At that place.
    Cut,
}

impl<S> Terminal<S> {
    /// Reads records from `inner`.
    pub fn new(inner: S, times_parts: bool) -> Self {
        Self {
            inner,
            chunk: Bytes::new(),
            at: At::Start,
            stamp: Bytes::new(),
            times_parts,
            ended: false,
        }
    }

    /// The next piece of what has arrived, if that is enough for one.
    fn take(&mut self) -> Option<Piece> {
        if self.chunk.is_empty() {
            return None;
        }
        let (first, stamp, room) = match self.at {
            At::Start => {
                let stamp = stamp_len(&self.chunk);
                if stamp == 0 && self.must_wait(MAX_STAMP) {
                    return None;
                }
                // A copy, since it would keep all of the chunk in memory.
                self.stamp = Bytes::copy_from_slice(&self.chunk[..stamp]);
                (true, stamp, CUT)
            }
            At::Text(room) => (false, 0, room),
            At::Cut if self.times_parts => {
                if self.must_wait(MAX_STAMP) {
                    return None;
                }
                let stamp = stamp_len(&self.chunk);
                (stamp > 0, stamp, CUT)
            }
            At::Cut => {
                let stamp = self.stamp.len();
                if self.must_wait(stamp) {
                    return None;
                }
                if stamp > 0 && self.chunk.starts_with(&self.stamp) {
                    (true, stamp, CUT)
                } else {
                    (false, 0, CUT)
                }
            }
        };
        let most = self.chunk.len().min(stamp + room);
        let newline = memchr::memchr(b'\n', &self.chunk[..most]);
        let len = newline.map_or(most, |at| at + 1);
        self.at = match newline {
            Some(_) => At::Start,
            None if len == stamp + room => At::Cut,
            None => At::Text(stamp + room - len),
        };
        Some(Piece {
            source: Source::Stdout,
            first,
            last: newline.is_some(),
            bytes: self.chunk.split_to(len),
        })
    }

    /// Whether what comes next must be seen before `want` bytes can be told.
    fn must_wait(&self, want: usize) -> bool {
        !self.ended && self.chunk.len() < want && memchr::memchr(b'\n', &self.chunk).is_none()
    }
}

impl<S> Stream for Terminal<S>
where
    S: Stream<Item = Result<Bytes, LogError>> + Unpin,
{
    type Item = Result<Piece, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.take() {
                return Poll::Ready(Some(Ok(piece)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                Some(Ok(more)) => append(&mut this.chunk, more),
                Some(Err(error)) => {
                    this.ended = true;
                    this.chunk.clear();
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.ended = true,
            }
        }
    }
}
