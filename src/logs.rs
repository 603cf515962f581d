//! The log pipeline: an engine's bytes → records → whole lines → those that are wanted → what a client is
//! sent.
//!
//! Each stage is a stream over the one before and holds no more than it must: the head of a record, the
//! parts of a line that is not whole yet, a buffer of what is about to be sent. Nothing is read that
//! nobody waits for, and dropping the last stage closes the engine's connection.

pub mod ansi;
pub mod batch;
pub mod clock;
pub mod cursor;
pub mod demux;
pub mod encoding;
pub mod feed;
pub mod follower;
pub mod hub;
pub mod lines;
mod lull;
pub mod many;
mod patience;
pub mod place;
pub mod reading;
pub mod redact;
mod repeats;
pub mod ring;
pub mod rounds;
pub mod sse;
pub mod stretch;
pub mod terminal;
mod turn;
mod until;
pub mod view;

use bytes::{Bytes, BytesMut};
use futures_util::{TryStreamExt, stream::MapErr};
use http_body_util::BodyDataStream;
use middleware::BoxError;
use tokio_stream::Stream;
use tokio_util::either::Either;

pub use self::{
    batch::Batch,
    demux::{Demux, Piece, Source},
    lines::{Line, Lines},
    redact::{Redaction, Secrets},
    terminal::Terminal,
    view::View,
};
use crate::engine::{Apart, Facts, Log, stall::Paced};

/// Why a log ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The connection to the engine broke.
    #[error("the Docker Engine stopped sending: {}", crate::engine::error::chain(.0.as_ref()))]
    Engine(BoxError),
    /// The engine does not give the log.
    #[error(transparent)]
    Open(#[from] crate::engine::Error),
    /// The engine said, inside the log, that it cannot read on.
    #[error("the Docker Engine reports: {0}")]
    Reported(String),
    /// The bytes are no frames.
    #[error("the Docker Engine sent a broken log frame")]
    BadFrame,
    /// The bytes end within a frame.
    #[error("the Docker Engine stopped sending within a log frame")]
    CutShort,
}

/// The whole lines of a log, none with more than `max_line` bytes of text.
pub fn lines(log: Log, max_line: usize) -> LogLines {
    let bytes = BodyDataStream::new(log.body).map_err(LogError::Engine as fn(BoxError) -> LogError);
    let Facts { config, host, .. } = log.facts;
    decode_parts(bytes, config.tty, host.log.times_parts, max_line)
}

/// The whole lines of a log that an engine sends.
pub type LogLines = Decoded<MapErr<BodyDataStream<Paced<Apart>>, fn(BoxError) -> LogError>>;

/// The whole lines of a log that comes as the stream `S` of bytes.
pub type Decoded<S> = Lines<Either<Terminal<S>, Demux<S>>>;

/// The part of the pipeline that every form of answer shares.
pub fn decode<S>(bytes: S, tty: bool, max_line: usize) -> Decoded<S>
where
    S: Stream<Item = Result<Bytes, LogError>> + Unpin,
{
    decode_parts(bytes, tty, false, max_line)
}

/// The same where each part of a line that the engine has cut may have a time of its own.
fn decode_parts<S>(bytes: S, tty: bool, times_parts: bool, max_line: usize) -> Decoded<S>
where
    S: Stream<Item = Result<Bytes, LogError>> + Unpin,
{
    let pieces = if tty {
        Either::Left(Terminal::new(bytes, times_parts))
    } else {
        Either::Right(Demux::new(bytes))
    };
    Lines::new(pieces, tty, times_parts, max_line)
}

/// Puts what was too little for a stage in front of what came next. The rest is always short, and mostly
/// there is none, so this seldom copies.
fn append(rest: &mut Bytes, more: Bytes) {
    if rest.is_empty() {
        *rest = more;
    } else {
        let mut joined = BytesMut::with_capacity(rest.len() + more.len());
        joined.extend_from_slice(rest);
        joined.extend_from_slice(&more);
        *rest = joined.freeze();
    }
}

#[cfg(test)]
mod tests;
