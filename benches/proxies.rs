//! What a user would take instead: nginx and HAProxy from Debian, which look at the key and hand on to the engine's socket.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::available_parallelism,
    time::Duration,
};

use crate::session::apart;

/// A running proxy.
pub(crate) struct Proxy {
    process: Child,
    /// What it hands on to the engine.
    pub(crate) address: SocketAddr,
    /// What nginx answers itself, once it has looked at the key.
    pub(crate) own: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// nginx in front of `socket`; on one core if one is given, else on all.
    pub(crate) fn nginx(socket: &Path, key: &str, core: Option<usize>) -> Self {
        let workers = core.map_or("auto", |_| "1");
        Self::start(core, &["nginx", "-c"], &[], |folder, address, own| {
            format!(
                "user root;\nworker_processes {workers};\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/log;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{\n\
                   access_log off;\n\
                   keepalive_requests 1000000000;\n\
                   upstream engine {{ server unix:{socket}; keepalive 128; keepalive_requests 1000000000; }}\n\
                   server {{\n\
                     listen {address};\n\
                     if ($http_x_auth_key != \"{key}\") {{ return 401; }}\n\
                     location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
                   }}\n\
                   server {{\n\
                     listen {own};\n\
                     if ($http_x_auth_key != \"{key}\") {{ return 401; }}\n\
                     location / {{ return 200 \"OK\"; }}\n\
                   }}\n\
                 }}\n",
                socket = socket.display(),
            )
        })
    }

    /// HAProxy in front of `socket`.
    pub(crate) fn haproxy(socket: &Path, key: &str, core: Option<usize>) -> Self {
        // As many as the others have, and as it takes.
        let all = available_parallelism()
            .expect("the system tells")
            .get()
            .min(64);
        let threads = core.map_or(all, |_| 1);
        Self::start(core, &["haproxy", "-f"], &["-db"], |_, address, own| {
            format!(
                "global\n nbthread {threads}\n maxconn 4096\n\
                 defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n http-reuse always\n\
                 frontend api\n bind {address}\n bind {own}\n\
                  http-request deny deny_status 401 unless {{ req.hdr(x-auth-key) -m str {key} }}\n\
                  default_backend engine\n\
                 backend engine\n server engine unix@{socket}\n",
                socket = socket.display(),
            )
        })
    }

    fn start(
        core: Option<usize>,
        program: &[&str],
        more: &[&str],
        config: impl FnOnce(&str, SocketAddr, SocketAddr) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (address, own) = (free(), free());
        let file = folder.path().join("config");
        let config = config(folder.path().to_str().unwrap(), address, own);
        fs::write(&file, config).unwrap();
        let words = apart(core);
        let mut process = Command::new(&words[0])
            .args(&words[1..])
            .args(program)
            .arg(&file)
            .args(more)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program[0]));
        while TcpStream::connect(address).is_err() {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "{} has ended: {ended:?}", program[0]);
            std::thread::sleep(Duration::from_millis(5));
        }
        Self {
            process,
            address,
            own,
            _folder: folder,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx's master takes its workers along when it is asked to end.
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
