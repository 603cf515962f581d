//! Whatever happens to the key's file ends the service; whatever does not happen to it does not.

use std::fs::{self, File, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::is_key;
use super::watching::{AT_ONCE, LAST_WORDS, Watching, tells_who_asks_then};
use crate::support::agent::Agent;
use crate::support::client::Client;
use crate::support::fixture::engine_with_log;
use crate::support::scripted::Answer;
use crate::support::wait::{self, SOON};

async fn ends_on(change: impl FnOnce(&Path)) {
    Watching::start().await.ends_on(change).await;
}

/// Another key, as good as the one that was there.
fn other_key() -> String {
    format!("docker_ps_{}", "7".repeat(128))
}

#[tokio::test]
async fn ends_on_an_edit_in_place() {
    ends_on(|file| {
        let mut key = fs::read_to_string(file).unwrap();
        let last = if key.pop() == Some('0') { '1' } else { '0' };
        key.push(last);
        fs::write(file, key).unwrap();
    })
    .await;
}

/// It takes half a second to be seen, and a quarter to be told; the rest is for the machine, which may be held up once.
#[tokio::test]
async fn ends_within_two_seconds() {
    let mut took = Vec::new();
    while took.iter().all(|took| *took > Duration::from_secs(2)) {
        assert!(took.len() < 3, "{took:?}");
        let change = |file: &Path| fs::write(file, other_key()).unwrap();
        took.push(Watching::start().await.ends_on(change).await);
    }
}

#[tokio::test]
async fn ends_on_a_truncation() {
    ends_on(|file| drop(File::create(file).unwrap())).await;
}

#[tokio::test]
async fn ends_on_a_deletion_and_makes_a_new_key_on_the_next_start() {
    let watching = Watching::start().await;
    let file = watching.file();
    watching
        .ends_on(|file| fs::remove_file(file).unwrap())
        .await;
    assert!(!file.exists(), "a new key before the next start");
    let again = watching.start_again().await;
    assert!(is_key(&again.key));
    assert_ne!(again.key, watching.agent.key);
    let old = again.get_with_key("/", Some(&watching.agent.key)).await;
    assert_eq!(old.status, 401);
}

#[tokio::test]
async fn ends_on_another_file_in_its_place() {
    let rename = |file: &Path| {
        let other = file.with_extension("new");
        fs::write(&other, other_key()).unwrap();
        fs::rename(other, file).unwrap();
    };
    ends_on(rename).await;
}

#[tokio::test]
async fn ends_on_another_file_with_the_same_content() {
    let rename = |file: &Path| {
        let other = file.with_extension("new");
        fs::copy(file, &other).unwrap();
        fs::rename(other, file).unwrap();
    };
    ends_on(rename).await;
}

#[tokio::test]
async fn ends_on_another_mode() {
    ends_on(|file| fs::set_permissions(file, Permissions::from_mode(0o640)).unwrap()).await;
}

#[tokio::test]
async fn ends_on_another_owner() {
    ends_on(|file| chown(file, Some(1000), None).unwrap()).await;
}

#[tokio::test]
async fn ends_when_the_folder_is_removed() {
    ends_on(|file| fs::remove_dir_all(file.parent().unwrap()).unwrap()).await;
}

#[tokio::test]
async fn ends_when_the_folder_is_replaced() {
    let replace = |file: &Path| {
        let folder = file.parent().unwrap();
        let old = folder.with_extension("old");
        fs::rename(folder, &old).unwrap();
        fs::create_dir(folder).unwrap();
        fs::copy(old.join("_auth.key"), file).unwrap();
    };
    ends_on(replace).await;
}

#[tokio::test]
async fn goes_on_when_the_file_is_only_touched() {
    let watching = Watching::start().await;
    let file = watching.file();
    let touched = File::options().write(true).open(&file).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let key = fs::read(&file).unwrap();
    // Over itself, without a moment in which it is shorter.
    std::os::unix::fs::FileExt::write_all_at(&touched, &key, 0).unwrap();
    fs::write(file.with_file_name("neighbour"), "").unwrap();
    // That nothing happens can only be waited for: as long as a change may take to be noticed, twice.
    let noticed = watching.agent.wait_for_output(LAST_WORDS);
    let noticed = tokio::time::timeout(Duration::from_secs(2), noticed).await;
    assert!(noticed.is_err(), "a touch ended the service");
    assert_eq!(watching.agent.get("/").await.status, 200);
}

/// Its own log, say, goes to a collector that hangs.
#[tokio::test]
async fn ends_also_where_nobody_reads_what_it_says() {
    const SCRIPT: &str = r#"/usr/bin/mkfifo "$FIFO" && exec 3<>"$FIFO" && exec "$0" >"$FIFO""#;
    let list = Answer::json(200, "[]");
    let engine = engine_with_log(Answer::bytes(200, "")).route("GET", "/containers/json", list);
    let engine = engine.start().await;
    let folder = tempfile::tempdir().unwrap();
    // It cannot say which port it got, and nobody else listens there.
    let address: SocketAddr = "127.0.0.2:3999".parse().unwrap();
    let builder = Agent::builder()
        .docker_host(engine.docker_host())
        .data_dir(folder.path())
        .env("LISTEN_ADDR", address.to_string())
        .env("FIFO", folder.path().join("fifo"))
        .program("/bin/sh")
        .args_before(&["-c", SCRIPT, env!("CARGO_BIN_EXE_docker-ps-agent")]);
    fs::write(builder.key_file(), other_key()).unwrap();
    let agent = builder.spawn();
    wait::until("it listens", SOON, async || {
        TcpStream::connect(address).is_ok()
    })
    .await;
    let client = Client::new(address).with_key(other_key());
    // Until the pipe is full.
    while timeout(Duration::from_secs(1), client.get("/containers"))
        .await
        .is_ok()
    {}
    fs::remove_file(builder.key_file()).unwrap();
    let status = agent.wait_exit(AT_ONCE).await;
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn tells_who_asks_before_it_ends() {
    tells_who_asks_then().await;
}
