//! When a read that goes on behind a line has come to what is written now.

use std::{mem, time::Duration};

use super::reading::Reading;

/// How long nothing must have come. A line that is sought may be found without anything to show for it.
pub(super) const LULL: Duration = Duration::from_secs(1);

/// For how many of these the line is looked for once lines in front of it have come: a log that has lost it shows that only
/// by the next one.
const MOST: u32 = 5;

/// For how many where none has come: the engine may be looking for the first, in silence.
const MOST_SILENT: u32 = 60;

/// What a read was like when nothing had come for a while.
#[derive(Debug, Default)]
pub(super) struct Lull {
    had_begun: bool,
    passed: u64,
    many: u32,
}

impl Lull {
    /// Nothing has come for another [`LULL`]. Whether that is because there is nothing, as far as can be known.
    pub(super) fn tells(&mut self, reading: &Reading) -> bool {
        self.goes_on(reading.has_begun(), reading.passed())
    }

    fn goes_on(&mut self, has_begun: bool, passed: u64) -> bool {
        let is_searching = mem::replace(&mut self.passed, passed) != passed;
        self.many = if is_searching { 0 } else { self.many + 1 };
        let most = if passed > 0 { MOST } else { MOST_SILENT };
        let had_begun = mem::replace(&mut self.had_begun, has_begun);
        !is_searching && had_begun || self.many == most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_once_the_line_was_found_or_is_looked_for_in_vain() {
        let mut found = Lull::default();
        assert_eq!(
            [(false, 5), (true, 9), (true, 9)]
                .map(|(has_begun, passed)| found.goes_on(has_begun, passed)),
            [false, false, true]
        );
        let mut lost = Lull::default();
        let told: Vec<_> = [1, 2, 2, 2, 2, 2, 2]
            .map(|passed| lost.goes_on(false, passed))
            .into();
        assert_eq!(told, [false, false, false, false, false, false, true]);
        let mut silent = Lull::default();
        let told = (0..60).map(|_| silent.goes_on(false, 0));
        assert_eq!(told.filter(|told| *told).count(), 1);
        let mut late = Lull::default();
        assert!(
            ![(true, 0), (true, 5), (true, 9)]
                .iter()
                .any(|(has_begun, passed)| late.goes_on(*has_begun, *passed))
        );
    }
}
