//! The logs of many containers in one stream.

use serde_json::Value;

use super::{Client, assert_same, line_of};
use crate::contract::host::{Host, text};
use crate::support::client::EventStream;
use crate::support::wait::SOON;

/// Waits for the event that says this of a container.
pub async fn says(stream: &mut EventStream, name: &str, state: &str) {
    loop {
        let event = stream.next(SOON).await.expect("the stream goes on");
        if event.name() == "container" && event.json()["name"] == name {
            assert_eq!(event.json()["state"], state);
            return;
        }
    }
}

#[tokio::test]
async fn merges_what_was_written_before_by_time() {
    let host = Host::start().await;
    let script = "for i in 1 2 3 4 5; do echo $HOSTNAME $i; sleep 0.1; done";
    let names = ["many-a", "many-b", "many-c"];
    for name in names {
        let options = ["--hostname", name, "--label", "many=merged"];
        host.engine.run(name, &options, script).await;
    }
    for name in names {
        host.engine.docker(&["wait", name]).await;
    }
    let selected = "/logs/stream?container=many-a&container=many-b&container=many-c";
    for path in [selected, "/logs/stream?label=many%3Dmerged"] {
        let mut client = Client::default();
        let mut stream = client.open(&host.agent, path).await;
        client.take(&mut stream, 15).await;
        assert!(client.lines.is_sorted(), "{:#?}", client.lines);
        for name in names {
            let own = client
                .lines
                .iter()
                .filter(|line| text(line).starts_with(name));
            assert_eq!(own.count(), 5);
        }
    }
    for name in names {
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn resumes_all_of_them_with_one_cursor() {
    let host = Host::start().await;
    let script = "i=0; while :; do echo $HOSTNAME $i; i=$((i+1)); sleep 0.01; done";
    let names = ["resumed-a", "resumed-b"];
    for name in names {
        let options = ["--hostname", name, "--label", "many=resumed"];
        host.engine.run(name, &options, script).await;
    }
    let path = "/logs/stream?label=many%3Dresumed&tail=all";
    let mut client = Client::default();
    let few = |client: &Client, name: &str| {
        let own = |line: &&String| text(line).starts_with(name);
        client.lines.iter().filter(own).count() <= 50
    };
    let mut rounds = 0;
    // The first may be far ahead when the second begins.
    while rounds < 5 || names.iter().any(|name| few(&client, name)) {
        let mut stream = client.open(&host.agent, path).await;
        client.take(&mut stream, 60).await;
        rounds += 1;
    }
    for name in names {
        let seen: Vec<_> = client
            .lines
            .iter()
            .map(|line| text(line).to_owned())
            .filter(|line| line.starts_with(name))
            .collect();
        let wanted: Vec<_> = (0..seen.len())
            .map(|number| format!("{name} {number}"))
            .collect();
        assert_same(&seen, &wanted, name);
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn says_who_comes_and_goes() {
    let host = Host::start().await;
    let label = ["--label", "com.docker.compose.project=shop"];
    let mut stream = host.agent.sse("/logs/stream?project=shop").await;
    assert_eq!(stream.next(SOON).await.unwrap().name(), "connected");
    host.engine
        .run("comes", &label, "echo hello; sleep 600")
        .await;
    says(&mut stream, "comes", "joined").await;
    let event = stream.next(SOON).await.unwrap();
    assert_eq!(text(&line_of(&event).unwrap()), "hello");
    let data: Value = event.json();
    assert_eq!(data["container"]["name"], "comes");
    assert_eq!(data["stream"], "stdout");
    host.engine.docker(&["stop", "-t", "0", "comes"]).await;
    says(&mut stream, "comes", "stopped").await;
    host.engine.docker(&["start", "comes"]).await;
    says(&mut stream, "comes", "started").await;
    let event = stream.next(SOON).await.unwrap();
    let line = line_of(&event).unwrap_or_else(|| panic!("{event:?}"));
    assert_eq!(text(&line), "hello");
    host.engine.remove("comes").await;
    says(&mut stream, "comes", "stopped").await;
    says(&mut stream, "comes", "removed").await;
}

#[tokio::test]
async fn refuses_what_selects_nothing_or_does_not_exist() {
    let host = Host::start().await;
    for (query, status) in [
        ("", 400),
        ("?all=no", 400),
        ("?container=../x", 400),
        ("?container=nobody-here", 404),
    ] {
        let path = format!("/logs/stream{query}");
        assert_eq!(host.agent.get(&path).await.status, status, "{path}");
    }
}
