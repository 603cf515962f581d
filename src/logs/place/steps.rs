//! Where a log's clock went back, as the times of its lines tell.

use super::{Nanos, SKEW, nanos};

/// The times that came twice, as far as lines were seen in the order of the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    /// The latest time of a line.
    latest: Nanos,
    /// From the earliest line behind a step to the latest before one.
    twice: Option<(Nanos, Nanos)>,
}

impl Steps {
    /// The next line is of this time.
    pub fn see(&mut self, stamp: Nanos) {
        if stamp < self.latest.saturating_sub(nanos(SKEW)) {
            let (from, to) = self.twice.unwrap_or((stamp, self.latest));
            self.twice = Some((from.min(stamp), to.max(self.latest)));
        }
        self.latest = self.latest.max(stamp);
    }

    /// Whether what stands behind a line of this time may seem far older than it.
    pub fn hold(&self, stamp: Nanos) -> bool {
        self.twice
            .is_some_and(|(from, to)| (from..=to).contains(&stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn seen(seconds: &[Nanos]) -> Steps {
        let mut steps = Steps::default();
        for time in seconds {
            steps.see(time * SECOND);
        }
        steps
    }

    #[test]
    fn two_writers_are_no_step() {
        let steps = seen(&[7, 8, 7, 9]);
        assert!(!steps.hold(8 * SECOND));
    }

    #[test]
    fn all_times_between_both_sides_of_steps_came_twice() {
        let steps = seen(&[50, 52, 10, 20, 60, 40]);
        let held = [9, 10, 30, 52, 55, 60, 61].map(|time| steps.hold(time * SECOND));
        assert_eq!(held, [false, true, true, true, true, true, false]);
    }
}
