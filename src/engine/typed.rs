//! What goes through bollard: calls whose answers the agent reads, over the same connections as the rest.

use std::io;

use bollard::{
    API_DEFAULT_VERSION, BollardRequest, Docker,
    query_parameters::{
        RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RestartContainerOptions,
        StartContainerOptions, StopContainerOptions,
    },
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::{ContainerId, Error, ImageName, raw, wire::Wire};

/// bollard's own limit on the wait for an answer, in seconds: none. Whoever asks sets one, and a stop
/// may rightly take as long as its container's grace period.
const NO_TIMEOUT: u64 = u32::MAX as u64;

/// What can be done to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start it; no change where it runs.
    Start,
    /// Stop it within its grace period; no change where it is stopped.
    Stop,
    /// Stop it if it runs, and start it.
    Restart,
    /// Freeze its processes.
    Pause,
    /// Thaw them.
    Unpause,
}

impl Action {
    /// The label under which its calls are counted.
    pub(crate) fn operation(self) -> &'static str {
        match self {
            Self::Start => "container_start",
            Self::Stop => "container_stop",
            Self::Restart => "container_restart",
            Self::Pause => "container_pause",
            Self::Unpause => "container_unpause",
        }
    }
}

/// bollard on the agent's own connections.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    docker: Docker,
}

impl Typed {
    pub(super) fn new(wire: Wire) -> Self {
        let base = wire.base();
        let transport = move |request| send(wire.clone(), request);
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some(base),
            NO_TIMEOUT,
            API_DEFAULT_VERSION,
        )
        .expect("only stores what it is given");
        Self { docker }
    }

    pub(super) async fn act(&self, id: &ContainerId, action: Action) -> Result<(), Error> {
        let (docker, id) = (&self.docker, id.as_str());
        match action {
            Action::Start => {
                docker
                    .start_container(id, None::<StartContainerOptions>)
                    .await
            }
            Action::Stop => {
                docker
                    .stop_container(id, None::<StopContainerOptions>)
                    .await
            }
            Action::Restart => {
                docker
                    .restart_container(id, None::<RestartContainerOptions>)
                    .await
            }
            Action::Pause => docker.pause_container(id).await,
            Action::Unpause => docker.unpause_container(id).await,
        }?;
        Ok(())
    }

    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<(), Error> {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        self.docker
            .remove_container(id.as_str(), Some(options))
            .await?;
        Ok(())
    }

    pub(super) async fn remove_image(&self, name: &ImageName) -> Result<(), Error> {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        self.docker
            .remove_image(&name.path(), Some(options), None)
            .await?;
        Ok(())
    }
}

/// bollard's way to the engine.
async fn send(
    wire: Wire,
    request: BollardRequest,
) -> Result<Response<Incoming>, bollard::errors::Error> {
    let (parts, body) = request.into_parts();
    // What the agent asks through bollard has no body, or a small one.
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let request = Request::from_parts(parts, Full::new(body));
    let answer = wire.send(request).await.map_err(io::Error::other)?;
    // Read here, since bollard reads an error to its end, whatever its length.
    if answer.status().as_u16() >= 400 {
        return Err(io::Error::other(raw::refusal(answer).await).into());
    }
    Ok(answer)
}
