//! The pipeline as a whole: whatever the reads look like in which a log arrives, the lines are the same.

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use proptest::prelude::*;

use super::{
    Line, LogError, Source,
    batch::{Batch, Form, Json, Ndjson, Sent, Text},
    decode, decode_parts,
    place::Places,
    sse::Dialect,
    terminal::CUT,
};

const MAX: usize = 1024 * 1024;

/// A time as the engine writes it, `nanos` after a moment of 2024.
fn time(nanos: usize) -> String {
    format!("2024-05-06T07:08:09.{nanos:09}Z")
}

fn frame(source: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[source, 0, 0, 0], &len[..], payload].concat()
}

/// A record as the engine sends it in a frame.
fn record(source: u8, nanos: usize, text: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = [time(nanos).as_bytes(), b" ", text.as_ref()].concat();
    frame(source, &payload)
}

/// What is made of a log that arrives in these reads: its lines, with a mark of what is known of them,
/// and the error at its end.
fn read_all<'a>(
    reads: impl IntoIterator<Item = &'a [u8]>,
    tty: bool,
    max: usize,
) -> (Vec<String>, Option<LogError>) {
    let reads: Vec<_> = reads
        .into_iter()
        .map(|read| Ok(Bytes::copy_from_slice(read)))
        .collect();
    let mut lines = decode(stream::iter(reads), tty, max);
    let (mut seen, mut error) = (Vec::new(), None);
    while let Some(next) = lines.next().now_or_never().expect("all input is there") {
        match next {
            Ok(line) => {
                let mark = match (line.source, line.continued, line.open) {
                    (Source::Stdout, false, false) => "",
                    (Source::Stderr, false, false) => "2:",
                    (_, true, false) => "…",
                    (_, _, true) => "open:",
                    (Source::System, ..) => unreachable!("never a line"),
                };
                seen.push(format!("{mark}{}", String::from_utf8_lossy(&line.bytes)));
            }
            Err(failed) => error = Some(failed),
        }
    }
    (seen, error)
}

fn lines(log: &[u8], tty: bool) -> Vec<String> {
    let (lines, error) = read_all([log], tty, MAX);
    assert!(error.is_none(), "{error:?}");
    lines
}

/// Holds that `log` gives `expected` in one read, in two that are cut anywhere, and byte by byte.
fn assert_however_cut(log: &[u8], tty: bool, expected: &[String]) {
    assert_eq!(lines(log, tty), expected);
    for at in 0..=log.len() {
        let (seen, error) = read_all([&log[..at], &log[at..]], tty, MAX);
        assert!(
            error.is_none() && seen == expected,
            "cut at {at}: {error:?}"
        );
    }
    let (seen, error) = read_all(log.chunks(1), tty, MAX);
    assert!(
        error.is_none() && seen == expected,
        "byte by byte: {error:?}"
    );
}

fn stamped(nanos: usize, text: &str) -> String {
    format!("{} {text}", time(nanos))
}

/// As the journal keeps them: each part has the time at which it came.
#[tokio::test]
async fn parts_of_a_line_may_have_times_of_their_own() {
    let part = "p".repeat(CUT);
    let parts = [
        (1, part.as_str()),
        (2, &part),
        (3, "the end\n"),
        // Last words, and as long a line by itself.
        (4, "prompt"),
        (5, &part),
        (6, "\n"),
        (7, "next\n"),
    ];
    let records = |write: fn(usize, &str) -> Vec<u8>| {
        let records = parts.iter().map(|(nanos, text)| write(*nanos, text));
        records.collect::<Vec<_>>()
    };
    let framed = records(|nanos, text| record(1, nanos, text));
    let typed = records(|nanos, text| stamped(nanos, text).into());
    for (log, tty, max, expected) in [
        (
            framed.concat(),
            false,
            MAX,
            vec![
                stamped(1, &format!("{part}{part}the end")),
                stamped(4, "prompt"),
                stamped(5, &part),
                stamped(7, "next"),
            ],
        ),
        (
            typed[..3].concat(),
            true,
            MAX,
            vec![stamped(1, &format!("{part}{part}the end"))],
        ),
        (
            framed[..3].concat(),
            false,
            CUT + 10,
            vec![
                stamped(1, &format!("{part}{}", &part[..10])),
                stamped(1, &format!("{}the end", &part[10..])),
            ],
        ),
    ] {
        for size in [log.len(), 4096, 31] {
            let reads = log.chunks(size).map(Bytes::copy_from_slice).map(Ok);
            let lines = decode_parts(stream::iter(reads), tty, true, max);
            let lines: Vec<Line> = lines.try_collect().await.unwrap();
            let seen: Vec<_> = lines
                .iter()
                .map(|line| String::from_utf8_lossy(&line.bytes).into_owned())
                .collect();
            assert_eq!(seen, expected);
        }
    }
}

#[test]
fn frames_give_the_same_lines_wherever_the_input_is_cut() {
    // Lengths with a byte 0x0A: 10, 266 and 2570, the time included.
    let log = [
        frame(1, b"no time 1\n"),
        record(1, 1, format!("{}\n", "a".repeat(266 - 32))),
        record(2, 2, format!("{}\n", "b".repeat(2570 - 32))),
        record(1, 3, "\n"),
        record(1, 4, "part one, "),
        record(2, 5, "between\n"),
        record(1, 4, "part two, "),
        record(1, 4, "part three\n"),
        record(1, 6, "carriage return stays\r\n"),
        record(
            1,
            7,
            b"\x01\x00\x00\x00\x00\x00\x00\x05 not UTF-8: \xff\xc3(\n",
        ),
        record(1, 8, "tab\tand \x1b[31mcolour\x1b[0m ä€😀\n"),
        frame(2, b""),
        record(1, 9, "two\nlines in a record\n"),
        record(1, 9, "longer than a time\nand so on\n"),
        record(2, 10, "never ended by its program"),
        record(2, 11, "the next one\n"),
        record(2, 12, "no newline here"),
        record(1, 13, "nor at the end"),
    ]
    .concat();
    let expected = [
        "no time 1".into(),
        stamped(1, &"a".repeat(234)),
        format!("2:{}", stamped(2, &"b".repeat(2538))),
        stamped(3, ""),
        format!("2:{}", stamped(5, "between")),
        stamped(4, "part one, part two, part three"),
        stamped(6, "carriage return stays\r"),
        stamped(7, "\x01\0\0\0\0\0\0\x05 not UTF-8: \u{fffd}\u{fffd}("),
        stamped(8, "tab\tand \x1b[31mcolour\x1b[0m ä€😀"),
        stamped(9, "two"),
        stamped(9, "lines in a record"),
        stamped(9, "longer than a time"),
        stamped(9, "and so on"),
        format!("2:{}", stamped(10, "never ended by its program")),
        format!("2:{}", stamped(11, "the next one")),
        format!("open:{}", stamped(12, "no newline here")),
        format!("open:{}", stamped(13, "nor at the end")),
    ];
    assert_however_cut(&log, false, &expected);
}

#[test]
fn a_terminal_gives_the_same_lines_wherever_the_input_is_cut() {
    let long = "x".repeat(CUT) + "\u{20ac}tail";
    let (head, tail) = long.split_at(CUT);
    let log = [
        stamped(1, "\x01\x02begins with a low byte\r\n"),
        stamped(2, "\r\n"),
        stamped(3, "two returns\r\r\n"),
        format!("{}{}", stamped(4, head), stamped(4, &format!("{tail}\r\n"))),
        stamped(5, "bare newline\n"),
        stamped(6, "$ "),
    ]
    .concat();
    let expected = [
        stamped(1, "\x01\x02begins with a low byte"),
        stamped(2, ""),
        stamped(3, "two returns\r"),
        stamped(4, &long),
        stamped(5, "bare newline"),
        format!("open:{}", stamped(6, "$ ")),
    ];
    assert_however_cut(log.as_bytes(), true, &expected);
}

#[test]
fn a_long_line_without_repeated_times_keeps_all_of_its_text() {
    // Of an engine, or a log driver, that cuts elsewhere: what stands there is no time.
    let text = "y".repeat(3 * CUT + 7);
    let log = stamped(1, &text) + "\r\n";
    assert_eq!(lines(log.as_bytes(), true), [stamped(1, &text)]);
    let other = "y".repeat(CUT) + &stamped(2, "of another time");
    let log = stamped(1, &other) + "\r\n";
    assert_eq!(lines(log.as_bytes(), true), [stamped(1, &other)]);
}

#[test]
fn a_time_with_an_offset_is_a_time() {
    let payload = |text: &str| format!("2024-05-06T07:08:09.123456789+02:00 {text}");
    let log = [
        frame(1, payload("one, ").as_bytes()),
        frame(1, payload("two\n").as_bytes()),
    ]
    .concat();
    assert_eq!(lines(&log, false), [payload("one, two")]);
}

#[test]
fn a_line_at_the_limit_stays_whole_and_a_longer_one_goes_on() {
    let max = 10;
    for (tty, end) in [(false, "\n"), (true, "\r\n")] {
        let pieces = |text: &str| {
            let log = match tty {
                true => (stamped(1, text) + end).into_bytes(),
                false => record(1, 1, text.to_owned() + end),
            };
            let (one, error) = read_all([&log[..]], tty, max);
            assert!(error.is_none());
            for at in 0..log.len() {
                assert_eq!(
                    read_all([&log[..at], &log[at..]], tty, max).0,
                    one,
                    "{text} cut at {at}"
                );
            }
            one
        };
        let goes_on = |text: &str| format!("…{}", stamped(1, text));
        assert_eq!(pieces("123456789"), [stamped(1, "123456789")]);
        assert_eq!(pieces("1234567890"), [stamped(1, "1234567890")]);
        assert_eq!(
            pieces("1234567890a"),
            [stamped(1, "1234567890"), goes_on("a")]
        );
        assert_eq!(
            pieces("1234567890abcdefghijk"),
            [
                stamped(1, "1234567890"),
                goes_on("abcdefghij"),
                goes_on("k")
            ]
        );
        // A character is not torn, whichever of its bytes the limit meets.
        assert_eq!(
            pieces("123456789ä."),
            [stamped(1, "123456789"), goes_on("ä.")]
        );
        assert_eq!(
            pieces("1234567😀."),
            [stamped(1, "1234567"), goes_on("😀.")]
        );
        assert_eq!(
            pieces("12345678€."),
            [stamped(1, "12345678"), goes_on("€.")]
        );
        assert_eq!(pieces("1234567€."), [stamped(1, "1234567€"), goes_on(".")]);
    }
}

#[test]
fn a_frame_of_four_gibibytes_is_not_waited_for() {
    let mut log = vec![1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    log.extend_from_slice(stamped(1, "a line\nand ").as_bytes());
    let (seen, error) = read_all([&log[..]], false, MAX);
    assert_eq!(seen, [stamped(1, "a line")]);
    assert!(matches!(error, Some(LogError::CutShort)));
}

#[test]
fn what_is_no_frame_is_an_error_behind_the_lines_before_it() {
    for bad in [
        [4, 0, 0, 0, 0, 0, 0, 1],
        [1, 0, 7, 0, 0, 0, 0, 1],
        *b"HTTP/1.1",
    ] {
        let log = [&record(1, 1, "a line\n")[..], &bad, b"rest"].concat();
        for at in 0..log.len() {
            let (seen, error) = read_all([&log[..at], &log[at..]], false, MAX);
            assert_eq!(seen, [stamped(1, "a line")]);
            assert!(matches!(error, Some(LogError::BadFrame)), "{error:?}");
        }
    }
}

#[test]
fn what_the_engine_reports_ends_the_log() {
    let log = [
        record(1, 1, "a line\n"),
        frame(3, b"Error grabbing logs: disk on fire\n"),
    ]
    .concat();
    for at in 0..log.len() {
        let (seen, error) = read_all([&log[..at], &log[at..]], false, MAX);
        assert_eq!(seen, [stamped(1, "a line")]);
        let said = "the Docker Engine reports: Error grabbing logs: disk on fire";
        assert_eq!(error.unwrap().to_string(), said);
    }
    let endless = frame(3, &[b'x'; 100_000]);
    let (_, error) = read_all([&endless[..]], false, MAX);
    assert!(error.unwrap().to_string().len() < 5_000);
}

#[test]
fn a_broken_connection_never_passes_a_part_off_as_a_line() {
    let whole = record(1, 1, "a line\n");
    let part = record(1, 2, "the first part");
    let broken = || Err(LogError::Engine("gone".into()));
    for tail in [&part[..], &part[..20], b""] {
        let reads = [Ok(Bytes::from([&whole[..], tail].concat())), broken()];
        let result: Vec<_> = decode(stream::iter(reads), false, MAX)
            .collect()
            .now_or_never()
            .unwrap();
        assert_eq!(result.len(), 2);
        assert!(matches!(result[1], Err(LogError::Engine(_))));
    }
}

#[test]
fn forms_say_what_the_contract_says() {
    let log = [
        record(1, 1, "say \"hi\"\\\t\x07\n"),
        record(1, 2, " \n"),
        record(2, 3, b"\xff\n"),
        record(1, 4, "open"),
        record(2, 5, "too"),
    ]
    .concat();
    let lines: Vec<_> = decode(stream::iter([Ok(Bytes::from(log))]), false, MAX)
        .try_collect()
        .now_or_never()
        .unwrap()
        .unwrap();
    let write = |mut form: Box<dyn Form>| {
        let mut out = BytesMut::new();
        let written = lines
            .iter()
            .filter(|line| form.line(line, &mut out))
            .count();
        form.end(&mut out);
        (written, String::from_utf8(out.to_vec()).unwrap())
    };
    let [t1, t2, t3, t4, t5] = [1, 2, 3, 4, 5].map(time);
    assert_eq!(
        write(Box::<Json>::default()),
        (
            4,
            format!(
                "\"{t1} say \\\"hi\\\"\\\\\\t\\u0007\",\"{t3} \u{fffd}\",\"{t4} open\",\"{t5} too\"]}}"
            )
        )
    );
    assert_eq!(
        write(Box::<Text>::default()),
        (
            5,
            format!("{t1} say \"hi\"\\\t\x07\n{t2}  \n{t3} \u{fffd}\n{t4} open\n{t5} too")
        )
    );
    let object = |time, stream, text| {
        format!("{{\"time\":\"{time}\",\"stream\":\"{stream}\",\"text\":\"{text}\"}}\n")
    };
    assert_eq!(
        write(Box::new(Ndjson)),
        (
            5,
            [
                object(&t1, "stdout", "say \\\"hi\\\"\\\\\\t\\u0007"),
                object(&t2, "stdout", " "),
                object(&t3, "stderr", "\u{fffd}"),
                object(&t4, "stdout", "open"),
                object(&t5, "stderr", "too"),
            ]
            .concat()
        )
    );
    let last = &lines[3];
    let place = Places::new(true).next(last, None);
    let event = |dialect: Dialect| {
        let mut out = BytesMut::new();
        dialect.line("0123456789abcdef", &place, last, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    };
    let id = format!("id: 0123456789ab.{}.o0_4\n", place.stamp);
    let named = event(Dialect::Named);
    assert_eq!(
        named,
        format!("event: log\n{id}data: {{\"log\":\"{t4} open\"}}\n\n")
    );
    let unnamed = event(Dialect::Unnamed);
    assert_eq!(unnamed, format!("{id}data: {{\"line\":\"{t4} open\"}}\n\n"));
}

#[test]
fn an_object_says_what_it_goes_on_with_and_has_no_time_where_there_is_none() {
    let log = [record(1, 1, "12345678\n"), frame(2, b"no time\n")].concat();
    let lines = decode(stream::iter([Ok(Bytes::from(log))]), false, 7);
    let mut out = BytesMut::new();
    for line in lines
        .try_collect::<Vec<_>>()
        .now_or_never()
        .unwrap()
        .unwrap()
    {
        Ndjson.line(&line, &mut out);
    }
    let time = time(1);
    let expected = format!(
        "{{\"time\":\"{time}\",\"stream\":\"stdout\",\"text\":\"1234567\"}}\n\
         {{\"time\":\"{time}\",\"stream\":\"stdout\",\"text\":\"8\",\"continued\":true}}\n\
         {{\"stream\":\"stderr\",\"text\":\"no time\"}}\n"
    );
    assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
}

#[test]
fn a_patient_batch_waits_for_more_and_for_the_end_only() {
    let (read, more) = (
        record(1, 1, "one\n"),
        record(1, 2, "x".repeat(40_000) + "\n"),
    );
    for (reads, is_whole, expected) in [
        (vec![read.clone()], false, None),
        (vec![read.clone()], true, Some(stamped(1, "one\n").len())),
        (
            vec![read, more],
            false,
            Some(stamped(1, "one\n").len() + stamped(2, "\n").len() + 40_000),
        ),
    ] {
        let reads = stream::iter(reads.into_iter().map(|read| Ok(Bytes::from(read))));
        let lines = match is_whole {
            true => decode(reads.chain(stream::empty()).boxed(), false, MAX),
            false => decode(reads.chain(stream::pending()).boxed(), false, MAX),
        };
        let mut batch = Batch::new(lines, Text::default(), b"", Sent::begin("/")).patient(true);
        let seen = batch
            .next()
            .now_or_never()
            .flatten()
            .map(|bytes| bytes.unwrap().len());
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_line_knows_whether_its_edges_may_be_cut() {
    let log = [
        record(1, 1, "12345678\n"),
        record(1, 2, "1\n"),
        record(2, 3, "1"),
    ]
    .concat();
    let lines = decode(stream::iter([Ok(Bytes::from(log))]), false, 7);
    let lines: Vec<_> = lines.try_collect().now_or_never().unwrap().unwrap();
    let edges = lines
        .iter()
        .map(|line| (line.first, line.continued, line.more, line.open));
    assert_eq!(
        edges.collect::<Vec<_>>(),
        [
            (true, false, true, false),
            (false, true, false, false),
            (false, false, false, false),
            (true, false, false, true),
        ]
    );
}

/// `bytes` in reads of these sizes, over and over.
fn in_reads<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut reads = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (read, rest) = bytes.split_at((*size).min(bytes.len()));
        reads.push(read);
        bytes = rest;
    }
    reads
}

/// Something written by a container: to where, what, and whether a newline follows.
#[derive(Clone, Debug)]
struct Written {
    source: u8,
    text: Vec<u8>,
    parts: usize,
}

fn written() -> impl Strategy<Value = Written> {
    let text = prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(0)], 0..80);
    (1..=2_u8, text, 1..4_usize).prop_map(|(source, mut text, parts)| {
        text.retain(|&byte| byte != b'\n');
        Written {
            source,
            text,
            parts,
        }
    })
}

proptest! {
    // A case that fails is printed; as a test of its own it is kept better than in a file.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_logs_in_random_reads_give_what_was_written(
        log in prop::collection::vec(written(), 0..20),
        cuts in prop::collection::vec(1..120_usize, 1..8),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (nanos, Written { source, text, parts }) in log.iter().enumerate() {
            let size = text.len().div_ceil(*parts).max(1);
            let mut rest = &text[..];
            while rest.len() > size {
                let (part, more) = rest.split_at(size);
                bytes.extend(record(*source, nanos, part));
                rest = more;
            }
            bytes.extend(record(*source, nanos, [rest, b"\n"].concat()));
            let mark = if *source == 2 { "2:" } else { "" };
            expected.push(format!("{mark}{} {}", time(nanos), String::from_utf8_lossy(text)));
        }
        let (seen, error) = read_all(in_reads(&bytes, &cuts), false, MAX);
        prop_assert!(error.is_none());
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_terminal_s_random_log_in_random_reads_gives_what_was_written(
        log in prop::collection::vec((written(), 0..40_000_usize), 0..6),
        cuts in prop::collection::vec(1..20_000_usize, 1..8),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (nanos, (Written { text, .. }, len)) in log.iter().enumerate() {
            let text: Vec<u8> = text.iter().copied().cycle().take(if text.is_empty() { 0 } else { *len }).collect();
            // As a terminal writes it, and the engine cuts it.
            for part in [&text[..], b"\r"].concat().chunks(CUT) {
                bytes.extend(time(nanos).into_bytes());
                bytes.push(b' ');
                bytes.extend(part);
            }
            bytes.push(b'\n');
            expected.push(format!("{} {}", time(nanos), String::from_utf8_lossy(&text)));
        }
        let (seen, error) = read_all(in_reads(&bytes, &cuts), true, MAX);
        prop_assert!(error.is_none());
        prop_assert_eq!(seen, expected);
    }
}
