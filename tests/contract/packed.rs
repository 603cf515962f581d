//! Downloads in a smaller form, for those who accept one.

use std::io::Read;

use flate2::read::GzDecoder;

use super::host::{Host, assert_refused};

#[tokio::test]
async fn packs_a_download_as_the_client_accepts_it() {
    let host = Host::start().await;
    let name = "views-packed";
    host.ran(name, &[], "seq 1 20000").await;
    let path = format!("/containers/{name}/logs/download");
    let ask = async |method: &str, accepted: &str| {
        let headers = [("accept-encoding", accepted)];
        host.agent.request(method, &path, &headers, "").await
    };
    let plain = host.agent.get(&path).await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.text().lines().count(), 20_000);
    for (accepted, packed) in [
        ("gzip", Some("gzip")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("zstd;q=0.5, gzip", Some("gzip")),
        ("deflate, br", None),
        ("identity", None),
        // Rather plain than not at all.
        ("*;q=0", None),
        ("identity;q=0", None),
    ] {
        let reply = ask("GET", accepted).await;
        assert_eq!(reply.status, 200, "{accepted}");
        assert_eq!(reply.header("content-encoding"), packed, "{accepted}");
        let vary = reply.header("vary").unwrap();
        assert!(vary.eq_ignore_ascii_case("accept-encoding"), "{vary}");
        assert_eq!(reply.header("content-type"), plain.header("content-type"));
        let mut unpacked = Vec::new();
        match packed {
            Some("gzip") => {
                let mut decoder = GzDecoder::new(&reply.body[..]);
                decoder.read_to_end(&mut unpacked).unwrap();
            }
            Some(_) => unpacked = zstd::decode_all(&reply.body[..]).unwrap(),
            None => unpacked = reply.body.to_vec(),
        }
        assert_eq!(unpacked, plain.body, "{accepted}");
        assert!(packed.is_none() || reply.body.len() < unpacked.len() / 2);
        let head = ask("HEAD", accepted).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-encoding"), packed, "{accepted}");
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn packs_nothing_else() {
    let host = Host::start().await;
    let name = "views-unpacked";
    host.ran(name, &[], "seq 1 100").await;
    for accepted in ["gzip, zstd", "*", "*;q=0", "identity;q=0"] {
        let headers = [("accept-encoding", accepted)];
        for route in ["logs/stream", "logs?follow=true", "logs", "start"] {
            let path = format!("/containers/{name}/{route}");
            let reply = host.agent.request("GET", &path, &headers, "").await;
            assert_eq!(reply.status, 200, "{path}, {accepted}");
            assert_eq!(reply.header("content-encoding"), None, "{path}");
            assert_eq!(reply.header("vary"), None, "{path}");
            // What is not packed can be read.
            reply.text();
            host.engine.docker(&["wait", name]).await;
        }
        let path = "/containers/views-nobody/logs/download";
        let refused = host.agent.request("GET", path, &headers, "").await;
        assert_refused(&refused, 404, path);
        assert_eq!(refused.header("content-encoding"), None);
    }
    host.engine.remove(name).await;
}
