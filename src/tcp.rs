//! TCP connections, of clients and to an engine elsewhere.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How long a peer may leave what was sent unacknowledged. A client that reads slowly acknowledges
/// whenever it makes room, which at some KiB a second is about once a minute.
const UNACKNOWLEDGED: Duration = Duration::from_secs(180);

/// When an idle connection is probed for the first time, and how often from then on.
const PROBE: Duration = Duration::from_secs(30);

/// Sends at once, and sees to it that a peer which has vanished is noticed.
///
/// # Errors
///
/// Those of the operating system, where the peer has gone already.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(PROBE).with_interval(PROBE);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_peer_is_looked_after() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let stream = stream.await.unwrap();
        prepare(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
