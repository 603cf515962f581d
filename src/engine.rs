//! What the agent asks of a Docker Engine, in the agent's own words.
//!
//! Lists and inspects come back as the engine's untouched bytes ([`raw`]); what the agent itself must
//! understand goes through bollard ([`typed`]). Both use the connections of one pooled client
//! ([`wire`]); a log has one of its own.

pub mod address;
mod apart;
pub mod error;
pub mod events;
mod idle;
pub mod name;
mod observe;
mod pace;
pub mod raw;
pub mod stall;
pub mod typed;
pub mod wire;

use std::{fmt, sync::Arc};

use self::observe::observe;
pub use self::{
    address::Address,
    apart::Apart,
    error::Error,
    name::{ContainerId, ImageName},
    raw::{Env, Facts, ListQuery, Listed, LogQuery, State, Tail},
    typed::Action,
};
use bytes::Bytes;

/// A handle on one engine; clones share the connections.
#[derive(Clone)]
pub struct Engine {
    raw: raw::Raw,
    events: Arc<events::Events>,
    typed: typed::Typed,
}

/// A container's log as the engine sends it.
#[derive(Debug)]
pub struct Log {
    /// The bytes: frames, or plain text where the container has a terminal.
    pub body: stall::Paced<Apart>,
    /// What the container is.
    pub facts: Facts,
}

impl Engine {
    /// An engine at `address`, which gets at most `connections` at a time, and one for its events. Nothing
    /// is connected yet.
    pub fn new(address: &Address, connections: usize) -> Self {
        let wire = wire::Wire::new(address, connections);
        Self {
            typed: typed::Typed::new(wire.clone()),
            events: Arc::default(),
            raw: raw::Raw::new(wire),
        }
    }

    /// Whether a Docker Engine answers.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnEngine`] where something else does, else as everywhere.
    pub async fn ping(&self) -> Result<(), Error> {
        observe("ping", self.raw.ping()).await
    }

    /// One container, as the engine inspects it.
    pub async fn container(&self, id: &ContainerId) -> Result<raw::Answer, Error> {
        observe("container_inspect", self.raw.get(&id.path())).await
    }

    /// Containers, as the engine lists them.
    pub async fn containers(&self, query: &ListQuery) -> Result<raw::Answer, Error> {
        observe("container_list", self.raw.get(&query.path())).await
    }

    /// All of them as a whole, if it is not too long to be true.
    pub async fn containers_now(&self) -> Result<Bytes, Error> {
        observe(
            "container_list",
            self.raw.whole("/containers/json?all=true"),
        )
        .await
    }

    /// Tells what happens from now on; all who listen share one subscription.
    pub fn listen(&self) -> events::Listener {
        self.events.listen(&self.raw)
    }

    /// The containers, running or not, that have all of these labels: `key` or `key=value`.
    pub async fn with_labels(&self, labels: &[String]) -> Result<Vec<Listed>, Error> {
        observe("container_list", self.raw.list(labels)).await
    }

    /// What the agent needs to know of a container.
    pub async fn facts(&self, id: &ContainerId) -> Result<Facts, Error> {
        observe("container_inspect", self.raw.facts(id)).await
    }

    /// Does `action` to a container; done already is done.
    pub async fn act(&self, id: &ContainerId, action: Action) -> Result<(), Error> {
        observe(action.operation(), self.typed.act(id, action)).await
    }

    /// Removes a container, running or not, and leaves its volumes.
    pub async fn remove_container(&self, id: &ContainerId) -> Result<(), Error> {
        observe("container_remove", self.typed.remove_container(id)).await
    }

    /// Opens a container's log; the times are written in front of the lines.
    pub async fn logs(&self, id: &ContainerId, query: &LogQuery) -> Result<Log, Error> {
        let facts = self.facts(id).await?;
        self.log(&facts, query).await
    }

    /// Opens the log of a container that is known.
    pub async fn log(&self, facts: &Facts, query: &LogQuery) -> Result<Log, Error> {
        let body = observe("container_logs", self.raw.logs(facts, query)).await?;
        let facts = facts.clone();
        Ok(Log { body, facts })
    }

    /// All images, intermediate ones included, as the engine lists them.
    pub async fn images(&self) -> Result<raw::Answer, Error> {
        observe("image_list", self.raw.get("/images/json?all=true")).await
    }

    /// One image, as the engine inspects it.
    pub async fn image(&self, name: &ImageName) -> Result<raw::Answer, Error> {
        let path = format!("/images/{}/json", name.path());
        observe("image_inspect", self.raw.get(&path)).await
    }

    /// Removes an image, even where stopped containers use it or it has several names.
    pub async fn remove_image(&self, name: &ImageName) -> Result<(), Error> {
        observe("image_remove", self.typed.remove_image(name)).await
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.raw).finish()
    }
}
