//! The event parser gives the same events however the bytes are cut.

use crate::support::sse::{Event, Parser};

const STREAM: &str = "\u{feff}: hello\n\nevent: connected\nid: 1\ndata: {\"a\":1}\n\ndata:one\r\ndata: two\r\r\n\
                      : beat\nretry: 500\n\nid: é\nevent: gone\n\nid:\u{0}\ndata\n\nfield\ndata: cut off";

fn events() -> Vec<Event> {
    let event = |event: Option<&str>, data: &str, id: Option<&str>| Event {
        event: event.map(str::to_owned),
        data: data.to_owned(),
        id: id.map(str::to_owned),
    };
    vec![
        event(Some("connected"), r#"{"a":1}"#, Some("1")),
        event(None, "one\ntwo", None),
        event(None, "", None),
    ]
}

#[test]
fn gives_the_same_events_cut_at_every_offset() {
    for cut in 0..=STREAM.len() {
        let (head, tail) = STREAM.as_bytes().split_at(cut);
        let mut parser = Parser::default();
        let mut seen = parser.push(head);
        seen.extend(parser.push(tail));
        assert_eq!(seen, events(), "cut at {cut}");
        assert_eq!((parser.comments, parser.retry), (2, Some(500)));
        assert_eq!(parser.last_id.as_deref(), Some("é"));
        assert!(parser.is_mid_event());
    }
}

#[test]
fn gives_the_same_events_byte_by_byte() {
    let mut parser = Parser::default();
    let bytes = STREAM.as_bytes().chunks(1);
    let seen: Vec<Event> = bytes.flat_map(|byte| parser.push(byte)).collect();
    assert_eq!(seen, events());
    assert_eq!(seen[0].json()["a"], 1);
    assert_eq!(seen[1].name(), "message");
}
