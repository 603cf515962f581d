//! TCP connections, of clients and to an engine elsewhere.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// When an idle connection is probed for the first time, and how often from then on.
const PROBE: Duration = Duration::from_secs(30);

/// How many probes in a row go unanswered where the peer has vanished.
const PROBES: u32 = 5;

/// Sends at once, and sees to it that a peer which has vanished is noticed: within three minutes where nothing is sent, else
/// when the system gives up sending it again, mostly after a quarter of an hour. A peer that is there may read as slowly as
/// it likes, and stop reading for any time, as who pages through a download does; a limit for what is not acknowledged
/// would be one for that too.
///
/// # Errors
///
/// Those of the operating system, where the peer has gone already.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE)
        .with_interval(PROBE)
        .with_retries(PROBES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
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
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
    }
}
