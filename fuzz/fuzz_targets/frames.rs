//! Any bytes as a log: no panic, and where the reads are cut changes nothing.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use docker_ps_agent::logs::{Line, decode};
use futures_util::{FutureExt, StreamExt, stream};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    tty: bool,
    max_line: u8,
    cuts: Vec<u8>,
    log: Vec<u8>,
}

/// All lines and the error behind them.
fn read(reads: Vec<Bytes>, tty: bool, max_line: usize) -> (Vec<Line>, Option<String>) {
    let mut lines = decode(stream::iter(reads.into_iter().map(Ok)), tty, max_line);
    let (mut seen, mut error) = (Vec::new(), None);
    while let Some(line) = lines.next().now_or_never().expect("all input is there") {
        assert!(error.is_none(), "something follows an error");
        match line {
            Ok(line) => seen.push(line),
            Err(failed) => error = Some(failed.to_string()),
        }
    }
    (seen, error)
}

fuzz_target!(|input: Input| {
    let Input {
        tty,
        max_line,
        cuts,
        log,
    } = input;
    let log = Bytes::from(log);
    let mut rest = log.clone();
    let mut reads = Vec::new();
    for cut in cuts {
        reads.push(rest.split_to(usize::from(cut).min(rest.len())));
    }
    reads.push(rest);
    let max_line = usize::from(max_line);
    let whole = read(vec![log.clone()], tty, max_line);
    assert_eq!(read(reads, tty, max_line), whole);
    let single = log.chunks(1).map(|byte| log.slice_ref(byte)).collect();
    assert_eq!(read(single, tty, max_line), whole);
});
