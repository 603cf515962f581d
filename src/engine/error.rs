//! What can go wrong between the agent and an engine.

use http::StatusCode;
use middleware::BoxError;

/// A call to the engine that did not do what it should.
#[derive(Debug, thiserror::Error)]
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
    Unreachable(BoxError),
    /// The connection broke, or what came over it is no answer.
    #[error("the Docker Engine did not answer properly: {}", chain(.0.as_ref()))]
    Broken(BoxError),
    /// Somebody answers at the address, who is not a Docker Engine.
    #[error("what answers there is not a Docker Engine")]
    NotAnEngine,
}

impl Error {
    /// The same once more, for another who waits for it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Refused { status, message } => Self::Refused {
                status: *status,
                message: message.clone(),
            },
            Self::Unreachable(cause) => Self::Unreachable(chain(cause.as_ref()).into()),
            Self::Broken(cause) => Self::Broken(chain(cause.as_ref()).into()),
            Self::NotAnEngine => Self::NotAnEngine,
        }
    }

    /// The label under which it is counted.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Refused { status, .. } if status.is_client_error() => "refused",
            Self::Refused { .. } => "failed",
            Self::Unreachable(_) => "unreachable",
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
            Self::Unreachable(error.into())
        } else {
            Self::Broken(error.into())
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
                _ => Self::Broken(format!("unexpected status {status_code}: {message}").into()),
            },
            // Our own transport's error, on its way through bollard.
            Bollard::IOError { err } => match err.downcast::<Self>() {
                Ok(own) => own,
                Err(err) => Self::Broken(err.into()),
            },
            other => Self::Broken(other.into()),
        }
    }
}
