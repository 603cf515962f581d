//! The agent as a user without rights, for what root is never refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use tempfile::TempDir;

use crate::support::agent::{Agent, AgentBuilder};

/// The user's and the group's number.
pub const NOBODY: u32 = 65534;

/// A folder that the user can enter and read, with the agent's program in it. Nothing in it is the user's but
/// `data`.
pub struct Nobody(TempDir);

impl Nobody {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("docker-ps-agent");
        // The build folder may be where nobody gets in.
        fs::copy(env!("CARGO_BIN_EXE_docker-ps-agent"), program).unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
        Self(folder)
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The key's file.
    pub fn key_file(&self) -> std::path::PathBuf {
        self.folder().join("data/_auth.key")
    }

    /// An agent that runs as this user, with its data in `data`.
    pub fn agent(&self) -> AgentBuilder {
        self.agent_in("--clear-groups")
    }

    /// The same in one more group.
    pub fn agent_in_group(&self, group: u32) -> AgentBuilder {
        self.agent_in(&format!("--groups={group}"))
    }

    fn agent_in(&self, groups: &str) -> AgentBuilder {
        Agent::builder()
            .program("setpriv")
            .arg(format!("--reuid={NOBODY}"))
            .arg(format!("--regid={NOBODY}"))
            .arg(groups)
            .arg(self.folder().join("docker-ps-agent"))
            .data_dir(self.folder().join("data"))
    }
}
