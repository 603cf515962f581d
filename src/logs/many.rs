//! The logs of many containers as one stream of events.
//!
//! Each container has a follower of its own. What was written before is merged by time; after that lines
//! are sent as they come. Containers that appear or start join, and the stream says who came and went.

mod finder;
mod joining;
mod member;
mod steps;
mod write;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    future::{pending, ready},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    future::BoxFuture,
    stream::{FuturesUnordered, unfold},
};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use self::{
    finder::{Finder, Known, LOOK_AGAIN, Look},
    member::Member,
    steps::Part,
};
use super::{
    View,
    batch::Sent,
    cursor::Cursor,
    follower::{FollowError, Follower, Step},
    hub::Hub,
    place::Nanos,
    reading::Times,
    sse::{CLOSE, COMMENT, HEARTBEAT},
    stretch::Gap,
    until::Until,
};
use crate::engine::{self, ContainerId, Engine, Facts, Tail, events::Listener};

/// How many containers a stream may have: so many cursors fit into what proxies and the agent take as a
/// request's head.
pub const MAX_MEMBERS: usize = 256;

/// How long changes are gathered before the containers are listed again.
const GATHER: Duration = Duration::from_millis(100);

/// Which containers are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// These.
    pub containers: Vec<ContainerId>,
    /// Those with all of these labels; all where there is no label, none without the list.
    pub labels: Option<Vec<String>>,
}

/// How the stream is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which containers.
    pub selection: Selection,
    /// How much of each log's end, where no cursor says it.
    pub tail: Tail,
    /// Within which times.
    pub times: Times,
    /// Where the client was.
    pub cursors: Vec<Cursor>,
}

/// Makes the view of one container's lines.
pub type Views = Arc<dyn Fn(&Facts) -> View + Send + Sync>;

/// Why a stream of many logs cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// One of them cannot be followed.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// More containers than a stream may have, by this number.
    #[error("There are {0} such containers; a stream takes at most {MAX_MEMBERS}.")]
    TooMany(usize),
    /// A container exists and is not among those that are wanted.
    #[error("The cursor is of another container.")]
    Foreign,
    /// A container has two places.
    #[error("The cursor names a container twice.")]
    Twice,
}

/// See the [module](self).
pub struct Many {
    finder: Arc<Finder>,
    views: Views,
    members: BTreeMap<String, Member>,
    /// Those that the engine gives no log of, with their last runs; they are not members.
    refused: BTreeMap<String, Nanos>,
    /// Where the client was in containers that are there and no members, so that it need not begin anew once they are; and
    /// whether it was told that the rest is missing.
    absent: Vec<(Cursor, bool)>,
    /// Followers that are waited for.
    steps: FuturesUnordered<BoxFuture<'static, (String, Came)>>,
    news: Listener,
    /// When to look at the containers again.
    look: Option<Instant>,
    /// That look. It goes on beside all else, since an engine may take long.
    looking: Option<BoxFuture<'static, Result<Look, engine::Error>>>,
    /// Lines that are sent a part at a time.
    parts: VecDeque<Part>,
    /// Events that are ready.
    out: BytesMut,
    quiet: Instant,
    until: Until,
    /// Whether all were live at some time.
    was_live: bool,
    stop: CancellationToken,
    sent: Sent,
    ended: bool,
}

/// What has come of a container.
enum Came {
    Opened(Result<Follower, FollowError>),
    Step(Follower, Step),
}

impl Many {
    /// Begins to follow all that is wanted.
    ///
    /// # Errors
    ///
    /// The engine's own, where a container is named that does not exist or has no log for example; too much
    /// to do; cursors that do not fit.
    pub async fn open(
        engine: Engine,
        hub: Hub,
        views: Views,
        wanted: Wanted,
        stop: CancellationToken,
        sent: Sent,
    ) -> Result<Self, OpenError> {
        // First, so that nothing happens unseen.
        let news = engine.listen();
        let until = Until::new(wanted.times.until);
        let finder = Finder::new(engine, hub, wanted);
        let mut this = Self {
            finder: Arc::new(finder),
            views,
            members: BTreeMap::new(),
            refused: BTreeMap::new(),
            absent: Vec::new(),
            steps: FuturesUnordered::new(),
            news,
            look: None,
            looking: None,
            parts: VecDeque::new(),
            out: BytesMut::from("event: connected\ndata: {\"status\":\"connected\"}\n\n"),
            quiet: Instant::now() + HEARTBEAT,
            until,
            was_live: false,
            stop,
            sent,
            ended: false,
        };
        let look = this.finder.look(&Known::new(), true).await;
        let look = look.map_err(FollowError::from)?;
        if look.ids.len() > MAX_MEMBERS {
            return Err(OpenError::TooMany(look.ids.len()));
        }
        this.check_cursors(&look).await?;
        let running = look.new.iter().filter(|new| new.facts.state.running);
        let may_follow = this.finder.hub.may_follow(running.count());
        may_follow.map_err(FollowError::from)?;
        this.mistrust(look.is_partial);
        for new in look.new {
            this.add(new, false);
        }
        while this.is_opening() {
            tokio::select! {
                Some((id, came)) = this.steps.next() => match came {
                    Came::Opened(Err(error)) if this.must_be_there(&id, &error) => {
                        return Err(error.into());
                    }
                    came => this.take(id, came),
                },
                () = this.finder.hub.is_waited_for(), if this.may_let_go() => this.let_go(),
            }
        }
        Ok(this)
    }

    /// Checks that each cursor is of a container that is wanted, or was; says what is missing of those.
    async fn check_cursors(&mut self, look: &Look) -> Result<(), OpenError> {
        let finder = Arc::clone(&self.finder);
        let mut seen = HashSet::new();
        let cursors = &finder.wanted.cursors;
        if cursors.len() > MAX_MEMBERS {
            return Err(OpenError::TooMany(cursors.len()));
        }
        for after in cursors {
            if !seen.insert(after.id()) {
                return Err(OpenError::Twice);
            }
            if after.is_of_nobody() {
                continue;
            }
            if look.ids.iter().any(|id| after.is_of(id)) {
                self.absent.push((after.clone(), false));
                continue;
            }
            let is_gone = finder.hub.source().is_gone(after).await;
            if !is_gone.map_err(FollowError::from)? {
                return Err(OpenError::Foreign);
            }
            self.find_gap(&Gap {
                after: after.clone(),
                before: None,
            });
        }
        Ok(())
    }

    /// As a stream of bytes.
    pub fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        // Boxed, since it is moved into each turn and out of it, and a turn has room for both.
        unfold(Box::new(self), async |mut this| {
            Some((this.next().await?, this))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.out.is_empty() {
                self.quiet = Instant::now() + HEARTBEAT;
                self.sent.count_bytes(self.out.len());
                return Some(self.out.split().freeze());
            }
            if self.ended {
                return None;
            }
            // Not among what is waited for, since logs that are written all the time would never let it have its turn.
            if self.quiet <= Instant::now() {
                self.out.extend_from_slice(COMMENT);
                self.say_place();
                continue;
            }
            if self.stop.is_cancelled() {
                self.close();
                continue;
            }
            let has_sent = match self.parts.pop_front() {
                Some(part) => {
                    self.send_part(part);
                    true
                }
                None => self.merge(),
            };
            if has_sent {
                if self.out.is_empty() {
                    // Nothing of that is wanted; a search may have taken long for it.
                    yield_now().await;
                }
                continue;
            }
            if !self.was_live && self.are_all_live() {
                // Of a client that comes back before it has got a line this is all that it knows.
                self.was_live = true;
                self.say_place();
                continue;
            }
            let left = match self.are_all_live() {
                true => {
                    let (is_one_ending, is_one_behind) =
                        (self.is_one_ending(), self.is_one_behind());
                    self.until.left(is_one_ending, is_one_behind)
                }
                false => None,
            };
            let look = self.look.unwrap_or_else(far);
            tokio::select! {
                // First, since logs that are written all the time would never let it have its turn.
                biased;
                () = self.stop.cancelled() => self.close(),
                found = some(&mut self.looking) => {
                    self.looking = None;
                    self.looked(found);
                }
                () = sleep_until(look), if self.look.is_some() && self.looking.is_none() => {
                    self.look = None;
                    self.looking = Some(self.look_again());
                }
                () = self.news.changed(), if self.look.is_none_or(|at| at > Instant::now() + GATHER) => {
                    self.look_in(GATHER);
                }
                Some((id, came)) = self.steps.next() => {
                    let had_places = self.has_places();
                    self.take(id, came);
                    if !had_places && self.has_places() {
                        self.unpark(|member| !member.merges);
                    }
                }
                // All that has come is sent first, however slow the client.
                () = ready(()), if left == Some(Duration::ZERO) => self.close(),
                () = self.finder.hub.is_waited_for(), if self.may_let_go() => self.let_go(),
                () = sleep(left.unwrap_or_default()), if left.is_some() => {}
                () = sleep_until(self.quiet) => {}
            }
        }
    }

    /// Looks at the containers again after so long, or before.
    fn look_in(&mut self, pause: Duration) {
        let at = Instant::now() + pause;
        self.look = Some(self.look.map_or(at, |other| other.min(at)));
    }

    /// Looks again before something is known to have happened, if the last look `is_partial` or nobody would tell.
    fn mistrust(&mut self, is_partial: bool) {
        if is_partial || !self.news.is_told() {
            self.look_in(LOOK_AGAIN);
        }
    }

    fn close(&mut self) {
        self.ended = true;
        self.out.extend_from_slice(CLOSE);
    }

    /// Whether one has stopped, and its last words may be still to come.
    fn is_one_ending(&self) -> bool {
        let mut members = self.members.values();
        members.any(Member::is_ending)
    }

    fn is_one_behind(&self) -> bool {
        self.members.values().any(Member::is_behind)
    }

    /// Whether it is known of each where the client is to begin, of those that are merged.
    fn has_places(&self) -> bool {
        !self.members.values().any(Member::has_no_place)
    }

    fn are_all_live(&self) -> bool {
        let mut members = self.members.values();
        members.all(|member| member.live && !member.behind)
    }
}

/// What a future gives, once there is one.
async fn some<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
