//! What a run writes last, without a newline: to who follows, the engine does not give it, so it is read once the run is over.

use super::{Read, Reader};
use crate::{
    engine::Tail,
    logs::{
        LogError,
        place::{Nanos, Place},
        reading::{From, Next, Search, Times},
        stretch::{Placed, Stretch},
    },
};

impl Reader {
    /// Reads what the run that began at `run` wrote behind the last line, which is over.
    pub(super) async fn read_last_words(&mut self, run: Nanos) -> Result<(), LogError> {
        let seen = self.facts.state.run();
        if !self.facts.state.running {
            self.read_rest().await?;
        }
        let next = self.facts.state.run();
        let has_begun = self.facts.state.running || next != seen;
        // Else its times do not tell what was written before.
        if has_begun
            && next > run
            && let Err(error) = self.read_rest_before(next).await
        {
            // They come with the next run, if that can be read.
            tracing::debug!(%error, "a run's last words cannot be read");
        }
        Ok(())
    }

    /// The same where the next run has begun, at this time.
    async fn read_rest_before(&mut self, next: Nanos) -> Result<(), LogError> {
        let mut from = self.behind_last(From::Tail(Tail::All, Times::default()));
        loop {
            let mut reading = self.source.open(&self.facts, &from, false).await?;
            reading.end_before(next);
            let end = loop {
                match reading.next().await? {
                    Next::Lines(stretch) => {
                        self.push(stretch).await;
                    }
                    end => break end,
                }
            };
            if let (Next::Missing(_), From::After(place, Search::Since)) = (end, &from) {
                from = From::After(*place, Search::All);
                continue;
            }
            let rest = self.new_rest(reading.rest());
            self.push_rest(rest).await;
            return Ok(());
        }
    }

    /// Reads what a stopped container's log holds behind the last line.
    async fn read_rest(&mut self) -> Result<(), LogError> {
        let mut from = self.behind_last(From::Tail(Tail::All, Times::default()));
        loop {
            match self.read(&from, false).await {
                Ok(Read::ToItsEnd(rest)) => {
                    // In a run that has begun meanwhile, it may go on.
                    if !rest.is_empty() && self.is_still_stopped().await? {
                        self.push_rest(rest).await;
                    }
                    return Ok(());
                }
                // Lines that are gone are told if something comes behind them.
                Ok(Read::Missing(gap)) if gap.before.is_some() => {
                    from = self.go_beyond(gap, &from).await;
                    continue;
                }
                Ok(
                    Read::Missing(_)
                    | Read::Uncounted(_)
                    | Read::Nothing
                    | Read::Anew
                    | Read::InDoubt,
                ) => return Ok(()),
                Err(error) => self.allow(error)?,
            }
            self.pause().await;
            from = self.behind_last(from);
        }
    }

    /// Pushes the lines that a run's log breaks off in, if there are any.
    pub(super) async fn push_rest(&mut self, rest: Vec<Placed>) {
        if !rest.is_empty() {
            self.rest = rest.iter().map(|placed| placed.place).collect();
            self.push(Stretch::rest(rest, self.last)).await;
        }
    }

    /// What is new of the lines that the log breaks off in.
    pub(super) fn new_rest(&self, rest: Vec<Placed>) -> Vec<Placed> {
        let is_given = |place: &Place| self.rest.iter().any(|given| given.is(place));
        rest.into_iter()
            .filter(|placed| !is_given(&placed.place))
            .collect()
    }

    /// Whether these are the last words of the run whose last line was pushed: those of earlier ones may stand behind that
    /// without an end too.
    pub(super) fn are_last_words(&self, rest: &[Placed]) -> bool {
        let had_begun = |placed: &Placed| self.last.is_some_and(|last| placed.had_begun_at(&last));
        !rest.is_empty() && !rest.iter().any(had_begun)
    }
}
