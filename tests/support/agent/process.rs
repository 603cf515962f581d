//! The agent's process: its output, its end, and what it uses.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::output::{Line, Output, field};
use crate::support::wait;

/// A child process; killed on drop. If the test failed, what it said is shown.
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    output: Output,
    _data: Arc<TempDir>,
}

impl Process {
    pub(super) fn spawn(mut command: Command, data: Arc<TempDir>) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            pid: child.id(),
            child: Mutex::new(child),
            output,
            _data: data,
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Everything said so far on both outputs, in the order of arrival.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// The lines so far, each with its source.
    pub fn lines(&self) -> Vec<Line> {
        self.output.look(|said| said.lines.clone())
    }

    /// The JSON log events so far.
    pub fn events(&self) -> Vec<Value> {
        self.lines().iter().filter_map(Line::event).collect()
    }

    /// The first line that holds `text`; panics when there is none soon, or the process ends without it.
    pub async fn wait_for_output(&self, text: &str) -> Line {
        let line = |line: &&Line| line.text.contains(text);
        let probe = self
            .output
            .wait(|said| said.lines.iter().find(line).is_some());
        let found = tokio::time::timeout(wait::SOON, probe).await;
        assert!(
            found == Ok(true),
            "never said {text:?}, but:\n{}",
            self.output()
        );
        self.lines().iter().find(line).cloned().unwrap()
    }

    /// Waits for the process to end by itself, and for the last of its output.
    pub async fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        let what = format!("the process's end; it said:\n{}", self.output());
        let status = wait::found(&what, deadline, async || self.exited()).await;
        wait::within(&what, wait::SOON, self.output.wait(|_| false)).await;
        status
    }

    /// The exit status, once there is one.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        // The child is not reaped behind our back: the number is still its own, unless `exited` has said otherwise.
        if self.exited().is_none() {
            kill_process(Pid::from_raw(self.pid as i32).unwrap(), signal).unwrap();
        }
    }

    /// Kills the process, and returns when it is gone.
    pub fn kill9(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Resident memory now, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most resident memory there ever was, in bytes.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Processor time used so far, in user and kernel mode.
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field, the name, may hold spaces; the numbers after it start with field 3.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    pub fn open_fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid))
            .unwrap()
            .count()
    }

    pub fn threads(&self) -> u64 {
        self.status_kib("Threads:")
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.unwrap().parse().unwrap()
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The address of the listener of this name, from the log event that announces it.
    pub(super) async fn listening(&self, listener: &str) -> SocketAddr {
        let address = |line: &Line| -> Option<SocketAddr> {
            let Some(event) = line.event() else {
                // The log for people: `listening listener="api" address=127.0.0.1:3000`.
                let name = format!("listening listener=\"{listener}\" address=");
                return line.text.split_once(&name)?.1.parse().ok();
            };
            let ours =
                field(&event, "message")? == "listening" && field(&event, "listener")? == listener;
            ours.then(|| field(&event, "address")?.parse().ok())?
        };
        let probe = self
            .output
            .wait(|said| said.lines.iter().any(|line| address(line).is_some()));
        tokio::time::timeout(wait::SOON, probe).await.ok();
        let found = self.lines().iter().find_map(address);
        found.unwrap_or_else(|| panic!("no {listener} listener, but:\n{}", self.output()))
    }

    /// The key, if it has been printed.
    pub fn printed_key(&self) -> Option<String> {
        self.output.look(|said| {
            let mut lines = said.lines.iter();
            let rest = lines
                .find_map(|line| line.text.split_once("Your Auth Key: "))?
                .1;
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            Some(rest[..end.unwrap_or(rest.len())].to_owned())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        child.kill().ok();
        child.wait().ok();
        if std::thread::panicking() {
            eprintln!("process {} said:\n{}", self.pid, self.output.text());
        }
    }
}
