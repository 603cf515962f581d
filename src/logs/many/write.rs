//! The events of many logs.

use std::fmt::Write;

use metrics::counter;
use serde_json::{Value, json};

use super::{
    super::{
        batch::json_string,
        cursor::write_cursor,
        sse::gap_data,
        stretch::{Gap, Placed},
    },
    Many,
};
use crate::{engine::Facts, telemetry::name as metric};

impl Many {
    /// Sends lines of one container, each with a cursor of all.
    pub(super) fn send(&mut self, id: &str, lines: &[Placed]) {
        let others = self.cursors_but(Some(id));
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        if member.live {
            self.until.saw(lines);
        }
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

    /// Writes where the client is in all logs. Without data it is no event, but a client that comes back goes on there.
    pub(super) fn say_place(&mut self) {
        if let Some(all) = self.cursors_but(None).strip_suffix(',') {
            write!(self.out, "id: {all}\n\n").expect("a buffer takes everything");
        }
    }

    /// The cursors of all containers but this one, with a comma behind each.
    fn cursors_but(&self, id: Option<&str>) -> String {
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
        cursors
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
