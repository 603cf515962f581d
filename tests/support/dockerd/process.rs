//! dockerd as a child process. Standard library only: a shared engine outlives the runtime of the test that began it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::folder::cgroup;

/// How long dockerd, or the CLI while cleaning up, may take to end.
const BOUND: Duration = Duration::from_secs(20);

pub(super) struct Dockerd {
    folder: PathBuf,
    flags: Vec<String>,
    network: Network,
    child: Option<Child>,
}

/// What an engine's containers can be connected to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    /// Nothing.
    None,
    /// The engine's own bridge, in a network namespace of the engine's own. Its `/run` is its own too, so that there it is
    /// the engine at the default socket.
    Own,
}

impl Dockerd {
    pub(super) fn new(folder: &Path, flags: &[&str], network: Network) -> Self {
        Self {
            folder: folder.to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            network,
            child: None,
        }
    }

    /// The process whose namespaces the engine has.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().expect("dockerd runs").id()
    }

    pub(super) fn spawn(&mut self) {
        assert!(self.child.is_none(), "dockerd runs already");
        let at = |name: &str| self.folder.join(name);
        // A killed dockerd's containerd can stay a zombie that looks alive, and would be waited for.
        fs::remove_file(at("exec/containerd/containerd.pid")).ok();
        fs::remove_file(at("pid")).ok();
        let log = File::options().create(true).append(true).open(at("log"));
        let log = log.unwrap();
        // In a session of its own, as a service manager starts it: Linux shares out the processors among sessions first.
        let mut command = Command::new("setsid");
        match self.network {
            Network::None => command.args(["dockerd", "--bridge=none"]),
            Network::Own => {
                let script = "ip link set lo up && mount -t tmpfs run /run && exec dockerd \"$@\"";
                command
                    .args(["unshare", "--net", "--mount", "sh", "-c", script, "dockerd"])
                    .args(["-H", "unix:///run/docker.sock"])
            }
        };
        let child = command
            .arg("--data-root")
            .arg(at("data"))
            .arg("--exec-root")
            .arg(at("exec"))
            .arg("-H")
            .arg(format!("unix://{}", at("s").display()))
            .arg("-p")
            .arg(at("pid"))
            .arg("--iptables=false")
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--cgroup-parent", &format!("/{}", cgroup(&self.folder))])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| {
            panic!(
                "dockerd cannot be started ({error}): install a Docker Engine (Debian: docker.io)"
            )
        }));
    }

    /// Panics with the log when dockerd has ended.
    pub(super) fn assert_running(&mut self) {
        let child = self.child.as_mut().expect("dockerd was started");
        if let Some(status) = child.try_wait().unwrap() {
            self.child = None;
            panic!("dockerd ended ({status}):\n{}", self.log());
        }
    }

    /// SIGTERM, and SIGKILL when that is not enough.
    pub(super) fn terminate(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        if let Ok(None) = child.try_wait() {
            let pid = Pid::from_raw(child.id() as i32).unwrap();
            kill_process(pid, Signal::TERM).ok();
        }
        end(&mut child);
    }

    pub(super) fn kill(&mut self) {
        let mut child = self.child.take().expect("dockerd runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn remove_containers(&self) {
        let mut list = docker(&self.folder);
        let Ok(list) = list.args(["ps", "-aq"]).output() else {
            return;
        };
        let ids = String::from_utf8_lossy(&list.stdout).into_owned();
        if ids.trim().is_empty() {
            return;
        }
        let mut remove = docker(&self.folder);
        remove.args(["rm", "-f", "-v"]).args(ids.split_whitespace());
        if let Ok(mut child) = remove.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            end(&mut child);
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if let Some(Ok(None)) = self.child.as_mut().map(Child::try_wait) {
            self.remove_containers();
        }
        self.terminate();
    }
}

/// The docker CLI for the engine in this folder, with none of the user's settings.
pub(super) fn docker(folder: &Path) -> Command {
    let mut docker = Command::new("docker");
    docker
        .env_remove("DOCKER_CONTEXT")
        .env("DOCKER_CONFIG", folder)
        .arg("-H")
        .arg(format!("unix://{}", folder.join("s").display()))
        .stdin(Stdio::null());
    docker
}

/// Waits for a child to end; kills it when it takes too long.
fn end(child: &mut Child) {
    let start = Instant::now();
    while let Ok(None) = child.try_wait() {
        if start.elapsed() > BOUND {
            child.kill().ok();
            child.wait().ok();
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
