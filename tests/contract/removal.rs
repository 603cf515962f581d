//! Removal of containers and images, with force.

use super::host::Host;
use crate::support::dockerd::IMAGE;

impl Host {
    async fn assert_removes(&self, path: &str, message: &str) {
        let reply = self.agent.get(&format!("{path}/remove")).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.text(), format!(r#"{{"message":"{message}"}}"#));
    }

    /// Whether the engine still knows of it.
    async fn is_there(&self, path: &str) -> bool {
        self.engine.raw("GET", &format!("{path}/json")).await.0 == 200
    }

    /// An image of its own, on top of the test image; its id.
    async fn image(&self, name: &str) -> String {
        let container = format!("removal-base-of-{}", name.replace(['/', ':'], "-"));
        self.engine
            .docker(&["create", "--name", &container, IMAGE])
            .await;
        let label = format!("LABEL name={name}");
        let commit = ["commit", "--change", &label, &container, name];
        let id = self.engine.docker(&commit).await;
        self.engine.remove(&container).await;
        id
    }
}

#[tokio::test]
async fn removes_running_and_stopped_containers_by_every_name() {
    let host = Host::start().await;
    let id = host
        .engine
        .run("removal-one", &["-v=/data"], "sleep 600")
        .await;
    let inspect = host.inspect(&format!("/containers/{id}/json")).await;
    let volume = inspect["Mounts"][0]["Name"].as_str().unwrap();
    let message = "Container removal-one has been removed.";
    host.assert_removes("/containers/removal-one", message)
        .await;
    assert!(!host.is_there(&format!("/containers/{id}")).await);
    // Removing a container is no leave to remove data.
    host.engine.docker(&["volume", "rm", volume]).await;

    let id = host.engine.docker(&["create", IMAGE]).await;
    let path = format!("/containers/{}", &id[..12]);
    let message = format!("Container {} has been removed.", &id[..12]);
    host.assert_removes(&path, &message).await;
    assert!(!host.is_there(&path).await);
    let remove = format!("{path}/remove");
    host.assert_refused_alike(&remove, "DELETE", &path).await;
    assert_eq!(host.agent.get(&remove).await.status, 404);
}

#[tokio::test]
async fn removes_paused_containers() {
    let host = Host::start().await;
    host.engine.run("removal-paused", &[], "sleep 600").await;
    host.engine.docker(&["pause", "removal-paused"]).await;
    let message = "Container removal-paused has been removed.";
    host.assert_removes("/containers/removal-paused", message)
        .await;
    assert!(!host.is_there("/containers/removal-paused").await);
}

#[tokio::test]
async fn removes_an_image_by_its_names_one_by_one() {
    let host = Host::start().await;
    let id = host.image("removal/nested/app:v1").await;
    let tag = ["tag", "removal/nested/app:v1", "removal.example:5000/app"];
    host.engine.docker(&tag).await;

    let message = "Image removal/nested/app:v1 has been removed.";
    host.assert_removes("/images/removal%2Fnested%2Fapp%3Av1", message)
        .await;
    assert!(!host.is_there("/images/removal/nested/app:v1").await);
    assert!(host.is_there(&format!("/images/{id}")).await);

    let message = "Image removal.example:5000/app has been removed.";
    host.assert_removes("/images/removal.example:5000%2fapp", message)
        .await;
    assert!(!host.is_there(&format!("/images/{id}")).await);

    let path = "/images/removal%2Fnested%2Fapp%3Av1/remove";
    let engine_path = "/images/removal/nested/app:v1?force=true";
    host.assert_refused_alike(path, "DELETE", engine_path).await;
    assert_eq!(host.agent.get(path).await.status, 404);
}

#[tokio::test]
async fn removes_an_image_with_several_names_by_its_id() {
    let host = Host::start().await;
    let id = host.image("removal-several:v1").await;
    for tag in ["removal-several:v2", "removal-several/other"] {
        host.engine.docker(&["tag", &id, tag]).await;
    }
    let message = format!("Image {id} has been removed.");
    host.assert_removes(&format!("/images/{id}"), &message)
        .await;
    for name in [&id, "removal-several:v2", "removal-several/other"] {
        assert!(!host.is_there(&format!("/images/{name}")).await, "{name}");
    }
}

#[tokio::test]
async fn removes_an_image_of_a_stopped_container_but_not_of_a_running_one() {
    let host = Host::start().await;
    let id = host.image("removal-used:v1").await;
    let name = "removal-user";
    let run = ["run", "-d", "--network=none", "--stop-signal=SIGKILL"];
    let run = [
        &run[..],
        &["--name", name, "removal-used:v1", "sleep", "600"],
    ]
    .concat();
    host.engine.docker(&run).await;

    let path = format!("/images/{id}/remove");
    let engine_path = format!("/images/{id}?force=true");
    host.assert_refused_alike(&path, "DELETE", &engine_path)
        .await;
    assert_eq!(host.agent.get(&path).await.status, 409);
    assert!(host.is_there(&format!("/images/{id}")).await);

    host.engine.docker(&["stop", name]).await;
    let short = &id["sha256:".len()..][..12];
    let message = format!("Image {short} has been removed.");
    host.assert_removes(&format!("/images/{short}"), &message)
        .await;
    assert!(!host.is_there(&format!("/images/{id}")).await);
    host.engine.remove(name).await;
}
