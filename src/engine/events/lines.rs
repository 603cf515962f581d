//! Cuts what arrives into lines.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

/// The longest line that is taken.
const LONGEST: usize = 1 << 20;

/// Holds what has come of a line.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    rest: BytesMut,
    /// Whether the line has grown too long, and is left out.
    skips: bool,
}

impl Cutter {
    /// Gives each line that these bytes complete; none where one was too long.
    pub(super) fn cut(&mut self, mut bytes: &[u8], mut give: impl FnMut(Option<Bytes>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            self.finish(&mut give);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// Gives the last line, which need not have an end.
    pub(super) fn finish(&mut self, mut give: impl FnMut(Option<Bytes>)) {
        if std::mem::take(&mut self.skips) {
            tracing::warn!("the engine sent an event that is too long");
            give(None);
        }
        // White space between JSON's tokens, but an end of line to an event stream.
        for byte in self.rest.iter_mut().filter(|byte| **byte == b'\r') {
            *byte = b' ';
        }
        let line = self.rest.trim_ascii();
        if !line.is_empty() {
            // A piece of memory of its own.
            give(Some(Bytes::copy_from_slice(line)));
        }
        self.rest.clear();
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skips || self.rest.len() + bytes.len() > LONGEST {
            self.skips = true;
            self.rest = BytesMut::new();
        } else {
            self.rest.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Option<Bytes>> {
        let (mut cutter, mut lines) = (Cutter::default(), Vec::new());
        for piece in pieces {
            cutter.cut(piece, |line| lines.push(line));
        }
        cutter.finish(|line| lines.push(line));
        lines
    }

    #[test]
    fn finds_lines_wherever_they_are_torn() {
        let all = b"{\"a\":1}\r\n\n{\"b\":\r2}\n{\"c\":3}";
        let wanted = ["{\"a\":1}", "{\"b\": 2}", "{\"c\":3}"].map(|line| Some(line.into()));
        for at in 0..=all.len() {
            let (one, other) = all.split_at(at);
            assert_eq!(lines([one, other]), wanted, "{at}");
        }
        assert_eq!(lines(all.chunks(1)), wanted);
    }

    #[test]
    fn leaves_out_a_line_that_is_too_long() {
        let long = vec![b'x'; LONGEST];
        let torn: [&[u8]; 4] = [b"a\n", &long, b"y\n", b"b\n"];
        assert_eq!(lines(torn), [Some("a".into()), None, Some("b".into())]);
        let whole: [&[u8]; 2] = [&long, b"\nb"];
        assert_eq!(lines(whole).len(), 2);
    }
}
