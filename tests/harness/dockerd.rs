//! A real engine starts, runs containers, survives being killed, and leaves nothing behind.

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::support::dockerd::RealEngine;
use crate::support::wait::{self, SOON};

#[tokio::test]
async fn runs_a_container_and_answers_byte_for_byte() {
    let engine = RealEngine::shared().await;
    let id = engine
        .run(
            "harness-echo",
            &["--label", "a=b"],
            "echo out; echo err >&2; sleep 60",
        )
        .await;
    let (status, headers, list) = engine.raw("GET", "/containers/json?all=true").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["content-type"], "application/json");
    let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
    let ours = list
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["Id"] == id.as_str())
        .unwrap();
    assert_eq!(
        (&ours["Labels"]["test"], &ours["Labels"]["a"]),
        (&"1".into(), &"b".into())
    );

    let logs = format!("/containers/{id}/logs?stdout=1&stderr=1");
    let both = [
        &b"\x01\0\0\0\0\0\0\x04out\n"[..],
        b"\x02\0\0\0\0\0\0\x04err\n",
    ];
    wait::until("both lines are logged", SOON, async || {
        let (_, _, bytes) = engine.raw("GET", &logs).await;
        both.iter()
            .all(|frame| bytes.windows(12).any(|window| window == *frame))
    })
    .await;
    engine.remove("harness-echo").await;
    let (status, ..) = engine.raw("GET", &format!("/containers/{id}/json")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        engine
            .try_docker(&["inspect", "harness-echo"])
            .await
            .is_err()
    );
}

#[tokio::test]
async fn shares_one_engine() {
    let engine = RealEngine::shared().await;
    assert_eq!(engine.socket(), RealEngine::shared().await.socket());
}

#[tokio::test]
async fn counts_connections_survives_kill9_and_cleans_up() {
    let engine = RealEngine::start_with(&["--live-restore"]).await;
    engine
        .run(
            "kept",
            &[],
            "i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done",
        )
        .await;

    wait::until("all connections are closed", SOON, async || {
        engine.connections() == 0
    })
    .await;
    let mut follower = UnixStream::connect(engine.socket()).await.unwrap();
    follower
        .write_all(b"GET /containers/kept/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: docker\r\n\r\n")
        .await
        .unwrap();
    follower.readable().await.unwrap();
    assert_eq!(engine.connections(), 1);
    drop(follower);
    wait::until("the follower is gone", SOON, async || {
        engine.connections() == 0
    })
    .await;

    let pid = engine
        .docker(&["inspect", "-f", "{{.State.Pid}}", "kept"])
        .await;
    for _ in 0..2 {
        engine.kill9().await;
        engine.start_again().await;
    }
    assert_eq!(
        engine
            .docker(&["inspect", "-f", "{{.State.Pid}}", "kept"])
            .await,
        pid
    );
    engine.stop().await;
    engine.start_again().await;

    // The hardest case: nobody is left to remove the container.
    engine.kill9().await;
    let folder = engine.socket().parent().unwrap().to_owned();
    drop(engine);
    assert!(!folder.exists());
    let gone = async || !std::path::Path::new("/proc").join(&pid).exists();
    wait::until("the container's process is gone", SOON, gone).await;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()));
}
