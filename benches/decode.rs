//! How fast a log is decoded on one core: frames, or a terminal's bytes, → whole lines, and → the text of a file.
//!
//! `cargo bench --bench decode`. Exits with 1 where frames are decoded slower than [`LEAST`].

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and reports what is broken by panicking"
)]

use std::{hint::black_box, time::Instant};

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput};
use docker_ps_agent::logs::{
    batch::{Form, Text},
    decode,
};
use futures_util::{FutureExt, StreamExt, stream};

/// The agent's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const LINES: usize = 50_000;
const MAX_LINE: usize = 1024 * 1024;

/// Bytes in a second, of frames to lines.
const LEAST: f64 = 1e9;

/// 150 bytes as the agent sends them: a time, text and a newline.
fn line(number: usize) -> String {
    format!("2024-05-06T07:08:09.{number:09}Z {number:0118}\n")
}

fn frames() -> Vec<u8> {
    let mut log = Vec::new();
    for number in 0..LINES {
        let line = line(number);
        log.extend_from_slice(&[1, 0, 0, 0]);
        log.extend_from_slice(&u32::try_from(line.len()).unwrap().to_be_bytes());
        log.extend_from_slice(line.as_bytes());
    }
    log
}

fn terminal() -> Vec<u8> {
    let lines = (0..LINES).map(|number| line(number).replace('\n', "\r\n"));
    lines.collect::<String>().into_bytes()
}

/// What is made of a log that arrives in these chunks: the bytes of its lines, or of its text.
fn run(chunks: &[Bytes], tty: bool, mut form: Option<Text>) -> usize {
    let bytes = stream::iter(chunks.iter().cloned().map(Ok));
    let mut lines = decode(bytes, tty, MAX_LINE);
    let (mut total, mut out) = (0, BytesMut::with_capacity(64 * 1024));
    while let Some(line) = lines.next().now_or_never().unwrap() {
        let line = line.unwrap();
        match &mut form {
            None => total += black_box(&line).bytes.len(),
            Some(form) => {
                form.line(&line, &mut out);
                if out.len() >= 32 * 1024 {
                    total += black_box(&out).len();
                    out.clear();
                }
            }
        }
    }
    total + out.len()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, log, tty) in [("frames", frames(), false), ("terminal", terminal(), true)] {
        let log = Bytes::from(log);
        for chunk in [16 * 1024, 64 * 1024] {
            let chunks: Vec<_> = log
                .chunks(chunk)
                .map(|chunk| log.slice_ref(chunk))
                .collect();
            for (what, form) in [("lines", None), ("text", Some(Text::default()))] {
                let mut group = criterion.benchmark_group(format!("{name} to {what}"));
                group.throughput(Throughput::Bytes(log.len() as u64));
                group.bench_with_input(
                    BenchmarkId::from_parameter(chunk),
                    &chunks,
                    |bench, chunks| {
                        bench.iter(|| run(chunks, tty, form));
                    },
                );
            }
        }
    }
    criterion.final_summary();

    let log = Bytes::from(frames());
    let chunks: Vec<_> = log
        .chunks(16 * 1024)
        .map(|chunk| log.slice_ref(chunk))
        .collect();
    let time = |_| {
        let begun = Instant::now();
        run(&chunks, false, None);
        begun.elapsed().as_secs_f64()
    };
    let fastest = (0..50).map(time).fold(f64::MAX, f64::min);
    let speed = log.len() as f64 / fastest;
    println!(
        "frames to lines, at best: {:.2} GB/s, of at least {:.0}",
        speed / 1e9,
        LEAST / 1e9
    );
    if speed < LEAST {
        std::process::exit(1);
    }
}
