//! What the followers of many logs have got: merged by time at first, then as it comes.

use std::{sync::Arc, time::Duration};

use futures_util::future::FutureExt;

use super::{
    super::{
        cursor::Cursor,
        follower::{Follower, Start, Step},
        place::Nanos,
        ring::Ended,
        stretch::{Gap, Stretch},
    },
    Came, Many,
    finder::from,
    member::{Member, Sought, Source, State},
    write::container,
};

/// The most bytes of cursors of others that are written at once, about.
const MOST: usize = 64 * 1024;

/// The bytes of a cursor, about.
const CURSOR: usize = 40;

/// Lines of one container, from one on.
pub(super) struct Part {
    id: String,
    /// It goes on once they are sent.
    follower: Follower,
    stretch: Arc<Stretch>,
    at: usize,
}

/// How many lines are sent at once, each of which comes with a cursor of each of so many containers.
fn part_len(members: usize) -> usize {
    (MOST / (members.max(1) * CURSOR)).max(1)
}

impl Many {
    /// Sends some of the lines and keeps the rest for later.
    pub(super) fn send_part(&mut self, part: Part) {
        let end = part.at + part_len(self.members.len() + self.absent.len());
        let end = end.min(part.stretch.lines.len());
        self.send(&part.id, &part.stretch.lines[part.at..end]);
        if end < part.stretch.lines.len() {
            self.parts.push_front(Part { at: end, ..part });
        } else {
            self.wait_for(part.id, part.follower);
        }
    }

    pub(super) fn wait_for(&mut self, id: String, mut follower: Follower) {
        if let Some(member) = self.members.get_mut(&id) {
            member.state = State::Waiting;
        }
        let step = async move {
            let step = follower.next().await;
            (id, Came::Step(follower, step))
        };
        self.steps.push(step.boxed());
    }

    /// Sends the oldest of what was written before; false where that is not known yet, or all is sent.
    pub(super) fn merge(&mut self) -> bool {
        let mut oldest: Option<(&String, i64)> = None;
        let merging = |member: &&Member| member.merges && !member.live;
        for (id, member) in &self.members {
            if !merging(&member) {
                continue;
            }
            let State::Holding(_, stretch, at) = &member.state else {
                return false;
            };
            let stamp = stretch.lines[*at].place.stamp;
            if oldest.is_none_or(|(_, other)| stamp < other) {
                oldest = Some((id, stamp));
            }
        }
        let Some((id, _)) = oldest else {
            self.unpark(|_| true);
            return false;
        };
        let id = id.clone();
        if let Some(member) = self.members.get_mut(&id)
            && let State::Holding(source, stretch, at) =
                std::mem::replace(&mut member.state, State::Waiting)
        {
            let next = at + 1;
            if next < stretch.lines.len() {
                member.state = State::Holding(source, Arc::clone(&stretch), next);
            } else {
                match source {
                    Source::Follower(follower) => self.wait_for(id.clone(), follower),
                    Source::Seat(seat) => {
                        let last = stretch.lines[at].cursor();
                        self.begin(&id, Start::After(last), seat, true);
                    }
                }
            }
            self.send(&id, &stretch.lines[at..next]);
        }
        true
    }

    /// Lets those go on of these that had to wait for what others had from before.
    pub(super) fn unpark(&mut self, these: impl Fn(&Member) -> bool) {
        let mut free = Vec::new();
        let is_free = |member: &Member| matches!(member.state, State::Parked(_)) && these(member);
        for (id, member) in self
            .members
            .iter_mut()
            .filter(|(_, member)| is_free(member))
        {
            if let State::Parked(follower) = std::mem::replace(&mut member.state, State::Waiting) {
                free.push((id.clone(), follower));
            }
        }
        for (id, follower) in free {
            self.wait_for(id, follower);
        }
    }

    pub(super) fn take(&mut self, id: String, came: Came) {
        match came {
            Came::Opened(Ok(follower)) => {
                let has_places = self.has_places();
                let Some(member) = self.members.get_mut(&id) else {
                    return;
                };
                if !member.seeks {
                    member.at = member.at.or(follower.at());
                }
                member.ring = Arc::downgrade(follower.ring());
                let news = member.news.take();
                let event = news.map(|what| container(&member.facts, what));
                if member.merges || has_places {
                    self.wait_for(id, follower);
                } else {
                    // A client that came back without a place would be given its lines again.
                    member.state = State::Parked(follower);
                }
                if let Some(event) = event {
                    self.write("container", &event);
                }
            }
            Came::Opened(Err(error)) => self.refuse(&id, &error),
            Came::Step(follower, step) => self.step(id, follower, step),
        }
    }

    /// What a follower has got.
    pub(super) fn step(&mut self, id: String, follower: Follower, step: Step) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        match step {
            Step::Lines(stretch, begin) => match member.seek(&stretch.lines[begin..]) {
                Sought::At(at) => {
                    member.seeks = false;
                    if member.merges && !member.live {
                        member.hold(follower, stretch, begin + at);
                    } else if member.live && self.until.is_past(&stretch.lines[begin..=begin]) {
                        (member.behind, member.state) = (false, State::Past);
                    } else {
                        self.parts.push_back(Part {
                            id,
                            follower,
                            stretch,
                            at: begin + at,
                        });
                    }
                }
                Sought::Later => self.wait_for(id, follower),
                Sought::Gone(before) => {
                    drop(follower);
                    if let Some(first) = self.miss(&id, Some(before)) {
                        self.begin(&id, first, None, true);
                    }
                }
            },
            Step::Live => {
                if member.seeks {
                    drop(follower);
                    if let Some(first) = self.miss(&id, None) {
                        self.begin(&id, first, None, true);
                    }
                    return;
                }
                member.at = member.at.or(follower.at());
                let was_merging = member.merges && !member.live;
                (member.live, member.behind) = (true, false);
                if was_merging {
                    member.state = State::Parked(follower);
                } else {
                    self.wait_for(id, follower);
                }
            }
            Step::Behind => {
                member.behind = true;
                self.wait_for(id, follower);
            }
            Step::Gap(gap) => {
                self.say_gap(&gap);
                self.wait_for(id, follower);
            }
            Step::End(how) => {
                (member.live, member.behind) = (true, false);
                member.state = State::Stopped;
                member.runs = follower.runs();
                let facts = member.facts.clone();
                if let Ended::Failed(error) = how {
                    tracing::warn!(%error, "one of many log streams failed");
                    self.say_failed(&facts, &error);
                }
                self.say(&facts, "stopped");
                self.look_in(Duration::ZERO);
            }
        }
    }

    /// Says that the line is gone that had to come first, and gives where to begin without it.
    pub(super) fn miss(&mut self, id: &str, before: Option<Nanos>) -> Option<Start> {
        let member = self.members.get_mut(id)?;
        member.seeks = false;
        let first = member.first.take()?;
        let after = Cursor::new(id, first);
        self.find_gap(&Gap { after, before });
        Some(from(&first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_cursors_are_written_for_few_lines_at_once() {
        assert_eq!(part_len(super::super::MAX_MEMBERS), 6);
        assert_eq!(part_len(usize::MAX / CURSOR), 1);
        assert!(part_len(0) > 1000);
    }
}
