//! How often the agent allocates for a request, on a connection that is kept and to an engine that is connected.
//!
//! A test binary of its own, since the allocator that counts is one for all of it. The server has a thread to
//! itself, which is the one that is counted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test reports by panicking, and says what it has counted"
)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

use allocation_counter::measure;
use docker_ps_agent::{
    engine::Engine,
    logs::{Redaction, hub::Limits},
    server::{Listener, Workers},
    service::ContainerService,
    stack::stack,
};
use middleware::auth::KeyDigest;
use tokio::{runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

const KEY: &str = "a key";
const REQUESTS: u64 = 1000;
const LIMITS: Limits = Limits {
    readers: 16,
    readers_per_container: 4,
    followers: 16,
    followers_per_container: 16,
};

/// A connection to an engine answers every request with an inspect.
fn engine(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    let body = format!("{{\"Id\":\"{}\"}}", "x".repeat(4000));
    let answer = format!(
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nDocker-Experimental: false\r\n\
         Ostype: linux\r\nServer: Docker/20.10.24 (linux)\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let (mut buffer, mut asked) = ([0; 4096], Vec::new());
                while let Ok(len @ 1..) = stream.read(&mut buffer) {
                    asked.extend_from_slice(&buffer[..len]);
                    if asked.ends_with(b"\r\n\r\n") {
                        asked.clear();
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
}

/// Asks one request after the other, so many times.
fn ask(stream: &mut TcpStream, path: &str, times: u64) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nx-auth-key: {KEY}\r\n\r\n");
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).unwrap();
        let mut read = 0;
        loop {
            let len = stream.read(&mut buffer[read..]).unwrap();
            assert!(len > 0, "the connection was closed");
            read += len;
            let answer = String::from_utf8_lossy(&buffer[..read]);
            let Some((head, body)) = answer.split_once("\r\n\r\n") else {
                continue;
            };
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            if length.unwrap().parse() == Ok(body.len()) {
                break;
            }
        }
    }
}

/// How many allocations a request for `path` costs, and how many bytes.
fn allocations(path: &'static str) -> (f64, f64) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    engine(&socket);
    let (send, receive) = mpsc::channel();
    let server = thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (warm, is_warm) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let (go, may_go) = mpsc::channel();
        let _inside = runtime.enter();
        let address = free();
        let listener = Listener::bind("api", address, 16).unwrap();
        let engine = Engine::new(&format!("unix://{}", socket.display()).parse().unwrap(), 4);
        let stop = CancellationToken::new();
        let redaction = Redaction::default();
        let service = ContainerService::new(engine, 1 << 20, LIMITS, redaction, stop.clone());
        let service = stack(service, KeyDigest::of(KEY.as_bytes()), stop.clone());
        runtime.spawn(listener.serve(service, Workers::here(), stop, std::future::ready(())));
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
            ask(&mut stream, path, 100);
            warm.send(()).unwrap();
            may_go.recv().unwrap();
            ask(&mut stream, path, REQUESTS);
            done.send(()).unwrap();
        });
        runtime.block_on(is_warm).unwrap();
        let counted = measure(|| {
            go.send(()).unwrap();
            runtime.block_on(is_done).unwrap();
        });
        client.join().unwrap();
        send.send((counted.count_total, counted.bytes_total))
            .unwrap();
    });
    let (count, bytes) = receive.recv().unwrap();
    server.join().unwrap();
    let each = |total: u64| total as f64 / REQUESTS as f64;
    println!(
        "GET {path}: {:.1} allocations, {:.0} bytes",
        each(count),
        each(bytes)
    );
    (each(count), each(bytes))
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn health_costs_few() {
    let (count, _) = allocations("/");
    assert!(count <= 11.1, "{count} allocations");
}

#[test]
fn an_inspect_costs_few() {
    let (count, _) = allocations("/containers/abc");
    assert!(count <= 35.1, "{count} allocations");
}
