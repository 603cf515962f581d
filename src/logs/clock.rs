//! What the host's clock did, which the times of lines come from.
//!
//! The engine leaves out lines by their times. So what was written behind a line can be asked for by that line's time only if
//! the clock has not gone back since. It does where it is set, and where a host begins without knowing the time: then what
//! is written until it does seems to be from before it began.

use std::sync::{Mutex, PoisonError};

use rustix::time::{ClockId, clock_gettime};

use super::place::{Nanos, SKEW, nanos, now};

/// See the [module](self).
#[derive(Debug)]
pub struct Clock {
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// When the host began, by the clock as it was when it was last looked at.
    begun: Nanos,
    /// The latest time that may have come again.
    twice: Nanos,
}

impl Clock {
    /// A clock that is watched from now on.
    pub fn new() -> Self {
        let (_, begun) = look();
        let state = State {
            begun,
            twice: Nanos::MIN,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Whether it may have gone back since it showed this time, as far as is known here. Nothing is of an engine on another
    /// host, nor of what it did between the host's beginning and the agent's.
    pub fn may_have_gone_back_since(&self, stamp: Nanos) -> bool {
        let (now, begun) = look();
        // Nothing in there panics halfway.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.look(now, begun);
        state.doubts(stamp)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// It shows `now`, and by that the host began at `begun`.
    fn look(&mut self, now: Nanos, begun: Nanos) {
        let back = self.begun.saturating_sub(begun);
        if back > nanos(SKEW) {
            self.twice = self.twice.max(now.saturating_add(back));
        }
        self.begun = begun;
    }

    fn doubts(&self, stamp: Nanos) -> bool {
        stamp <= self.begun.max(self.twice)
    }
}

/// What the clock shows, and when the host began by that.
fn look() -> (Nanos, Nanos) {
    loop {
        let (before, now, after) = (uptime(), now(), uptime());
        // A thread that is held up in between would see a step.
        if after - before < nanos(SKEW) / 10 {
            return (now, now.saturating_sub(after));
        }
    }
}

/// How long ago the host began, by a clock that nobody sets.
fn uptime() -> Nanos {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = Nanos::saturating_mul(time.tv_sec, 1_000_000_000);
    seconds.saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;
    const BEGUN: Nanos = 1_000 * SECOND;

    /// A clock that showed these times, so many seconds after the host began.
    fn seen(looks: &[(Nanos, Nanos)]) -> State {
        let mut state = State {
            begun: BEGUN,
            twice: Nanos::MIN,
        };
        for (now, after) in looks {
            state.look(now * SECOND, (now - after) * SECOND);
        }
        state
    }

    #[test]
    fn a_clock_that_goes_on_is_relied_upon_since_the_host_began() {
        let state = seen(&[(1_010, 10), (1_100, 100)]);
        let doubted = [900, 1_000, 1_001, 1_200].map(|time| state.doubts(time * SECOND));
        assert_eq!(doubted, [true, true, false, false]);
    }

    #[test]
    fn what_was_written_before_the_time_was_known_is_doubted() {
        // A host that begins half an hour too early.
        let state = seen(&[(1_010, 10), (2_820, 20)]);
        assert!(state.doubts(1_015 * SECOND));
        assert!(!state.doubts(2_821 * SECOND));
    }

    #[test]
    fn a_clock_that_was_set_back_is_doubted_until_it_has_caught_up() {
        let state = seen(&[(1_010, 10), (1_100, 100), (1_050, 110), (1_190, 250)]);
        let doubted = [1_040, 1_100, 1_110, 1_111].map(|time| state.doubts(time * SECOND));
        assert_eq!(doubted, [true, true, true, false]);
    }

    #[test]
    fn a_clock_that_is_slowed_down_is_not_set_back() {
        let state = seen(&[(1_100, 100), (1_199, 200), (1_298, 300)]);
        assert!(!state.doubts(1_299 * SECOND) && !state.doubts(1_100 * SECOND));
    }

    #[test]
    fn the_host_s_own_began_in_the_past_and_goes_on() {
        let clock = Clock::new();
        assert!(!clock.may_have_gone_back_since(now()));
        assert!(clock.may_have_gone_back_since(now() - uptime() - SECOND));
    }
}
