//! Pieces of records → whole lines.
//!
//! The engine writes a time in front of each record. A record that does not end in a newline is a part of
//! a line (it cuts them after 16,384 bytes): the next one of the same source with the same time goes on
//! with it, and its time is taken out. Where parts may have times of their own, it does so with any time behind a part of just
//! that length. Of a container with a terminal lines end in `\r\n`.
//!
//! A line that lies in one piece is handed on without a copy.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio_stream::Stream;

use super::{
    LogError,
    demux::{Piece, Source},
    place::{Place, SKEW, nanos, now},
    terminal::CUT,
};

/// The longest time that an engine writes, with the space behind it.
pub(super) const MAX_STAMP: usize = "2006-01-02T15:04:05.000000000+00:00 ".len();

/// The most that is kept of an error which the engine reports inside a log.
const MAX_REPORT: usize = 4 * 1024;

/// One line of a log: `TIME SPACE TEXT`, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it was written.
    pub source: Source,
    /// All of it.
    pub bytes: Bytes,
    /// The length of the time and its space: 0 where the engine wrote none.
    pub stamp: usize,
    /// Whether it goes on with a line that was too long; it repeats its time.
    pub continued: bool,
    /// Whether its end is missing: it was too long, so that the next line of its source may go on with it,
    /// or it broke off.
    pub more: bool,
    /// Whether it broke off: its source has begun another one.
    pub cut: bool,
    /// Whether it is the first of its source, or behind one that broke off: only its end may be here.
    pub first: bool,
    /// Whether the log ends before the line does, so that there is no newline.
    pub open: bool,
    /// Whether its reader [has got](Lines::give) it already.
    pub given: bool,
}

impl Line {
    /// A whole line of standard output, without a time.
    #[cfg(test)]
    pub fn bare(bytes: impl Into<Bytes>) -> Self {
        Self {
            source: Source::Stdout,
            bytes: bytes.into(),
            stamp: 0,
            continued: false,
            more: false,
            cut: false,
            first: false,
            open: false,
            given: false,
        }
    }

    /// The line without its time.
    pub fn text(&self) -> &[u8] {
        &self.bytes[self.stamp..]
    }

    /// The line's time in nanoseconds since 1970, if it has one.
    pub fn time(&self) -> Option<i64> {
        time(&self.bytes[..self.stamp])
    }
}

/// The length of the time at the beginning of a record and of the space behind it, or 0.
pub(super) fn stamp_len(bytes: &[u8]) -> usize {
    let head = &bytes[..bytes.len().min(MAX_STAMP)];
    match memchr::memchr(b' ', head) {
        Some(end) if end >= 20 && head[4] == b'-' && head[10] == b'T' && head[19] == b'.' => {
            end + 1
        }
        _ => 0,
    }
}

/// The time that a stamp says, in nanoseconds since 1970.
fn time(stamp: &[u8]) -> Option<i64> {
    let time = std::str::from_utf8(stamp.trim_ascii_end()).ok()?;
    let time: jiff::Timestamp = time.parse().ok()?;
    time.as_nanosecond().try_into().ok()
}

/// How much is read beyond an end, in bytes: what was written before may stand behind a little of what came then.
const BEYOND: usize = 16 * 1024;

/// The second stage; see the [module](self).
#[derive(Debug)]
pub struct Lines<S> {
    inner: S,
    stdout: Part,
    stderr: Part,
    report: Vec<u8>,
    piece: Option<Piece>,
    state: State,
    end: Option<End>,
}

/// Where what is read ends, before the log does.
#[derive(Debug)]
struct End {
    /// What was written then or later is left out.
    time: i64,
    /// Whether the record at hand was.
    is_passed: bool,
    /// How much was, in bytes.
    passed: usize,
}

impl End {
    /// What of a piece was written before; `tty` says whether it may hold more than one record.
    fn cut(&mut self, mut piece: Piece, tty: bool) -> Option<Piece> {
        let stamp = if piece.first {
            stamp_len(&piece.bytes)
        } else {
            0
        };
        if piece.first {
            self.is_passed = time(&piece.bytes[..stamp]).is_some_and(|time| time >= self.time);
        }
        if self.is_passed {
            self.passed += piece.bytes.len();
            return None;
        }
        if tty && let Some(at) = self.seam(&piece.bytes[stamp..]) {
            piece.bytes.truncate(stamp + at);
            self.is_passed = true;
        }
        Some(piece)
    }

    /// Where a record of that time or later begins in the midst of text: there was no newline in front of it.
    fn seam(&self, text: &[u8]) -> Option<usize> {
        // A text may tell a time to come.
        let times = self.time..=now().saturating_add(nanos(SKEW));
        let mut seams = memchr::memchr_iter(b'T', text).filter_map(|at| {
            let begin = at.checked_sub("2006-01-02".len())?;
            let stamp = stamp_len(&text[begin..]);
            let time = time(&text[begin..begin + stamp]).filter(|_| stamp > 0)?;
            times.contains(&time).then_some(begin)
        });
        seams.next()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// The log is over; lines without a newline may be left.
    Draining,
    Done,
}

impl<S> Lines<S> {
    /// Joins pieces into lines of at most `max_line` bytes of text; the rest of a longer one follows in
    /// further lines.
    pub fn new(inner: S, tty: bool, times_parts: bool, max_line: usize) -> Self {
        let part = |source| Part::new(source, tty, times_parts, max_line);
        Self {
            inner,
            stdout: part(Source::Stdout),
            stderr: part(Source::Stderr),
            report: Vec::new(),
            piece: None,
            state: State::Reading,
            end: None,
        }
    }

    /// Leaves out what was written from this time on, and ends once that is known to be more than a little.
    pub fn end_before(&mut self, time: i64) {
        self.end = Some(End {
            time,
            is_passed: false,
            passed: 0,
        });
    }

    /// The time of the oldest line that has begun and not ended, and that its reader has not got.
    pub fn under_way(&self) -> Option<i64> {
        let parts = [&self.stdout, &self.stderr].into_iter();
        let begun = parts.filter(|part| part.given == Given::No);
        begun.filter_map(Part::time).min()
    }

    /// Whether a line of this source began at this time and has not ended.
    pub fn is_open(&self, source: Source, time: i64) -> bool {
        self.open_part(source, time).is_some()
    }

    fn open_part(&self, source: Source, time: i64) -> Option<&Part> {
        let mut parts = [&self.stdout, &self.stderr].into_iter();
        parts.find(|part| part.source == source && part.time() == Some(time))
    }

    /// That line as if the log ended here, if `len` bytes of text are here then.
    pub fn open_at(&self, source: Source, time: i64, len: usize) -> Option<Line> {
        let part = self.open_part(source, time)?;
        let bytes = part.finished(&part.buf);
        (bytes.len() == part.stamp + len).then(|| Line {
            source,
            bytes: Bytes::copy_from_slice(bytes),
            stamp: part.stamp,
            continued: part.continued,
            more: false,
            cut: false,
            first: part.first,
            open: true,
            given: false,
        })
    }

    /// The reader has got the line at this place, which has begun, without its end.
    pub fn give(&mut self, place: &Place) {
        self.give_before(place);
        let part = match place.source {
            Source::Stderr => &mut self.stderr,
            Source::Stdout | Source::System => &mut self.stdout,
        };
        part.given = Given::Whole;
    }

    /// The reader has got the line at this place, and so whatever had begun before it and did not go on.
    pub fn give_before(&mut self, place: &Place) {
        for part in [&mut self.stdout, &mut self.stderr] {
            let begun = part.time();
            if begun.is_some_and(|begun| place.is_begun_behind(part.source, begun)) {
                part.given = Given::SoFar;
            }
        }
    }

    /// The next line that ends within the piece at hand, which is used up to there.
    fn take(&mut self) -> Result<Option<Line>, LogError> {
        let Some(piece) = &mut self.piece else {
            return Ok(None);
        };
        let part = match piece.source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
            Source::System => {
                let room = MAX_REPORT - self.report.len();
                self.report
                    .extend_from_slice(&piece.bytes[..piece.bytes.len().min(room)]);
                if piece.last {
                    let said = String::from_utf8_lossy(&self.report);
                    return Err(LogError::Reported(said.trim().to_owned()));
                }
                return Ok(None);
            }
        };
        Ok(part.next(piece))
    }
}

impl<S> Stream for Lines<S>
where
    S: Stream<Item = Result<Piece, LogError>> + Unpin,
{
    type Item = Result<Line, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while this.state == State::Reading {
            if let Some(line) = this.take().transpose() {
                if line.is_err() {
                    this.state = State::Done;
                }
                return Poll::Ready(Some(line));
            }
            this.piece = None;
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                Some(Ok(piece)) => {
                    this.piece = match &mut this.end {
                        Some(end) if piece.source != Source::System => {
                            end.cut(piece, this.stdout.tty)
                        }
                        _ => Some(piece),
                    };
                    if this.end.as_ref().is_some_and(|end| end.passed > BEYOND) {
                        this.state = State::Draining;
                    }
                }
                Some(Err(error)) => {
                    // What is there of an unfinished line is not a line, and is not passed off as one.
                    this.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.state = State::Draining,
            }
        }
        if this.state == State::Draining {
            let mut parts = [&mut this.stdout, &mut this.stderr];
            // Whoever has got the one that began last has all of them.
            parts.sort_by_key(|part| part.time());
            for part in parts {
                if !part.buf.is_empty() {
                    let (open, given) = (true, part.given != Given::No);
                    return Poll::Ready(Some(Ok(Line {
                        open,
                        given,
                        ..part.line()
                    })));
                }
            }
        }
        this.state = State::Done;
        Poll::Ready(None)
    }
}

/// The beginning of one source's next line.
#[derive(Debug)]
struct Part {
    source: Source,
    tty: bool,
    /// Whether what goes on with a line may have another time.
    times_parts: bool,
    max_line: usize,
    /// Time and text; empty if and only if no line is under way.
    buf: BytesMut,
    /// How much text was split off in front of it.
    split: usize,
    stamp: usize,
    continued: bool,
    first: bool,
    given: Given,
}

/// Whether a line that has begun is given already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Given {
    #[default]
    No,
    /// As it is, if it does not go on.
    SoFar,
    /// However it goes on.
    Whole,
}

impl Part {
    fn new(source: Source, tty: bool, times_parts: bool, max_line: usize) -> Self {
        Self {
            source,
            tty,
            times_parts,
            // Room for one character, whatever it is.
            max_line: max_line.max(4),
            buf: BytesMut::new(),
            split: 0,
            stamp: 0,
            continued: false,
            first: true,
            given: Given::No,
        }
    }

    /// When the line under way began.
    fn time(&self) -> Option<i64> {
        let is_under_way = !self.buf.is_empty();
        is_under_way.then(|| time(&self.buf[..self.stamp]))?
    }

    /// The next line that ends within `piece`, of which the part that was used is taken away.
    fn next(&mut self, piece: &mut Piece) -> Option<Line> {
        if piece.first {
            let stamp = stamp_len(&piece.bytes);
            if self.buf.is_empty() {
                return self.begin(stamp, piece).or_else(|| self.go_on(piece));
            }
            if piece.bytes[..stamp] != self.buf[..self.stamp] && !self.was_cut() {
                // A record of its own, so the line before it will never get its newline: its writer was
                // killed, or the engine that read it.
                return Some(self.cut());
            }
            piece.bytes.advance(stamp);
            piece.first = false;
        }
        self.go_on(piece)
    }

    /// Whether the engine has cut the line just here.
    fn was_cut(&self) -> bool {
        let text = self.split + self.buf.len() - self.stamp;
        self.times_parts && text > 0 && text.is_multiple_of(CUT)
    }

    /// Begins a line with a record: hands it on as it is where all of it is there.
    fn begin(&mut self, stamp: usize, piece: &mut Piece) -> Option<Line> {
        piece.first = false;
        self.stamp = stamp;
        if let Some(end) = memchr::memchr(b'\n', &piece.bytes)
            && (stamp..=stamp + self.max_line).contains(&end)
            && end + 1 == piece.bytes.len()
            && piece.last
        {
            let bytes = std::mem::take(&mut piece.bytes);
            return Some(self.finish(bytes.slice(..end)));
        }
        self.buf.extend_from_slice(&piece.bytes.split_to(stamp));
        None
    }

    /// Goes on with the line under way.
    fn go_on(&mut self, piece: &mut Piece) -> Option<Line> {
        while !piece.bytes.is_empty() {
            let room = self.max_line - (self.buf.len() - self.stamp);
            let most = piece.bytes.len().min(room + 1);
            if let Some(end) = memchr::memchr(b'\n', &piece.bytes[..most]) {
                self.buf.extend_from_slice(&piece.bytes.split_to(end));
                piece.bytes.advance(1);
                let line = self.line();
                // Where a record has more lines than one, they share its time.
                if !piece.bytes.is_empty() || !piece.last {
                    self.buf.extend_from_slice(&line.bytes[..line.stamp]);
                }
                // Of a line that was just not too long, the split may leave nothing but its `\r`.
                if line.continued && line.text().is_empty() {
                    continue;
                }
                return Some(line);
            }
            if most <= room {
                self.buf.extend_from_slice(&piece.bytes.split_to(most));
                continue;
            }
            self.buf.extend_from_slice(&piece.bytes.split_to(room));
            return Some(self.split());
        }
        None
    }

    /// The line under way, as it is.
    fn line(&mut self) -> Line {
        let bytes = self.buf.split().freeze();
        self.finish(bytes)
    }

    /// The line under way, which broke off.
    fn cut(&mut self) -> Line {
        let given = self.given != Given::No;
        let line = Line {
            more: true,
            cut: true,
            given,
            ..self.line()
        };
        self.first = true;
        line
    }

    /// What a line is where these bytes are all of it.
    fn finished<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.strip_suffix(b"\r");
        end.filter(|_| self.tty).unwrap_or(bytes)
    }

    fn finish(&mut self, mut bytes: Bytes) -> Line {
        self.split = 0;
        bytes.truncate(self.finished(&bytes).len());
        Line {
            source: self.source,
            bytes,
            stamp: self.stamp,
            continued: std::mem::take(&mut self.continued),
            more: false,
            cut: false,
            first: std::mem::take(&mut self.first),
            open: false,
            given: std::mem::take(&mut self.given) == Given::Whole,
        }
    }

    /// As much of the line under way as a line may hold, which is what there is, but for a character
    /// that would be torn. The rest goes on with the same time.
    fn split(&mut self) -> Line {
        let rest = self.buf.split_off(whole_chars(&self.buf, self.stamp));
        let bytes = self.buf.split().freeze();
        self.split += bytes.len() - self.stamp;
        self.buf.reserve(self.stamp + rest.len());
        self.buf.extend_from_slice(&bytes[..self.stamp]);
        self.buf.extend_from_slice(&rest);
        Line {
            source: self.source,
            bytes,
            stamp: self.stamp,
            continued: std::mem::replace(&mut self.continued, true),
            more: true,
            cut: false,
            first: std::mem::take(&mut self.first),
            open: false,
            given: self.given == Given::Whole,
        }
    }
}

/// The length of `bytes` without a character of UTF-8 that begins at their end, behind `from`, and is not
/// whole.
fn whole_chars(bytes: &[u8], from: usize) -> usize {
    let is_torn = |&at: &usize| {
        std::str::from_utf8(&bytes[at..])
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    let tail = bytes.len().saturating_sub(3).max(from);
    (tail..bytes.len()).find(is_torn).unwrap_or(bytes.len())
}
