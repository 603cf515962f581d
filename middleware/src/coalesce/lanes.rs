//! Who waits for which call: the states of the layer above, without HTTP.
//!
//! A *lane* holds the calls of one key. At most one of them has begun; askers that come after that gather at
//! the next one, which begins when the one before has ended, or a little later (see [`linger`](super::linger)). The first
//! asker of a call is its leader: it alone polls the call's future, and where it leaves the next one takes its place.
//!
//! Each step takes the one lock once. Futures are polled and everything is dropped outside of it.

use std::{
    collections::HashMap,
    hash::Hash,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use foldhash::quality::RandomState;
use tokio::time::Instant;

use super::linger::Linger;

/// All calls, by key: `F` is a call's future, `T` its outcome.
#[derive(Debug)]
pub(super) struct Lanes<K, F, T> {
    /// Clients choose the keys, but there are not many of them: a seeded hash will do that is quicker than std's.
    lanes: Mutex<Map<K, F, T>>,
    max_keys: usize,
}

type Map<K, F, T> = HashMap<K, Lane<F, T>, RandomState>;

#[derive(Debug)]
struct Lane<F, T> {
    /// In the order in which they were made: ended ones that not all askers have heard of, at most one that
    /// has begun, at most one that has not.
    calls: Vec<Call<F, T>>,
    /// The number of the next call or asker.
    next: u64,
    /// What the next call waits for, but for the end of the one under way.
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Call<F, T> {
    number: u64,
    began: Option<Instant>,
    stage: Stage<F, T>,
    /// In the order of their arrival; the first is the leader.
    askers: Vec<Asker>,
}

#[derive(Debug)]
enum Stage<F, T> {
    /// It has not begun: whoever comes may join.
    Gathering(F),
    /// It waits for something.
    Parked(F),
    /// Its leader polls it.
    Polled,
    /// It has ended.
    Ended(T),
}

#[derive(Debug)]
struct Asker {
    number: u64,
    waker: Option<Waker>,
}

/// One asker's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    call: u64,
    asker: u64,
}

/// What an asker is to do.
#[derive(Debug)]
pub(super) enum Step<F, T> {
    /// Wait to be woken.
    Wait,
    /// Wait to be woken, but no longer than until then.
    Linger(Instant),
    /// Poll this, then [`Lanes::park`] it or [`Lanes::end`] its call.
    Poll(F),
    /// Take this and go; the ticket is void.
    Take(T),
}

/// Those to be woken, once the lock is free.
#[must_use]
struct Wake(Vec<Waker>);

impl Wake {
    fn now(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl<F, T> Lane<F, T> {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn find(&mut self, call: u64) -> &mut Call<F, T> {
        let mut calls = self.calls.iter_mut();
        calls
            .find(|known| known.number == call)
            .expect("a call lasts as long as its askers")
    }

    /// Whether a call is under way, so that the next may not begin.
    fn is_busy(&self) -> bool {
        let mut stages = self.calls.iter().map(|call| &call.stage);
        stages.any(|stage| matches!(stage, Stage::Parked(_) | Stage::Polled))
    }

    /// The call that waits for its turn.
    fn gathering(&mut self) -> Option<&mut Call<F, T>> {
        let mut calls = self.calls.iter_mut();
        calls.find(|call| matches!(call.stage, Stage::Gathering(_)))
    }

    /// How many wait for it.
    fn gathered(&mut self) -> usize {
        self.gathering().map_or(0, |call| call.askers.len())
    }

    fn next_leader(&mut self) -> Option<Waker> {
        self.gathering()?.askers.first_mut()?.waker.take()
    }

    /// Until when the call that waits for its turn lingers.
    fn lingers(&mut self) -> Option<Instant> {
        let gathered = self.gathered();
        self.linger.as_ref()?.until(gathered)
    }

    /// Whether it may go: nobody waits, and who comes need not.
    fn is_over(&mut self) -> bool {
        self.calls.is_empty() && self.lingers().is_none()
    }

    fn remove(&mut self, call: u64) -> Option<Call<F, T>> {
        let at = self.calls.iter().position(|known| known.number == call)?;
        Some(self.calls.remove(at))
    }
}

impl<F, T> Call<F, T> {
    /// Takes an asker out; whether it was the leader.
    fn dismiss(&mut self, asker: u64) -> bool {
        let at = self.askers.iter().position(|known| known.number == asker);
        if let Some(at) = at {
            self.askers.remove(at);
        }
        at == Some(0)
    }
}

/// Lets go of those that lingered in vain.
fn sweep<K, F, T>(lanes: &mut Map<K, F, T>) {
    lanes.retain(|_, lane| !lane.is_over());
}

impl<K: Hash + Eq + Clone, F, T: Clone> Lanes<K, F, T> {
    /// Lanes for at most `max_keys` keys at a time.
    pub(super) fn new(max_keys: usize) -> Self {
        let lanes = Mutex::default();
        Self { lanes, max_keys }
    }

    fn lanes(&self) -> MutexGuard<'_, Map<K, F, T>> {
        // Nothing in there panics halfway.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the call that has not begun, or makes one of `make(with)`. Gives `with` back where it is not needed, and
    /// no ticket where there are too many keys.
    pub(super) fn arrive<W>(
        &self,
        key: &K,
        with: W,
        make: impl FnOnce(W) -> F,
    ) -> (Option<Ticket>, Option<W>) {
        let mut lanes = self.lanes();
        if lanes.len() >= self.max_keys.min(lanes.capacity()) && !lanes.contains_key(key) {
            // Before there are more of them than ever.
            sweep(&mut lanes);
            if lanes.len() >= self.max_keys {
                return (None, Some(with));
            }
        }
        let lane = lanes.entry(key.clone()).or_insert_with(|| Lane {
            calls: Vec::with_capacity(1),
            next: 0,
            linger: None,
        });
        let asker = lane.number();
        let new = Asker {
            number: asker,
            waker: None,
        };
        if let Some(call) = lane.gathering() {
            call.askers.push(new);
            let (call, gathered) = (call.number, call.askers.len());
            let all = lane
                .linger
                .as_ref()
                .is_some_and(|linger| linger.ends_with(gathered));
            let wake = if all { lane.next_leader() } else { None };
            drop(lanes);
            wake.into_iter().for_each(Waker::wake);
            return (Some(Ticket { call, asker }), Some(with));
        }
        let call = lane.number();
        lane.calls.push(Call {
            number: call,
            began: None,
            stage: Stage::Gathering(make(with)),
            askers: vec![new],
        });
        (Some(Ticket { call, asker }), None)
    }

    /// What the asker is to do now. Where that is to wait, `waker` is woken when it may be something else.
    pub(super) fn step(&self, key: &K, ticket: Ticket, waker: &Waker) -> Step<F, T> {
        let mut lanes = self.lanes();
        let lane = lanes
            .get_mut(key)
            .expect("a lane lasts as long as its calls");
        let is_busy = lane.is_busy();
        let lingers = lane.lingers();
        let call = lane.find(ticket.call);
        if matches!(call.stage, Stage::Ended(_)) {
            call.dismiss(ticket.asker);
            if let (Stage::Ended(outcome), false) = (&call.stage, call.askers.is_empty()) {
                return Step::Take(outcome.clone());
            }
            let call = lane.remove(ticket.call);
            if lane.is_over() {
                lanes.remove(key);
            }
            match call.map(|call| call.stage) {
                Some(Stage::Ended(outcome)) => return Step::Take(outcome),
                _ => unreachable!("it was looked at just now"),
            }
        }
        let leads = call.askers.first().map(|asker| asker.number) == Some(ticket.asker);
        let may = match call.stage {
            Stage::Gathering(_) => !is_busy && lingers.is_none(),
            Stage::Parked(_) => true,
            Stage::Polled | Stage::Ended(_) => false,
        };
        if leads && may {
            call.began.get_or_insert_with(Instant::now);
            match mem::replace(&mut call.stage, Stage::Polled) {
                Stage::Gathering(future) | Stage::Parked(future) => return Step::Poll(future),
                Stage::Polled | Stage::Ended(_) => unreachable!("it was looked at just now"),
            }
        }
        let mut askers = call.askers.iter_mut();
        let own = askers.find(|asker| asker.number == ticket.asker);
        let own = &mut own.expect("an asker stays until it leaves").waker;
        match own {
            Some(known) => known.clone_from(waker),
            None => *own = Some(waker.clone()),
        }
        match lingers {
            Some(until) if leads && !is_busy => Step::Linger(until),
            _ => Step::Wait,
        }
    }

    /// Puts a call's future back, which its leader has polled.
    pub(super) fn park(&self, key: &K, ticket: Ticket, future: F) {
        let mut lanes = self.lanes();
        if let Some(lane) = lanes.get_mut(key) {
            lane.find(ticket.call).stage = Stage::Parked(future);
        }
    }

    /// Ends a call, tells all of its askers `outcome` but the leader, whose ticket is void, and lets the next call
    /// begin, which lingers for them if they `may_return` at once. `outcome` is asked for only if there are others; their
    /// number comes back.
    pub(super) fn end(
        &self,
        key: &K,
        ticket: Ticket,
        may_return: bool,
        outcome: impl FnOnce() -> T,
    ) -> usize {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(key) else {
            return 0;
        };
        let mut wake = Wake(Vec::new());
        let call = lane.find(ticket.call);
        call.dismiss(ticket.asker);
        let (others, began) = (call.askers.len(), call.began);
        if others == 0 {
            lane.remove(ticket.call);
        } else {
            let wakers = call
                .askers
                .iter_mut()
                .filter_map(|asker| asker.waker.take());
            wake.0.extend(wakers);
            call.stage = Stage::Ended(outcome());
        }
        let askers = 1 + others + lane.gathered();
        lane.linger = match began {
            Some(began) if others > 0 && may_return => Linger::behind(began, askers),
            _ => None,
        };
        wake.0.extend(lane.next_leader());
        if lane.is_over() {
            lanes.remove(key);
        }
        drop(lanes);
        wake.now();
        others
    }

    /// Lets an asker go before it was told. With the last one its call goes too.
    pub(super) fn leave(&self, key: &K, ticket: Ticket) {
        let mut lanes = self.lanes();
        let Some(lane) = lanes.get_mut(key) else {
            return;
        };
        let mut wake = Wake(Vec::new());
        let call = lane.find(ticket.call);
        let led = call.dismiss(ticket.asker);
        let mut over = None;
        if call.askers.is_empty() {
            over = lane.remove(ticket.call);
            if !lane.is_busy() {
                wake.0.extend(lane.next_leader());
            }
            if lane.is_over() {
                lanes.remove(key);
            }
        } else if led {
            wake.0.extend(call.askers[0].waker.take());
        }
        drop(lanes);
        // Its future may do anything when it drops, but not under the lock.
        drop(over);
        wake.now();
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lanes().len()
    }

    /// Lets go of those that lingered in vain.
    #[cfg(test)]
    pub(super) fn sweep(&self) {
        sweep(&mut self.lanes());
    }
}
