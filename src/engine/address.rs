//! Where an engine is: what `DOCKER_HOST` may hold.

use std::{fmt, path::PathBuf, str::FromStr};

/// The port of an engine's plain HTTP API.
const PORT: u16 = 2375;

/// The address of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A host, by name or IP address, and a port.
    Tcp {
        /// Without the brackets of an IPv6 address.
        host: String,
        /// 2375 where none was given.
        port: u16,
    },
}

impl Address {
    /// The socket on which an engine listens by default.
    pub fn default_socket() -> Self {
        Self::Unix("/var/run/docker.sock".into())
    }

    /// The port on which a development engine listens.
    pub fn development() -> Self {
        Self::Tcp {
            host: "localhost".into(),
            port: PORT,
        }
    }

    /// The `host[:port]` that requests name; a unix socket has none of its own.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "docker".into(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("must begin with unix://, tcp:// or http://")]
    Scheme,
    /// `unix://` with no path, or one that is not absolute.
    #[error("unix:// needs an absolute path, as in unix:///var/run/docker.sock")]
    Path,
    /// No host, a port that is no number, or something after the port.
    #[error("needs a host and perhaps a port, as in tcp://10.0.0.5:2375")]
    Host,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(AddressError::Scheme)?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err(AddressError::Path),
            "tcp" | "http" => {
                let authority: http::uri::Authority = rest
                    .trim_end_matches('/')
                    .parse()
                    .map_err(|_| AddressError::Host)?;
                // Without this `host:` and `host:99999` would pass as a host without a port.
                let port = match authority.as_str().rsplit_once(':') {
                    Some((_, port)) if !port.ends_with(']') => {
                        port.parse().map_err(|_| AddressError::Host)?
                    }
                    _ => PORT,
                };
                let host = authority.host().trim_matches(['[', ']']).to_owned();
                if host.is_empty() || authority.as_str().contains('@') {
                    return Err(AddressError::Host);
                }
                Ok(Self::Tcp { host, port })
            }
            _ => Err(AddressError::Scheme),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { .. } => write!(f, "http://{}", self.authority()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_host_may_hold() {
        let tcp = |host: &str, port| Address::Tcp {
            host: host.into(),
            port,
        };
        let cases = [
            ("unix:///run/d.sock", Address::Unix("/run/d.sock".into())),
            ("tcp://10.0.0.5:2376", tcp("10.0.0.5", 2376)),
            ("tcp://engine", tcp("engine", 2375)),
            ("http://localhost:2375/", tcp("localhost", 2375)),
            ("tcp://[::1]:99", tcp("::1", 99)),
            ("tcp://[::1]", tcp("::1", 2375)),
        ];
        for (text, address) in cases {
            assert_eq!(text.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_reach() {
        use AddressError::{Host, Path, Scheme};
        let cases = [
            ("", Scheme),
            ("/var/run/docker.sock", Scheme),
            ("https://engine:2376", Scheme),
            ("ssh://engine", Scheme),
            ("unix://", Path),
            ("unix://docker.sock", Path),
            ("tcp://", Host),
            ("tcp://:2375", Host),
            ("tcp://engine:", Host),
            ("tcp://engine:99999", Host),
            ("tcp://engine:2375/v1.41", Host),
            ("tcp://user@engine", Host),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }
}
