//! Whole lines → bytes of an answer, as many lines at once as are there.
//!
//! A line by itself would cost a chunk on the wire and a wake-up for each; a batch ends when no more lines
//! are ready, so no line waits for another.

use std::{
    borrow::Cow,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use metrics::{Counter, counter, gauge};
use tokio_stream::Stream;

use super::{Line, LogError, Source};
use crate::telemetry::{Counted, name as metric};

/// A batch that has grown to this goes out.
const ENOUGH: usize = 32 * 1024;

/// How lines and what is around them look in an answer.
pub trait Form {
    /// Writes what stands for one line; whether there is anything that does.
    fn line(&mut self, line: &Line, out: &mut BytesMut) -> bool;

    /// Writes what stands at the end of a log that was read to its end.
    fn end(&mut self, _out: &mut BytesMut) {}
}

/// Counts one log answer for as long as it is sent.
#[derive(Debug)]
pub struct Sent {
    _open: Counted,
    lines: Counter,
    bytes: Counter,
}

impl Sent {
    /// An answer of `route` begins.
    pub fn begin(route: &'static str) -> Self {
        let open = gauge!(metric::STREAMS, "route" => route);
        Self {
            _open: Counted::new(open),
            lines: counter!(metric::LINES, "route" => route),
            bytes: counter!(metric::BYTES, "route" => route),
        }
    }
}

impl Sent {
    /// So many lines are sent.
    pub fn count_lines(&self, many: usize) {
        self.lines.increment(many as u64);
    }

    /// So many bytes are sent.
    pub fn count_bytes(&self, many: usize) {
        self.bytes.increment(many as u64);
    }
}

/// The last stage; see the [module](self).
#[derive(Debug)]
pub struct Batch<S, F> {
    lines: S,
    form: F,
    buf: BytesMut,
    sent: Sent,
    /// Whether lines wait until a batch is full.
    patient: bool,
    /// What is said once the buffer is out.
    over: Option<Result<(), LogError>>,
    done: bool,
}

impl<S, F: Form> Batch<S, F> {
    /// Writes each of `lines` in its `form`, after `opening`, and counts them in `sent`.
    pub fn new(lines: S, form: F, opening: &[u8], sent: Sent) -> Self {
        Self {
            lines,
            form,
            buf: BytesMut::from(opening),
            sent,
            patient: false,
            over: None,
            done: false,
        }
    }

    /// Lets lines wait until a batch is full, if `patient`: for who compresses them, and better the more
    /// there is at a time.
    pub fn patient(mut self, patient: bool) -> Self {
        self.patient = patient;
        self
    }
}

impl<S, F> Stream for Batch<S, F>
where
    S: Stream<Item = Result<Line, LogError>> + Unpin,
    F: Form + Unpin,
{
    type Item = Result<Bytes, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(None);
        }
        let mut written = 0;
        while this.over.is_none() && this.buf.len() < ENOUGH {
            match Pin::new(&mut this.lines).poll_next(cx) {
                Poll::Ready(Some(Ok(line))) => {
                    written += u64::from(this.form.line(&line, &mut this.buf));
                }
                Poll::Ready(Some(Err(error))) => this.over = Some(Err(error)),
                Poll::Ready(None) => {
                    this.form.end(&mut this.buf);
                    this.over = Some(Ok(()));
                }
                Poll::Pending => break,
            }
        }
        this.sent.lines.increment(written);
        let waits = this.patient && this.over.is_none() && this.buf.len() < ENOUGH;
        if !this.buf.is_empty() && !waits {
            this.sent.bytes.increment(this.buf.len() as u64);
            return Poll::Ready(Some(Ok(this.buf.split().freeze())));
        }
        match this.over.take() {
            Some(over) => {
                this.done = true;
                Poll::Ready(over.err().map(Err))
            }
            None => Poll::Pending,
        }
    }
}

/// `{"logs":["…","…"]}`, blank lines left out.
#[derive(Debug, Default)]
pub struct Json {
    begun: bool,
}

impl Json {
    /// What stands before the first line.
    pub const OPENING: &'static [u8] = b"{\"logs\":[";
}

impl Form for Json {
    fn line(&mut self, line: &Line, out: &mut BytesMut) -> bool {
        if line.text().trim_ascii().is_empty() {
            return false;
        }
        if self.begun {
            out.extend_from_slice(b",");
        }
        self.begun = true;
        json_string(&line.bytes, out);
        true
    }

    fn end(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(b"]}");
    }
}

/// The log as a file: each line as it is, ended by `\n` if it was ended at all, or another one follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text {
    /// Whether the last line was not ended.
    is_open: bool,
}

impl Form for Text {
    fn line(&mut self, line: &Line, out: &mut BytesMut) -> bool {
        // Each output may have its last words.
        if self.is_open {
            out.extend_from_slice(b"\n");
        }
        out.extend_from_slice(as_utf8(&line.bytes).as_bytes());
        if !line.open {
            out.extend_from_slice(b"\n");
        }
        self.is_open = line.open;
        true
    }
}

/// One JSON object a line: `{"time":"…","stream":"stdout","text":"…"}`. There is a time where the line has
/// one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ndjson;

impl Form for Ndjson {
    fn line(&mut self, line: &Line, out: &mut BytesMut) -> bool {
        out.extend_from_slice(b"{");
        if let Some(time) = line.bytes[..line.stamp].strip_suffix(b" ") {
            out.extend_from_slice(b"\"time\":");
            json_string(time, out);
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(match line.source {
            Source::Stderr => b"\"stream\":\"stderr\",\"text\":",
            Source::Stdout | Source::System => b"\"stream\":\"stdout\",\"text\":",
        });
        json_string(line.text(), out);
        if line.continued {
            out.extend_from_slice(b",\"continued\":true");
        }
        out.extend_from_slice(b"}\n");
        true
    }
}

/// `bytes` as a JSON string, in which U+FFFD stands for what is no UTF-8.
pub(super) fn json_string(bytes: &[u8], out: &mut BytesMut) {
    use bytes::BufMut;

    let text = as_utf8(bytes);
    serde_json::to_writer(out.writer(), &text).expect("a buffer takes every string");
}

/// `bytes` as text, in which U+FFFD stands for what is no UTF-8.
fn as_utf8(bytes: &[u8]) -> Cow<'_, str> {
    // Looked at first as a whole: the standard library's lossy reading goes byte by byte.
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}
