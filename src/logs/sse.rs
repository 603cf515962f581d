//! A follower's steps → server-sent events, in either dialect of the docker.ps app.
//!
//! Each line's event carries a cursor as its id, so that a client which comes back can say where it was. A
//! stream says when it has ended, and why, by an event, and by a comment now and then that it is alive:
//! proxies cut connections that are quiet for long.

use std::{future::ready, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::stream::unfold;
use jiff::Timestamp;
use metrics::counter;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::{
    Line, LogError,
    batch::{Sent, json_string},
    cursor::{Cursor, write_cursor},
    encoding::Encoding,
    follower::{Follower, Step},
    place::{Nanos, Place},
    reading::Times,
    ring::Ended,
    stretch::{Gap, Placed, Stretch},
    until::Until,
};
use crate::telemetry::name as metric;

/// How long a stream may be quiet before a comment is sent.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// The comment: no event, so nothing that a client sees.
pub(crate) const COMMENT: &[u8] = b": heartbeat\n\n";

/// The last event of a stream that has run its course, where events have names.
pub(crate) const CLOSE: &[u8] = b"event: close\ndata: {\"status\":\"closed\"}\n\n";

/// The form of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Of the app's first generation: unnamed events.
    Unnamed,
    /// Of its second: `connected`, `log`, `close` and `error`.
    Named,
}

impl Dialect {
    /// The event at the beginning of the stream, if there is one.
    fn opening(self, container: &str) -> Bytes {
        match self {
            Self::Unnamed => Bytes::new(),
            Self::Named => {
                let id = serde_json::Value::from(container);
                format!(
                    "event: connected\ndata: {{\"status\":\"connected\",\"containerId\":{id}}}\n\n"
                )
                .into()
            }
        }
    }

    /// The event at the end of a stream that has run its course.
    fn ending(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Unnamed => b"data: {\"line\":\"[Log stream ended]\"}\n\n",
            Self::Named => CLOSE,
        })
    }

    /// The event at the end of a stream that failed.
    fn failure(self, error: &LogError) -> Bytes {
        let data = serde_json::json!({ "error": error.to_string() });
        match self {
            Self::Unnamed => format!("data: {data}\n\n"),
            Self::Named => format!("event: error\ndata: {data}\n\n"),
        }
        .into()
    }
}

/// What is said of lines that are missing.
pub(super) fn gap_data(gap: &Gap) -> serde_json::Value {
    let time = |nanos: Nanos| Timestamp::from_nanosecond(nanos.into()).ok();
    serde_json::json!({
        "container": gap.after.id(),
        "after": time(gap.after.place.stamp).map(|time| time.to_string()),
        "before": gap.before.and_then(time).map(|time| time.to_string()),
    })
}

fn gap_event(gap: &Gap) -> Bytes {
    format!("event: gap\ndata: {}\n\n", gap_data(gap)).into()
}

impl Dialect {
    /// Writes the event of `line`, which stands at `place` in the log of `container`.
    pub fn line(self, container: &str, place: &Place, line: &Line, out: &mut BytesMut) {
        out.extend_from_slice(match self {
            Self::Unnamed => b"id: ",
            Self::Named => b"event: log\nid: ",
        });
        write_cursor(out, container, place).expect("a buffer takes everything");
        out.extend_from_slice(match self {
            Self::Unnamed => b"\ndata: {\"line\":",
            Self::Named => b"\ndata: {\"log\":",
        });
        json_string(&line.bytes, out);
        if line.continued {
            out.extend_from_slice(b",\"continued\":true");
        }
        out.extend_from_slice(b"}\n\n");
    }
}

/// The events of one log, from the opening to the end. It never fails: a failure is its last event.
#[derive(Debug)]
pub struct Events {
    follower: Follower,
    encoding: Arc<Encoding>,
    times: Times,
    until: Until,
    /// Whether a line has come behind which none is wanted.
    is_past: bool,
    /// Whether it was live at some time.
    was_live: bool,
    stop: CancellationToken,
    sent: Sent,
    opening: Option<Bytes>,
    ended: bool,
    /// When the next comment is due.
    quiet: Instant,
}

impl Events {
    /// Streams what `follower` gets within `times`, as `encoding` has it, until that ends or `stop` is cancelled, and counts
    /// it in `sent`. The client calls the container `name`.
    pub fn new(
        follower: Follower,
        encoding: Encoding,
        name: &str,
        times: Times,
        stop: CancellationToken,
        sent: Sent,
    ) -> Self {
        let opening = encoding.dialect().opening(name);
        Self {
            encoding: follower.share(encoding),
            follower,
            times,
            until: Until::new(times.until),
            is_past: false,
            was_live: false,
            stop,
            sent,
            opening: Some(opening).filter(|opening| !opening.is_empty()),
            ended: false,
            quiet: Instant::now() + HEARTBEAT,
        }
    }

    /// The same, where the client was at a place that is gone with its container.
    pub fn behind(mut self, gap: Option<&Gap>) -> Self {
        if let Some(gap) = gap {
            counter!(metric::GAPS).increment(1);
            let opening = self.opening.take().unwrap_or_default();
            self.opening = Some([opening, gap_event(gap)].concat().into());
        }
        self
    }

    /// As a stream of bytes.
    pub fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        // Boxed, since it is moved into each turn and out of it, and a turn has room for both.
        unfold(Box::new(self), async |mut this| {
            Some((this.next().await?, this))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(opening) = self.opening.take() {
            return Some(opening);
        }
        loop {
            // Not among what is waited for, since a log that is written all the time would never let it have its turn.
            if self.quiet <= Instant::now() {
                self.quiet = Instant::now() + HEARTBEAT;
                let place = self.place();
                return Some([COMMENT, &place].concat().into());
            }
            let left = if self.is_past {
                self.until.left(false, false)
            } else if self.follower.is_live() {
                let waits = self.follower.has_last_words_to_come();
                self.until.left(waits, self.follower.ring().is_behind())
            } else {
                None
            };
            let is_over = left == Some(Duration::ZERO);
            let step = tokio::select! {
                // First, for the same reason.
                biased;
                () = self.stop.cancelled() => Step::End(Ended::Closed),
                () = ready(()), if is_over && self.is_past => Step::End(Ended::Closed),
                step = self.follower.next() => step,
                // All that has come is sent first, however slow the client; and it may have been found that there is more.
                () = ready(()), if is_over => match self.follower.is_live() {
                    true => Step::End(Ended::Closed),
                    false => continue,
                },
                () = sleep_until(self.quiet) => continue,
                () = sleep(left.unwrap_or_default()), if left.is_some() => continue,
            };
            let bytes = match step {
                Step::Lines(stretch, from) => self.lines(&stretch, from),
                // Of a client that comes back before it has got a line this is all that it knows.
                Step::Live if !std::mem::replace(&mut self.was_live, true) => self.place(),
                // Clients that do not know the name of the event do not see it.
                Step::Gap(gap) => gap_event(&gap),
                Step::Live | Step::Behind => Bytes::new(),
                Step::End(how) => {
                    self.ended = true;
                    self.end(&how)
                }
            };
            if !bytes.is_empty() {
                self.quiet = Instant::now() + HEARTBEAT;
                self.sent.count_bytes(bytes.len());
                return Some(bytes);
            }
            // Nothing of that is wanted; a search may have taken long for it.
            yield_now().await;
        }
    }
}

impl Events {
    /// The lines of a stretch from one on, as events: mostly made once for all who see them alike.
    fn lines(&mut self, stretch: &Stretch, from: usize) -> Bytes {
        let lines = stretch.lines[from..].iter();
        let id = &self.follower.facts().id;
        if self.follower.is_live() {
            self.until.saw(&stretch.lines[from..]);
        }
        self.is_past |= self.until.is_past(&stretch.lines[from..]);
        let is_within = |placed: &&Placed| self.times.hold(placed.place.stamp);
        let encoded = if from == 0 && lines.clone().all(|placed| is_within(&placed)) {
            let encode = || self.encoding.encode(id, lines);
            let followers = self.follower.followers();
            stretch.encoded.get(&self.encoding, followers, encode)
        } else {
            self.encoding.encode(id, lines.filter(is_within))
        };
        self.sent.count_lines(encoded.lines);
        encoded.bytes
    }

    /// Where the client is, which has seen all that it wants up to there. Without data it is no event, but a client that comes
    /// back goes on there.
    fn place(&self) -> Bytes {
        let id = &self.follower.facts().id;
        let place = match self.follower.at() {
            Some(place) => Cursor::new(id, place),
            None if self.follower.is_live() => Cursor::before_all(id),
            None => return Bytes::new(),
        };
        format!("id: {place}\n\n").into()
    }

    /// The last event.
    fn end(&self, how: &Ended) -> Bytes {
        match how {
            Ended::Closed => self.encoding.dialect().ending(),
            Ended::Failed(error) => {
                tracing::warn!(%error, "log stream failed");
                self.encoding.dialect().failure(error)
            }
        }
    }
}
