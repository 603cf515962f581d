//! A bad key file ends the start with a word on what is wrong. It is deleted only if it was read and holds no key.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use super::is_key;
use crate::support::agent::{Agent, AgentBuilder};
use crate::support::nobody::{NOBODY, Nobody};
use crate::support::scripted::ScriptedEngine;
use crate::support::wait::SOON;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What an agent says that ends for its key.
async fn refuses(builder: &AgentBuilder) -> String {
    let agent = builder.spawn();
    let status = agent.wait_exit(SOON).await;
    let said = agent.output();
    assert_eq!(status.code(), Some(1), "{said}");
    let path = builder.key_file();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    assert!(!said.contains("listening"), "{said}");
    said
}

#[tokio::test]
async fn deletes_a_file_without_a_key_and_makes_a_new_one_next_time() {
    let engine = ScriptedEngine::new().start().await;
    let good = format!("docker_ps_{}", "a1".repeat(64));
    let too_long = format!("{good}0");
    let not_hex = good.replace('1', "g");
    let other_prefix = good.replace("_ps_", "_px_");
    let two_lines = format!("{good}\n{good}");
    let huge = "x".repeat(1 << 20);
    let contents: [(&[u8], &str); 9] = [
        (b"", "does not begin with docker_ps_"),
        (b"\n", "does not begin with docker_ps_"),
        (&good.as_bytes()[..good.len() - 1], "length is wrong"),
        (too_long.as_bytes(), "length is wrong"),
        (not_hex.as_bytes(), "other characters than hex digits"),
        (other_prefix.as_bytes(), "does not begin with docker_ps_"),
        (two_lines.as_bytes(), "length is wrong"),
        (huge.as_bytes(), "does not begin with docker_ps_"),
        (b"docker_ps_\xff\xfe", "is not text"),
    ];
    let builder = Agent::builder().docker_host(engine.docker_host());
    let file = builder.key_file();
    for (content, wanted) in contents {
        fs::write(&file, content).unwrap();
        let said = refuses(&builder).await;
        assert!(said.contains(wanted), "{wanted} is not in:\n{said}");
        assert!(said.contains("has been deleted"), "{said}");
        assert!(!file.exists());
        assert!(!said.contains(&good), "it shows what was in the file");
        let agent = builder.start().await;
        assert!(is_key(&agent.key) && agent.key != good);
    }
}

#[tokio::test]
async fn leaves_what_is_no_file_alone() {
    let engine = ScriptedEngine::new().start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let path = builder.key_file();

    fs::create_dir(&path).unwrap();
    let said = refuses(&builder).await;
    assert!(said.contains("Cannot read the auth key"), "{said}");
    assert!(path.is_dir());
    fs::remove_dir(&path).unwrap();

    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let said = refuses(&builder).await;
    assert!(said.contains("not a regular file"), "{said}");
    assert!(path.exists());
}

#[tokio::test]
async fn leaves_a_file_alone_that_it_may_not_read() {
    let engine = ScriptedEngine::new().tcp().start().await;
    let nobody = Nobody::new();
    fs::write(nobody.key_file(), "some key").unwrap();
    allow(&nobody.key_file(), 0o600);
    let said = refuses(&nobody.agent().docker_host(engine.docker_host())).await;
    assert!(said.contains("Cannot read the auth key"), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert_eq!(fs::read(nobody.key_file()).unwrap(), b"some key");
}

#[tokio::test]
async fn says_that_the_folder_is_not_writable() {
    let engine = ScriptedEngine::new().tcp().start().await;
    let nobody = Nobody::new();
    let folder = nobody.folder().join("data");
    chown(&folder, Some(0), Some(0)).unwrap();
    let agent = nobody.agent().docker_host(engine.docker_host());
    let said = refuses(&agent).await;
    assert!(said.contains("Cannot write the auth key to"), "{said}");
    assert!(said.contains("writable for this user"), "{said}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

    // The folder itself is to be made where nobody may make one.
    let missing = agent.data_dir(nobody.folder().join("missing"));
    let said = refuses(&missing).await;
    assert!(said.contains("Cannot write the auth key to"), "{said}");
}

#[tokio::test]
async fn says_that_a_bad_file_cannot_be_deleted() {
    let engine = ScriptedEngine::new().tcp().start().await;
    let nobody = Nobody::new();
    fs::write(nobody.key_file(), "no key").unwrap();
    chown(nobody.key_file(), Some(NOBODY), None).unwrap();
    chown(nobody.folder().join("data"), Some(0), Some(0)).unwrap();
    let said = refuses(&nobody.agent().docker_host(engine.docker_host())).await;
    assert!(said.contains("cannot be deleted"), "{said}");
    assert!(nobody.key_file().exists());
}
