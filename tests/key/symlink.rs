//! A key file that is a symlink is watched at its target.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::watching::Watching;

fn a_key(digit: char) -> String {
    format!("docker_ps_{}", digit.to_string().repeat(128))
}

/// An agent whose key file is a symlink, and its target.
async fn linked() -> (Watching, PathBuf) {
    let mut target = PathBuf::new();
    let watching = Watching::start_with(|file| {
        target = file.parent().unwrap().with_file_name("secret");
        fs::write(&target, a_key('a')).unwrap();
        symlink(&target, file).unwrap();
    })
    .await;
    assert_eq!(watching.agent.key, a_key('a'));
    assert!(watching.file().is_symlink(), "the link was replaced");
    (watching, target)
}

#[tokio::test]
async fn ends_when_the_target_is_edited() {
    let (watching, target) = linked().await;
    watching
        .ends_on(|_| fs::write(&target, a_key('b')).unwrap())
        .await;
}

#[tokio::test]
async fn ends_when_the_target_is_replaced() {
    let (watching, target) = linked().await;
    let replace = |_: &Path| {
        let other = target.with_extension("new");
        fs::copy(&target, &other).unwrap();
        fs::rename(&other, &target).unwrap();
    };
    watching.ends_on(replace).await;
}

#[tokio::test]
async fn ends_when_the_link_points_elsewhere() {
    let (watching, target) = linked().await;
    let point = |file: &Path| {
        let other = target.with_extension("other");
        fs::write(&other, a_key('a')).unwrap();
        let link = file.with_extension("link");
        symlink(&other, &link).unwrap();
        fs::rename(link, file).unwrap();
    };
    watching.ends_on(point).await;
}
