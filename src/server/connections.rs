//! How many connections there may be, so that descriptors last.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for all but clients of the API and the engine: the runtime, the log, the key's file,
/// scrapers.
const RESERVED: usize = 128;

/// Connections to the engine for what the agent asks by itself.
const OWN: usize = 16;

/// Connections, shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// From clients of the API.
    pub clients: usize,
    /// To the engine.
    pub engine: usize,
    /// Logs that are read for streams at a time, each of which may take two of those.
    pub log_readers: usize,
}

impl Connections {
    /// Raises the process's limit of open descriptors as far as it may, and shares them out: as many `clients` as are wanted,
    /// but no more than two thirds, since many may need a connection to the engine; and as many `log_readers`, but so that
    /// half of the engine's connections, or one for each client, are left to all else.
    pub fn afford(clients: usize, log_readers: usize) -> Self {
        let wanted = (clients, log_readers);
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let shares = Self::share(clients, log_readers, limit);
        let Self {
            clients,
            log_readers,
            ..
        } = shares;
        if (clients, log_readers) != wanted {
            tracing::warn!(
                limit,
                clients,
                log_readers,
                "few descriptors, so few connections"
            );
        }
        shares
    }

    fn share(clients: usize, log_readers: usize, descriptors: Option<usize>) -> Self {
        let free = descriptors
            .unwrap_or(usize::MAX)
            .saturating_sub(RESERVED)
            .max(3);
        let clients = clients.min(free / 3 * 2);
        // More would be of no use.
        let engine = (free - clients).min(clients + 2 * log_readers + OWN);
        let spare = engine.saturating_sub(clients + OWN);
        Self {
            clients,
            engine,
            log_readers: log_readers.min((engine / 4).max(spare / 2).max(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_out_descriptors() {
        let share = |clients, descriptors| {
            let shares = Connections::share(clients, 512, descriptors);
            (shares.clients, shares.engine, shares.log_readers)
        };
        assert_eq!(share(16_384, None), (16_384, 17_424, 512));
        assert_eq!(share(16_384, Some(1 << 20)), (16_384, 17_424, 512));
        assert_eq!(share(16_384, Some(20_000)), (13_248, 6_624, 512));
        assert_eq!(share(16_384, Some(1024)), (596, 300, 75));
        assert_eq!(share(16_384, Some(200)), (48, 24, 6));
        assert_eq!(share(16_384, Some(10)), (2, 1, 2));
        // However few clients there may be, each of them may follow many logs.
        assert_eq!(share(10, None), (10, 1_050, 512));
        assert_eq!(share(10, Some(200)), (10, 62, 18));
    }
}
