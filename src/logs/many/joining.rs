//! Who joins a stream of many logs, who cannot, and who leaves it.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};

use super::{
    super::{
        cursor::Cursor,
        follower::{FollowError, Start},
        hub::Membership,
        stretch::Gap,
    },
    Came, MAX_MEMBERS, Many, OpenError,
    finder::{Known, Look, New, REMOVALS, TRY_AGAIN},
    member::{Member, Source, State},
};
use crate::engine;

impl Many {
    /// Begins with a container; one that has `appeared` does not wait until it is its lines' turn.
    pub(super) fn add(&mut self, new: New, appeared: bool) {
        let New { facts, named } = new;
        let id = facts.id.clone();
        let known = self.members.get(&id);
        let news = Some(if known.is_some() { "started" } else { "joined" });
        let at = known.and_then(|member| member.at);
        let (start, first) = self.finder.start(&id, at, appeared);
        let at = match start {
            Start::After(place) => Some(place),
            Start::Tail(..) => None,
        };
        self.absent.retain(|(cursor, _)| !cursor.is_of(&id));
        let member = Member {
            view: (self.views)(&facts),
            runs: facts.state.run(),
            facts,
            named,
            news,
            at,
            first,
            seeks: first.is_some(),
            merges: !appeared,
            live: false,
            behind: false,
            ring: Weak::new(),
            state: State::Opening,
        };
        self.members.insert(id.clone(), member);
        self.begin(&id, start, None, appeared);
    }

    pub(super) fn begin(
        &mut self,
        id: &str,
        start: Start,
        seat: Option<Membership>,
        patient: bool,
    ) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.state = State::Opening;
        let (id, facts, finder) = (
            id.to_owned(),
            member.facts.clone(),
            Arc::clone(&self.finder),
        );
        // Where others wait for its lines, they do not wait for its removal.
        let removals = if member.merges { 0 } else { REMOVALS };
        let opening = async move {
            let follower = finder.follow(&facts, &start, seat, patient, removals);
            let opened = follower.await;
            (id, Came::Opened(opened))
        };
        self.steps.push(opening.boxed());
    }

    pub(super) fn is_opening(&self) -> bool {
        let mut members = self.members.values();
        members.any(|member| matches!(member.state, State::Opening))
    }

    /// Whether a container that cannot be followed is a reason to refuse all.
    pub(super) fn must_be_there(&self, id: &str, error: &FollowError) -> bool {
        if error.is(engine::Error::says_gone) {
            return false;
        }
        let is_named = self.members.get(id).is_some_and(|member| member.named);
        is_named || !error.is(engine::Error::is_refusal)
    }

    /// Whether one of the containers waits, and another has what it may wait for.
    pub(super) fn may_let_go(&self) -> bool {
        let holds =
            |member: &Member| matches!(member.state, State::Holding(Source::Follower(_), ..));
        self.is_opening() && self.members.values().any(holds)
    }

    /// Gives up a follower, and with it its right to read: the one whose lines are wanted last.
    pub(super) fn let_go(&mut self) {
        let holding = self.members.values_mut().filter_map(|member| {
            let State::Holding(source @ Source::Follower(_), stretch, _) = &mut member.state else {
                return None;
            };
            Some((stretch.last()?.stamp, &member.facts, source))
        });
        if let Some((_, facts, source)) = holding.max_by_key(|(stamp, ..)| *stamp) {
            *source = Source::Seat(self.finder.hub.join(facts).ok());
        }
    }

    /// Says that a container cannot be followed, which it cannot until it is started again.
    pub(super) fn refuse(&mut self, id: &str, error: &FollowError) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let (facts, at) = (member.facts.clone(), member.at);
        let place = self.finder.place(id, at);
        let missing = place.filter(|_| error.is(engine::Error::says_removed));
        if let Some(at) = missing {
            // There was more, when it had to wait for others, or there may have been.
            let (after, before) = (Cursor::new(&facts.id, at), None);
            self.find_gap(&Gap { after, before });
        } else if !error.is(engine::Error::says_gone) {
            self.say_failed(&facts, error);
        }
        if let Some(member) = self.members.get_mut(id)
            && member.news != Some("joined")
        {
            (member.live, member.behind) = (true, false);
            member.state = State::Stopped;
            if member.news.is_none() {
                self.say(&facts, "stopped");
            }
            self.look_in(Duration::ZERO);
            return;
        }
        self.members.remove(id);
        if !error.is(engine::Error::says_gone) {
            let cursor = self.finder.cursor_of(id).cloned();
            self.absent
                .extend(cursor.map(|cursor| (cursor, missing.is_some())));
            // It may be listed for long.
            self.refused.insert(facts.id, facts.state.run());
        }
    }

    /// A look which containers there are now.
    pub(super) fn look_again(&self) -> BoxFuture<'static, Result<Look, engine::Error>> {
        let members = self.members.iter().map(|(id, member)| {
            let is_over = matches!(member.state, State::Stopped);
            (id.clone(), is_over.then_some(member.runs))
        });
        let refused = self.refused.clone().into_iter();
        let refused = refused.map(|(id, runs)| (id, Some(runs)));
        let known: Known = members.chain(refused).collect();
        let finder = Arc::clone(&self.finder);
        async move { finder.look(&known, false).await }.boxed()
    }

    /// Takes leave of those that are none of these, unless it `hides_named` ones.
    fn take_leave(&mut self, ids: &HashSet<String>, hides_named: bool) {
        self.refused.retain(|id, _| hides_named || ids.contains(id));
        let is_gone = |(cursor, _): &mut (Cursor, bool)| {
            !hides_named && !ids.iter().any(|id| cursor.is_of(id))
        };
        let lost: Vec<_> = self.absent.extract_if(.., is_gone).collect();
        for (after, is_told) in lost {
            if !is_told {
                self.find_gap(&Gap {
                    after,
                    before: None,
                });
            }
        }
        let is_gone = |id: &String, member: &mut Member| {
            let is_hidden = hides_named && member.named;
            matches!(member.state, State::Stopped) && !ids.contains(id) && !is_hidden
        };
        let gone: Vec<_> = self.members.extract_if(.., is_gone).collect();
        for (_, member) in gone {
            self.say(&member.facts, "removed");
        }
    }

    /// Takes leave of those that are gone, and begins with those that are new.
    pub(super) fn looked(&mut self, found: Result<Look, engine::Error>) {
        let Look {
            ids,
            new,
            is_partial,
            hides_named,
        } = match found {
            Ok(look) => look,
            Err(error) => {
                tracing::debug!(%error, "cannot look which containers there are");
                self.look_in(TRY_AGAIN);
                return;
            }
        };
        self.mistrust(is_partial);
        self.take_leave(&ids, hides_named);
        for new in new {
            let id = &new.facts.id;
            self.refused.remove(id);
            match self.members.get(id) {
                Some(member) if !matches!(member.state, State::Stopped) => {}
                None if self.members.len() >= MAX_MEMBERS => {
                    let most = OpenError::TooMany(ids.len());
                    self.say_failed(&new.facts, &most);
                    let New { facts, .. } = new;
                    self.refused.insert(facts.id, facts.state.run());
                }
                _ => self.add(new, true),
            }
        }
    }
}
