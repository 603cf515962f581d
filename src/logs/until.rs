//! When a stream ends that is wanted up to a time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{place::SKEW, reading::Times, stretch::Placed};

/// How long a line may be on its way from the container to the client, at most, while none of the same time comes.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(1);

/// How long the last words of a container that has stopped may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How often it is looked whether the engine gives again what it has.
const LOOK: Duration = Duration::from_millis(100);

/// The end of a stream: a while after its time, and after the last line that was early enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    time: Option<Timestamp>,
    /// When the last such line has come.
    came: Option<Instant>,
    /// When the end had come, but for last words.
    over: Option<Instant>,
}

/// Whether a line is so late that none behind it in its log is wanted up to `until`.
fn is_past(until: Timestamp, placed: &Placed) -> bool {
    let last = until.saturating_add(SKEW).unwrap_or(Timestamp::MAX);
    i128::from(placed.place.stamp) > last.as_nanosecond()
}

impl Until {
    /// Up to `time`; without, the stream has no end.
    pub(super) fn new(time: Option<Timestamp>) -> Self {
        Self {
            time,
            came: None,
            over: None,
        }
    }

    /// These lines have come, of what is written now. What was written long before does not show what is on its way.
    pub(super) fn saw(&mut self, lines: &[Placed]) {
        let Some(until) = self.time else {
            return;
        };
        let times = Times {
            since: None,
            until: Some(until),
        };
        if lines.iter().any(|placed| times.hold(placed.place.stamp)) {
            self.came = Some(Instant::now());
        }
    }

    /// Whether these lines, of what is written now, show that none behind them is wanted.
    pub(super) fn is_past(&self, lines: &[Placed]) -> bool {
        let last = self.time.zip(lines.last());
        last.is_some_and(|(until, last)| is_past(until, last))
    }

    /// How long it is until the end if nothing more comes, if there is one. Last words that are to come are waited for, and as
    /// long as `is_behind` whatever the engine may give; then this is to be asked again.
    pub(super) fn left(
        &mut self,
        has_last_words_to_come: bool,
        is_behind: bool,
    ) -> Option<Duration> {
        let left = self.left_of_time(has_last_words_to_come)?;
        Some(if is_behind { left.max(LOOK) } else { left })
    }

    fn left_of_time(&mut self, has_last_words_to_come: bool) -> Option<Duration> {
        let time = self.time?.duration_since(Timestamp::now());
        let after_time = time.saturating_add(ON_ITS_WAY);
        let after_line = self.came.map(|came| {
            let quiet = SignedDuration::try_from(came.elapsed());
            ON_ITS_WAY - quiet.unwrap_or(ON_ITS_WAY)
        });
        let left = after_time.max(after_line.unwrap_or(after_time));
        let left = Duration::try_from(left).unwrap_or_default();
        if !left.is_zero() || !has_last_words_to_come {
            return Some(left);
        }
        let over = *self.over.get_or_insert_with(Instant::now);
        Some(LAST_WORDS.saturating_sub(over.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Line, place::Places};

    /// A line that was written so long before `time`.
    fn line(time: Timestamp, before: SignedDuration) -> Placed {
        let stamp = format!("{:.9} ", time - before);
        let line = Line {
            stamp: stamp.len(),
            ..Line::bare(format!("{stamp}text"))
        };
        let place = Places::new(true).next(&line, None);
        Placed::new(line, place)
    }

    #[test]
    fn waits_for_lines_that_are_on_their_way() {
        assert_eq!(Until::new(None).left(false, false), None);
        let second = SignedDuration::from_secs(1);
        let time = Timestamp::now() - 2 * ON_ITS_WAY;
        let mut until = Until::new(Some(time));
        assert_eq!(until.left(false, false), Some(Duration::ZERO));
        assert!(until.left(true, false).unwrap() > ON_ITS_WAY.unsigned_abs());
        assert_eq!(until.left(false, true), Some(LOOK));
        until.saw(&[line(time, -second)]);
        assert_eq!(
            until.left(false, false),
            Some(Duration::ZERO),
            "it is later"
        );
        assert!(!until.is_past(&[line(time, -second)]));
        assert!(until.is_past(&[line(time, -2 * second)]));
        assert!(!Until::new(None).is_past(&[line(time, -2 * second)]));
        until.saw(&[line(time, -second), line(time, second)]);
        assert!(until.left(false, false).unwrap() > Duration::ZERO);
        let mut ahead = Until::new(Some(Timestamp::now() + 10 * second));
        assert!(ahead.left(false, false).unwrap() > Duration::from_secs(10));
    }
}
