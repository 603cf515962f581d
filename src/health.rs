//! `docker-ps-agent health`: asks the agent on this machine whether it serves, with its key.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use middleware::BoxError;
use tokio::{net::TcpStream, time::timeout};

use crate::{config::Config, key, stack::AUTH_HEADER};

/// How long the agent may take. Its engine is not asked, so this is plenty.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the agent with this configuration answers.
///
/// # Errors
///
/// Why it does not.
pub async fn check(config: &Config) -> Result<(), BoxError> {
    timeout(PATIENCE, ask(config))
        .await
        .map_err(|_| "no answer in time")?
}

async fn ask(config: &Config) -> Result<(), BoxError> {
    let path = config.data_dir.join(key::FILE);
    let key = key::peek(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let stream = TcpStream::connect(from_here(config.api_addr())).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/")
        .header(HOST, "localhost")
        .header(AUTH_HEADER, key.reveal())
        .body(Empty::<Bytes>::new())?;
    let status = sender.send_request(request).await?.status();
    connection.abort();
    if status == StatusCode::OK {
        Ok(())
    } else {
        Err(format!("the agent answers {status}").into())
    }
}

/// Where to reach, on this machine, what listens at `address`.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        // What listens on every IPv6 address listens on the IPv4 ones too, and there may be no IPv6.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) | IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
            Ipv4Addr::LOCALHOST.into()
        }
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
