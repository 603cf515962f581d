//! What the agent costs a download: the same log from the engine's own socket and through the agent, in turns.
//!
//! `make bench BENCHES=download`, on a real Docker Engine with a log of a million lines. Exits with 1 where a
//! figure is over its limit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a bench prints, and reports what is broken by panicking"
)]

mod report;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::ExitCode,
    time::Instant,
};

use tests::support;

use crate::{
    report::{MIB, mib},
    support::{agent::Agent, dockerd::RealEngine},
};

const LINES: usize = 1_000_000;
/// With the time in front and the newline.
const LINE: usize = 150;
const TIME: usize = "2006-01-02T15:04:05.000000000Z ".len();
const HEADER: usize = 8;

const ROUNDS: usize = 7;

const MAX_RATIO: f64 = 1.10;
const MAX_GROWTH: f64 = 8.0 * MIB;
const MAX_CPU_PER_GB: f64 = 1.5;

const BUFFER: usize = 256 * 1024;

#[tokio::main]
async fn main() -> ExitCode {
    let engine = RealEngine::start().await;
    let text = LINE - TIME - 1;
    let script =
        format!("awk 'BEGIN {{ for (i = 0; i < {LINES}; i++) printf \"%0{text}d\\n\", i }}'");
    let id = engine.run("download", &[], &script).await;
    engine.docker(&["wait", "download"]).await;
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .start()
        .await;

    let from_engine = {
        let socket = engine.socket();
        let path = format!("/containers/{id}/logs?stdout=1&stderr=1&timestamps=1&tail=all");
        move || ask(UnixStream::connect(&socket).unwrap(), &path, "")
    };
    let from_agent = {
        let address = agent.client.address;
        let path = format!("/containers/{id}/logs/download");
        let key = format!("x-auth-key: {}\r\n", agent.key);
        move || ask(TcpStream::connect(address).unwrap(), &path, &key)
    };

    let memory = agent.rss_bytes();
    let cpu = agent.cpu_time();
    let (mut direct, mut through) = ([0.0; ROUNDS], [0.0; ROUNDS]);
    let mut client = 0.0;
    // The client blocks, so that it costs next to nothing itself.
    tokio::task::block_in_place(|| {
        for round in 0..ROUNDS {
            let before = thread_cpu();
            direct[round] = time(from_engine());
            client += thread_cpu() - before;
            through[round] = time(from_agent());
        }
    });
    let cpu = agent.cpu_time() - cpu;
    let growth = agent.peak_rss_bytes().saturating_sub(memory);

    let whole = tokio::task::block_in_place(|| (read_all(from_engine()), read_all(from_agent())));
    let text = without_frames(&whole.0);
    assert_eq!(
        text.len(),
        LINES * LINE,
        "the log is not the one that was written"
    );
    assert!(text == whole.1, "the agent's log is not the engine's");

    let (direct, through) = (median(direct), median(through));
    let gigabytes = (ROUNDS * LINES * LINE) as f64 / 1e9;
    let ratio = through / direct;
    let cpu = cpu.as_secs_f64() / gigabytes;
    let client = client / gigabytes;
    let speed = |seconds: f64| {
        format!(
            "{seconds:.2} s, {:.0} MB/s",
            (LINES * LINE) as f64 / seconds / 1e6
        )
    };
    let rows = [
        ("from the engine, median of 7", speed(direct), "", true),
        ("through the agent, median of 7", speed(through), "", true),
        ("ratio", format!("{ratio:.3}"), "1.10", ratio <= MAX_RATIO),
        (
            "memory growth of the agent",
            mib(growth),
            "8 MiB",
            (growth as f64) < MAX_GROWTH,
        ),
        // What the engine's many small writes cost whoever reads them at once, and does nothing else.
        (
            "processor time of the client for a GB from the engine",
            format!("{client:.2} s"),
            "",
            true,
        ),
        (
            "processor time of the agent for a GB",
            format!("{cpu:.2} s"),
            "1.5 s",
            cpu < MAX_CPU_PER_GB,
        ),
    ];
    report::print(&rows)
}

/// An answer that has just been asked for: both ends are of HTTP/1.1, and close the connection behind it.
fn ask<S: Read + Write + 'static>(mut stream: S, path: &str, headers: &str) -> Box<dyn Read> {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    Box::new(stream)
}

/// How long it takes until the last byte is there; the bytes themselves are thrown away.
fn time(mut answer: Box<dyn Read>) -> f64 {
    let begun = Instant::now();
    let mut buffer = vec![0; BUFFER];
    let (mut total, mut end) = (0, [0; 5]);
    loop {
        let read = answer.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        total += read;
        for byte in &buffer[read.saturating_sub(end.len())..read] {
            end.rotate_left(1);
            end[4] = *byte;
        }
    }
    let elapsed = begun.elapsed();
    assert!(total > LINES * LINE, "only {total} bytes");
    assert_eq!(&end, b"0\r\n\r\n", "the answer is cut short");
    elapsed.as_secs_f64()
}

/// The body of an answer, without its chunks' frames.
fn read_all(mut answer: Box<dyn Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer.read_to_end(&mut bytes).unwrap();
    let line = |bytes: &[u8]| bytes.windows(2).position(|two| two == b"\r\n").unwrap();
    let mut head = body_begins(&bytes);
    let mut body = Vec::with_capacity(bytes.len());
    loop {
        let rest = &bytes[head..];
        let end = line(rest);
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..][..size]);
        head += end + 2 + size + 2;
    }
}

fn body_begins(bytes: &[u8]) -> usize {
    assert!(bytes.starts_with(b"HTTP/1.1 200 "));
    bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4
}

/// The engine's log as text.
fn without_frames(mut log: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(log.len());
    while let Some((header, rest)) = log.split_at_checked(HEADER) {
        let len = u32::from_be_bytes(header[4..].try_into().unwrap()) as usize;
        let (payload, rest) = rest.split_at(len);
        text.extend_from_slice(payload);
        log = rest;
    }
    text
}

/// Processor time that this thread has used, in seconds.
fn thread_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut times: [f64; ROUNDS]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}
