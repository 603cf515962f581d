//! Clients that have not shown the key.
//!
//! They may have every connection that nobody else wants. Who comes when there is none left takes the place of one that was
//! refused, or else of one that has said nothing, of those the one that came first, so that strangers keep nobody out; and
//! what all of them send before their requests are known has a limit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Extensions;
use tokio::{task::AbortHandle, time::Instant};

/// How long one may take for its first request in any case.
const GRACE: Duration = Duration::from_secs(1);

/// How much the unfinished heads of all strangers may have, in bytes,
const ALL: usize = 16 << 20;

/// and how much one of them may have in any case: hardly a head of the app is longer.
const EACH: usize = 4 << 10;

/// All strangers of a listener; clones share them.
#[derive(Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The number of the next one.
    next: u64,
    /// In the order in which they came.
    here: BTreeMap<u64, Stranger>,
    /// Those of them that have asked for something without the key.
    refused: BTreeSet<u64>,
    /// How many bytes of unfinished heads they have.
    bytes: usize,
}

struct Stranger {
    since: Instant,
    /// How many of those bytes are its own.
    bytes: usize,
    /// What ends its connection.
    connection: Option<AbortHandle>,
}

impl State {
    /// Takes out those who have sent much and not asked for a while, but for this one, until the others keep to the limit.
    fn make_room(&mut self, but: u64) -> Vec<Stranger> {
        let mut gone = Vec::new();
        while self.bytes > ALL {
            let mut others = self.here.iter().filter(|(number, _)| **number != but);
            let late = others.find(|(_, one)| one.bytes > EACH && one.since.elapsed() >= GRACE);
            let Some(number) = late.map(|(number, _)| *number) else {
                break;
            };
            gone.extend(self.remove(number));
        }
        gone
    }

    fn remove(&mut self, number: u64) -> Option<Stranger> {
        let stranger = self.here.remove(&number)?;
        self.refused.remove(&number);
        self.bytes -= stranger.bytes;
        Some(stranger)
    }
}

/// What becomes of a stranger where its place is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It leaves.
    Made,
    /// One may leave then.
    From(Instant),
    /// There is none.
    None,
}

impl Strangers {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in there panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, until it has shown the key.
    pub(super) fn admit(&self) -> Arc<Guest> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let stranger = Stranger {
            since: Instant::now(),
            bytes: 0,
            connection: None,
        };
        state.here.insert(number, stranger);
        Arc::new(Guest {
            strangers: self.clone(),
            number,
            is_known: AtomicBool::new(false),
        })
    }

    /// Ends the connection of one of them, if one may be ended.
    pub(super) fn make_room(&self) -> Room {
        let dismissed = {
            let mut state = self.state();
            let refused = state.refused.first().copied();
            let oldest = state
                .here
                .first_key_value()
                .map(|(number, one)| (*number, one.since + GRACE));
            match (refused, oldest) {
                (Some(number), _) => state.remove(number),
                (None, Some((_, from))) if Instant::now() < from => return Room::From(from),
                (None, Some((number, _))) => state.remove(number),
                (None, None) => return Room::None,
            }
        };
        if let Some(connection) = dismissed.and_then(|one| one.connection) {
            connection.abort();
        }
        Room::Made
    }

    /// Ends the connections of all.
    pub(super) fn dismiss_all(&self) {
        let all = {
            let mut state = self.state();
            state.refused.clear();
            state.bytes = 0;
            std::mem::take(&mut state.here)
        };
        let all = all.into_values().filter_map(|one| one.connection);
        all.for_each(|connection| connection.abort());
    }
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Strangers({})", self.state().here.len())
    }
}

/// The client of a connection.
#[derive(Debug)]
pub(super) struct Guest {
    strangers: Strangers,
    number: u64,
    is_known: AtomicBool,
}

impl Guest {
    /// Whether it has shown the key.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// It has.
    pub(super) fn welcome(&self) {
        if !self.is_known.swap(true, Ordering::Relaxed) {
            self.strangers.state().remove(self.number);
        }
    }

    /// It has asked for something without.
    fn refuse(&self) {
        let mut state = self.strangers.state();
        if state.here.contains_key(&self.number) {
            state.refused.insert(self.number);
        }
    }

    /// What ends its connection.
    pub(super) fn is_served_by(&self, connection: AbortHandle) {
        // Not there any more: it is known already, or has left.
        if let Some(one) = self.strangers.state().here.get_mut(&self.number) {
            one.connection = Some(connection);
        }
    }

    /// It has sent so much more; whether it may go on.
    pub(super) fn sent(&self, bytes: usize) -> bool {
        if self.is_known() {
            return true;
        }
        let mut guard = self.strangers.state();
        let state = &mut *guard;
        // Not there any more: it is about to go.
        let Some(one) = state.here.get_mut(&self.number) else {
            return true;
        };
        one.bytes += bytes;
        let own = one.bytes;
        state.bytes += bytes;
        if state.bytes <= ALL || own <= EACH {
            return true;
        }
        let gone = state.make_room(self.number);
        let fits = state.bytes <= ALL;
        drop(guard);
        let gone = gone.into_iter().filter_map(|one| one.connection);
        gone.for_each(|connection| connection.abort());
        fits
    }

    /// Its head of so many bytes is whole. What came behind that has not been asked yet.
    pub(super) fn asked(&self, head: usize) {
        let state = &mut *self.strangers.state();
        if let Some(one) = state.here.get_mut(&self.number) {
            let head = head.min(one.bytes);
            one.bytes -= head;
            state.bytes -= head;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if !self.is_known() {
            self.strangers.state().remove(self.number);
        }
    }
}

/// Says whether the client of a request has shown the key.
pub fn greet(extensions: &Extensions, has_key: bool) {
    match extensions.get::<Arc<Guest>>() {
        Some(guest) if has_key => guest.welcome(),
        Some(guest) => guest.refuse(),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(strangers: &Strangers) -> (usize, usize) {
        let state = strangers.state();
        assert!(state.refused.len() <= state.here.len());
        (state.here.len(), state.bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_were_refused_go_first_and_then_those_who_say_nothing() {
        let strangers = Strangers::default();
        let guests = [(); 5].map(|()| strangers.admit());
        let connections = guests.each_ref().map(|guest| {
            let connection = tokio::spawn(std::future::pending::<()>());
            guest.is_served_by(connection.abort_handle());
            connection
        });
        let [known, silent, refused, late, last] = connections;
        guests[0].welcome();
        guests[2].refuse();
        guests[2].refuse();
        assert_eq!(strangers.make_room(), Room::Made);
        assert!(refused.await.unwrap_err().is_cancelled());
        let from = Instant::now() + GRACE;
        assert_eq!(strangers.make_room(), Room::From(from));
        tokio::time::advance(GRACE).await;
        assert_eq!(strangers.make_room(), Room::Made);
        assert!(silent.await.unwrap_err().is_cancelled());
        guests[3].refuse();
        guests[3].welcome();
        strangers.dismiss_all();
        assert!(last.await.unwrap_err().is_cancelled());
        assert_eq!(strangers.make_room(), Room::None);
        assert!(!known.is_finished() && !late.is_finished());
        drop(guests);
        assert_eq!(count(&strangers), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_sent_much_for_long_makes_room() {
        let strangers = Strangers::default();
        let [modest, greedy, late, new] = [(); 4].map(|()| strangers.admit());
        let connections = [&modest, &greedy].map(|guest| {
            let connection = tokio::spawn(std::future::pending::<()>());
            guest.is_served_by(connection.abort_handle());
            connection
        });
        assert!(modest.sent(EACH) && greedy.sent(ALL - 2 * EACH));
        tokio::time::advance(GRACE / 2).await;
        assert!(late.sent(EACH));
        assert!(!new.sent(2 * EACH), "all have just come");
        drop(new);
        tokio::time::advance(GRACE / 2).await;
        let new = strangers.admit();
        assert!(new.sent(2 * EACH));
        let [modest, greedy] = connections;
        assert!(greedy.await.unwrap_err().is_cancelled());
        assert!(!modest.is_finished());
    }

    #[test]
    fn what_they_send_before_they_ask_has_a_limit() {
        let strangers = Strangers::default();
        let (greedy, modest) = (strangers.admit(), strangers.admit());
        assert!(greedy.sent(ALL));
        assert!(!greedy.sent(1));
        assert!(modest.sent(EACH));
        assert!(!modest.sent(1));
        // What stands behind a head has not been asked yet.
        greedy.asked(ALL - EACH);
        assert_eq!(count(&strangers), (2, 2 * EACH + 2));
        greedy.asked(ALL);
        assert_eq!(count(&strangers), (2, EACH + 1));
        assert!(modest.sent(1));
        // Who has shown the key is not counted.
        modest.welcome();
        assert!(modest.sent(2 * ALL));
        assert_eq!(count(&strangers), (1, 0));
        drop(greedy);
        assert_eq!(count(&strangers), (0, 0));
    }
}
