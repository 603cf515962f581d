//! What a handler may fail with, and the one place where a cause becomes a status.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};
use middleware::{BoxError, coalesce::Torn, refusal::refusal, timeout::Elapsed};
use serde_json::json;

use super::{Body, push};
use crate::{
    containers::WatchError,
    engine,
    logs::{follower::FollowError, hub::Busy, many::OpenError},
};

/// In how many seconds it is worth trying again where there is too much of something.
const SOON: HeaderValue = HeaderValue::from_static("5");

/// Why a request is not answered with what it asks for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No route has the path.
    #[error("There is no such path.")]
    NoSuchPath,
    /// The route does not answer the method, but these.
    #[error("This path does not answer that method.")]
    MethodNotAllowed(&'static str),
    /// Something in the path or the query is not what it should be.
    #[error("{0}")]
    Bad(String),
    /// The engine said no, or nothing.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// Too many logs are read or followed.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Too many watch the containers or the engine's events.
    #[error(
        "There are {} streams of containers and events already; try again later.",
        push::LISTENERS
    )]
    Crowded,
    /// Too many clients of `/containers/stream` have not read what they began with.
    #[error("Too many streams of containers have not been read; try again later.")]
    Unread,
    /// Too many actions are under way, in all or alike.
    #[error("Too many such actions are under way; try again later.")]
    Acting,
    /// The engine took too long.
    #[error(transparent)]
    Slow(#[from] Elapsed),
    /// There is no file to download, for this reason.
    #[error(transparent)]
    Download(Box<Self>),
}

impl Error {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Download(reason) => reason.status(),
            Self::Engine(engine::Error::Refused { status, .. }) => *status,
            Self::Engine(engine::Error::Slow(_)) | Self::Slow(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Engine(_) => StatusCode::BAD_GATEWAY,
            Self::Busy(_) | Self::Crowded | Self::Unread | Self::Acting => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

/// Turns whatever has gone wrong inside the stack into an answer.
pub fn rescue(cause: BoxError) -> Response<Body> {
    let error = match cause.downcast::<Error>() {
        Ok(error) => *error,
        Err(cause) => match known(cause) {
            Ok(error) => error,
            Err(cause) => {
                tracing::error!(error = %cause, "unforeseen error");
                let message = "The agent failed; its log has more.";
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, message);
            }
        },
    };
    let (error, is_download) = match error {
        Error::Download(reason) => (*reason, true),
        error => (error, false),
    };
    let status = error.status();
    if status.is_server_error() {
        tracing::warn!(%error, "cannot answer");
    }
    let message = match &error {
        Error::Slow(elapsed) => format!("The Docker Engine is too slow: {elapsed}."),
        error => error.to_string(),
    };
    let mut answer = refusal(status, &message);
    if is_download {
        // Where the app looks for it.
        let both = json!({ "message": message, "error": message });
        *answer.body_mut() = Bytes::from(both.to_string()).into();
    }
    let headers = answer.headers_mut();
    match error {
        Error::MethodNotAllowed(methods) => {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        Error::Busy(busy) => {
            busy.count();
            headers.insert(RETRY_AFTER, SOON);
        }
        Error::Crowded | Error::Unread | Error::Acting => {
            headers.insert(RETRY_AFTER, SOON);
        }
        _ => {}
    }
    answer
}

/// What a layer's own error means here.
fn known(cause: BoxError) -> Result<Error, BoxError> {
    let cause = match cause.downcast::<Elapsed>() {
        Ok(elapsed) => return Ok(Error::Slow(*elapsed)),
        Err(cause) => cause,
    };
    // What is read to its end before it is handed out comes from the engine.
    let torn = cause.downcast::<Torn>()?;
    Ok(engine::Error::broken(torn).into())
}

impl From<FollowError> for Error {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Engine(error) => error.into(),
            FollowError::Busy(error) => error.into(),
        }
    }
}

impl From<WatchError> for Error {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Engine(error) => error.into(),
            WatchError::Unread => Self::Unread,
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Follow(error) => error.into(),
            error => Self::Bad(error.to_string()),
        }
    }
}
