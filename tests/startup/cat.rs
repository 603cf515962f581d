//! The image's `cat`: the same binary by another name.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn cat() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cat");
    symlink(env!("CARGO_BIN_EXE_docker-ps-agent"), &program).unwrap();
    (folder, program)
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

#[test]
fn prints_files_one_after_the_other() {
    let (folder, program) = cat();
    let (one, other) = (folder.path().join("1"), folder.path().join("2"));
    fs::write(&one, "one\n").unwrap();
    fs::write(&other, b"\xff\0other").unwrap();
    let output = run(Command::new(&program).args([&one, &other]), b"");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"one\n\xff\0other");
    assert_eq!(output.stderr, b"");
}

#[test]
fn prints_its_input_for_a_dash_and_for_nothing() {
    let (_folder, program) = cat();
    for args in [&["-"][..], &[]] {
        let output = run(Command::new(&program).args(args), b"from the input");
        assert!(output.status.success());
        assert_eq!(output.stdout, b"from the input");
    }
}

#[test]
fn names_a_missing_file_prints_the_others_and_fails() {
    let (folder, program) = cat();
    let (there, missing) = (folder.path().join("there"), folder.path().join("missing"));
    fs::write(&there, "there").unwrap();
    let output = run(Command::new(&program).args([&missing, &there]), b"");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"there");
    let said = String::from_utf8(output.stderr).unwrap();
    let wanted = format!("cat: {}: No such file", missing.display());
    assert!(said.starts_with(&wanted), "{said}");
}
