//! The key is made on the first start, and is the same on every other.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::is_key;
use crate::support::agent::Agent;
use crate::support::nobody::Nobody;
use crate::support::scripted::ScriptedEngine;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn is_made_on_the_first_start_and_kept() {
    let engine = ScriptedEngine::new().start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    assert!(!builder.key_file().exists());
    let agent = builder.start().await;
    assert!(is_key(&agent.key), "{}", agent.key);
    assert_eq!(agent.get("/").await.status, 200);
    let file = builder.key_file();
    assert_eq!(fs::read_to_string(&file).unwrap(), agent.key);
    assert_eq!(mode(&file), 0o600);
    let files = fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "a draft was left behind");

    let key = agent.key.clone();
    drop(agent);
    let again = builder.start().await;
    assert_eq!(again.key, key);
    assert_eq!(again.get("/").await.status, 200);
}

#[tokio::test]
async fn differs_from_installation_to_installation() {
    let engine = ScriptedEngine::new().start().await;
    let [one, other] = [0; 2].map(|_| Agent::builder().docker_host(engine.docker_host()));
    assert_ne!(one.start().await.key, other.start().await.key);
}

#[tokio::test]
async fn is_below_the_working_directory_by_default() {
    let engine = ScriptedEngine::new().start().await;
    let folder = tempfile::tempdir().unwrap();
    let builder = Agent::builder()
        .docker_host(engine.docker_host())
        .without("DATA_DIR")
        .current_dir(folder.path());
    let agent = builder.start().await;
    let file = folder.path().join("data/_auth.key");
    assert_eq!(fs::read_to_string(file).unwrap(), agent.key);
}

#[tokio::test]
async fn is_printed_on_one_line_at_every_start_in_either_form_of_log() {
    let engine = ScriptedEngine::new().start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    for format in ["json", "json", "pretty"] {
        let agent = builder.clone().env("LOG_FORMAT", format).spawn();
        let line = agent.wait_for_output("Your Auth Key").await.text;
        let key = fs::read_to_string(builder.key_file()).unwrap();
        assert_eq!(line, format!("Your Auth Key: {key}"));
        agent.wait_for_output("listening").await;
        assert_eq!(agent.output().matches(&key).count(), 1);
    }
}

#[tokio::test]
async fn is_not_printed_where_that_is_switched_off() {
    let engine = ScriptedEngine::new().start().await;
    let builder = Agent::builder()
        .docker_host(engine.docker_host())
        .env("SHOW_KEY", "false");
    for _ in 0..2 {
        let agent = builder.start().await;
        assert!(is_key(&agent.key));
        assert_eq!(agent.get("/").await.status, 200);
        assert!(!agent.output().contains("Auth Key"), "{}", agent.output());
        assert!(!agent.output().contains(&agent.key[10..]));
    }
}

/// A key of other installations: as good as one that was made.
fn other_key() -> String {
    format!("docker_ps_{}", "0123456789abcdef".repeat(8))
}

#[tokio::test]
async fn of_the_original_agent_is_kept_and_taken_away_from_others() {
    let engine = ScriptedEngine::new().start().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let file = builder.key_file();
    fs::write(&file, other_key()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let agent = builder.start().await;
    assert_eq!(agent.key, other_key());
    assert_eq!(agent.get("/").await.status, 200);
    assert_eq!(fs::read_to_string(&file).unwrap(), other_key());
    assert_eq!(mode(&file), 0o600);
}

#[tokio::test]
async fn that_is_somebody_elses_file_is_used_with_a_warning() {
    let engine = ScriptedEngine::new().tcp().start().await;
    let nobody = Nobody::new();
    fs::write(nobody.key_file(), other_key()).unwrap();
    fs::set_permissions(nobody.key_file(), Permissions::from_mode(0o644)).unwrap();
    let builder = nobody.agent().docker_host(engine.docker_host());
    let agent = builder.start().await;
    assert_eq!(agent.get("/").await.status, 200);
    assert_eq!(mode(&nobody.key_file()), 0o644);
    let warning = agent.wait_for_output("open to other users").await;
    assert_eq!(warning.event().unwrap()["level"], "WARN");
}

#[tokio::test]
async fn may_have_white_space_around_it() {
    let engine = ScriptedEngine::new().start().await;
    for content in [
        format!("{}\n", other_key()),
        format!(" \t\r\n{}", other_key()),
        format!("{}\r\n\r\n", other_key()),
    ] {
        let builder = Agent::builder().docker_host(engine.docker_host());
        fs::write(builder.key_file(), &content).unwrap();
        let agent = builder.start().await;
        assert_eq!(agent.key, other_key());
        assert_eq!(agent.get("/").await.status, 200);
        let now = fs::read_to_string(builder.key_file()).unwrap();
        assert_eq!(now, content, "the file was changed");
    }
}
