//! Which engine it is, and what to say where there is none.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, time::Duration};

use rustix::process::geteuid;
use tokio::time::timeout;

use crate::engine::{Address, Engine, Error};

/// How long an engine may take to answer the first ping.
const PATIENCE: Duration = Duration::from_secs(10);

/// No engine answers.
#[derive(Debug, thiserror::Error)]
#[error("Cannot connect to Docker Daemon at {address}: {cause}")]
pub struct NoEngine {
    address: Address,
    cause: String,
}

impl NoEngine {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.address {
            Address::Unix(_) => {
                "Is Docker running, and is its socket mounted? docker run \
                 -v /var/run/docker.sock:/var/run/docker.sock …"
            }
            Address::Tcp { .. } => {
                "Is Docker running, and does it listen there? To use its socket instead, mount it \
                 (-v /var/run/docker.sock:/var/run/docker.sock) and set NODE_ENV=production."
            }
        }
    }
}

/// The first engine of `addresses` that answers, with at most `connections` to it at a time.
///
/// # Errors
///
/// Why the first of them does not, where none does.
pub async fn find_engine(addresses: &[Address], connections: usize) -> Result<Engine, NoEngine> {
    let mut first = None;
    for address in addresses {
        let engine = Engine::new(address, connections);
        let cause = match timeout(PATIENCE, engine.ping()).await {
            Ok(Ok(())) => {
                tracing::info!(engine = %address, "connected to the Docker Engine");
                return Ok(engine);
            }
            Ok(Err(error)) => explain(address, &error),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        let (address, cause) = (address.clone(), cause);
        let failure = NoEngine { address, cause };
        tracing::debug!(error = %failure, "no engine there");
        first.get_or_insert(failure);
    }
    Err(first.expect("there is at least one address to try"))
}

/// What is wrong, as precisely as the operating system can tell.
fn explain(address: &Address, error: &Error) -> String {
    let Error::Unreachable(cause) = error else {
        return error.to_string();
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(cause.as_ref());
    let io = loop {
        match cause {
            None => return error.to_string(),
            Some(error) => match error.downcast_ref::<io::Error>() {
                Some(io) => break io,
                None => cause = error.source(),
            },
        }
    };
    match (io.kind(), address) {
        (io::ErrorKind::NotFound, Address::Unix(_)) => "no such file".into(),
        (io::ErrorKind::PermissionDenied, Address::Unix(path)) => denied(path),
        (io::ErrorKind::ConnectionRefused, Address::Unix(_)) => {
            "connection refused; the socket is there, but nobody listens on it".into()
        }
        (io::ErrorKind::ConnectionRefused, _) => "connection refused".into(),
        _ => io.to_string(),
    }
}

/// What opens a socket of this user and group to an agent that may not use it.
fn advise(is_root: bool, uid: u32, gid: u32) -> String {
    if is_root {
        // Who is root here is nobody out there, or SELinux keeps containers from it.
        return "permission denied, although this is root: let the container use the socket, with --security-opt \
                label=disable where SELinux is, or --userns=host where user namespaces are"
            .into();
    }
    format!(
        "permission denied; the socket belongs to user {uid} and group {gid}, so run the agent as root or with \
         --group-add {gid}"
    )
}

fn denied(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(meta) => advise(geteuid().is_root(), meta.uid(), meta.gid()),
        Err(_) => "permission denied".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::advise;

    #[test]
    fn nobody_is_advised_to_be_what_he_is() {
        let other = advise(false, 0, 991);
        assert!(other.contains("as root or with --group-add 991"), "{other}");
        let root = advise(true, 0, 991);
        assert!(
            !root.contains("as root") && root.contains("label=disable"),
            "{root}"
        );
    }
}
