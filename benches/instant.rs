//! An engine that answers at once: fixed bytes over a unix socket, from one thread of a process of its own, so that what
//! stands in front of it is what is measured.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{UnixListener, UnixStream},
};

/// What makes the program this one.
const ARGUMENT: &str = "be-the-engine";

/// A running one.
pub(crate) struct Instant {
    process: Child,
    folder: tempfile::TempDir,
}

impl Instant {
    /// Starts it, with `before` in front of its command, and with these answers for every list and every inspect, as the real
    /// engine wrote them. Every log has a hundred lines.
    pub(crate) fn start(list: &[u8], inspect: &[u8], before: &[String]) -> Self {
        Self::with_logs(list, inspect, 100, before)
    }

    /// The same where every log has so many lines, and who follows it gets as many again.
    pub(crate) fn with_logs(list: &[u8], inspect: &[u8], lines: u32, before: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("list"), list).unwrap();
        fs::write(folder.path().join("inspect"), inspect).unwrap();
        let frames = |second| (0..lines).flat_map(move |number| frame(second, number));
        let log: Vec<u8> = frames(0).collect();
        let followed: Vec<u8> = log.iter().copied().chain(frames(1)).collect();
        fs::write(folder.path().join("log"), log).unwrap();
        fs::write(folder.path().join("followed"), followed).unwrap();
        let program = std::env::current_exe().unwrap();
        let mut words = before
            .iter()
            .map(AsRef::as_ref)
            .chain([program.as_os_str()]);
        let process = Command::new(words.next().expect("there is the program"))
            .args(words)
            .arg(ARGUMENT)
            .arg(folder.path())
            .spawn()
            .unwrap();
        let mut engine = Self { process, folder };
        while !engine.socket().exists() {
            let ended = engine.process.try_wait().unwrap();
            assert!(ended.is_none(), "the engine has ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        engine
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }
}

impl Drop for Instant {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Is the engine, if that is what was called; whether it was.
pub(crate) fn is_called() -> bool {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some(ARGUMENT) {
        return false;
    }
    serve(Path::new(&args.next().unwrap())).unwrap();
    true
}

struct Answers {
    ping: Vec<u8>,
    list: Vec<u8>,
    inspect: Vec<u8>,
    log: Vec<u8>,
    followed: Vec<u8>,
    happened: Vec<u8>,
    happens: Vec<u8>,
    done: Vec<u8>,
    unknown: Vec<u8>,
}

/// A line of a log, as the engine sends it.
fn frame(second: u32, number: u32) -> Vec<u8> {
    let line =
        format!("2020-01-01T00:00:0{second}.{number:09}Z line {number} of a log, of some length\n");
    let length = u32::try_from(line.len()).unwrap().to_be_bytes();
    [&[1, 0, 0, 0], &length[..], line.as_bytes()].concat()
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
                    Docker-Experimental: false\r\nOstype: linux\r\nServer: Docker/20.10.24 (linux)\r\n\
                    Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n";

impl Answers {
    fn read(folder: &Path) -> io::Result<Self> {
        let sized = |body: &[u8]| {
            let head = format!("{HEAD}Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), body].concat()
        };
        // As the engine sends what is longer than 2 KiB.
        let chunked = |body: &[u8], end: &[u8]| {
            let head = format!(
                "{HEAD}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                body.len()
            );
            [head.as_bytes(), body, b"\r\n", end].concat()
        };
        let end = b"0\r\n\r\n";
        let event = b"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"a\",\"Attributes\":{}},\
                      \"scope\":\"local\",\"time\":1893456000,\"timeNano\":1893456000000000000}\n";
        Ok(Self {
            ping: sized(b"OK"),
            list: chunked(&fs::read(folder.join("list"))?, end),
            inspect: chunked(&fs::read(folder.join("inspect"))?, end),
            log: chunked(&fs::read(folder.join("log"))?, end),
            followed: chunked(&fs::read(folder.join("followed"))?, b""),
            happened: sized(event),
            happens: chunked(event, b""),
            done: b"HTTP/1.1 204 No Content\r\n\r\n".into(),
            unknown: b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n\
                       {\"message\":\"no such thing\"}"[..]
                .into(),
        })
    }

    fn to(&self, head: &[u8]) -> &[u8] {
        let path = head.strip_prefix(b"GET ").unwrap_or_default();
        let path = &path[..memchr::memchr(b' ', path).unwrap_or(0)];
        let ends = |end: &[u8]| path.ends_with(end);
        let has = |part: &str| memchr::memmem::find(path, part.as_bytes()).is_some();
        if head.starts_with(b"POST ") {
            &self.done
        } else if path == b"/" || ends(b"/_ping") {
            &self.ping
        } else if has("/logs?") && has("follow=1") {
            &self.followed
        } else if has("/logs?") {
            &self.log
        } else if has("/events?") && has("until=") {
            &self.happened
        } else if has("/events?") {
            &self.happens
        } else if has("/nobody") {
            &self.unknown
        } else if has("containers/json") || has("images/json") {
            &self.list
        } else if ends(b"/json") {
            &self.inspect
        } else {
            &self.unknown
        }
    }
}

struct Client {
    stream: UnixStream,
    asked: Vec<u8>,
    out: Vec<u8>,
}

impl Client {
    /// Answers what was asked; false once the other side has gone.
    fn serve(&mut self, answers: &Answers, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(len) => self.asked.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Ok(false),
            }
            if !self.asked.ends_with(b"\r\n\r\n") {
                continue;
            }
            while let Some(end) = memchr::memmem::find(&self.asked, b"\r\n\r\n") {
                let answer = answers.to(&self.asked[..end]);
                self.out.extend_from_slice(answer);
                self.asked.drain(..end + 4);
            }
            break;
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(len) => drop(self.out.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn serve(folder: &Path) -> io::Result<()> {
    let answers = Answers::read(folder)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = UnixListener::bind(folder.join("s"))?;
    let door = Token(usize::MAX);
    poll.registry()
        .register(&mut listener, door, Interest::READABLE)?;
    let mut clients: HashMap<usize, Client> = HashMap::new();
    let mut number = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == door {
                while let Ok((mut stream, _)) = listener.accept() {
                    number += 1;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(number), both)?;
                    let (asked, out) = (Vec::new(), Vec::new());
                    clients.insert(number, Client { stream, asked, out });
                }
                continue;
            }
            let token = event.token().0;
            if let Some(client) = clients.get_mut(&token)
                && !client.serve(&answers, &mut buffer)?
            {
                clients.remove(&token);
            }
        }
    }
}
