//! What is asked in a wrong way is refused, and does nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::host::{Host, assert_refused};
use crate::support::dockerd::IMAGE;
use crate::support::wait::{self, SOON};

const READS: [&str; 9] = [
    "/",
    "/containers",
    "/images",
    "/containers/NAME",
    "/images/NAME",
    "/containers/NAME/logs",
    "/containers/NAME/logs?follow=true",
    "/containers/NAME/logs/stream",
    "/containers/NAME/logs/download",
];

const ACTIONS: [&str; 7] = [
    "/containers/NAME/start",
    "/containers/NAME/stop",
    "/containers/NAME/restart",
    "/containers/NAME/pause",
    "/containers/NAME/unpause",
    "/containers/NAME/remove",
    "/images/NAME/remove",
];

#[tokio::test]
async fn refuses_unknown_paths() {
    let host = Host::start().await;
    for path in [
        "/nowhere",
        "//",
        "/containers/",
        "/container",
        "/Containers",
        "/containers//start",
        "/containers/a/kill",
        "/containers/a/start/",
        "/containers/a/start/b",
        "/containers/json/../../images",
        "/images/a/b",
        "/images/a/b/remove",
        "/_ping",
        "/v1.41/containers/json",
        "/metrics",
    ] {
        assert_refused(&host.agent.get(path).await, 404, path);
        let post = host.agent.request("POST", path, &[], "").await;
        assert_refused(&post, 404, path);
    }
}

#[tokio::test]
async fn refuses_other_methods_and_does_nothing() {
    let host = Host::start().await;
    let id = host.engine.run("requests-one", &[], "sleep 600").await;
    let own = format!("/containers/{id}/json");
    let before = host.inspect(&own).await;
    host.engine.docker(&["tag", IMAGE, "requests-one"]).await;
    let tables = [(&READS[..], "GET, HEAD"), (&ACTIONS[..], "GET")];
    for (paths, allow) in tables {
        for path in paths {
            let path = path.replace("NAME", "requests-one");
            for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"] {
                let reply = host.agent.request(method, &path, &[], "").await;
                assert_refused(&reply, 405, &format!("{method} {path}"));
                assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
            }
            let head = host.agent.request("HEAD", &path, &[], "");
            if allow == "GET" {
                let head = head.await;
                assert_eq!(head.status, 405, "HEAD {path}");
                assert_eq!(head.header("allow"), Some(allow), "HEAD {path}");
                assert!(head.body.is_empty());
            }
        }
    }
    assert_eq!(host.inspect(&own).await["State"], before["State"]);
    host.engine.docker(&["rmi", "requests-one"]).await;
    host.engine.remove("requests-one").await;
}

#[tokio::test]
async fn refuses_what_is_no_name() {
    let host = Host::start().await;
    for id in [
        "%",
        "%4",
        "%zz",
        "%ff",
        "%00",
        "a%00",
        "..",
        ".",
        "%2e%2e",
        "-a",
        "_a",
        "a%20b",
        "a%0ab",
        "a%3fall=1",
        "a%3fx",
        "a%23",
        "..%2fimages%2fjson",
        "a%2f..%2fb",
        "%c3%a9",
        "a;b",
        "a%5cb",
    ] {
        for rest in [
            "",
            "/start",
            "/remove",
            "/logs",
            "/logs/stream",
            "/logs/download",
        ] {
            let path = format!("/containers/{id}{rest}");
            assert_refused(&host.agent.get(&path).await, 400, &path);
        }
        for rest in ["", "/remove"] {
            let path = format!("/images/{id}{rest}");
            assert_refused(&host.agent.get(&path).await, 400, &path);
        }
    }
    let path = "/containers/requests%2fnested";
    assert_refused(&host.agent.get(path).await, 400, path);
}

#[tokio::test]
async fn ignores_a_body() {
    let host = Host::start().await;
    let key = &host.agent.key;
    let inner = format!("GET /images HTTP/1.1\r\nhost: a\r\nx-auth-key: {key}\r\n\r\n");
    let long = "x".repeat(10_000);
    for body in ["{}", "\0", &inner, &long] {
        // A body is neither an answer's matter nor the next request on its connection, which ends with it.
        for path in ["/", "/containers/requests-nobody"] {
            let mut session = host.agent.session().await;
            let without = session.get(path).await.unwrap();
            let with = session.request("GET", path, &[], body.to_owned()).await;
            let with = with.unwrap();
            assert_eq!(with.status, without.status, "{path} with {body:?}");
            assert_eq!(with.body, without.body, "{path} with {body:?}");
            assert_eq!(without.header("connection"), None);
            assert_eq!(with.header("connection"), Some("close"));
        }
    }
}

#[tokio::test]
async fn does_not_keep_a_body_of_a_hundred_megabytes() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 100 * 1024 * 1024 / PIECE;
    let host = Host::start().await;
    host.engine.run("requests-body", &[], "sleep 600").await;
    // What a request needs at all is needed before the measurement.
    for _ in 0..10 {
        host.agent.get("/containers").await;
    }
    let before = host.agent.peak_rss_bytes();
    let key = &host.agent.key;
    for path in ["/containers", "/containers/requests-body/logs/stream"] {
        let (mut read, mut write) = host.agent.client.connect().await.into_split();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nx-auth-key: {key}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let sent = tokio::spawn(async move {
            let piece = [format!("{PIECE:x}\r\n").as_bytes(), &[b'x'; PIECE], b"\r\n"].concat();
            write.write_all(head.as_bytes()).await?;
            for _ in 0..PIECES {
                write.write_all(&piece).await?;
            }
            Ok::<_, std::io::Error>(())
        });
        let mut answer = [0; 15];
        wait::within("an answer's head", SOON, read.read_exact(&mut answer))
            .await
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK", "{path}");
        // The agent reads it to its end, lets it wait, or closes the connection; whichever, it keeps nothing.
        let writer = sent.abort_handle();
        let _ = tokio::time::timeout(SOON / 10, sent).await;
        writer.abort();
    }
    let grown = host.agent.peak_rss_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
    host.engine.remove("requests-body").await;
}
