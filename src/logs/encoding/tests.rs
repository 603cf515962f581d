use std::cell::Cell;

use super::*;
use crate::logs::{
    Line,
    cursor::Places,
    view::{Rules, View},
};

fn encoding(dialect: Dialect, grep: &str) -> Encoding {
    let grep = memchr::memmem::Finder::new(grep).into_owned();
    let rules = Rules {
        grep: vec![grep],
        without_time: true,
        ..Rules::default()
    };
    Encoding::new(dialect, View::new(rules))
}

fn encoded(text: &'static str) -> Encoded {
    Encoded {
        bytes: Bytes::from_static(text.as_bytes()),
        lines: 1,
    }
}

#[test]
fn those_alike_are_shared_while_someone_uses_them() {
    let all = Encodings::default();
    let first = all.share(encoding(Dialect::Named, "a"));
    let alike = all.share(encoding(Dialect::Named, "a"));
    assert!(Arc::ptr_eq(&first, &alike));
    for other in [
        encoding(Dialect::Unnamed, "a"),
        encoding(Dialect::Named, "b"),
        Encoding::new(Dialect::Named, View::new(Rules::default())),
    ] {
        let other = all.share(other);
        assert!(!Arc::ptr_eq(&first, &other));
    }
    // Those of before are gone.
    drop(all.share(encoding(Dialect::Named, "c")));
    assert_eq!(all.0.lock().unwrap().len(), 2);
}

#[test]
fn what_is_shared_is_made_once() {
    let (all, kept) = (Encodings::default(), Kept::default());
    let made = Cell::new(0);
    let get = |encoding: &Arc<Encoding>, text| {
        let encoded = kept.get(encoding, || {
            made.set(made.get() + 1);
            encoded(text)
        });
        assert_eq!(encoded.bytes, text);
    };
    let alone = all.share(encoding(Dialect::Named, "alone"));
    get(&alone, "alone");
    get(&alone, "alone");
    assert_eq!(made.take(), 2);
    let names = ["a", "b", "c", "d", "e"];
    let shared = names.map(|name| [(); 2].map(|()| all.share(encoding(Dialect::Named, name))));
    for ([one, other], name) in shared.iter().zip(names) {
        get(one, name);
        get(other, name);
    }
    // The last one finds no place.
    assert_eq!(made.take(), KEPT + 2);
    let [[one, _], ..] = &shared;
    get(one, "a");
    assert_eq!(made.take(), 0);
}

#[test]
fn lines_are_as_the_view_has_them() {
    let mut places = Places::new(true);
    let lines = ["1 a", "2 b", "3 ba"].map(|text| {
        let line = Line {
            stamp: 2,
            ..Line::bare(text)
        };
        let place = places.next(&line, None);
        Placed { line, place }
    });
    let encoded = encoding(Dialect::Named, "a").encode("0123456789ab", lines.iter());
    let text = std::str::from_utf8(&encoded.bytes).unwrap();
    let data = text.lines().filter(|line| line.starts_with("data: "));
    assert!(data.eq(["data: {\"log\":\"a\"}", "data: {\"log\":\"ba\"}"]));
    assert_eq!(encoded.lines, 2);
    let none = encoding(Dialect::Named, "a").encode("0123456789ab", lines[1..2].iter());
    assert_eq!((none.bytes, none.lines), (Bytes::new(), 0));
}
