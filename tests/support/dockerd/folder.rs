//! The one folder that an engine lives in, and how to leave nothing of it behind, even after a test run was killed.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Unix socket paths end at 107 bytes, and containerd puts its own socket 40 below the folder.
const LONGEST: usize = 60;

/// An engine's folder: `data`, `exec`, `s` (the socket), `pid`, `log`, `lock` (held while its owner lives).
pub(super) struct Folder {
    folder: Option<TempDir>,
    lock: File,
}

impl Folder {
    /// A new folder; those whose owners died are cleared first.
    pub(super) fn make() -> Self {
        let base = base();
        fs::create_dir_all(&base).unwrap();
        // Between a folder's making and its locking nobody else may sweep.
        let all = File::create(base.join("lock")).unwrap();
        all.lock().unwrap();
        sweep(&base);
        let folder = tempfile::Builder::new().prefix("").tempdir_in(&base);
        let folder = folder.unwrap();
        let lock = File::create(folder.path().join("lock")).unwrap();
        lock.lock().unwrap();
        Self {
            folder: Some(folder),
            lock,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.as_ref().expect("there until dropped").path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let folder = self.folder.take().expect("dropped once").keep();
        clear(&folder);
        self.lock.unlock().ok();
    }
}

fn base() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-engines");
    match target.as_os_str().len() + "/123456".len() <= LONGEST {
        true => target,
        false => std::env::temp_dir().join("docker-ps-agent-test-engines"),
    }
}

fn sweep(base: &Path) {
    for entry in fs::read_dir(base).unwrap().flatten() {
        let lock = File::open(entry.path().join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            clear(&entry.path());
        }
    }
}

/// Ends what still runs in the folder, unmounts what is mounted there, removes it.
fn clear(folder: &Path) {
    let containers = containers(folder);
    kill_engine(folder);
    kill_containers(&containers);
    // A process that is just ending may still write; each round takes what it left.
    for _ in 0..1500 {
        unmount_all(folder);
        if remove_cgroups(&cgroup(folder))
            && mounts(folder).is_empty()
            && fs::remove_dir_all(folder).is_ok()
        {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    eprintln!("cannot remove {}", folder.display());
}

/// dockerd, its containerd and the shims: those whose arguments name the folder.
fn kill_engine(folder: &Path) {
    let inside = format!("{}/", folder.display());
    for (pid, process) in processes() {
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        let args = fs::read(process.join("cmdline")).unwrap_or_default();
        let ours = String::from_utf8_lossy(&args).contains(&inside);
        if ours && (name.starts_with("dockerd") || name.starts_with("containerd")) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// The ids of the containers that were not removed.
fn containers(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("data/containers"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Containers that outlive their shims: the processes whose cgroup names them.
fn kill_containers(ids: &[String]) {
    for (pid, process) in processes() {
        let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        if ids.iter().any(|id| cgroup.contains(id.as_str())) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// The control group that an engine in this folder puts its containers below. The name of the temporary folder is in it,
/// by which tests/isolated.sh finds what a killed run has left.
pub(super) fn cgroup(folder: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.display().to_string());
    let run = name(&std::env::temp_dir()).unwrap_or_default();
    format!("{run}-{}", name(folder).expect("a folder has a name"))
}

/// Removes the groups that a killed shim could not, one for each hierarchy of version 1, or one of version 2, and the one
/// above them. False while one is in use.
fn remove_cgroups(name: &str) -> bool {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    let mut roots: Vec<PathBuf> = hierarchies.map(|entry| entry.path()).collect();
    roots.push(root.to_owned());
    roots.iter().fold(true, |all, root| {
        let group = root.join(name);
        for inner in fs::read_dir(&group).into_iter().flatten().flatten() {
            // What is no group is a file of the kernel's, and stays.
            fs::remove_dir(inner.path()).ok();
        }
        fs::remove_dir(&group).ok();
        all && !group.exists()
    })
}

fn processes() -> impl Iterator<Item = (Pid, PathBuf)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((Pid::from_raw(pid)?, entry.path()))
    })
}

fn unmount_all(folder: &Path) {
    for mount in mounts(folder).iter().rev() {
        unmount(mount, UnmountFlags::DETACH).ok();
    }
}

/// What is mounted below the folder, in the order of mounting.
fn mounts(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap();
    let points = table
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    points
        .map(|point| PathBuf::from(std::ffi::OsStr::from_bytes(point)))
        .filter(|point| point.starts_with(folder))
        .collect()
}
