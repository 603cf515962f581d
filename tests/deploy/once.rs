//! That no proxy asks a second time for an action, which is a GET as reads are.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::proxy::{Kind, Proxy};

/// What answers reads, and breaks off when it is to act, as an agent that is killed.
struct BreaksOff {
    address: SocketAddr,
    acted: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl BreaksOff {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acted = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&acted);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&counted)));
            }
        });
        Self {
            address,
            acted,
            accepting: accepting.abort_handle(),
        }
    }
}

impl Drop for BreaksOff {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(client: TcpStream, acted: Arc<AtomicUsize>) {
    let mut client = BufReader::new(client);
    let mut path = String::new();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(asked) = line.strip_prefix("GET ") {
            path = asked.to_owned();
        }
        if line != "\r\n" {
            continue;
        }
        if path.starts_with("/containers/a/") {
            acted.fetch_add(1, Relaxed);
            return;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
        client.write_all(answer).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actions_are_asked_once_where_the_agent_breaks_off() {
    for kind in [Kind::Nginx, Kind::Caddy, Kind::Haproxy] {
        let agent = BreaksOff::start().await;
        let proxy = Proxy::in_front_of(kind, agent.address, "key").await;
        for action in ["start", "stop", "restart", "pause", "unpause", "remove"] {
            // Its connection is kept, and may be used for the next.
            assert_eq!(proxy.get(&[], "/").await, b"OK", "{kind:?}");
            let before = agent.acted.load(Relaxed);
            let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
            let path = format!("/containers/a/{action}?timeout=1");
            let refused = proxy.curl(&status, &path).output().await.unwrap();
            assert_eq!(refused.stdout, b"502", "{kind:?} {action}");
            let acted = agent.acted.load(Relaxed) - before;
            assert_eq!(acted, 1, "{kind:?} {action}");
        }
    }
}
