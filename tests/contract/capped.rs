//! Lines that are longer than a line may be.

use super::host::{Host, STAMP, text};
use super::split::{ruler, ruler_script};
use crate::support::agent::Agent;
use crate::support::client::EventStream;
use crate::support::wait::SOON;

impl Host {
    /// The lines of a stream of either dialect: each with whether it goes on with the one before.
    async fn streamed(&self, path: &str) -> Vec<(String, bool)> {
        let events = self.events(path).await.into_iter();
        let data =
            events.map(|(_, data)| serde_json::from_str::<serde_json::Value>(&data).unwrap());
        let lines = data.filter_map(|data| {
            let line = data.get("log").or(data.get("line"))?.as_str()?;
            let continued = data.get("continued").is_some_and(|is| is == true);
            (line != "[Log stream ended]").then(|| (line.to_owned(), continued))
        });
        lines.collect()
    }
}

/// Asserts that these are a text's parts, each as long as it may be and with the time of the first.
fn assert_parts(lines: &[(String, bool)], whole: &str, cap: usize) {
    let parts: Vec<_> = whole.as_bytes().chunks(cap).collect();
    assert_eq!(lines.len(), parts.len());
    for (number, ((line, continued), part)) in lines.iter().zip(parts).enumerate() {
        assert!(text(line).as_bytes() == part, "part {number}");
        assert_eq!(line[..STAMP], lines[0].0[..STAMP], "part {number}");
        assert_eq!(*continued, number > 0, "part {number}");
    }
}

#[tokio::test]
async fn goes_on_with_a_line_that_is_too_long_in_further_ones() {
    const CAP: usize = 20_000;
    let cap = CAP.to_string();
    let host = Host::with(Agent::builder().env("MAX_LINE_BYTES", cap)).await;
    for (name, options) in [("capped-frames", &[][..]), ("capped-terminal", &["-t"])] {
        let lengths = [50_000, CAP, 3, CAP + 1];
        let script: Vec<_> = lengths.iter().map(|length| ruler_script(*length)).collect();
        host.ran(name, options, &script.join("; ")).await;
        let wholes = lengths.map(ruler);
        for route in ["logs/stream", "logs?follow=true"] {
            let lines = host.streamed(&format!("/containers/{name}/{route}")).await;
            assert_eq!(lines.len(), 3 + 1 + 1 + 2, "{name} {route}");
            for (range, whole) in [0..3, 3..4, 4..5, 5..7].into_iter().zip(&wholes) {
                assert_parts(&lines[range], whole, CAP);
            }
        }
        let texts = host.texts(name).await;
        assert_eq!(texts.len(), 7, "{name}");
        assert_eq!(texts.concat(), wholes.concat(), "{name}");
        let file = host.download(name).await;
        assert_eq!(file.lines().map(text).collect::<String>(), wholes.concat());
        host.engine.remove(name).await;
    }
}

/// The engine's tail begins within the line, and would have it cut elsewhere.
#[tokio::test]
async fn cuts_the_end_of_a_log_as_all_of_it() {
    let host = Host::start().await;
    let name = "capped-tail";
    const CAP: usize = 1024 * 1024;
    host.ran(name, &[], &format!("echo first; {}", ruler_script(3 * CAP)))
        .await;
    let path = format!("/containers/{name}/logs/stream");
    let lines = host.streamed(&path).await;
    assert_parts(&lines, &ruler(3 * CAP), CAP);
    let mut stream = host.agent.sse(&path).await;
    let part = async |stream: &mut EventStream| loop {
        let event = stream.next(SOON).await.unwrap();
        assert_ne!(event.name(), "gap");
        if event.name() == "log" {
            return event;
        }
    };
    let cursor = part(&mut stream).await.id.unwrap();
    let mut stream = host.agent.sse(&format!("{path}?after={cursor}")).await;
    for number in 1..3 {
        let event = part(&mut stream).await;
        let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        let line = data["log"].as_str().unwrap();
        assert!(text(line) == &ruler(3 * CAP)[number * CAP..][..CAP]);
    }
    host.engine.remove(name).await;
}

#[tokio::test]
async fn takes_a_line_of_a_mebibyte_and_no_longer_one() {
    const CAP: usize = 1024 * 1024;
    let host = Host::start().await;
    let name = "capped-default";
    let lengths = [CAP, CAP + 1000];
    let script = lengths.map(ruler_script).join("; ");
    host.ran(name, &[], &script).await;
    // All of it, since the engine's tail counts the pieces into which it cuts lines.
    let lines = host
        .streamed(&format!("/containers/{name}/logs/stream?tail=all"))
        .await;
    assert_eq!(lines.len(), 3);
    assert_parts(&lines[..1], &ruler(CAP), CAP);
    assert_parts(&lines[1..], &ruler(CAP + 1000), CAP);
    host.engine.remove(name).await;
}
