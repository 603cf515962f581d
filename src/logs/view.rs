//! Whole lines → those that are wanted, as they are wanted.
//!
//! What is searched is what is shown: secrets are hidden first, so that nobody finds one by searching.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use regex::bytes::Regex;
use tokio_stream::Stream;

use super::{Line, LogError, Secrets, Source, ansi::Plain};

/// How many bytes of lines that nobody wants are read at a time, before others have their turn.
const TURN: usize = 256 * 1024;

/// How much of a line an expression is searched in, and how many bytes of lines before others have their turn: there are some
/// that take 16 µs for each byte.
const SEARCHED: usize = 16 * 1024;

/// What is wanted of a log.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Only what was written there.
    pub source: Option<Source>,
    /// No escape sequences.
    pub strip_ansi: bool,
    /// What is to be hidden.
    pub secrets: Option<Secrets>,
    /// All of these must be in the text.
    pub grep: Vec<Finder<'static>>,
    /// The text must match, as far as it is searched.
    pub regex: Option<Arc<Regex>>,
    /// No time in front of the text.
    pub without_time: bool,
}

/// The rules by which lines are shown. Clones share them.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// None where every line is shown as it is.
    rules: Option<Arc<Rules>>,
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            source,
            strip_ansi,
            secrets,
            grep,
            regex,
            without_time,
        } = self;
        let is_alike = |(one, other): (&Finder<'_>, &Finder<'_>)| one.needle() == other.needle();
        (source, strip_ansi, secrets, without_time)
            == (
                &other.source,
                &other.strip_ansi,
                &other.secrets,
                &other.without_time,
            )
            && grep.len() == other.grep.len()
            && grep.iter().zip(&other.grep).all(is_alike)
            && regex.as_ref().map(|regex| regex.as_str())
                == other.regex.as_ref().map(|regex| regex.as_str())
    }
}

impl View {
    /// Shows lines by these rules.
    pub fn new(rules: Rules) -> Self {
        let Rules {
            source,
            strip_ansi,
            secrets,
            grep,
            regex,
            without_time,
        } = &rules;
        let is_plain = source.is_none()
            && !strip_ansi
            && secrets.is_none()
            && grep.is_empty()
            && regex.is_none()
            && !without_time;
        Self {
            rules: (!is_plain).then(|| Arc::new(rules)),
        }
    }

    /// Whether every line is shown as it is.
    pub fn is_plain(&self) -> bool {
        self.rules.is_none()
    }

    /// The line as it is shown; none if it is not wanted. Where no times are, its `stamp` is 0.
    pub fn show(&self, mut line: Line) -> Option<Line> {
        let Some(rules) = &self.rules else {
            return Some(line);
        };
        if rules.source.is_some_and(|source| source != line.source) {
            return None;
        }
        if let Some(text) = rules.rewrite(&line) {
            line.bytes = with_text(&line, &text);
        }
        let text = line.text();
        let matches = rules.grep.iter().all(|grep| grep.find(text).is_some())
            && rules
                .regex
                .as_ref()
                .is_none_or(|regex| regex.is_match(&text[..text.len().min(SEARCHED)]));
        if !matches {
            return None;
        }
        if rules.without_time {
            line.bytes.advance(line.stamp);
            line.stamp = 0;
        }
        Some(line)
    }

    /// What is shown of `lines`.
    pub fn of<S>(self, lines: S) -> Shown<S> {
        Shown { lines, view: self }
    }
}

impl Rules {
    /// The line's text without what is to be left out of it; none if that is nothing.
    fn rewrite(&self, line: &Line) -> Option<Vec<u8>> {
        if !self.strip_ansi && self.secrets.is_none() {
            return None;
        }
        let plain = Plain::of(line.text());
        let secrets = self.secrets.as_ref();
        let hidden =
            secrets.and_then(|secrets| secrets.hide(line, plain.as_ref(), self.strip_ansi));
        hidden.or_else(|| {
            let plain = plain.filter(|_| self.strip_ansi)?;
            Some(plain.take_from(line.text()))
        })
    }
}

/// The line's bytes with another text.
fn with_text(line: &Line, text: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(line.stamp + text.len());
    bytes.extend_from_slice(&line.bytes[..line.stamp]);
    bytes.extend_from_slice(text);
    bytes.freeze()
}

/// The stage of the pipeline that shows lines; see the [module](self).
#[derive(Debug)]
pub struct Shown<S> {
    lines: S,
    view: View,
}

impl<S> Stream for Shown<S>
where
    S: Stream<Item = Result<Line, LogError>> + Unpin,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let rules = self.view.rules.as_ref();
        let is_slow = rules.is_some_and(|rules| rules.regex.is_some());
        let mut left = if is_slow { SEARCHED } else { TURN };
        loop {
            let line = match ready!(Pin::new(&mut self.lines).poll_next(cx)) {
                Some(Ok(line)) => line,
                end => return Poll::Ready(end),
            };
            let cost = line.bytes.len() + 1;
            if let Some(line) = self.view.show(line) {
                return Poll::Ready(Some(Ok(line)));
            }
            // Else a search that finds nothing would hold up heartbeats and whoever shares the thread.
            let Some(rest) = left.checked_sub(cost) else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            left = rest;
        }
    }
}

#[cfg(test)]
mod tests;
