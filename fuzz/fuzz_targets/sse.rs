//! Any lines as events: a plain reader of server-sent events gets back the text of each, and nothing else.

#![no_main]

use arbitrary::Arbitrary;
use bytes::{Bytes, BytesMut};
use docker_ps_agent::logs::{Line, Source, cursor::Cursor, place::Places, sse::Dialect};
use libfuzzer_sys::fuzz_target;

const CONTAINER: &str = "0123456789abcdef";

#[derive(Arbitrary, Debug)]
struct Input {
    named: bool,
    lines: Vec<(Vec<u8>, bool, bool)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: String,
    name: String,
    data: String,
}

/// What the specification says of reading (WHATWG HTML, "Server-sent events"), as far as it is needed: every
/// kind of line end, and only fields that are known.
fn parse(text: &str) -> Vec<Event> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut event, mut data) = (Vec::new(), Event::default(), Vec::new());
    for line in text.split('\n') {
        if line.is_empty() {
            event.data = data.join("\n");
            if !data.is_empty() {
                events.push(std::mem::take(&mut event));
            }
            event = Event::default();
            data.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = value.to_owned(),
            "event" => event.name = value.to_owned(),
            "data" => data.push(value.to_owned()),
            "" => {}
            other => panic!("unexpected field {other:?}"),
        }
    }
    assert!(
        data.is_empty() && event == Event::default(),
        "an event is not ended"
    );
    events
}

fuzz_target!(|input: Input| {
    let (dialect, name, key) = match input.named {
        true => (Dialect::Named, "log", "log"),
        false => (Dialect::Unnamed, "", "line"),
    };
    let (mut out, mut places, mut cursors) = (BytesMut::new(), Places::new(true), Vec::new());
    for (text, stderr, continued) in &input.lines {
        let line = Line {
            source: if *stderr {
                Source::Stderr
            } else {
                Source::Stdout
            },
            bytes: Bytes::copy_from_slice(text),
            stamp: 0,
            continued: *continued,
            more: false,
            cut: false,
            first: false,
            open: false,
            given: false,
        };
        let place = places.next(&line, None);
        dialect.line(CONTAINER, &place, &line, &mut out);
        cursors.push(Cursor::new(CONTAINER, place).to_string());
    }
    let events = parse(std::str::from_utf8(&out).expect("events are UTF-8"));
    assert_eq!(events.len(), input.lines.len());
    let expected = input.lines.iter().zip(cursors);
    for (event, ((text, _, continued), cursor)) in events.iter().zip(expected) {
        assert_eq!((event.name.as_str(), &event.id), (name, &cursor));
        let data: serde_json::Value = serde_json::from_str(&event.data).expect("data is JSON");
        assert_eq!(data[key], String::from_utf8_lossy(text).as_ref());
        assert_eq!(data.get("continued").is_some(), *continued);
    }
});
