//! Reads answers of HTTP/1.1 without keeping them: where one ends, and its status.

use std::fmt;

/// More than any server here sends.
const MOST_HEADERS: usize = 64;

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
                State::Head => at = self.head(bytes, at)?,
                State::ChunkSize | State::Trailer => {
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

    /// Reads a head from `at` on; where the bytes behind it begin.
    fn head(&mut self, bytes: &[u8], at: usize) -> Result<usize, String> {
        // Mostly it comes as a whole, and need not be kept.
        let known = self.text.len();
        let head = match known {
            0 => &bytes[at..],
            _ => {
                self.text.extend_from_slice(&bytes[at..]);
                &self.text
            }
        };
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let bad = |why: &dyn fmt::Display| {
            let head = String::from_utf8_lossy(head);
            format!("no head of an answer: {why}: {head}")
        };
        let httparse::Status::Complete(len) = answer.parse(head).map_err(|why| bad(&why))? else {
            if known == 0 {
                self.text.extend_from_slice(&bytes[at..]);
            }
            return Ok(bytes.len());
        };
        if answer.version != Some(1) {
            return Err(bad(&"of another version"));
        }
        self.status = answer.code.unwrap_or_default();
        let value = |name: &str| {
            let mut headers = answer.headers.iter();
            let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(header.value))
        };
        self.state = match (
            value("transfer-encoding").as_deref(),
            value("content-length"),
        ) {
            (Some("chunked"), _) => State::ChunkSize,
            (None, Some(length)) => State::Rest(length.parse().map_err(|why| bad(&why))?),
            (None, None) if matches!(self.status, 204 | 304) => State::Rest(0),
            _ => return Err(bad(&"of no known length")),
        };
        self.text.clear();
        Ok(at + len - known)
    }

    /// A line has come to its end.
    fn line(&mut self) -> Result<(), String> {
        match self.state {
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
            State::Head | State::Rest(_) | State::Chunk(_) => unreachable!("those have no lines"),
        }
        Ok(())
    }
}
