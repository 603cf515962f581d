//! Text without the escape sequences by which terminals are told colours, titles and the like.

use std::ops::Range;

use anstream::adapter::StripBytes;

/// What a terminal shows of a text: all but its escape sequences and control characters other than white space.
///
/// A sequence that never ends takes the rest of the text with it, as it would in a terminal.
#[derive(Debug)]
pub struct Plain {
    /// From where to where; between two there is something else.
    ranges: Vec<Range<usize>>,
    /// How much of the plain text stands before each.
    before: Vec<usize>,
}

impl Plain {
    /// What is shown of `text`; none if that is all of it.
    pub fn of(text: &[u8]) -> Option<Self> {
        let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
        if !text.iter().any(is_control) {
            return None;
        }
        let (mut ranges, mut strip) = (Vec::<Range<usize>>::new(), StripBytes::new());
        let mut add = |part: &[u8]| {
            let from = part.as_ptr().addr() - text.as_ptr().addr();
            let to = from + part.len();
            match ranges.last_mut() {
                Some(last) if last.end == from => last.end = to,
                _ => ranges.push(from..to),
            }
        };
        for chunk in text.utf8_chunks() {
            strip
                .strip_next(chunk.valid().as_bytes())
                .for_each(&mut add);
            // Past the parser, which would take an escape behind such a byte for a part of a character.
            add(chunk.invalid());
        }
        let lens = ranges.iter().scan(0, |sum, range| {
            let before = *sum;
            *sum += range.len();
            Some(before)
        });
        let before = lens.collect();
        Some(Self { ranges, before })
    }

    /// From where to where `text` is shown.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// What is shown of the text.
    pub fn take_from(&self, text: &[u8]) -> Vec<u8> {
        let parts: Vec<_> = self
            .ranges
            .iter()
            .map(|range| &text[range.clone()])
            .collect();
        parts.concat()
    }

    /// Where in the text the byte at this place of the plain text is.
    pub fn whence(&self, at: usize) -> usize {
        let range = self.before.partition_point(|before| *before <= at) - 1;
        self.ranges[range].start + at - self.before[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_escapes_out_and_nothing_else() {
        for (text, stripped) in [
            (&b"\x1b[1;31mred\x1b[0m"[..], &b"red"[..]),
            (b"a\tb\x1b[K c\r", b"a\tb c\r"),
            (b"\x1b]0;a title\x07text", b"text"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", b"link"),
            (b"\x1b(Bcharset\x1bM", b"charset"),
            ("\x1b[32mä€😀Û\x1b[m".as_bytes(), "ä€😀Û".as_bytes()),
            (b"bell\x07, back\x08space", b"bell, backspace"),
            (
                b"\xff\x1b[31m\xe4\x1b[0m\xc3(\xf0\x9f",
                b"\xff\xe4\xc3(\xf0\x9f",
            ),
            (b"cut \x1b[3", b"cut "),
        ] {
            let plain = Plain::of(text).unwrap();
            let seen = plain.take_from(text);
            assert_eq!(seen, stripped, "{}", String::from_utf8_lossy(text));
            let whence = (0..seen.len()).map(|at| text[plain.whence(at)]);
            assert_eq!(whence.collect::<Vec<_>>(), seen);
        }
    }

    #[test]
    fn does_not_copy_what_has_none() {
        for text in [
            &b""[..],
            b"plain \t text\r",
            b"\xff\xfe\x9b",
            "ä€".as_bytes(),
        ] {
            assert!(Plain::of(text).is_none());
        }
    }
}
