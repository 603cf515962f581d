//! What a line is known by where lines cannot be counted, and what of it a cursor holds.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::logs::Line;

/// What tells a line from others of its source and time: its text, or the end of it where the beginning may
/// not be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Of a line that was read.
    Text(Text),
    /// What a cursor holds of a whole line: its hash, sealed.
    Whole(u64),
    /// What it holds of a line whose beginning may not be known. Older agents held this of every line.
    Print(u32),
    /// None, in a cursor that does not need it.
    None,
}

/// A line's text, as far as lines are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    hash: u64,
    end: [u8; Self::LEN],
    len: u8,
    /// Whether there may be more in front of it.
    is_part: bool,
}

impl Mark {
    pub(super) fn of(line: &Line, is_part: bool) -> Self {
        let text = line.text();
        let last = &text[text.len().saturating_sub(Text::LEN)..];
        let mut end = [0; Text::LEN];
        end[..last.len()].copy_from_slice(last);
        Self::Text(Text {
            hash: hash(text),
            end,
            len: u8::try_from(last.len()).expect("it is short"),
            is_part,
        })
    }

    pub(in crate::logs) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.is(other),
            (Self::Text(text), Self::Whole(seal)) | (Self::Whole(seal), Self::Text(text)) => {
                !text.is_part && sealed(text.hash) == *seal
            }
            (Self::Text(text), Self::Print(print)) | (Self::Print(print), Self::Text(text)) => {
                text.has(*print)
            }
            (Self::Whole(one), Self::Whole(other)) => one == other,
            (Self::Print(one), Self::Print(other)) => one == other,
            (Self::Whole(_), Self::Print(_)) | (Self::Print(_), Self::Whole(_)) => false,
            (Self::None, _) | (_, Self::None) => false,
        }
    }

    /// What a cursor holds of it.
    pub fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Text(text) if text.is_part => write!(f, "~{:08x}", print(text.end(), true)),
            Self::Text(Text { hash, .. }) => write!(f, "~{:016x}", sealed(*hash)),
            Self::Whole(seal) => write!(f, "~{seal:016x}"),
            Self::Print(print) => write!(f, "~{print:08x}"),
            Self::None => Ok(()),
        }
    }

    /// What a cursor holds, behind its `~`.
    pub fn read(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let number = u64::from_str_radix(text, 16);
        let number = number.ok().filter(|_| text.bytes().all(is_digit))?;
        match (text.len(), u32::try_from(number)) {
            (8, Ok(print)) => Some(Self::Print(print)),
            (16, _) => Some(Self::Whole(number)),
            _ => None,
        }
    }
}

impl Text {
    const LEN: usize = 8;

    fn end(&self) -> &[u8] {
        &self.end[..self.len.into()]
    }

    fn is(&self, other: &Self) -> bool {
        match (self.is_part, other.is_part) {
            (false, false) => self.hash == other.hash,
            (true, false) => other.end().ends_with(self.end()),
            (false, true) => self.end().ends_with(other.end()),
            (true, true) => self.end().ends_with(other.end()) || other.end().ends_with(self.end()),
        }
    }

    /// Whether this is the print of it, or of a part of it.
    fn has(&self, of: u32) -> bool {
        let end = self.end();
        print(end, false) == of || (0..=end.len()).any(|from| print(&end[from..], true) == of)
    }
}

/// The same for every version of the agent. Eight bytes at a time, since every line that is followed has
/// one made.
pub(super) fn hash(text: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word| (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(ODD);
    let (words, rest) = text.as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words
        .iter()
        .fold(text.len() as u64, |hash, word| mix(hash, *word));
    let hash = mix(hash, last);
    (hash ^ (hash >> 32)).wrapping_mul(ODD) ^ (hash >> 29)
}

/// A hash as clients get it. The hash itself tells eight unknown bytes to whoever knows all else of a line, and what is
/// redacted may be among them: from this one nothing can be computed, only guessed.
pub(super) fn sealed(hash: u64) -> u64 {
    let digest: [u8; 32] = Sha256::digest(hash.to_le_bytes()).into();
    u64::from_le_bytes(*digest.first_chunk().expect("it is longer"))
}

/// FNV-1a, 32 bits: the same for every version of the agent.
pub(super) fn print(bytes: &[u8], is_part: bool) -> u32 {
    let kind = [u8::from(is_part)];
    kind.iter().chain(bytes).fold(0x811c_9dc5, |print, byte| {
        (print ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
