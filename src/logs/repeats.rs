//! Lines that an engine gives twice to who follows a log.
//!
//! Docker 20.10 begins the file that a log has rotated to again, once it has read that to its end for the first time: where
//! lines come slowly, the one that made it rotate is given twice. It may take one rotation for two as well. If it was a whole
//! file behind, it goes on with the newest of all from there, and leaves out what is between.

use super::{
    Source,
    place::{Nanos, Place, mark::Mark},
    ring::Ring,
    stretch::{Placed, Stretch},
};

/// So much, in bytes, that comes again shows that the engine may be behind by more than that.
const MUCH: usize = 16 * 1024;

/// Finds them in one read.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    stdout: Track,
    stderr: Track,
    /// How much has come again, in bytes, since there was something new.
    again: usize,
    /// The last words of a run, which end here when their outputs say more.
    given: Vec<Place>,
    /// Whether nothing else comes again: the log does not rotate.
    only_given: bool,
}

/// The lines of one source, whose times never go back but with the clock.
#[derive(Clone, Copy, Debug, Default)]
struct Track {
    last: Nanos,
    /// What that line is known by, if it is whole.
    mark: Option<Mark>,
    /// Up to when lines come again.
    until: Option<Nanos>,
}

impl Track {
    fn see(&mut self, placed: &Placed) {
        *self = Self {
            last: placed.place.stamp,
            mark: mark(placed),
            until: None,
        };
    }

    /// Whether the line is the last one, a second time: no driver of a log that rotates gives two of them one time.
    fn is_last(&self, placed: &Placed) -> bool {
        let marks = self.mark.zip(mark(placed));
        placed.place.stamp == self.last && marks.is_some_and(|(last, again)| last.is(&again))
    }
}

/// What a line is known by; none of a part of one, since all parts have one time.
fn mark(Placed { line, place, .. }: &Placed) -> Option<Mark> {
    (!line.more && !line.continued).then_some(place.mark)
}

/// What is new of a stretch.
#[derive(Debug)]
pub(super) struct News {
    /// Those lines, if there are any.
    pub(super) lines: Option<Stretch>,
    /// Why what comes behind them cannot be relied on.
    pub(super) doubt: Option<Doubt>,
}

/// Why what an engine gives may not be what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Much has come again.
    Much,
    /// A line is older than others before it, and is not known: more has come again than that, or the clock was set back.
    Older,
}

enum Kind {
    New,
    /// It has come without its end.
    Given,
    /// It is the last one again.
    Twice,
    Repeat,
    /// Of an earlier time than others before it, and yet not known.
    Doubtful,
}

impl Repeats {
    /// The same where these last words have come without their ends, and other lines come again only if the log `rotates`.
    pub(super) fn behind(given: &[Place], rotates: bool) -> Self {
        Self {
            given: given.to_vec(),
            only_given: !rotates,
            ..Self::default()
        }
    }

    /// What is new of the lines that came behind those of the ring. Doubtful ones are `trusted`, or are where it ends.
    pub(super) fn take_out(&mut self, stretch: Stretch, ring: &Ring, trusted: bool) -> News {
        // As long as it is all.
        let mut kept: Option<Vec<Placed>> = None;
        let mut doubt = None;
        for (at, placed) in stretch.lines.iter().enumerate() {
            let place = &placed.place;
            let before = kept.as_deref().unwrap_or(&stretch.lines[..at]);
            let is_known =
                || before.iter().any(|placed| place.is(&placed.place)) || ring.holds(place);
            let kind = self.kind(placed, is_known);
            if let Kind::New | Kind::Doubtful = kind
                && (trusted || matches!(kind, Kind::New))
            {
                self.again = 0;
                if let Some(kept) = &mut kept {
                    kept.push(placed.clone());
                }
                continue;
            }
            kept.get_or_insert_with(|| stretch.lines[..at].to_vec());
            if let Kind::Given | Kind::Twice = kind {
                continue;
            }
            self.again += placed.line.bytes.len();
            doubt = match kind {
                Kind::Doubtful => Some(Doubt::Older),
                _ => (self.again > MUCH && !trusted).then_some(Doubt::Much),
            };
            if doubt.is_some() {
                break;
            }
        }
        let lines = match kept {
            None => Some(stretch),
            Some(kept) => (!kept.is_empty()).then(|| Stretch::new(kept)),
        };
        News { lines, doubt }
    }

    fn kind(&mut self, placed: &Placed, is_known: impl FnOnce() -> bool) -> Kind {
        let place = &placed.place;
        if self.given.iter().any(|given| given.is(place)) {
            return Kind::Given;
        }
        if self.only_given {
            return Kind::New;
        }
        let track = match place.source {
            Source::Stderr => &mut self.stderr,
            Source::Stdout | Source::System => &mut self.stdout,
        };
        if track.is_last(placed) {
            return Kind::Twice;
        }
        let is_back = place.stamp < track.last;
        if !is_back && track.until.is_none_or(|until| until < place.stamp) {
            track.see(placed);
            return Kind::New;
        }
        if is_known() {
            track.until.get_or_insert(track.last);
            return Kind::Repeat;
        }
        track.see(placed);
        // At the last of the times that came again there may be more than had come.
        if is_back { Kind::Doubtful } else { Kind::New }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Line, place::Places, ring::RING};

    fn line(stamp: u32, text: &str) -> Line {
        let time = format!("2024-01-01T00:00:00.{stamp:09}Z ");
        Line {
            stamp: time.len(),
            ..Line::bare(format!("{time}{text}"))
        }
    }

    /// Lines of which each has another text than the one before it.
    fn stretch(places: &mut Places, stamps: &[u32]) -> Stretch {
        let lines = stamps.iter().enumerate().map(|(at, stamp)| {
            let is_same = at
                .checked_sub(1)
                .is_some_and(|before| stamps[before] == *stamp);
            let line = line(*stamp, if is_same { "other" } else { "text" });
            let place = places.next(&line, None);
            Placed::new(line, place)
        });
        Stretch::new(lines.collect())
    }

    fn stamps(news: &News) -> Vec<i64> {
        let lines = news.lines.iter().flat_map(|stretch| &stretch.lines);
        lines
            .map(|placed| placed.place.stamp % 1_000_000_000)
            .collect()
    }

    #[tokio::test]
    async fn what_comes_again_is_taken_out() {
        let (ring, mut repeats, mut places) = (Ring::new(), Repeats::default(), Places::new(true));
        for (come, new) in [
            (&[1, 2, 2, 3][..], &[1, 2, 2, 3][..]),
            // With what the ring has, with what it does not have yet, and with one more of the last time.
            (&[4, 2, 2, 3, 4, 5], &[4, 5]),
            (&[3, 4, 5], &[]),
            (&[4, 5, 5, 6], &[5, 6]),
            (&[7, 8], &[7, 8]),
        ] {
            let news = repeats.take_out(stretch(&mut places, come), &ring, false);
            assert_eq!(news.doubt, None);
            assert_eq!(stamps(&news), *new, "{come:?}");
            if let Some(lines) = news.lines {
                ring.push(lines, RING).await;
            }
        }
    }

    #[tokio::test]
    async fn the_last_line_is_given_once() {
        let (ring, mut repeats) = (Ring::new(), Repeats::default());
        let mut places = Places::new(true);
        let long = "x".repeat(2 * MUCH);
        let part = |text| Line {
            continued: true,
            ..line(4, text)
        };
        let errors = |stamp, text| Line {
            source: Source::Stderr,
            ..line(stamp, text)
        };
        let mut new = |come: Vec<Line>| {
            let placed = come.into_iter().map(|line| {
                let place = places.next(&line, None);
                Placed::new(line, place)
            });
            let news = repeats.take_out(Stretch::new(placed.collect()), &ring, false);
            assert_eq!(news.doubt, None);
            news.lines.map_or(0, |lines| lines.lines.len())
        };
        assert_eq!(new(vec![line(1, "a"), line(1, "a"), line(2, "a")]), 2);
        assert_eq!(new(vec![line(2, "a"), line(2, "a"), line(2, "b")]), 1);
        assert_eq!(new(vec![line(3, &long)]), 1);
        assert_eq!(new(vec![line(3, &long)]), 0);
        // Of each output; and parts of one line have its time, and may be alike.
        assert_eq!(new(vec![errors(3, &long), errors(3, &long)]), 1);
        assert_eq!(new(vec![part("c"), part("c")]), 2);
    }

    #[tokio::test]
    async fn what_is_older_and_not_known_is_in_doubt() {
        let (ring, mut places) = (Ring::new(), Places::new(true));
        let come = stretch(&mut places, &[5, 6, 2, 7]);
        let news = Repeats::default().take_out(come, &ring, false);
        assert_eq!(
            (stamps(&news), news.doubt),
            (vec![5, 6], Some(Doubt::Older))
        );
        // The clock was set back.
        let come = stretch(&mut places, &[5, 6, 2, 7]);
        let news = Repeats::default().take_out(come, &ring, true);
        assert_eq!((stamps(&news), news.doubt), (vec![5, 6, 2, 7], None));
    }

    #[tokio::test]
    async fn much_that_comes_again_is_in_doubt() {
        let (ring, mut repeats, mut places) = (Ring::new(), Repeats::default(), Places::new(true));
        let all: Vec<_> = (1..1000).collect();
        let first = repeats.take_out(stretch(&mut places, &all), &ring, false);
        ring.push(first.lines.unwrap(), RING).await;
        let few = repeats.take_out(stretch(&mut places, &all[..100]), &ring, false);
        assert!(few.lines.is_none() && few.doubt.is_none());
        let many = repeats.take_out(stretch(&mut places, &all[100..]), &ring, false);
        assert!(many.lines.is_none());
        assert_eq!(many.doubt, Some(Doubt::Much));
    }
}
