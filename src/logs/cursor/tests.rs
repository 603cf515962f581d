//! Cursors as text.

use super::*;

const ID: &str = "0123456789ab";

#[test]
fn a_cursor_is_read_as_it_was_written() {
    let place = Place {
        stamp: 1_700_000_000_123_456_789,
        source: Source::Stderr,
        ordinal: 7,
        counted: false,
        mark: Mark::Print(0xab),
        floor: 1_600_000_000_000_000_000,
        open: None,
    };
    let certain = Place {
        counted: true,
        mark: Mark::None,
        floor: place.stamp,
        source: Source::Stdout,
        ..place
    };
    let open = Place {
        mark: Mark::Whole(0xcd),
        open: NonZeroU32::new(6),
        ..place
    };
    for (place, text) in [
        (
            place,
            "0123456789ab.1700000000123456789.e7~000000ab-1600000000000000000",
        ),
        (
            open,
            "0123456789ab.1700000000123456789.e7~00000000000000cd_6-1600000000000000000",
        ),
        (certain, "0123456789ab.1700000000123456789.o7"),
    ] {
        let cursor = Cursor::new(&format!("{ID}cdef"), place);
        assert_eq!(cursor.to_string(), text);
        assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
        let front = Cursor {
            is_next: true,
            ..cursor.clone()
        };
        assert_eq!(front.to_string(), format!("{text}!"));
        assert_eq!(front.to_string().parse::<Cursor>().unwrap(), front);
        assert!(cursor.is_of(&format!("{ID}ffff")));
        assert!(!cursor.is_of("0123456789ac"));
    }
}

#[test]
fn refuses_what_is_no_cursor() {
    for text in [
        "",
        "x",
        "0123456789ab",
        "0123456789ab.1",
        "0123456789ab.1.",
        "0123456789ab.1.x0",
        "0123456789ab.1.o",
        "0123456789ab.1.o-1",
        "0123456789ab.1.o0-2",
        "0123456789ab.01.o0",
        "0123456789ab.-1.o0",
        "0123456789ab.1.o0~1",
        "0123456789ab.1.o0~0000000G",
        "0123456789ab.1.o0~000000000",
        "0123456789ab.1.o0~",
        "0123456789ab.1.o0_0",
        "0123456789ab.1.o0_06",
        "0123456789ab.1.o0_4294967296",
        "0123456789ab.1.o0_1~00000000",
        "0123456789AB.1.o0",
        "0123456789.1.o0",
        "0123456789ab.99999999999999999999.o0",
        "0123456789ab.1.o0 ",
        "0123456789ab.1.o0.2",
        "0123456789ab.1.o0!!",
        "0123456789ab.1.o0! ",
        "0123456789ab.1.ä",
    ] {
        assert_eq!(text.parse::<Cursor>(), Err(BrokenCursor), "{text}");
    }
}
