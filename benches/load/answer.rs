//! Reads answers of HTTP/1.1 without keeping them: where one ends, and its status.

/// One connection's answer, as far as it has come.
#[derive(Debug)]
pub struct AnswerReader {
    state: State,
    /// The line or head that has begun.
    text: Vec<u8>,
    status: u16,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Head,
    Rest(u64),
    ChunkSize,
    /// With the line end behind it.
    Chunk(u64),
    Trailer,
}

impl AnswerReader {
    pub fn new() -> Self {
        Self {
            state: State::Head,
            text: Vec::with_capacity(1024),
            status: 0,
        }
    }

    /// Takes what has come: the status once the answer is whole, and how many bytes belong to it.
    ///
    /// # Errors
    ///
    /// What is wrong, where it is no answer.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
        let mut at = 0;
        loop {
            match self.state {
                State::Rest(0) => {
                    self.state = State::Head;
                    return Ok(Some((self.status, at)));
                }
                _ if at == bytes.len() => return Ok(None),
                State::Rest(left) => {
                    let taken = left.min((bytes.len() - at) as u64);
                    at += taken as usize;
                    self.state = State::Rest(left - taken);
                }
                State::Chunk(0) => self.state = State::ChunkSize,
                State::Chunk(left) => {
                    let taken = left.min((bytes.len() - at) as u64);
                    at += taken as usize;
                    self.state = State::Chunk(left - taken);
                }
                State::Head | State::ChunkSize | State::Trailer => {
                    let end = memchr::memchr(b'\n', &bytes[at..]);
                    let end = end.map_or(bytes.len(), |end| at + end + 1);
                    self.text.extend_from_slice(&bytes[at..end]);
                    at = end;
                    if self.text.last() == Some(&b'\n') {
                        self.line()?;
                    }
                }
            }
        }
    }

    /// A line has come to its end.
    fn line(&mut self) -> Result<(), String> {
        match self.state {
            State::Head if self.text.ends_with(b"\r\n\r\n") => {
                let head = String::from_utf8_lossy(&self.text).to_ascii_lowercase();
                self.text.clear();
                let bad = || format!("no head of an answer: {head}");
                let status = head
                    .strip_prefix("http/1.1 ")
                    .and_then(|rest| rest.get(..3));
                self.status = status.and_then(|s| s.parse().ok()).ok_or_else(bad)?;
                let value = |name: &str| {
                    let mut lines = head.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::trim)
                };
                self.state = match (value("transfer-encoding:"), value("content-length:")) {
                    (Some("chunked"), _) => State::ChunkSize,
                    (None, Some(length)) => State::Rest(length.parse().map_err(|_| bad())?),
                    (None, None) if matches!(self.status, 204 | 304) => State::Rest(0),
                    _ => return Err(bad()),
                };
            }
            State::Head => {}
            State::ChunkSize => {
                let line = String::from_utf8_lossy(&self.text);
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(digits, 16);
                let size = size.map_err(|_| format!("no size of a chunk: {line}"))?;
                self.state = match size {
                    0 => State::Trailer,
                    size => State::Chunk(size + 2),
                };
                self.text.clear();
            }
            State::Trailer => {
                if self.text == b"\r\n" {
                    self.state = State::Rest(0);
                }
                self.text.clear();
            }
            State::Rest(_) | State::Chunk(_) => unreachable!("those have no lines"),
        }
        Ok(())
    }
}
