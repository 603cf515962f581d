//! The load program: HTTP/1.1 over TCP or a unix socket, a fixed number of connections, each of which asks again as soon
//! as it is answered.
//!
//! It is a process of its own on one thread, the bench's own program called with [`ARGUMENT`], so that it takes as
//! little as it can of what it measures. Its job comes in by standard input, what it found out goes to standard output.

#[path = "load/answer.rs"]
mod answer;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpStream, UnixStream},
};
use serde::{Deserialize, Serialize};

use self::answer::AnswerReader;

/// What makes the program this one.
const ARGUMENT: &str = "be-the-load";

/// Where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What to ask, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) address: Address,
    pub(crate) key: String,
    pub(crate) connections: usize,
    /// Asked for one after the other; each connection begins elsewhere.
    pub(crate) paths: Vec<String>,
    /// The statuses that may come.
    pub(crate) statuses: Vec<u16>,
    /// Not measured.
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) median: Duration,
    /// The 99th percentile.
    pub(crate) slow: Duration,
}

/// Does the job in a process of its own, on this core if one is given, and panics where an answer is not what it may be.
pub(crate) fn load(job: &Job, core: Option<usize>) -> Outcome {
    let program = std::env::current_exe().unwrap();
    let mut command = match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.args(["-c", &core.to_string()]).arg(program);
            command
        }
        None => Command::new(program),
    };
    let mut child = command
        .arg(ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&serde_json::to_vec(job).unwrap()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the load has failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Is the load program, if that is what was called; whether it was.
pub(crate) fn is_called() -> bool {
    if std::env::args().nth(1).as_deref() != Some(ARGUMENT) {
        return false;
    }
    let job = serde_json::from_reader(io::stdin().lock()).unwrap();
    let outcome = run(&job).unwrap();
    println!("{}", serde_json::to_string(&outcome).unwrap());
    true
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    /// A request is short, and goes out at once.
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(request),
            Self::Unix(stream) => stream.write_all(request),
        }
    }
}

struct Connection {
    stream: Stream,
    reader: AnswerReader,
    next: usize,
    asked: Instant,
}

impl Connection {
    /// Connects before it is made non-blocking, so that it is there.
    fn open(address: &Address, poll: &Poll, number: usize, next: usize) -> io::Result<Self> {
        let interest = Interest::READABLE;
        let stream = match address {
            Address::Tcp(address) => {
                let stream = std::net::TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                let mut stream = TcpStream::from_std(stream);
                poll.registry()
                    .register(&mut stream, Token(number), interest)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                let mut stream = UnixStream::from_std(stream);
                poll.registry()
                    .register(&mut stream, Token(number), interest)?;
                Stream::Unix(stream)
            }
        };
        Ok(Self {
            stream,
            reader: AnswerReader::new(),
            next,
            asked: Instant::now(),
        })
    }

    fn ask(&mut self, requests: &[Vec<u8>]) -> io::Result<()> {
        let request = &requests[self.next % requests.len()];
        self.next += 1;
        self.asked = Instant::now();
        self.stream.send(request)
    }

    /// Reads what has come; the status of an answer that is whole now.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<u16>> {
        loop {
            let len = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the connection was closed")),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            match self.reader.feed(&buffer[..len]).map_err(io::Error::other)? {
                Some((status, end)) if end == len => return Ok(Some(status)),
                Some(_) => return Err(io::Error::other("more than was asked for")),
                // What was there is read; the rest tells when it comes.
                None if len < buffer.len() => return Ok(None),
                None => {}
            }
        }
    }
}

fn run(job: &Job) -> io::Result<Outcome> {
    let requests: Vec<Vec<u8>> = job
        .paths
        .iter()
        .map(|path| {
            let key = &job.key;
            format!("GET {path} HTTP/1.1\r\nHost: docker\r\nx-auth-key: {key}\r\n\r\n").into_bytes()
        })
        .collect();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 << 10];
    let step = (requests.len() / job.connections).max(1);
    let mut connections = (0..job.connections)
        .map(|number| Connection::open(&job.address, &poll, number, number * step))
        .collect::<io::Result<Vec<_>>>()?;
    for connection in &mut connections {
        connection.ask(&requests)?;
    }
    let begin = Instant::now() + job.warm_up;
    let end = begin + job.time;
    let mut times: Vec<u32> = Vec::with_capacity(1 << 20);
    let mut now = Instant::now();
    while now < end {
        poll.poll(&mut events, Some(end - now))?;
        now = Instant::now();
        for event in &events {
            let connection = &mut connections[event.token().0];
            let Some(status) = connection.read(&mut buffer)? else {
                continue;
            };
            if !job.statuses.contains(&status) {
                let path = &job.paths[(connection.next - 1) % job.paths.len()];
                return Err(io::Error::other(format!("{path} was answered {status}")));
            }
            now = Instant::now();
            if now >= begin {
                let nanos = (now - connection.asked).as_nanos() / 10;
                times.push(u32::try_from(nanos).unwrap_or(u32::MAX));
            }
            connection.ask(&requests)?;
        }
    }
    let elapsed = now.saturating_duration_since(begin).as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| {
        let index = (times.len() * share / 100).min(times.len().saturating_sub(1));
        Duration::from_nanos(u64::from(times.get(index).copied().unwrap_or(u32::MAX)) * 10)
    };
    Ok(Outcome {
        requests: times.len() as u64,
        per_second: times.len() as f64 / elapsed,
        median: at(50),
        slow: at(99),
    })
}
