//! Places of lines, as they are met and as cursors tell them.

use bytes::Bytes;

use super::{
    mark::{hash, print, sealed},
    *,
};
use crate::logs::cursor::Cursor;

const ID: &str = "0123456789ab";

fn line(source: Source, nanos: u32, text: &str) -> Line {
    let bytes = Bytes::from(format!("2024-01-02T03:04:05.{nanos:09}Z {text}"));
    Line {
        source,
        stamp: bytes.len() - text.len(),
        bytes,
        continued: false,
        first: false,
        more: false,
        cut: false,
        open: false,
        given: false,
    }
}

#[test]
fn counts_lines_of_one_source_and_time() {
    let mut places = Places::new(true);
    let seen = [
        (Source::Stdout, 1),
        (Source::Stderr, 1),
        (Source::Stdout, 1),
        (Source::Stdout, 2),
        (Source::Stderr, 1),
    ];
    let ordinals = seen.map(|(source, nanos)| places.next(&line(source, nanos, "x"), None).ordinal);
    assert_eq!(ordinals, [0, 0, 1, 0, 1]);
}

#[test]
fn knows_which_of_one_source_and_time_comes_first_if_it_counts_them() {
    let (one, two) = (line(Source::Stdout, 1, "x"), line(Source::Stdout, 1, "y"));
    let mut places = Places::new(true);
    let [first, second] = [&one, &two].map(|line| places.next(line, None));
    assert!(first.counts_before(&second));
    assert!(!second.counts_before(&first) && !first.counts_before(&first));
    let other = places.next(&line(Source::Stderr, 1, "x"), None);
    assert!(!other.counts_before(&second), "of another source");
    let uncounted = Places::new(false).next(&one, None);
    assert!(!uncounted.counts_before(&second));
    let later = places.next(&line(Source::Stdout, 2, "x"), None);
    assert!(!first.counts_before(&later), "of another time");
}

#[test]
fn knows_lines_by_their_text_where_it_cannot_count() {
    let lines = ["a", "b", "c"].map(|text| line(Source::Stdout, 1, text));
    let mut all = Places::new(true);
    let all = lines.clone().map(|line| all.next(&line, None));
    let mut tail = Places::new(false);
    let of_b = tail.next(&lines[1], None);
    let found: Vec<_> = all.iter().map(|place| of_b.is(place)).collect();
    assert_eq!(found, [false, true, false]);
    let later = line(Source::Stdout, 2, "d");
    assert!(tail.next(&later, None).counted, "it can count now");
}

#[test]
fn knows_a_line_by_the_part_of_it_that_a_tail_begins_with() {
    let place = |whole, text: &str| {
        let first = true;
        let line = Line {
            first,
            ..line(Source::Stdout, 1, text)
        };
        Places::new(whole).next(&line, None)
    };
    for (part, whole, same) in [
        ("56789", "0123456789", true),
        ("23456789", "0123456789", true),
        ("123456789", "0123456789", true),
        ("9", "0123456789", true),
        ("9", "89", true),
        ("89", "9", false),
        ("8", "0123456789", false),
    ] {
        let (part_place, whole_place) = (place(false, part), place(true, whole));
        let cursor = Cursor::new(&format!("{ID}cdef"), part_place);
        let told: Cursor = cursor.to_string().parse().unwrap();
        for part_place in [part_place, told.place] {
            assert_eq!(part_place.is(&whole_place), same, "{part} {whole}");
            assert_eq!(whole_place.is(&part_place), same, "{part} {whole}");
        }
    }
}

#[test]
fn knows_whole_lines_by_all_of_their_text() {
    let place = |whole, text: &str| Places::new(whole).next(&line(Source::Stdout, 1, text), None);
    let seen = place(false, "one of a hundred lines");
    let told: Cursor = Cursor::new(&format!("{ID}cdef"), seen)
        .to_string()
        .parse()
        .unwrap();
    // The same for every agent from now on, and nothing that the text could be computed from.
    let seal = sealed(hash(b"one of a hundred lines"));
    assert_eq!(told.place.mark, Mark::Whole(seal));
    assert_eq!(seal, 0x8e75_1e86_024c_152b);
    // What an agent told that knew it by its end.
    let old = Place {
        mark: Mark::Print(print(b"ed lines", true)),
        ..seen
    };
    for (text, same) in [
        ("one of a hundred lines", true),
        ("two of a hundred lines", false),
        ("one of a hundred lines\0", false),
        ("", false),
    ] {
        let other = place(true, text);
        for place in [seen, told.place] {
            assert_eq!((place.is(&other), other.is(&place)), (same, same), "{text}");
        }
        assert_eq!(old.is(&other), text.ends_with("ed lines"), "{text}");
    }
}
