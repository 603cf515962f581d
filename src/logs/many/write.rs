//! The events of many logs.

use std::fmt::Write;

use metrics::counter;
use serde_json::{Value, json};

use super::{
    super::{
        batch::json_string,
        cursor::{Cursor, write_cursor},
        sse::gap_data,
        stretch::{Gap, Placed},
    },
    MAX_MEMBERS, Many,
};
use crate::{engine::Facts, telemetry::name as metric};

impl Many {
    /// Sends lines of one container, each with a cursor of all.
    pub(super) fn send(&mut self, id: &str, lines: &[Placed]) {
        let others = self.cursors_but(Some(id));
        let others = others.as_deref();
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if member.live {
            self.until.saw(lines);
        }
        let container = json!({ "id": id, "name": name(&member.facts) });
        let mut sent = 0;
        for placed in lines {
            let place = placed.cursor();
            member.at = Some(place);
            if !self.finder.wanted.times.hold(placed.place.stamp) {
                continue;
            }
            let Some(line) = member.view.show(placed.line.clone()) else {
                continue;
            };
            let out = &mut self.out;
            out.extend_from_slice(b"event: log\n");
            if let Some(others) = others {
                write!(out, "id: {others}").expect("a buffer takes everything");
                write_cursor(out, id, &place).expect("a buffer takes everything");
                out.extend_from_slice(b"\n");
            }
            out.extend_from_slice(b"data: {\"log\":");
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

    /// Writes where the client is in all logs. Without data it is no event, but a client that comes back goes on there.
    pub(super) fn say_place(&mut self) {
        let Some(all) = self.cursors_but(None) else {
            return;
        };
        let written = match all.strip_suffix(',') {
            Some(all) => write!(self.out, "id: {all}\n\n"),
            None => write!(self.out, "id: {}\n\n", Cursor::of_nobody()),
        };
        written.expect("a buffer takes everything");
    }

    /// The cursors of all containers but this one, with a comma behind each. None while a client that came back with them
    /// would be given more than it wanted: it is not known yet where it is to begin.
    fn cursors_but(&self, id: Option<&str>) -> Option<String> {
        if !self.has_places() {
            return None;
        }
        let mut cursors = String::new();
        for (other, member) in &self.members {
            let is_written = Some(&**other) != id
                && member
                    .write_cursor(&mut cursors)
                    .expect("a String takes everything");
            if is_written {
                cursors.push(',');
            }
        }
        let room = MAX_MEMBERS.saturating_sub(self.members.len());
        for (absent, _) in self.absent.iter().take(room) {
            write!(cursors, "{absent},").expect("a String takes everything");
        }
        Some(cursors)
    }

    /// Writes who came or went.
    pub(super) fn say(&mut self, facts: &Facts, what: &str) {
        self.write("container", &container(facts, what));
    }

    pub(super) fn say_failed(&mut self, facts: &Facts, error: &impl ToString) {
        let (id, error) = (&facts.id, error.to_string());
        let data = json!({ "id": id, "name": name(facts), "error": error });
        self.write("error", &data);
    }

    /// Says a gap that no follower has found, and counted.
    pub(super) fn find_gap(&mut self, gap: &Gap) {
        counter!(metric::GAPS).increment(1);
        self.say_gap(gap);
    }

    pub(super) fn say_gap(&mut self, gap: &Gap) {
        self.write("gap", &gap_data(gap));
    }

    pub(super) fn write(&mut self, event: &str, data: &Value) {
        write!(self.out, "event: {event}\ndata: {data}\n\n").expect("a buffer takes everything");
    }
}

pub(super) fn container(facts: &Facts, what: &str) -> Value {
    json!({ "id": facts.id, "name": name(facts), "state": what })
}

fn name(facts: &Facts) -> &str {
    facts.name.trim_start_matches('/')
}
