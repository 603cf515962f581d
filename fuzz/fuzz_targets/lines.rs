//! Random records in random reads: the same lines as a plain reference decoder makes, which has all records, or all up to a time,
//! at once and no limits.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use docker_ps_agent::logs::{Source, decode};
use futures_util::{FutureExt, StreamExt, stream};
use libfuzzer_sys::fuzz_target;

/// Longer than any line here.
const MAX_LINE: usize = 1024 * 1024;

#[derive(Arbitrary, Debug)]
struct Record {
    stderr: bool,
    /// Few, so that records of the same time are common.
    nanos: u8,
    stamped: bool,
    text: Vec<u8>,
    newline: bool,
}

#[derive(Arbitrary, Debug)]
struct Input {
    tty: bool,
    /// As the time of a record: where what is read ends.
    end: Option<u8>,
    cuts: Vec<u8>,
    records: Vec<Record>,
}

/// 2024-05-06T07:08:09Z, in nanoseconds.
const SECOND: i64 = 1_714_979_289_000_000_000;

/// A line's source, its time, its text, and whether it was left without a newline at the end.
type Plain = (Source, Vec<u8>, Vec<u8>, bool);

fn stamp(record: &Record) -> Vec<u8> {
    match record.stamped {
        true => format!("2024-05-06T07:08:09.{:09}Z ", record.nanos % 4).into_bytes(),
        false => Vec::new(),
    }
}

/// Text in which nothing can be taken for a time, or for the end of a terminal's line; other records may have several lines.
fn text(record: &Record, tty: bool) -> Vec<u8> {
    let plain = |byte: &u8| !(matches!(byte, b'-' | b'\r') || tty && *byte == b'\n');
    record.text.iter().copied().filter(plain).collect()
}

fn reference(records: &[Record]) -> Vec<Plain> {
    let mut lines = Vec::new();
    let mut open: [Option<Plain>; 2] = [None, None];
    for record in records {
        let (stamp, text) = (stamp(record), text(record, false));
        let slot = usize::from(record.stderr);
        let source = [Source::Stdout, Source::Stderr][slot];
        let mut texts = text.split(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((number, text)) = texts.next() {
            let ends = record.newline || texts.peek().is_some();
            match &mut open[slot] {
                Some(line) if line.1 == stamp => line.2.extend(text),
                other => {
                    lines.extend(other.take());
                    // Nothing begins nothing: a frame without a payload, or what is behind a record's last newline.
                    let is_stamped = number == 0 && !stamp.is_empty();
                    let begins = ends || is_stamped || !text.is_empty();
                    *other = begins.then(|| (source, stamp.clone(), text.to_vec(), false));
                }
            }
            if ends {
                lines.extend(open[slot].take());
            }
        }
    }
    // In the order in which they began.
    let mut left: Vec<_> = open.into_iter().flatten().collect();
    left.sort_by(|(_, one, ..), (_, other, ..)| one.cmp(other));
    lines.extend(
        left.into_iter()
            .map(|(source, stamp, text, _)| (source, stamp, text, true)),
    );
    lines
}

/// Of a terminal all that is not cut after 16 KiB ends with a newline, or with the log.
fn terminal_reference(records: &[Record]) -> Vec<Plain> {
    let lines = records
        .iter()
        .map(|record| (Source::Stdout, stamp(record), text(record, true), false));
    lines.collect()
}

fuzz_target!(|input: Input| {
    let Input {
        tty,
        end,
        cuts,
        mut records,
    } = input;
    let mut log = Vec::new();
    for record in &records {
        let mut payload = [stamp(record), text(record, tty)].concat();
        if tty {
            log.extend(payload);
            log.extend(b"\r\n");
            continue;
        }
        payload.extend(record.newline.then_some(b'\n'));
        log.extend([1 + u8::from(record.stderr), 0, 0, 0]);
        log.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        log.extend(payload);
    }
    if let Some(end) = end {
        records.retain(|record| !record.stamped || record.nanos % 4 < end % 4);
    }
    let expected = match tty {
        true => terminal_reference(&records),
        false => reference(&records),
    };
    let mut rest = Bytes::from(log);
    let mut reads = Vec::new();
    for cut in cuts {
        reads.push(Ok(rest.split_to(usize::from(cut).min(rest.len()))));
    }
    reads.push(Ok(rest));
    let mut lines = decode(stream::iter(reads), tty, MAX_LINE);
    if let Some(end) = end {
        lines.end_before(SECOND + i64::from(end % 4));
    }
    let seen: Vec<Plain> = lines
        .map(|line| {
            let line = line.expect("the log is whole");
            assert!(!line.continued);
            let stamp = line.bytes[..line.stamp].to_vec();
            (line.source, stamp, line.text().to_vec(), line.open)
        })
        .collect()
        .now_or_never()
        .expect("all input is there");
    assert_eq!(seen, expected);
});
