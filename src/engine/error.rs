//! What can go wrong between the agent and an engine.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use middleware::BoxError;

/// What lies behind an error. Shared, since all who wait for one call are told the same.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// A call to the engine that did not do what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The engine said no: its status and its message.
    #[error("{message}")]
    Refused {
        /// 400 or more.
        status: StatusCode,
        /// The `message` of its JSON, or its text where it sent none.
        message: String,
    },
    /// Nobody answers at the engine's address.
    #[error("the Docker Engine cannot be reached: {}", chain(.0.as_ref()))]
    Unreachable(Cause),
    /// It did not answer within this time.
    #[error("The Docker Engine is too slow: no answer within {} s.", .0.as_secs())]
    Slow(Duration),
    /// The connection broke, or what came over it is no answer.
    #[error("the Docker Engine did not answer properly: {}", chain(.0.as_ref()))]
    Broken(Cause),
    /// Somebody answers at the address, who is not a Docker Engine.
    #[error("what answers there is not a Docker Engine")]
    NotAnEngine,
}

impl Error {
    /// [`Self::Unreachable`] for this reason.
    pub fn unreachable(cause: impl Into<BoxError>) -> Self {
        Self::Unreachable(cause.into().into())
    }

    /// [`Self::Broken`] for this reason.
    pub fn broken(cause: impl Into<BoxError>) -> Self {
        Self::Broken(cause.into().into())
    }

    /// Whether the engine says no, whatever the reason.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. }) && !self.says_away()
    }

    /// Whether the engine is away, and may come back.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Slow(_) | Self::Broken(_)) || self.says_away()
    }

    /// Whether the engine says that what it needs is away, or a proxy in front of it that the engine is.
    pub(crate) fn says_away(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if (502..=504).contains(&status.as_u16()))
    }

    /// Whether the engine says that there is no such thing (any more).
    pub(crate) fn says_gone(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == 404)
    }

    /// Whether the engine says that it has removed the thing, or a part of it. It says the latter of others too while it starts.
    pub(crate) fn says_removed(&self) -> bool {
        self.says_gone() || self.says_half_removed()
    }

    /// Whether the engine says that it has removed a part of the thing. It says so of others too while it starts.
    pub(crate) fn says_half_removed(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == 409)
    }

    /// The label under which it is counted.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Refused { status, .. } if status.is_client_error() => "refused",
            Self::Refused { .. } => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::Slow(_) => "slow",
            Self::Broken(_) | Self::NotAnEngine => "broken",
        }
    }
}

/// An error with its causes, each once: those of hyper tell little without.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

impl From<hyper_util::client::legacy::Error> for Error {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        if error.is_connect() {
            Self::unreachable(error)
        } else {
            Self::broken(error)
        }
    }
}

impl From<bollard::errors::Error> for Error {
    fn from(error: bollard::errors::Error) -> Self {
        use bollard::errors::Error as Bollard;
        match error {
            Bollard::DockerResponseServerError {
                status_code,
                message,
            } => match StatusCode::from_u16(status_code) {
                Ok(status) if status.as_u16() >= 400 => Self::Refused { status, message },
                _ => Self::broken(format!("unexpected status {status_code}: {message}")),
            },
            // Our own transport's error, on its way through bollard.
            Bollard::IOError { err } => match err.downcast::<Self>() {
                Ok(own) => own,
                Err(err) => Self::broken(err),
            },
            other => Self::broken(other),
        }
    }
}
