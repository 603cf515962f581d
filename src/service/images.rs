//! Images: list, inspect, remove.

use super::{Answer, Question, body, containers::removed};
use crate::engine::{Engine, ImageName};

pub(super) async fn list(engine: &Engine) -> Answer {
    Ok(body::untouched(engine.images().await?))
}

pub(super) async fn inspect(engine: &Engine, name: &ImageName) -> Answer {
    Ok(body::untouched(engine.image(name).await?))
}

pub(super) async fn remove(engine: &Engine, question: &Question) -> Answer {
    let name: ImageName = question.name()?;
    engine.remove_image(&name).await?;
    Ok(removed("Image", name.as_str()))
}
