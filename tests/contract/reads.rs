//! Lists and inspects are the engine's own bytes.

use super::host::{Host, assert_refused};
use crate::support::dockerd::IMAGE;

#[tokio::test]
async fn says_ok() {
    let host = Host::start().await;
    let reply = host.agent.get("/").await;
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"OK"[..]));
}

#[tokio::test]
async fn hands_on_a_container_by_id_prefix_and_name() {
    let host = Host::start().await;
    let options = [
        "--label=html=<a href=\"x\">&amp;</a>",
        "--label=wide=🐳 \u{2028}é\\",
        "--env=EMPTY=",
        "--memory=64m",
        "--tmpfs=/scratch:size=1m",
        "--health-cmd=true",
        "--health-interval=1h",
    ];
    let id = host
        .engine
        .run("reads-one.A_b", &options, "sleep 600")
        .await;
    let own = format!("/containers/{id}/json");
    for given in [&id[..], &id[..12], "reads-one.A_b", "reads%2Done%2eA_b"] {
        let path = format!("/containers/{given}");
        host.assert_untouched(&path, &own).await;
    }
    host.assert_untouched("/containers", "/containers/json?all=true")
        .await;
    let list = host.agent.get("/containers").await.json();
    let ours = list.as_array().unwrap().iter().find(|one| one["Id"] == *id);
    assert_eq!(ours.unwrap()["Labels"]["wide"], "🐳 \u{2028}é\\");
    host.engine.remove("reads-one.A_b").await;
}

#[tokio::test]
async fn lists_containers_that_do_not_run() {
    let host = Host::start().await;
    let create = ["create", "--name", "reads-created", IMAGE];
    let id = host.engine.docker(&create).await;
    host.assert_untouched("/containers", "/containers/json?all=true")
        .await;
    let list = host.agent.get("/containers").await.json();
    let ours = list.as_array().unwrap().iter().find(|one| one["Id"] == *id);
    assert_eq!(ours.unwrap()["State"], "created");
    host.engine.remove("reads-created").await;
}

#[tokio::test]
async fn hands_on_an_image_by_id_and_every_name() {
    let host = Host::start().await;
    let names = ["reads.example:5000/team/app:v1", "reads/nested/app"];
    for name in names {
        host.engine.docker(&["tag", IMAGE, name]).await;
    }
    let id = host.inspect(&format!("/images/{IMAGE}/json")).await["Id"].clone();
    let id = id.as_str().unwrap();
    let short = &id["sha256:".len()..][..12];
    let own = format!("/images/{id}/json");
    for given in [
        id,
        short,
        &id.replace(':', "%3A"),
        IMAGE,
        "busybox%3Atest",
        "reads.example%3A5000%2Fteam%2Fapp%3Av1",
        "reads.example:5000%2fteam%2fapp:v1",
        "reads%2Fnested%2Fapp",
        "reads%2Fnested%2Fapp:latest",
        "docker.io%2Freads%2Fnested%2Fapp",
    ] {
        host.assert_untouched(&format!("/images/{given}"), &own)
            .await;
    }
    host.assert_untouched("/images", "/images/json?all=true")
        .await;
    assert!(host.agent.get("/images").await.text().contains(names[0]));
    for name in names {
        host.engine.docker(&["rmi", name]).await;
    }
}

#[tokio::test]
async fn answers_head_as_get_without_the_body() {
    let host = Host::start().await;
    host.ran("reads-head", &[], "echo line").await;
    // With what a cache may do with it.
    for (path, kept) in [
        ("/", None),
        ("/containers", Some("private, no-cache")),
        ("/images", Some("private, no-cache")),
        ("/containers/reads-head", Some("private, no-cache")),
        ("/images/busybox:test", Some("private, no-cache")),
        ("/containers/reads-head/logs", Some("no-store")),
        ("/containers/reads-head/logs?follow=true", Some("no-cache")),
        ("/containers/reads-head/logs/stream", Some("no-cache")),
        ("/containers/reads-head/logs/download", Some("no-store")),
    ] {
        let get = host.agent.get(path).await;
        let head = host.agent.request("HEAD", path, &[], "").await;
        assert_eq!((get.status.as_u16(), head.status.as_u16()), (200, 200));
        assert!(!get.body.is_empty() && head.body.is_empty(), "{path}");
        assert_eq!(get.header("cache-control"), kept, "{path}");
        for name in ["content-type", "cache-control", "x-accel-buffering"] {
            assert_eq!(get.header(name), head.header(name), "{path}");
        }
    }
    let unknown = "/containers/reads-nobody";
    let head = host.agent.request("HEAD", unknown, &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (404, 0));
    assert_eq!(head.header("cache-control"), Some("no-store"));
    host.engine.remove("reads-head").await;
}

#[tokio::test]
async fn says_what_the_engine_says_of_the_unknown() {
    let host = Host::start().await;
    for (path, engine_path) in [
        ("/containers/reads-nobody", "/containers/reads-nobody/json"),
        ("/images/reads-nothing", "/images/reads-nothing/json"),
        ("/images/reads%2fno:v1", "/images/reads/no:v1/json"),
        (
            "/containers/reads-nobody/logs",
            "/containers/reads-nobody/logs?stdout=1",
        ),
    ] {
        host.assert_refused_alike(path, "GET", engine_path).await;
        assert_refused(&host.agent.get(path).await, 404, path);
    }
}

#[tokio::test]
async fn does_not_mind_what_a_client_accepts() {
    let host = Host::start().await;
    let create = ["create", "--name", "reads-accept", IMAGE];
    host.engine.docker(&create).await;
    for path in [
        "/",
        "/containers/reads-accept",
        "/containers/reads-accept/logs",
        "/containers/reads-nobody",
        "/images/busybox:test",
        "/nowhere",
    ] {
        let plain = host.agent.get(path).await;
        let accept = [("accept", "text/event-stream")];
        let other = host.agent.request("GET", path, &accept, "").await;
        assert_eq!(plain.status, other.status, "{path}");
        assert_eq!(plain.body, other.body, "{path}");
        let types = (plain.header("content-type"), other.header("content-type"));
        assert_eq!(types.0, types.1, "{path}");
    }
    host.engine.remove("reads-accept").await;
}
