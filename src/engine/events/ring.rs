//! The newest events, for all who listen.

use std::{collections::VecDeque, mem, sync::Arc};

use super::{
    MARGIN,
    event::{Event, Id, Nanos, Said},
    past::{Past, Told},
};

/// What is kept at most: so many entries, and so many bytes.
pub(super) const ENTRIES: usize = 4096;
pub(super) const BYTES: usize = 8 << 20;

/// Where the first event is, so that there is room in front of it.
const MIDDLE: u64 = 1 << 40;

/// Events that nobody can tell any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Nothing is missing up to that time, where one is known.
    pub after: Option<Nanos>,
    /// The time of the first event behind it, if there is one yet.
    pub before: Option<Nanos>,
}

/// What a listener gets.
#[derive(Clone, Debug)]
pub enum Step {
    /// An event.
    Event(Arc<Event>),
    /// The engine was away, and tells again what happens.
    Again,
    /// Events are missing here.
    Gap(Gap),
    /// The listener was too slow: what came next for it is kept no more.
    Passed(Gap),
}

impl Step {
    fn event(&self) -> Option<&Arc<Event>> {
        match self {
            Self::Event(event) => Some(event),
            Self::Again | Self::Gap(_) | Self::Passed(_) => None,
        }
    }
}

fn nanos(event: &Arc<Event>) -> Nanos {
    event.id.nanos
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ring {
    steps: VecDeque<Step>,
    /// The position of the oldest.
    first: u64,
    bytes: usize,
    /// Up to when something was that is kept no more.
    forgotten: Option<Nanos>,
    /// Since when all that the engine knows is here, if nothing is forgotten.
    since: Nanos,
    /// Since when the engine tells what happens.
    begun: Nanos,
}

impl Ring {
    pub(super) fn new(since: Nanos) -> Self {
        Self {
            steps: VecDeque::new(),
            first: MIDDLE,
            bytes: 0,
            forgotten: None,
            since,
            begun: since,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.steps.len() as u64
    }

    /// Whether the engine need not be asked for what has happened since.
    pub(super) fn reaches(&self, since: Nanos) -> bool {
        self.since <= since || self.has_forgotten()
    }

    /// Whether what happened then comes by itself, if it is not here.
    pub(super) fn is_told(&self, nanos: Nanos) -> bool {
        self.begun <= nanos
    }

    /// Since when to ask the engine for what happens: a while before what it told last, or when it began to.
    pub(super) fn read_since(&self) -> Nanos {
        self.last()
            .map_or(self.begun, |event| event.id.nanos - MARGIN)
    }

    /// The engine tells what happens from then on, by its own clock, if not from before.
    pub(super) fn begins(&mut self, nanos: Nanos) {
        self.begun = self.begun.min(nanos);
    }

    /// Whether events were here that are not any more: the engine keeps fewer.
    pub(super) fn has_forgotten(&self) -> bool {
        self.forgotten.is_some()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = (u64, &Arc<Event>)> {
        let steps = (self.first..).zip(&self.steps);
        steps.filter_map(|(position, step)| Some((position, step.event()?)))
    }

    pub(super) fn last(&self) -> Option<Arc<Event>> {
        self.steps.iter().rev().find_map(Step::event).cloned()
    }

    pub(super) fn find(&self, id: Id) -> Option<u64> {
        let mut events = self.events();
        events
            .find(|(_, event)| event.id == id)
            .map(|(position, _)| position)
    }

    pub(super) fn holds(&self, said: &Said) -> bool {
        self.events().any(|(_, event)| said.is(event))
    }

    /// The position of the first event that is later, and its time.
    pub(super) fn later_than(&self, nanos: Nanos) -> (u64, Option<Nanos>) {
        let later = self.events().find(|(_, event)| event.id.nanos > nanos);
        later.map_or((self.end(), None), |(position, event)| {
            (position, Some(event.id.nanos))
        })
    }

    /// The position of what has happened since a time, and what of it is kept no more.
    pub(super) fn since(&self, nanos: Nanos) -> (u64, Option<Gap>) {
        if self.forgotten.is_some_and(|last| last >= nanos) {
            let before = self.events().next().map(|(_, event)| event.id.nanos);
            let after = Some(nanos);
            return (self.first, Some(Gap { after, before }));
        }
        let mut begin = self.first;
        for (position, step) in (self.first..).zip(&self.steps) {
            match step {
                Step::Event(event) if event.id.nanos < nanos => begin = position + 1,
                Step::Event(event) if event.id.nanos == nanos => return (position, None),
                Step::Event(_) => break,
                // Right in front of what is wanted, a gap reaches into it.
                Step::Again | Step::Gap(_) | Step::Passed(_) => {}
            }
        }
        (begin, None)
    }

    /// Adds an event; false where it is there already.
    pub(super) fn push(&mut self, said: Said) -> bool {
        let mut place = 0;
        for step in &self.steps {
            if let Step::Event(event) = step
                && event.id.nanos == said.nanos
            {
                if said.is(event) {
                    return false;
                }
                place += 1;
            }
        }
        self.add(Step::Event(Arc::new(Event::new(said, place))));
        true
    }

    pub(super) fn push_again(&mut self) {
        self.add(Step::Again);
    }

    /// Says that events are missing; more than once, since who has been told of one gap may look and must know of the next.
    pub(super) fn push_gap(&mut self, before: Option<Nanos>) {
        let after = self.last().map(|event| event.id.nanos);
        self.add(Step::Gap(Gap { after, before }));
    }

    fn add(&mut self, step: Step) {
        self.bytes += size(&step);
        self.steps.push_back(step);
        while self.steps.len() > ENTRIES || self.bytes > BYTES {
            let Some(step) = self.steps.pop_front() else {
                return;
            };
            self.bytes -= size(&step);
            self.first += 1;
            let forgotten = match step {
                Step::Event(event) => Some(event.id.nanos),
                // What is missing there is older than what comes next.
                Step::Gap(_) => {
                    let mut events = self.events();
                    events.next().map(|(_, event)| event.id.nanos - 1)
                }
                Step::Again | Step::Passed(_) => None,
            };
            self.forgotten = self.forgotten.max(forgotten);
        }
        self.forget_no_more_than_is_kept();
    }

    /// One event of a time far ahead, once forgotten, would make all seem forgotten up to then.
    fn forget_no_more_than_is_kept(&mut self) {
        let first = self.events().next().map(|(_, event)| nanos(event));
        if let Some(first) = first {
            let most = first.saturating_add(MARGIN);
            self.forgotten = self.forgotten.map(|last| last.min(most));
        }
    }

    /// Puts what has happened since a time in front, as much of it as there is room for; without what comes by itself: in front
    /// of those who listen, they would never get it.
    pub(super) fn prepend(&mut self, past: Past, since: Nanos) {
        if self.has_forgotten() {
            return;
        }
        self.forgotten = past.left_out;
        let first = self.events().next().map(|(_, event)| nanos(event));
        let mut older: Vec<Step> = Vec::new();
        let last = |older: &[Step]| older.iter().rev().find_map(Step::event).map(nanos);
        let (mut is_missing, mut is_told) = (false, false);
        for told in past {
            let said = match told {
                // What comes by itself has its gaps there.
                Told::Missing => {
                    is_missing |= !is_told;
                    continue;
                }
                Told::Said(said) if self.is_told(said.nanos) => {
                    is_told = true;
                    continue;
                }
                Told::Said(said) => said,
            };
            let mut earlier = older.iter().filter_map(Step::event);
            if self.holds(&said) || earlier.any(|event| said.is(event)) {
                continue;
            }
            if mem::take(&mut is_missing) {
                let (after, before) = (last(&older), Some(said.nanos));
                older.push(Step::Gap(Gap { after, before }));
            }
            let events = older.iter().filter_map(Step::event);
            let same = events.filter(|event| event.id.nanos == said.nanos);
            let place = u32::try_from(same.count()).unwrap_or(u32::MAX);
            older.push(Step::Event(Arc::new(Event::new(said, place))));
        }
        if is_missing {
            let (after, before) = (last(&older), first);
            older.push(Step::Gap(Gap { after, before }));
        }
        self.since = self.since.min(since);
        for step in older.into_iter().rev() {
            if self.steps.len() == ENTRIES || self.bytes + size(&step) > BYTES {
                let last = match &step {
                    Step::Gap(gap) => gap.before.map(|before| before - 1),
                    step => step.event().map(nanos),
                };
                self.forgotten = self.forgotten.max(last);
                break;
            }
            self.bytes += size(&step);
            self.steps.push_front(step);
            self.first -= 1;
        }
        self.forget_no_more_than_is_kept();
    }

    /// What is at a position, which moves on behind it.
    pub(super) fn take(&self, position: &mut u64) -> Option<Step> {
        if *position < self.first {
            *position = self.first;
            let before = self.events().next().map(|(_, event)| event.id.nanos);
            return Some(Step::Passed(Gap {
                after: None,
                before,
            }));
        }
        let at = usize::try_from(*position - self.first).ok()?;
        let step = self.steps.get(at)?.clone();
        *position += 1;
        Some(step)
    }
}

fn size(step: &Step) -> usize {
    match step {
        Step::Event(event) => event.size(),
        _ => size_of::<Step>(),
    }
}

#[cfg(test)]
mod tests;
