//! The values of secret variables, which nobody gets to see in a log.

use super::host::{Host, text};
use super::views::ALL;
use crate::support::agent::Agent;
use crate::support::wait::SOON;

/// Options of a container with a secret, and with some that are none.
const SECRET: [&str; 6] = [
    "-e",
    "DB_PASSWORD=hunter2",
    "-e",
    "SHORT_KEY=abc",
    "-e",
    "DB_DSN=db://there",
];

/// A line that the engine cuts within the secret.
fn cut_within_the_secret() -> String {
    format!(
        "head -c {} /dev/zero | tr '\\0' -; echo \"$DB_PASSWORD end\"",
        16_384 - 3
    )
}

#[tokio::test]
async fn hides_the_values_of_secret_variables() {
    let host = Host::start().await;
    let name = "views-redact";
    let script = format!(
        "echo pass $DB_PASSWORD, abc, $DB_DSN; echo $DB_PASSWORD >&2; {}",
        cut_within_the_secret()
    );
    host.ran(name, &SECRET, &script).await;
    let dashes = "-".repeat(16_384 - 3);
    let shown = |secret: &str| {
        let mut lines = vec![
            format!("pass {secret}, abc, db://there"),
            secret.to_owned(),
            format!("{dashes}{secret} end"),
        ];
        lines.sort();
        lines
    };
    // The two outputs come in any order.
    let sorted = async |query: &str| {
        let mut lines = host.shown_texts(name, query).await;
        lines.sort();
        lines
    };
    assert_eq!(sorted(ALL).await, shown("hunter2"));
    let redacted = format!("{ALL}&redact=env");
    assert_eq!(sorted(&redacted).await, shown("[redacted DB_PASSWORD]"));
    for search in ["grep=hunter2", "regex=hun", "grep=ter2"] {
        let found = host.shown(name, &format!("{redacted}&{search}")).await;
        assert!(found.is_empty(), "{search}: {found:?}");
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn hides_the_rest_of_a_secret_of_which_the_tail_gives_no_more() {
    let host = Host::start().await;
    let name = "views-redact-tail";
    host.ran(name, &SECRET, &cut_within_the_secret()).await;
    // The engine counts its own parts of a long line.
    assert_eq!(host.shown_texts(name, "tail=1").await, ["ter2 end"]);
    let shown = host.shown_texts(name, "tail=1&redact=env").await;
    assert_eq!(shown, ["[redacted DB_PASSWORD] end"]);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn hides_them_from_all_where_that_is_configured() {
    let agent = Agent::builder()
        .env("REDACT", "env")
        .env("REDACT_NAMES", "dsn, other");
    let host = Host::with(agent).await;
    let name = "views-forced";
    host.ran(name, &SECRET, "echo $DB_PASSWORD $DB_DSN").await;
    let expected = ["[redacted DB_PASSWORD] [redacted DB_DSN]"];
    for query in ["", "redact=env"] {
        assert_eq!(host.shown_texts(name, query).await, expected, "{query}");
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn hides_them_from_those_who_ask_among_others_who_follow() {
    let host = Host::start().await;
    let name = "redacted-among-others";
    let script = "while [ ! -e /go ]; do sleep 0.1; done; echo it is $DB_PASSWORD; sleep 600";
    host.engine.run(name, &SECRET, script).await;
    // Two of each, since what is made once for many is where one could get what is another's.
    let views = [
        ("", "it is hunter2"),
        ("&ansi=strip", "it is hunter2"),
        ("&ansi=strip&redact=env", "it is [redacted DB_PASSWORD]"),
    ];
    let mut streams = Vec::new();
    for (view, shown) in [views, views].concat() {
        for route in ["logs?follow=true&tail=0", "logs/stream?tail=0"] {
            let path = format!("/containers/{name}/{route}{view}");
            streams.push((host.agent.sse(&path).await, shown));
        }
    }
    host.engine.docker(&["exec", name, "touch", "/go"]).await;
    for (stream, shown) in &mut streams {
        let line = loop {
            let data = stream.next(SOON).await.unwrap().json();
            if let Some(line) = data.get("line").or(data.get("log")) {
                break text(line.as_str().unwrap()).to_owned();
            }
        };
        assert_eq!(line, *shown);
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn hides_them_in_files_and_in_the_logs_of_many() {
    let host = Host::start().await;
    let names = ["redacted-a", "redacted-b"];
    for (name, secret) in names.into_iter().zip(["B_KEY=hunter2", "B_KEY=beta-gamma"]) {
        let options = [
            "-e",
            "A_KEY=alpha-beta",
            "-e",
            secret,
            "--label",
            "redacted",
        ];
        let script = "echo hunter2, alpha-beta-gamma";
        host.ran(name, &options, script).await;
    }
    // Each by its own container's variables.
    let shown = [
        "[redacted B_KEY], [redacted A_KEY]-gamma",
        "hunter2, [redacted A_KEY]",
    ];
    let mut many = host
        .agent
        .sse("/logs/stream?label=redacted&redact=env")
        .await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let event = many.next(SOON).await.unwrap();
        if event.name() == "log" {
            let data = event.json();
            let line = data["log"].as_str().unwrap();
            seen.push((data["container"]["name"].clone(), text(line).to_owned()));
        }
    }
    for (name, shown) in names.into_iter().zip(shown) {
        assert!(seen.contains(&(name.into(), shown.into())), "{seen:?}");
        let path = format!("/containers/{name}/logs/download?format=ndjson&redact=env");
        assert_eq!(host.agent.get(&path).await.json()["text"], shown);
        host.engine.remove(name).await;
    }
}
