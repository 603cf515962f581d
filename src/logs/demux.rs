//! Bytes → pieces of frames, of a container without a terminal.
//!
//! A frame is one byte for its source (1 standard output, 2 standard error), three zero bytes, its
//! payload's length in four bytes, big-endian, and the payload (Docker Engine API, "Attach to a
//! container", stream format). A payload is handed on as it arrives, in pieces, so a frame that claims
//! four gibibytes costs nothing. The first piece of a payload is never so short that the time at its
//! beginning would be torn.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio_stream::Stream;

use super::{LogError, append};

/// How much of a payload comes in one piece: more than the longest time.
const HEAD: usize = 40;

/// The length of a frame's header.
const HEADER: usize = 8;

/// Where bytes were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere in the container: an error of the engine's own.
    System,
}

impl Source {
    /// As Docker calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stderr => "stderr",
            Self::Stdout | Self::System => "stdout",
        }
    }
}

/// A part of a record: of the time, a space, and text, which may lack a newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the record was written.
    pub source: Source,
    /// Whether the record begins here. Its time, if it has one, is then here as a whole.
    pub first: bool,
    /// Whether the record is known to end here.
    pub last: bool,
    /// The bytes.
    pub bytes: Bytes,
}

/// The first stage; see the [module](self).
#[derive(Debug)]
pub struct Demux<S> {
    inner: S,
    /// What has arrived and is not handed on.
    chunk: Bytes,
    /// What is still to come of the frame under way.
    source: Source,
    remaining: usize,
    done: bool,
}

impl<S> Demux<S> {
    /// Reads frames from `inner`.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            chunk: Bytes::new(),
            source: Source::Stdout,
            remaining: 0,
            done: false,
        }
    }

    /// The next piece of what has arrived, if that is enough for one.
    fn take(&mut self) -> Result<Option<Piece>, LogError> {
        let first = self.remaining == 0;
        if first {
            if self.chunk.len() < HEADER {
                return Ok(None);
            }
            let (source, len) = header(&self.chunk)?;
            if self.chunk.len() - HEADER < len.min(HEAD) {
                return Ok(None);
            }
            self.chunk.advance(HEADER);
            (self.source, self.remaining) = (source, len);
        } else if self.chunk.is_empty() {
            return Ok(None);
        }
        let bytes = self.chunk.split_to(self.remaining.min(self.chunk.len()));
        self.remaining -= bytes.len();
        Ok(Some(Piece {
            source: self.source,
            first,
            last: self.remaining == 0,
            bytes,
        }))
    }
}

/// A frame's source and the length of its payload.
fn header(bytes: &[u8]) -> Result<(Source, usize), LogError> {
    let [source, 0, 0, 0, a, b, c, d, ..] = *bytes else {
        return Err(LogError::BadFrame);
    };
    let source = match source {
        // Standard input does not occur in logs; Docker's own client shows it as output.
        0 | 1 => Source::Stdout,
        2 => Source::Stderr,
        3 => Source::System,
        _ => return Err(LogError::BadFrame),
    };
    let len = u32::from_be_bytes([a, b, c, d]);
    Ok((
        source,
        usize::try_from(len).map_err(|_| LogError::BadFrame)?,
    ))
}

impl<S> Stream for Demux<S>
where
    S: Stream<Item = Result<Bytes, LogError>> + Unpin,
{
    type Item = Result<Piece, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.done {
            if let Some(piece) = this.take().transpose() {
                this.done = piece.is_err();
                return Poll::Ready(Some(piece));
            }
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                Some(Ok(more)) => append(&mut this.chunk, more),
                Some(Err(error)) => {
                    this.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.done = true;
                    if this.remaining > 0 || !this.chunk.is_empty() {
                        return Poll::Ready(Some(Err(LogError::CutShort)));
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}
