//! The agent's process is found, asked, watched and ended. A shell plays the agent, a scripted engine its API.

use rustix::process::Signal;

use crate::support::agent::{Agent, AgentBuilder, Source};
use crate::support::scripted::{RunningEngine, ScriptedEngine};
use crate::support::wait::{self, SOON};

fn shell(script: &str) -> AgentBuilder {
    Agent::builder().program("sh").arg("-c").arg(script)
}

fn announce(engine: &RunningEngine) -> String {
    let host = engine.docker_host();
    let address = host.strip_prefix("tcp://").unwrap();
    let line = |listener| {
        format!(
            r#"{{"level":"INFO","message":"listening","listener":"{listener}","address":"{address}"}}"#
        )
    };
    format!(
        "echo 'x Your Auth Key: docker_ps_0a \"'; echo noise >&2; echo '{}'; echo '{}'",
        line("api"),
        line("metrics")
    )
}

#[tokio::test]
async fn finds_the_listeners_and_the_key() {
    let api = ScriptedEngine::new().tcp().start().await;
    let agent = shell(&format!(
        "echo $DATA_DIR; {}; exec sleep 60",
        announce(&api)
    ));
    let agent = agent.docker_host("unix:///nowhere").start().await;
    assert_eq!(agent.wait_for_output("noise").await.source, Source::Stderr);
    assert_eq!(agent.printed_key().as_deref(), Some("docker_ps_0a"));
    assert_eq!(agent.get("/_ping").await.text(), "OK");
    assert_eq!(
        agent.get_with_key("/_ping", Some("other")).await.text(),
        "OK"
    );
    assert_eq!(
        agent.metrics.as_ref().unwrap().get("/_ping").await.text(),
        "OK"
    );
    assert_eq!(api.requests()[0].headers["x-auth-key"], agent.key);
    assert_eq!(api.requests()[1].headers["x-auth-key"], "other");
    assert!(!api.requests()[2].headers.contains_key("x-auth-key"));
    assert_eq!(agent.events().len(), 2);
    assert!(agent.rss_bytes() > 0 && agent.peak_rss_bytes() >= agent.rss_bytes());
    assert!(agent.open_fds() >= 3);
    agent.signal(Signal::TERM);
    assert!(agent.wait_exit(SOON).await.code().is_none());
}

#[tokio::test]
async fn gives_the_exit_status_and_the_last_words() {
    let failed = shell("echo to stdout; echo last words >&2; exit 3").spawn();
    assert_eq!(failed.wait_exit(SOON).await.code(), Some(3));
    assert!(
        failed.output().contains("last words"),
        "{}",
        failed.output()
    );
}

#[tokio::test]
async fn starts_with_a_clean_environment() {
    let shown = shell("env")
        .env("RUST_LOG", "debug")
        .without("LOG_FORMAT")
        .spawn();
    shown.wait_exit(SOON).await;
    let lines = shown.lines();
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| Some(line.text.split_once('=')?.0))
        .collect();
    for name in ["LISTEN_ADDR", "METRICS_ADDR", "DATA_DIR", "RUST_LOG"] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    for name in ["LOG_FORMAT", "HOME", "CARGO_MANIFEST_DIR"] {
        assert!(!names.contains(&name), "{name} is there");
    }
}

#[tokio::test]
async fn measures_processor_time_and_kills() {
    let busy = shell("while :; do :; done").spawn();
    wait::until("time is used", SOON, async || !busy.cpu_time().is_zero()).await;
    busy.kill9();
    assert!(busy.exited().is_some());
}
