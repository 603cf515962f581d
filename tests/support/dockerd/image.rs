//! The test image, made without a registry.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs};

use tokio::process::Command;

use super::{IMAGE, RealEngine};

/// Puts a static busybox and a link for each of its applets into a tar, and that into the engine.
pub(super) async fn import(engine: &RealEngine) {
    let root = tempfile::tempdir_in(engine.folder.path()).unwrap();
    let bin = root.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::create_dir(root.path().join("tmp")).unwrap();
    fs::copy(busybox(), bin.join("busybox")).unwrap();
    let list = output(Command::new(busybox()).arg("--list")).await;
    for applet in list.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    let tar = engine.folder.path().join("image.tar");
    output(
        Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(root.path())
            .arg("."),
    )
    .await;
    let tar_path = tar.to_str().expect("the folder's name is UTF-8");
    engine
        .docker(&["import", "--change", r#"CMD ["sh"]"#, tar_path, IMAGE])
        .await;
    fs::remove_file(&tar).unwrap();
}

fn busybox() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain([PathBuf::from("/bin")])
        .map(|folder| folder.join("busybox"))
        .find(|program| Path::is_file(program));
    found.expect("there is no busybox: install a static one (Debian: busybox-static)")
}

async fn output(command: &mut Command) -> String {
    let output = command.output().await;
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
