//! The logs of many containers as one stream of events.
//!
//! Each container has a follower of its own. What was written before is merged by time; after that lines
//! are sent as they come. Containers that appear or start join, and the stream says who came and went.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::{FuturesUnordered, iter, unfold},
};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use super::{
    View,
    batch::{Sent, json_string},
    cursor::{Cursor, Place, write_cursor},
    follower::{FollowError, Follower, Start, Step},
    hub::Hub,
    reading::Times,
    ring::{Ended, Gap, Placed, Stretch},
    sse::{CLOSE, COMMENT, HEARTBEAT, gap_data},
};
use crate::engine::{self, ContainerId, Engine, Facts, Tail, events::Listener};

/// How many containers are looked at and joined at a time.
const AT_A_TIME: usize = 8;

/// How long changes are gathered before the containers are listed again.
const GATHER: Duration = Duration::from_millis(100);

/// When to try again where they could not be.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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

/// See the [module](self).
pub struct Many {
    finder: Finder,
    views: Views,
    members: BTreeMap<String, Member>,
    /// Followers that are waited for.
    steps: FuturesUnordered<BoxFuture<'static, (String, Follower, Step)>>,
    news: Listener,
    /// When to look at the containers again.
    look: Option<Instant>,
    /// Events that are ready.
    out: BytesMut,
    quiet: Instant,
    stop: CancellationToken,
    sent: Sent,
    ended: bool,
}

/// Finds containers and begins to follow them.
struct Finder {
    engine: Engine,
    hub: Hub,
    wanted: Wanted,
}

/// A container that is or was followed.
struct Member {
    facts: Facts,
    view: View,
    /// The last line that was sent, or was there before the first.
    at: Option<Place>,
    /// Whether all that was written before has been sent.
    live: bool,
    state: State,
}

enum State {
    /// Its follower is among the steps.
    Waiting,
    /// Lines that were written before, from this one on; others may have older ones.
    Holding(Follower, Arc<Stretch>, usize),
    /// It has no more of those, others have.
    Parked(Follower),
    /// Its log is at its end.
    Stopped,
}

impl Finder {
    /// The ids of the containers that are wanted. Those that are named must exist, if `strict`.
    async fn find(&self, strict: bool) -> Result<Vec<String>, engine::Error> {
        let selection = &self.wanted.selection;
        let mut ids = Vec::new();
        for id in &selection.containers {
            match self.engine.facts(id).await {
                Ok(facts) => ids.push(facts.id),
                Err(engine::Error::Refused { status, .. }) if status == 404 && !strict => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(labels) = &selection.labels {
            let listed = self.engine.with_labels(labels).await?;
            ids.extend(listed.into_iter().map(|listed| listed.id));
        }
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        Ok(ids)
    }

    /// Follows these containers; those that are gone meanwhile are left out.
    async fn join(&self, ids: &[String]) -> Result<Vec<(Facts, Follower)>, FollowError> {
        let joins = ids.iter().map(|id| self.join_one(id, None, false));
        let mut joining = iter(joins.collect::<Vec<_>>()).buffered(AT_A_TIME);
        let mut joined = Vec::new();
        while let Some(result) = joining.next().await {
            match result {
                Ok(one) => joined.push(one),
                Err(FollowError::Engine(engine::Error::Refused { status, .. }))
                    if status == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(joined)
    }

    async fn join_one(
        &self,
        id: &str,
        known: Option<Place>,
        appeared: bool,
    ) -> Result<(Facts, Follower), FollowError> {
        let facts = self.hub.source().facts(id).await?;
        let cursor = self.wanted.cursors.iter().find(|cursor| cursor.is_of(id));
        let resumes = !self.wanted.cursors.is_empty();
        let start = match (known, cursor) {
            (Some(place), _) => Start::After(place),
            (None, Some(cursor)) => Start::After(cursor.place),
            // It had no line when the client was last here.
            (None, None) if resumes || appeared => Start::Tail(Tail::All, self.wanted.times),
            (None, None) => Start::Tail(self.wanted.tail, self.wanted.times),
        };
        let follower = Follower::open(&self.hub, facts.clone(), start, false, true).await?;
        Ok((facts, follower))
    }
}

impl Many {
    /// Begins to follow all that is wanted.
    ///
    /// # Errors
    ///
    /// The engine's own, where a container is named that does not exist for example, or too much to do.
    pub async fn open(
        engine: Engine,
        hub: Hub,
        views: Views,
        wanted: Wanted,
        stop: CancellationToken,
        sent: Sent,
    ) -> Result<Self, FollowError> {
        // First, so that nothing happens unseen.
        let news = engine.listen();
        let mut this = Self {
            finder: Finder {
                engine,
                hub,
                wanted,
            },
            views,
            members: BTreeMap::new(),
            steps: FuturesUnordered::new(),
            news,
            look: None,
            out: BytesMut::from("event: connected\ndata: {\"status\":\"connected\"}\n\n"),
            quiet: Instant::now() + HEARTBEAT,
            stop,
            sent,
            ended: false,
        };
        let ids = this.finder.find(true).await?;
        for (facts, follower) in this.finder.join(&ids).await? {
            this.add(facts, follower, false, "joined");
        }
        for after in this.finder.wanted.cursors.clone() {
            if !this.members.keys().any(|id| after.is_of(id)) {
                let before = None;
                this.say_gap(&Gap { after, before });
            }
        }
        Ok(this)
    }

    /// As a stream of bytes.
    pub fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        unfold(self, async |mut this| Some((this.next().await?, this)))
    }

    fn add(&mut self, facts: Facts, follower: Follower, live: bool, what: &str) {
        let id = facts.id.clone();
        self.say(&facts, what);
        let view = (self.views)(&facts);
        let at = follower.at();
        let state = State::Waiting;
        self.members.insert(
            id.clone(),
            Member {
                facts,
                view,
                at,
                live,
                state,
            },
        );
        self.wait_for(id, follower);
    }

    fn wait_for(&mut self, id: String, mut follower: Follower) {
        let step = async move {
            let step = follower.next().await;
            (id, follower, step)
        };
        self.steps.push(step.boxed());
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
            if self.merge() {
                continue;
            }
            let look = self.look.unwrap_or_else(far);
            tokio::select! {
                // First, since logs that are written all the time would never let it have its turn.
                biased;
                () = self.stop.cancelled() => {
                    self.ended = true;
                    self.out.extend_from_slice(CLOSE);
                }
                () = sleep_until(look), if self.look.is_some() => {
                    self.look = None;
                    // Not in the select, since what it does must not be given up halfway.
                    if let Err(error) = self.look_again().await {
                        tracing::debug!(%error, "cannot look which containers there are");
                        self.look = Some(Instant::now() + TRY_AGAIN);
                    }
                }
                () = self.news.changed(), if self.look.is_none() => {
                    self.look = Some(Instant::now() + GATHER);
                }
                Some((id, follower, step)) = self.steps.next() => self.take(id, follower, step),
                () = sleep_until(self.quiet) => {
                    self.quiet = Instant::now() + HEARTBEAT;
                    return Some(Bytes::from_static(COMMENT));
                }
            }
        }
    }

    /// Sends the oldest of what was written before; false where that is not known yet, or all is sent.
    fn merge(&mut self) -> bool {
        let mut oldest: Option<(&String, i64)> = None;
        for (id, member) in self.members.iter().filter(|(_, member)| !member.live) {
            let State::Holding(_, stretch, at) = &member.state else {
                return false;
            };
            let stamp = stretch.lines[*at].place.stamp;
            if oldest.is_none_or(|(_, other)| stamp < other) {
                oldest = Some((id, stamp));
            }
        }
        let Some((id, _)) = oldest else {
            self.unpark();
            return false;
        };
        let id = id.clone();
        if let Some(member) = self.members.get_mut(&id)
            && let State::Holding(follower, stretch, at) =
                std::mem::replace(&mut member.state, State::Waiting)
        {
            let next = at + 1;
            if next < stretch.lines.len() {
                member.state = State::Holding(follower, Arc::clone(&stretch), next);
            } else {
                self.wait_for(id.clone(), follower);
            }
            self.send(&id, &stretch.lines[at..next]);
        }
        true
    }

    /// Lets those go on that had to wait for what others had from before.
    fn unpark(&mut self) {
        let mut free = Vec::new();
        for (id, member) in &mut self.members {
            match std::mem::replace(&mut member.state, State::Waiting) {
                State::Parked(follower) => free.push((id.clone(), follower)),
                other => member.state = other,
            }
        }
        for (id, follower) in free {
            self.wait_for(id, follower);
        }
    }

    /// What a follower has got.
    fn take(&mut self, id: String, follower: Follower, step: Step) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        match step {
            Step::Lines(stretch, from) if !member.live => {
                member.state = State::Holding(follower, stretch, from);
            }
            Step::Lines(stretch, from) => {
                self.send(&id, &stretch.lines[from..]);
                self.wait_for(id, follower);
            }
            Step::Live => {
                member.at = member.at.or(follower.at());
                if member.live {
                    self.wait_for(id, follower);
                } else {
                    member.live = true;
                    member.state = State::Parked(follower);
                }
            }
            Step::Gap(gap) => {
                self.say_gap(&gap);
                self.wait_for(id, follower);
            }
            Step::End(how) => {
                (member.live, member.state) = (true, State::Stopped);
                let facts = member.facts.clone();
                if let Ended::Failed(error) = how {
                    tracing::warn!(%error, "one of many log streams failed");
                    let data =
                        json!({ "id": facts.id, "name": name(&facts), "error": error.to_string() });
                    self.write("error", &data);
                }
                self.say(&facts, "stopped");
                self.look.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Sends lines of one container, each with a cursor of all.
    fn send(&mut self, id: &str, lines: &[Placed]) {
        let mut others = String::new();
        for (other, member) in &self.members {
            if other != id
                && let Some(at) = &member.at
            {
                write_cursor(&mut others, other, at).expect("a String takes everything");
                others.push(',');
            }
        }
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let container = json!({ "id": id, "name": name(&member.facts) });
        let mut sent = 0;
        for Placed { line, place } in lines {
            member.at = Some(*place);
            if !self.finder.wanted.times.hold(place.stamp) {
                continue;
            }
            let Some(line) = member.view.show(line.clone()) else {
                continue;
            };
            let out = &mut self.out;
            write!(out, "event: log\nid: {others}").expect("a buffer takes everything");
            write_cursor(out, id, place).expect("a buffer takes everything");
            out.extend_from_slice(b"\ndata: {\"log\":");
            json_string(&line.bytes, out);
            if line.continued {
                out.extend_from_slice(b",\"continued\":true");
            }
            let stream = line.source.name();
            write!(
                out,
                ",\"container\":{container},\"stream\":\"{stream}\"}}\n\n"
            )
            .expect("a buffer takes everything");
            sent += 1;
        }
        self.sent.count_lines(sent);
    }

    /// Looks which containers there are now.
    async fn look_again(&mut self) -> Result<(), FollowError> {
        let ids = self.finder.find(false).await?;
        let gone = self
            .members
            .iter()
            .filter(|(id, member)| matches!(member.state, State::Stopped) && !ids.contains(id));
        let gone: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
        for id in gone {
            if let Some(member) = self.members.remove(&id) {
                self.say(&member.facts, "removed");
            }
        }
        let mut new = Vec::new();
        for id in ids {
            match self.members.get(&id) {
                None => new.push((id, "joined")),
                Some(member) if matches!(member.state, State::Stopped) => {
                    let facts = self.finder.hub.source().facts(&id).await;
                    if facts
                        .is_ok_and(|facts| facts.state.started_at != member.facts.state.started_at)
                    {
                        new.push((id, "started"));
                    }
                }
                Some(_) => {}
            }
        }
        for (id, what) in new {
            let known = self.members.get(&id).and_then(|member| member.at);
            match self.finder.join_one(&id, known, true).await {
                Ok((facts, follower)) => self.add(facts, follower, true, what),
                Err(FollowError::Engine(engine::Error::Refused { status, .. }))
                    if status == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes who came or went.
    fn say(&mut self, facts: &Facts, what: &str) {
        let data = json!({ "id": facts.id, "name": name(facts), "state": what });
        self.write("container", &data);
    }

    fn say_gap(&mut self, gap: &Gap) {
        self.write("gap", &gap_data(gap));
    }

    fn write(&mut self, event: &str, data: &serde_json::Value) {
        write!(self.out, "event: {event}\ndata: {data}\n\n").expect("a buffer takes everything");
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

fn name(facts: &Facts) -> &str {
    facts.name.trim_start_matches('/')
}
