//! What has happened before, as the engine tells it.

use std::{collections::VecDeque, time::Duration};

use http::{HeaderMap, header::DATE};
use http_body_util::BodyExt;
use jiff::fmt::rfc2822;
use tokio::time::{Instant, timeout_at};

use super::{
    SECOND, Unix,
    event::{Nanos, Said},
    lines::Cutter,
    ring::{BYTES, ENTRIES},
};
use crate::engine::{Error, observe, raw::Raw};

/// How long it may take to come, until there is a gap behind it.
const WHOLE: Duration = Duration::from_secs(10);

/// How long to wait for more of it where the engine's clock is behind.
const QUIET: Duration = Duration::from_secs(2);

/// Some of it.
#[derive(Debug)]
pub(super) enum Told {
    Said(Said),
    /// More was here that is not known.
    Missing,
}

/// The newest of it, as much as there could be room for: some engines remember everything.
#[derive(Debug, Default)]
pub(super) struct Past {
    told: VecDeque<Told>,
    bytes: usize,
    /// The time of the last event that was left out.
    pub(super) left_out: Option<Nanos>,
    /// The latest time of an event.
    latest: Option<Nanos>,
}

impl Past {
    /// What the engine knows of a time; the end is missing where it does not come.
    ///
    /// # Errors
    ///
    /// The engine's.
    pub(super) async fn ask(raw: &Raw, since: Nanos, until: Nanos) -> Result<Self, Error> {
        let path = format!("/events?since={}&until={}", Unix(since), Unix(until));
        let answer = observe("events_since", raw.stream(&path)).await?;
        let deadline = Instant::now() + WHOLE;
        // Where its clock is behind, it says at once what it knows, then what happens, and ends when it is then.
        let live = next_second(answer.headers()).filter(|next| *next < until);
        let mut body = answer.into_body();
        let (mut cutter, mut past) = (Cutter::default(), Self::default());
        let is_whole = loop {
            let patience = live.map_or(deadline, |_| Instant::now() + QUIET);
            match timeout_at(patience, body.frame()).await {
                Ok(Some(frame)) => {
                    if let Ok(bytes) = frame.map_err(Error::broken)?.into_data() {
                        cutter.cut(&bytes, |line| past.push(line.and_then(Said::read)));
                    }
                }
                Ok(None) => break true,
                Err(_) => break live.is_some(),
            }
            if live.is_some() && past.latest >= live {
                break true;
            }
            if Instant::now() > deadline {
                break false;
            }
        };
        cutter.finish(|line| past.push(line.and_then(Said::read)));
        if !is_whole {
            tracing::warn!("the engine's events of before do not come to an end");
            past.push(None);
        }
        Ok(past)
    }

    /// Adds what comes next; none where that cannot be read.
    pub(super) fn push(&mut self, said: Option<Said>) {
        match said {
            Some(said) => {
                self.bytes += said.size();
                self.latest = self.latest.max(Some(said.nanos));
                self.told.push_back(Told::Said(said));
            }
            None if matches!(self.told.back(), Some(Told::Missing)) => {}
            None => self.told.push_back(Told::Missing),
        }
        while self.told.len() > ENTRIES || self.bytes > BYTES {
            let left_out = match self.told.pop_front() {
                Some(Told::Said(said)) => {
                    self.bytes -= said.size();
                    Some(said.nanos)
                }
                // Older than what comes next.
                Some(Told::Missing) => self.told.iter().find_map(|told| match told {
                    Told::Said(said) => Some(said.nanos - 1),
                    Told::Missing => None,
                }),
                None => return,
            };
            self.left_out = self.left_out.max(left_out);
        }
    }
}

/// The second behind the one in which the engine answered, by its own clock.
pub(super) fn next_second(headers: &HeaderMap) -> Option<Nanos> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(date.as_second().saturating_add(1).saturating_mul(SECOND))
}

impl IntoIterator for Past {
    type Item = Told;
    type IntoIter = std::collections::vec_deque::IntoIter<Told>;

    fn into_iter(self) -> Self::IntoIter {
        self.told.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn keeps_the_newest_and_knows_what_it_left_out() {
        let said = |nanos: usize, len: usize| {
            let line = format!("{{\"timeNano\":{nanos},\"x\":\"{}\"}}", "x".repeat(len));
            Said::read(Bytes::from(line))
        };
        let mut past = Past::default();
        past.push(None);
        past.push(None);
        for nanos in 2..=ENTRIES {
            past.push(said(nanos, 0));
        }
        assert_eq!((past.told.len(), past.left_out), (ENTRIES, None));
        past.push(said(ENTRIES + 1, 0));
        assert_eq!((past.told.len(), past.left_out), (ENTRIES, Some(1)));
        past.push(said(ENTRIES + 2, 0));
        assert_eq!((past.told.len(), past.left_out), (ENTRIES, Some(2)));
        for more in 1..=100 {
            past.push(said(ENTRIES + 2 + more, 1 << 20));
        }
        assert!(
            past.bytes <= BYTES && past.told.len() == 2,
            "{}",
            past.bytes
        );
    }
}
