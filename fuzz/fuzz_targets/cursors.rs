//! Any text as a cursor, and the cursors of any lines: no panic, one form only, and each leads back to its
//! own line.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use docker_ps_agent::logs::{Line, Source, cursor::Cursor, place::Places};
use libfuzzer_sys::fuzz_target;

const CONTAINER: &str = "0123456789abcdef";

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Text(&'a str),
    /// Beginnings that are worth something, which chance alone finds too seldom.
    Parts {
        stamp: i64,
        rest: &'a str,
    },
    Log {
        whole: bool,
        /// How much later each is than the one before, where it was written, and its text.
        lines: Vec<(u8, bool, Vec<u8>)>,
    },
}

fn check_text(text: &str) {
    let Ok(cursor) = text.parse::<Cursor>() else {
        return;
    };
    let again: Cursor = cursor.to_string().parse().expect("its own form is read");
    assert_eq!(again.to_string(), cursor.to_string());
    assert_eq!(again.id(), cursor.id());
    let (one, other) = (cursor.place, again.place);
    assert_eq!(one.since(), other.since());
    assert_eq!(one.is(&other), other.is(&one));
    assert!(!one.is_passed_by(&other) && !one.is_far_behind(&other));
}

fn check_log(whole: bool, lines: Vec<(u8, bool, Vec<u8>)>) {
    let mut nanos = 0_u32;
    let mut places = Places::new(whole);
    let mut all = Vec::new();
    for (later, stderr, text) in lines {
        nanos += u32::from(later % 3);
        let stamp = format!("2024-05-06T07:08:09.{nanos:09}Z ").into_bytes();
        let source = match stderr {
            true => Source::Stderr,
            false => Source::Stdout,
        };
        let line = Line {
            source,
            stamp: stamp.len(),
            bytes: Bytes::from([stamp, text].concat()),
            continued: false,
            more: false,
            cut: false,
            first: !all.iter().any(|(_, _, seen)| *seen == source),
            open: false,
            given: false,
        };
        let place = places.next(&line, None);
        let cursor = Cursor::new(CONTAINER, place).to_string();
        all.push((cursor.parse::<Cursor>().expect("it is read"), place, source));
    }
    for (number, (cursor, place, _)) in all.iter().enumerate() {
        assert!(cursor.is_of(CONTAINER));
        assert!(cursor.place.is(place), "{cursor} leads away from its line");
        assert!(cursor.place.since() <= place.stamp);
        for (_, other, _) in &all[..number] {
            assert!(!cursor.place.is_passed_by(other), "{cursor} is given up");
            // Whoever knows all lines of the time takes no other for it.
            assert!(!(place.counted && other.counted && cursor.place.is(other)));
        }
    }
}

fuzz_target!(|input: Input| match input {
    Input::Text(text) => check_text(text),
    Input::Parts { stamp, rest } => check_text(&format!("0123456789ab.{stamp}.{rest}")),
    Input::Log { whole, lines } => check_log(whole, lines),
});
