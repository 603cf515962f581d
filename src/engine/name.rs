//! Names of containers and images, checked against their grammar before they are put into an engine path.
//!
//! The engine has no escapes for what these grammars leave out, so nothing that passes can name another
//! path than its own.

use std::{fmt, str::FromStr};

/// A name that does not fit its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidName(&'static str);

/// A container's id, a prefix of one, or its name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerId(Box<str>);

impl ContainerId {
    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the engine inspects it.
    pub(crate) fn path(&self) -> String {
        ["/containers/", &self.0, "/json"].concat()
    }
}

impl FromStr for ContainerId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if begins_well(text) && text.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-')) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName("container id or name"))
        }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image's id, a prefix of one, or a reference: `[host[:port]/]path[:tag][@digest]`.
///
/// Wider than the grammar of references, but made of the same segments: each begins with a letter or
/// digit (a host may be an IPv6 address in brackets) and none is empty, so there are no dot segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageName(Box<str>);

impl ImageName {
    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a part of an engine path.
    pub(crate) fn path(&self) -> String {
        // All that may stand in a name is allowed in a path, but for the brackets of a host.
        self.0.replace('[', "%5B").replace(']', "%5D")
    }
}

impl FromStr for ImageName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let segment = |part: &str| {
            begins_well(part)
                && part
                    .bytes()
                    .all(|b| is_word(b) || matches!(b, b'.' | b'-' | b'+' | b':' | b'@'))
        };
        let mut parts = text.split('/');
        let host = parts.next().unwrap_or_default();
        let valid = if host.starts_with('[') && text.contains('/') {
            is_bracketed(host) && parts.all(segment)
        } else {
            segment(host) && parts.all(segment)
        };
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName("image id or name"))
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn begins_well(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// `[IPv6]` or `[IPv6]:port`.
fn is_bracketed(host: &str) -> bool {
    let Some((address, port)) = host[1..].split_once(']') else {
        return false;
    };
    address.parse::<std::net::Ipv6Addr>().is_ok()
        && (port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_ids_and_names_of_containers() {
        for text in ["a", "4fa6e0f0c678", "web_1.eu-west", "json"] {
            assert_eq!(text.parse::<ContainerId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn takes_ids_and_references_of_images() {
        for text in [
            "sha256:4fa6e0f0c678",
            "4fa6",
            "nginx",
            "library/nginx:1.27",
            "localhost:5000/team/app:v1.2-rc.1+build",
            "ghcr.io/a/b@sha256:4fa6e0f0c678",
            "a__b/c--d",
            "[::1]:5000/app",
        ] {
            assert_eq!(text.parse::<ImageName>().unwrap().as_str(), text);
        }
        let path = "[::1]:5000/app".parse::<ImageName>().unwrap().path();
        assert_eq!(path, "%5B::1%5D:5000/app");
    }

    #[test]
    fn refuses_whatever_could_name_another_path() {
        for text in [
            "",
            ".",
            "..",
            "-a",
            "_a",
            "a b",
            "a/b",
            "../images/json",
            "a?x=1",
            "a#",
            "a%2f",
            "a\0",
            "ä",
            "a\n",
            "/a",
            "a\\b",
            "a;b",
        ] {
            assert!(text.parse::<ContainerId>().is_err(), "{text:?}");
        }
        for text in [
            "", ".", "..", "a/../b", "a/./b", "a//b", "/a", "a/", "a/.b", "a?x", "a#", "a b",
            "a%2f", "a\0", "ä", "[::1]", "[x]/a", "[::1]x/a", "[::1/a", "@a", ":a", "a/[::1]",
        ] {
            assert!(text.parse::<ImageName>().is_err(), "{text:?}");
        }
    }
}
