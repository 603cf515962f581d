//! Queries, read and refused.

use bytes::Bytes;

use super::*;
use crate::logs::Line;

fn read(query: &str) -> LogQuery {
    LogParams::parse(query).unwrap().query(Tail::Lines(1000))
}

/// What is shown of a text on standard output, or nothing.
fn shown(query: &str, text: &'static str) -> Option<String> {
    let env = Env(vec!["DB_PASSWORD=hunter2".into()]);
    let params = LogParams::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let view = params.view(&env, &Redaction::default());
    let line = view.show(Line {
        source: Source::Stdout,
        bytes: Bytes::from_static(text.as_bytes()),
        stamp: 2,
        continued: false,
        more: false,
        cut: false,
        first: false,
        open: false,
        given: false,
    })?;
    Some(String::from_utf8(line.bytes.to_vec()).unwrap())
}

#[test]
fn reads_what_a_log_is_asked_with() {
    assert_eq!(read("").tail, Tail::Lines(1000));
    assert_eq!(read("tail=7").tail, Tail::Lines(7));
    assert_eq!(read("tail=0").tail, Tail::Lines(0));
    assert_eq!(read("tail=all&unknown=%zz&x").tail, Tail::All);
    assert_eq!(read("since=0&until=0.0"), read(""));
    let read = read("since=1700000000&until=2023-11-14T22:13:20.25Z");
    assert_eq!(read.since, Some(Timestamp::new(1_700_000_000, 0).unwrap()));
    assert_eq!(
        read.until,
        Some(Timestamp::new(1_700_000_000, 250_000_000).unwrap())
    );
    assert!(LogParams::parse("follow=true").unwrap().follow);
    assert!(!LogParams::parse("follow=false").unwrap().follow);
    for (query, format) in [
        ("", Format::Text),
        ("format=text", Format::Text),
        ("format=ndjson", Format::Ndjson),
    ] {
        assert_eq!(LogParams::parse(query).unwrap().format, format);
    }
}

#[test]
fn counts_a_duration_back_from_now() {
    let before = Timestamp::now();
    let since = read("since=10m").since.unwrap();
    let ten_minutes = jiff::SignedDuration::from_mins(10);
    assert!((before - ten_minutes..=Timestamp::now() - ten_minutes).contains(&since));
}

#[test]
fn reads_how_lines_are_shown() {
    let text = "T \x1b[1mhunter2\x1b[m (x)";
    for (query, expected) in [
        ("", Some(text)),
        ("timestamps=true&stream=stdout&grep=&regex=", Some(text)),
        ("stream=stderr", None),
        ("timestamps=false", Some("\x1b[1mhunter2\x1b[m (x)")),
        ("ansi=strip", Some("T hunter2 (x)")),
        (
            "redact=env",
            Some("T \x1b[1m[redacted DB_PASSWORD]\x1b[m (x)"),
        ),
        ("grep=hunter&grep=%28x", Some(text)),
        ("grep=hunter&grep=y", None),
        ("grep=T", None),
        ("regex=%5Ehunter", None),
        ("regex=%5Ba-z%5D%2B%5Cd", Some(text)),
        ("regex=%5ET", None),
    ] {
        assert_eq!(shown(query, text).as_deref(), expected, "{query}");
    }
}

#[test]
fn refuses_values_that_are_none() {
    let long = format!("grep={}", "x".repeat(1025));
    let many = ["grep=x"; 17].join("&");
    for query in [
        "tail=",
        "tail=-1",
        "tail=+1",
        "tail=1.5",
        "tail=ten",
        "tail=99999999999999999999",
        "tail=1%00",
        "tail=1&tail=2",
        "since=",
        "since=soon",
        "until=2024-01-01T",
        "until=10m&until=9m",
        "follow=",
        "follow=maybe",
        "follow=1&follow=1",
        "stream=",
        "stream=both",
        "stream=stdout&stream=stderr",
        "timestamps=",
        "timestamps=no",
        "timestamps=1&timestamps=1",
        "ansi=",
        "ansi=keep",
        "redact=",
        "redact=off",
        "redact=env&redact=env",
        "format=",
        "format=csv",
        "regex=a&regex=b",
        "regex=(",
        "regex=%5B",
        "regex=(%3F=x)",
        &long,
        &many,
        &long.replace("grep", "regex"),
    ] {
        let refused = LogParams::parse(query).unwrap_err();
        assert!(matches!(refused, Error::Bad(_)), "{query}: {refused:?}");
    }
}

#[test]
fn says_what_is_wrong_with_an_expression() {
    let why = |query| LogParams::parse(query).unwrap_err().to_string();
    let unclosed = why("regex=a(b");
    assert!(unclosed.contains("unclosed group"), "{unclosed}");
    // Small to write, large to search for.
    for large in ["regex=%5Cw{100}", "regex=((((x{50}){50}){50}){50})"] {
        let refused = why(large);
        assert!(refused.contains("size limit"), "{refused}");
    }
}
