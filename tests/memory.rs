//! Memory does not grow with the length of a log, of its lines, or the slowness of its reader.
//!
//! A figure is how much the most that the process ever had in memory grows by one large answer, over what it was
//! after small ones of the same kind.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::support::agent::Agent;
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, RunningEngine, STDOUT, frame, line};

const GIB: u64 = 1 << 30;

/// The most that a process may grow.
const ROOM: u64 = 8 << 20;

/// What the log of a container is made of, in chunks of whole frames.
fn lines_of(length: usize) -> Bytes {
    let mut frames = Vec::new();
    let mut number = 0;
    while frames.is_empty() || frames.len() < 64 * 1024 {
        number += 1;
        let text = vec![b'x'; length];
        let line = line(number, text);
        // As the engine cuts long lines: each part with the same time in front.
        let (stamp, text) = line.split_at(31);
        for part in text.chunks(16 * 1024) {
            frames.extend(frame(STDOUT, [stamp, part].concat()));
        }
    }
    frames.into()
}

/// So much of it.
fn log(chunk: &Bytes, length: u64) -> Answer {
    let (chunk, times) = (chunk.clone(), length.div_ceil(chunk.len() as u64));
    Answer::generated(move || std::iter::repeat_n(chunk.clone(), usize::try_from(times).unwrap()))
}

/// One at a time: each is as fast as the machine allows.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Figure {
    engine: RunningEngine,
    agent: Agent,
    chunk: Bytes,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
}

impl Figure {
    /// After a small answer of the same kind.
    async fn warm(line_length: usize, path: &'static str) -> Self {
        Self::warm_with(line_length, path, &[]).await
    }

    async fn warm_with(
        line_length: usize,
        path: &'static str,
        headers: &'static [(&'static str, &'static str)],
    ) -> Self {
        let chunk = lines_of(line_length);
        let engine = engine_with_log(log(&chunk, 8 << 20)).start().await;
        let agent = agent_on(&engine).await;
        let figure = Self {
            engine,
            agent,
            chunk,
            path,
            headers,
        };
        for _ in 0..3 {
            figure.read().await;
        }
        figure
    }

    /// Reads an answer as fast as it comes, and keeps nothing.
    async fn read(&self) -> u64 {
        let path = format!("/containers/c/{}", self.path);
        let client = &self.agent.client;
        let answer = client.open_with("GET", &path, self.headers, "").await;
        assert_eq!(answer.status, 200);
        let encoding = self.headers.first().map(|(_, encoding)| *encoding);
        assert_eq!(answer.header("content-encoding"), encoding);
        answer.drain().await.unwrap()
    }

    /// Reads a large one, and sees that the agent has not grown with it.
    async fn holds(self) {
        self.engine
            .route("GET", "/containers/*/logs", log(&self.chunk, GIB));
        let (before, begun) = (self.agent.peak_rss_bytes(), Instant::now());
        let length = self.read().await;
        let seconds = begun.elapsed().as_secs_f64();
        // Each is read off counters that are a little behind.
        let grown = self.agent.peak_rss_bytes().saturating_sub(before);
        println!(
            "{}: {} MiB in {seconds:.1} s; {} KiB before, grown by {} KiB",
            self.path,
            length >> 20,
            before >> 10,
            grown >> 10
        );
        // The same lines again and again pack well, but not to nothing.
        let least = if self.headers.is_empty() {
            GIB / 2
        } else {
            GIB / 100_000
        };
        assert!(length > least, "only {length} bytes came");
        assert!(grown < ROOM, "grown by {} KiB", grown >> 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_grow_with_a_download() {
    let _alone = ALONE.lock().await;
    Figure::warm(120, "logs/download").await.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_grow_with_a_packed_download() {
    let _alone = ALONE.lock().await;
    const GZIP: &[(&str, &str)] = &[("accept-encoding", "gzip")];
    const ZSTD: &[(&str, &str)] = &[("accept-encoding", "zstd")];
    for headers in [GZIP, ZSTD] {
        let figure = Figure::warm_with(120, "logs/download", headers).await;
        figure.holds().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_grow_with_a_stream() {
    let _alone = ALONE.lock().await;
    Figure::warm(120, "logs/stream").await.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_grow_with_a_log_as_json() {
    let _alone = ALONE.lock().await;
    Figure::warm(120, "logs?tail=all").await.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_grow_with_lines_of_a_megabyte() {
    let _alone = ALONE.lock().await;
    Figure::warm(1_000_000, "logs/stream").await.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_grow_with_a_line_that_never_ends() {
    let _alone = ALONE.lock().await;
    // Longer than a line may be: it is handed on in parts.
    Figure::warm(100_000_000, "logs/stream").await.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_grow_with_the_slowness_of_a_reader() {
    let _alone = ALONE.lock().await;
    let figure = Figure::warm(120, "logs/stream").await;
    figure
        .engine
        .route("GET", "/containers/*/logs", log(&figure.chunk, GIB));
    let before = figure.agent.peak_rss_bytes();
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(figure.agent.open("/containers/c/logs/stream").await);
    }
    // A piece now and then: the pace is the point here, not a wait for something.
    let end = Instant::now() + Duration::from_secs(2);
    let mut read = 0;
    while Instant::now() < end {
        for stream in &mut slow {
            read += stream.chunk().await.unwrap().unwrap().len();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(read > 0);
    let grown = figure.agent.peak_rss_bytes().saturating_sub(before);
    println!(
        "4 slow readers of {} KiB: grown by {} KiB",
        read >> 10,
        grown >> 10
    );
    assert!(grown < ROOM, "grown by {} KiB", grown >> 10);
}
