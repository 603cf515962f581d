use std::cell::Cell;

use super::*;
use crate::logs::{
    Line,
    place::Places,
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
    let get = |encoding: &Arc<Encoding>, followers, text| {
        let encoded = kept.get(encoding, followers, || {
            made.set(made.get() + 1);
            encoded(text)
        });
        assert_eq!(encoded.bytes, text);
    };
    let alone = all.share(encoding(Dialect::Named, "alone"));
    get(&alone, 1, "alone");
    get(&alone, 1, "alone");
    assert_eq!(made.take(), 2);
    let pair = |name| [(); 2].map(|()| all.share(encoding(Dialect::Named, name)));
    let few = ["a", "b", "c"];
    let pairs = few.map(pair);
    for ([one, other], name) in pairs.iter().zip(few) {
        get(one, 100, name);
        get(other, 100, name);
    }
    // The last one finds no place.
    assert_eq!(made.take(), 2 + 2);
    // But what many use does.
    let many = ["d", "e"];
    for ([one, other], name) in many.map(pair).iter().zip(many) {
        get(one, 5, name);
        get(other, 5, name);
    }
    assert_eq!(made.take(), 2);
    get(&pairs[0][0], 100, "a");
    assert_eq!(made.take(), 0);
}

#[test]
fn what_is_kept_takes_no_more_than_it_is() {
    let mut places = Places::new(true);
    let lines = [(); 300].map(|()| {
        let line = Line::bare("a line with an a");
        let place = places.next(&line, None);
        Placed::new(line, place)
    });
    let made = encoding(Dialect::Named, "a").encode("0123456789ab", lines.iter());
    let (len, bytes) = (made.bytes.len(), made.bytes.try_into_mut().unwrap());
    assert!(bytes.capacity() <= len + len / 4, "{}", bytes.capacity());
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
        Placed::new(line, place)
    });
    let encoded = encoding(Dialect::Named, "a").encode("0123456789ab", lines.iter());
    let text = std::str::from_utf8(&encoded.bytes).unwrap();
    let data = text.lines().filter(|line| line.starts_with("data: "));
    assert!(data.eq(["data: {\"log\":\"a\"}", "data: {\"log\":\"ba\"}"]));
    assert_eq!(encoded.lines, 2);
    let none = encoding(Dialect::Named, "a").encode("0123456789ab", lines[1..2].iter());
    assert_eq!((none.bytes, none.lines), (Bytes::new(), 0));
}
