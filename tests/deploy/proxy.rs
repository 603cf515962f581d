//! Debian's reverse proxies in front of a live agent, as the files below `deploy/` set them up.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::{fs, process};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::contract::host::Host;
use crate::support::wait::{self, SOON};

/// The proxies that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    Haproxy,
}

/// A proxy that answers, with a certificate of its own that nobody trusts.
pub struct Proxy {
    port: u16,
    key: String,
    _process: Child,
    _folder: TempDir,
}

impl Proxy {
    /// Starts a proxy in front of the host's agent.
    pub async fn start(kind: Kind, host: &Host) -> Self {
        Self::in_front_of(kind, host.agent.client.address, &host.agent.key).await
    }

    /// Starts a proxy in front of what listens there.
    pub async fn in_front_of(kind: Kind, agent: SocketAddr, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // nginx's worker is another user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        certify(folder.path());
        let port = free_port();
        let mut command = command(kind, folder.path(), port, agent);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let mut process = process
            .unwrap_or_else(|error| panic!("{kind:?} cannot be started ({error}): install it"));
        wait::until("the proxy listens", SOON, async || {
            let said = fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(
                process.try_wait().unwrap().is_none(),
                "{kind:?} ended: {said}"
            );
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_ok()
        })
        .await;
        Self {
            port,
            key: key.into(),
            _process: process,
            _folder: folder,
        }
    }

    /// curl for a path, which shows the key and believes any certificate.
    pub fn curl(&self, options: &[&str], path: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--insecure", "--no-buffer"])
            .args(["--header", &format!("x-auth-key: {}", self.key)])
            .args(options)
            .arg(format!("https://localhost:{}{path}", self.port))
            .kill_on_drop(true);
        curl
    }

    /// A client that begins a request, and lives until it is sent away.
    pub async fn half_a_head(&self) -> Child {
        let address = format!("localhost:{}", self.port);
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = client.stdin.as_mut().unwrap();
        input.write_all(b"GET / HT").await.unwrap();
        client
    }

    /// The body of an answer that is a success.
    pub async fn get(&self, options: &[&str], path: &str) -> Vec<u8> {
        let output = self.curl(&[options, &["--fail"]].concat(), path).output();
        let output = wait::within(path, SOON, output).await.unwrap();
        assert!(output.status.success(), "{path}: {output:?}");
        output.stdout
    }

    /// An answer, line by line as it arrives; dropping it ends the client. Like browsers, it would take it compressed.
    pub fn follow(&self, options: &[&str], path: &str) -> Followed {
        let mut child = self
            .curl(&[options, &["--compressed"]].concat(), path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Followed {
            lines,
            _child: child,
        }
    }
}

/// The lines that a client gets.
pub struct Followed {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Followed {
    /// The next line with `mark` in it.
    pub async fn line_with(&mut self, mark: &str) -> String {
        loop {
            let line = wait::within("a line through the proxy", SOON, self.lines.next_line()).await;
            let line = line.unwrap().expect("the stream goes on");
            if line.contains(mark) {
                return line;
            }
        }
    }
}

fn command(kind: Kind, folder: &Path, port: u16, agent: SocketAddr) -> Command {
    let at = |name: &str| folder.join(name).display().to_string();
    match kind {
        Kind::Nginx => {
            let config = deployed("nginx.conf")
                .swap("listen 443 ", &format!("listen 127.0.0.1:{port} "))
                .swap("127.0.0.1:3000", &agent.to_string())
                .swap("/etc/ssl/agent/fullchain.pem", &at("cert.pem"))
                .swap("/etc/ssl/agent/privkey.pem", &at("key.pem"));
            fs::write(at("nginx.conf"), config.0).unwrap();
            // One process, so that ending it ends all of nginx.
            let more = format!(
                "pid {}; error_log stderr; daemon off; master_process off;",
                at("pid")
            );
            let mut nginx = Command::new("nginx");
            nginx.args(["-c", &at("nginx.conf"), "-g", &more]);
            nginx
        }
        Kind::Caddy => {
            let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/Caddyfile");
            let mut caddy = Command::new("caddy");
            caddy
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(config);
            caddy
                .env("AGENT_SITE", format!("https://localhost:{port}"))
                .env("AGENT_UPSTREAM", agent.to_string())
                .env(
                    "AGENT_TLS",
                    format!("tls {} {}", at("cert.pem"), at("key.pem")),
                )
                .env("CADDY_ADMIN", "off")
                .env("HOME", folder);
            caddy
        }
        Kind::Haproxy => {
            let pem = fs::read_to_string(at("cert.pem")).unwrap()
                + &fs::read_to_string(at("key.pem")).unwrap();
            fs::write(at("both.pem"), pem).unwrap();
            let config = deployed("haproxy.cfg")
                .swap("bind :443 ", &format!("bind 127.0.0.1:{port} "))
                .swap("127.0.0.1:3000", &agent.to_string())
                .swap("/etc/ssl/agent/both.pem", &at("both.pem"));
            fs::write(at("haproxy.cfg"), config.0).unwrap();
            let mut haproxy = Command::new("haproxy");
            haproxy.args(["-db", "-f", &at("haproxy.cfg")]);
            haproxy
        }
    }
}

/// A file below `deploy/`, to be changed as a user would.
pub struct Deployed(pub String);

pub fn deployed(name: &str) -> Deployed {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    Deployed(fs::read_to_string(path).unwrap())
}

impl Deployed {
    /// Replaces a value that must be there.
    pub fn swap(self, default: &str, value: &str) -> Self {
        assert!(self.0.contains(default), "no {default} in:\n{}", self.0);
        Self(self.0.replace(default, value))
    }
}

fn certify(folder: &Path) {
    let made = process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "1", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output();
    let made = made.unwrap_or_else(|error| panic!("openssl cannot be run ({error}): install it"));
    assert!(made.status.success(), "{made:?}");
}

/// A port that was free just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// How long after it was written a line of a log has arrived, if it was right now.
pub fn age(line: &str) -> Duration {
    let time = line
        .split(['"', ' '])
        .find_map(|word| word.parse::<jiff::Timestamp>().ok());
    let time = time.unwrap_or_else(|| panic!("no time in {line}"));
    Duration::try_from(jiff::Timestamp::now().duration_since(time)).unwrap_or_default()
}
