//! What happens on the engine, told to all who listen by one subscription.
//!
//! It stands as long as someone listens, and keeps the newest events, so that nobody waits for anybody:
//! whoever is slower than they last is told so. Where the engine was away, it is asked for what happened
//! meanwhile; where it does not know that either, the events have a gap.

mod event;
pub mod filter;
mod lines;
mod past;
mod ring;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use self::{
    event::Said,
    lines::Cutter,
    past::{Past, next_second},
    ring::Ring,
};
pub use self::{
    event::{Event, Id, InvalidId, Nanos},
    ring::{Gap, Step},
};
use super::{Error, observe, raw::Raw, stall::Paced};

/// How long to wait before the engine is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the engine may take for the head of its answer, which is there before any event.
const HEAD: Duration = Duration::from_secs(30);

/// How long to wait for an event that should come by itself.
const DUE: Duration = Duration::from_secs(2);

/// How long the last event that is known may take to come again, until there is a gap behind it.
const ANCHOR: Duration = Duration::from_secs(1);

const SECOND: Nanos = 1_000_000_000;

/// How far events may be out of the order of their times.
const MARGIN: Nanos = SECOND;

/// The subscription, as long as someone listens.
#[derive(Debug, Default)]
pub(super) struct Events {
    current: Mutex<Weak<Subscription>>,
}

#[derive(Debug)]
struct Subscription {
    feed: Arc<Feed>,
    reader: AbortHandle,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What the reader and the listeners share.
#[derive(Debug)]
struct Feed {
    raw: Raw,
    ring: Mutex<Ring>,
    /// Changes with everything that is pushed.
    pushed: watch::Sender<()>,
    /// Changes when there may be other containers than before, or others that run.
    happened: watch::Sender<()>,
    standing: watch::Sender<Standing>,
    /// Ends the pause between two tries.
    hurry: Notify,
    /// Held by who asks for what happened before.
    back: tokio::sync::Mutex<()>,
}

/// How the subscription does, and at which try.
#[derive(Debug, Default)]
struct Standing {
    attempt: u64,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Trying,
    Stands,
    Failed(Error),
}

/// Someone who listens.
#[derive(Debug)]
pub struct Listener {
    position: u64,
    pushed: watch::Receiver<()>,
    happened: watch::Receiver<()>,
    subscription: Arc<Subscription>,
}

impl Events {
    /// Listens from now on.
    pub(super) fn listen(&self, raw: &Raw) -> Listener {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let subscription = current.upgrade().unwrap_or_else(|| {
            let feed = Arc::new(Feed {
                raw: raw.clone(),
                ring: Mutex::new(Ring::new(now())),
                pushed: watch::Sender::default(),
                happened: watch::Sender::default(),
                standing: watch::Sender::default(),
                hurry: Notify::new(),
                back: tokio::sync::Mutex::default(),
            });
            let reader = tokio::spawn(read(Arc::clone(&feed))).abort_handle();
            Arc::new(Subscription { feed, reader })
        });
        *current = Arc::downgrade(&subscription);
        let feed = &subscription.feed;
        let position = feed.ring().end();
        Listener {
            position,
            pushed: feed.pushed.subscribe(),
            happened: feed.happened.subscribe(),
            subscription,
        }
    }
}

impl Listener {
    /// Whether the engine tells of what happens.
    pub fn is_told(&self) -> bool {
        let standing = self.subscription.feed.standing.borrow();
        matches!(standing.state, State::Stands)
    }

    /// Waits until the engine tells of all that happens from then on.
    ///
    /// # Errors
    ///
    /// The engine's, where a try that was under way or begun then did not succeed.
    pub async fn stands(&self) -> Result<(), Error> {
        let feed = &self.subscription.feed;
        let mut standing = feed.standing.subscribe();
        let failed = {
            let now = standing.borrow_and_update();
            matches!(now.state, State::Failed(_)).then_some(now.attempt)
        };
        if failed.is_some() {
            feed.hurry.notify_one();
        }
        loop {
            match &*standing.borrow_and_update() {
                Standing {
                    state: State::Stands,
                    ..
                } => return Ok(()),
                Standing {
                    state: State::Failed(error),
                    attempt,
                } if failed != Some(*attempt) => {
                    return Err(error.clone());
                }
                _ => {}
            }
            // The sender lives as long as the subscription.
            let _ = standing.changed().await;
        }
    }

    /// Goes back to what has happened since a time; says what is missing if not all of it is kept.
    ///
    /// # Errors
    ///
    /// The engine's, which is asked where that is needed.
    pub async fn since(&mut self, time: Nanos) -> Result<Option<Gap>, Error> {
        let feed = &self.subscription.feed;
        let _turn = feed.back.lock().await;
        if !feed.ring().reaches(time) {
            feed.fetch(time).await?;
        }
        let gap;
        (self.position, gap) = feed.ring().since(time);
        Ok(gap)
    }

    /// Goes back to what has happened behind an event; says what is missing if that is not known any more.
    ///
    /// # Errors
    ///
    /// As for [`since`](Self::since).
    pub async fn behind(&mut self, id: Id) -> Result<Option<Gap>, Error> {
        let feed = &self.subscription.feed;
        let _turn = feed.back.lock().await;
        let since = id.nanos.saturating_sub(MARGIN);
        // What is not there although all of that time is, the engine does not know either.
        if feed.ring().find(id).is_none() && !feed.ring().reaches(since) {
            feed.fetch(since).await?;
            feed.await_told(id).await;
        }
        let ring = feed.ring();
        if let Some(position) = ring.find(id) {
            self.position = position + 1;
            return Ok(None);
        }
        let before;
        (self.position, before) = ring.later_than(id.nanos);
        let after = Some(id.nanos);
        Ok(Some(Gap { after, before }))
    }

    /// What comes next, if it is there.
    pub fn take(&mut self) -> Option<Step> {
        self.subscription.feed.ring().take(&mut self.position)
    }

    /// What comes next.
    pub async fn next(&mut self) -> Step {
        loop {
            self.pushed.mark_unchanged();
            if let Some(step) = self.take() {
                return step;
            }
            // The sender lives as long as the subscription.
            let _ = self.pushed.changed().await;
        }
    }

    /// Waits until there may be other containers than at the last call, or others that run. What has happened
    /// is not told: whoever must know looks, which is right also where the engine was away.
    pub async fn changed(&mut self) {
        let _ = self.happened.changed().await;
    }
}

impl Feed {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets what has happened since a time, and puts it in front of what is there.
    async fn fetch(&self, since: Nanos) -> Result<(), Error> {
        let until = now().max(since);
        let past = Past::ask(&self.raw, since, until).await?;
        self.ring().prepend(past, since);
        Ok(())
    }

    /// Waits for an event of which the engine's clock says that it comes by itself, where that is ahead of this one's.
    async fn await_told(&self, id: Id) {
        let mut pushed = self.pushed.subscribe();
        let is_due = || {
            let ring = self.ring();
            ring.is_told(id.nanos) && ring.find(id).is_none()
        };
        let come = async { while is_due() && pushed.changed().await.is_ok() {} };
        let _never = timeout(DUE, come).await;
    }

    /// Reads one answer to its end.
    async fn follow(&self, mut body: Paced, mut lost: bool) {
        let mut cutter = Cutter::default();
        let anchor = self.ring().last();
        let deadline = Instant::now() + ANCHOR;
        loop {
            let frame = if lost {
                match timeout_at(deadline, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => {
                        lost = false;
                        self.tell_gap(&mut self.ring(), None);
                        self.pushed.send_replace(());
                        continue;
                    }
                }
            } else {
                body.frame().await
            };
            let Some(Ok(frame)) = frame else { return };
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            cutter.cut(&bytes, |line| {
                let mut ring = self.ring();
                let Some(said) = line.and_then(Said::read) else {
                    // Of before, or in front of a gap, if what is behind it has not been found yet.
                    if !lost {
                        self.tell_gap(&mut ring, None);
                    }
                    return;
                };
                if lost {
                    let nanos = said.nanos;
                    match &anchor {
                        Some(anchor) if said.is(anchor) => lost = false,
                        // Of before, and not there any more, or never.
                        Some(anchor) if nanos <= anchor.id.nanos || ring.holds(&said) => return,
                        _ => {
                            lost = false;
                            self.tell_gap(&mut ring, Some(nanos));
                        }
                    }
                }
                let concerns_containers = said.changes_who_runs();
                if ring.push(said) && concerns_containers {
                    self.happened.send_replace(());
                }
            });
            self.pushed.send_replace(());
        }
    }

    /// Tells that events are missing. What they were may concern containers.
    fn tell_gap(&self, ring: &mut Ring, before: Option<Nanos>) {
        ring.push_gap(before);
        self.happened.send_replace(());
    }
}

/// Reads events for ever.
async fn read(feed: Arc<Feed>) {
    let mut has_stood = false;
    loop {
        feed.standing.send_modify(|standing| {
            standing.attempt += 1;
            standing.state = State::Trying;
        });
        // With a time, the engine loses nothing between its head and the subscription. Before the first
        // event, what happens while this asks; later, what happened while it was away.
        let since = feed.ring().read_since();
        let path = format!("/events?since={}", Unix(since));
        let answer = observe("events", async {
            timeout(HEAD, feed.raw.stream(&path))
                .await
                .unwrap_or(Err(Error::Slow(HEAD)))
        });
        match answer.await {
            Ok(answer) => {
                if has_stood {
                    feed.ring().push_again();
                    feed.pushed.send_replace(());
                }
                // Something may have happened before.
                feed.happened.send_replace(());
                // By a clock that is behind, what happens now seems to be of before.
                if let Some(next) = next_second(answer.headers()).filter(|_| !has_stood) {
                    feed.ring().begins(next);
                }
                let stands = |standing: &mut Standing| standing.state = State::Stands;
                feed.standing.send_modify(stands);
                feed.follow(answer.into_body(), has_stood).await;
                has_stood = true;
                tracing::debug!("the subscription to the engine's events has ended");
                let error = Error::broken("the events have ended");
                let ended = |standing: &mut Standing| standing.state = State::Failed(error);
                feed.standing.send_modify(ended);
            }
            Err(error) => {
                let failed = |standing: &mut Standing| standing.state = State::Failed(error);
                feed.standing.send_modify(failed);
            }
        }
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = feed.hurry.notified() => {}
        }
    }
}

fn now() -> Nanos {
    Nanos::try_from(Timestamp::now().as_nanosecond()).unwrap_or(Nanos::MAX)
}

/// A time as the engine reads it.
struct Unix(Nanos);

impl std::fmt::Display for Unix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nanos = self.0.max(0);
        write!(f, "{}.{:09}", nanos / SECOND, nanos % SECOND)
    }
}
