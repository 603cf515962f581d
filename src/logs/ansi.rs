//! Text without the escape sequences by which terminals are told colours, titles and the like.

use anstream::adapter::StripBytes;

/// `text` without escape sequences and control characters other than white space; none if it has none.
///
/// A sequence that never ends takes the rest of the text with it, as it would in a terminal.
pub fn strip(text: &[u8]) -> Option<Vec<u8>> {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    text.iter().any(is_control).then(|| {
        let (mut strip, mut out) = (StripBytes::new(), Vec::with_capacity(text.len()));
        for chunk in text.utf8_chunks() {
            for printable in strip.strip_next(chunk.valid().as_bytes()) {
                out.extend_from_slice(printable);
            }
            // Past the parser, which would take an escape behind such a byte for a part of a character.
            out.extend_from_slice(chunk.invalid());
        }
        out
    })
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
            let seen = strip(text).unwrap();
            assert_eq!(seen, stripped, "{}", String::from_utf8_lossy(text));
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
            assert_eq!(strip(text), None);
        }
    }
}
