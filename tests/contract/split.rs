//! Lines that the engine cuts after 16 KiB, and frames whose length looks like text.

use super::host::{Host, STAMP, frames, text};
use crate::support::wait::{self, SOON};

/// A text of that length in which every place looks different from its surroundings.
pub fn ruler(length: usize) -> String {
    let mut text = String::new();
    for number in 1.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&format!("{number}."));
    }
    text.truncate(length);
    text
}

/// A command that prints the [`ruler`] as a line.
pub fn ruler_script(length: usize) -> String {
    format!("seq 1 {length} | tr '\\n' . | head -c {length}; echo")
}

/// The texts of one stream as the engine's frames have them: put together, the repeated times not taken out.
fn payloads(log: &[u8], stream: u8) -> Vec<Vec<u8>> {
    let frames = frames(log).into_iter();
    let ours = frames.filter(|(source, _)| *source == stream);
    ours.map(|(_, payload)| payload).collect()
}

#[tokio::test]
async fn joins_lines_that_the_engine_has_cut() {
    let host = Host::start().await;
    let name = "split-long";
    let lengths = [
        1, 16383, 16384, 16385, 32767, 32768, 32769, 40000, 200_000, 2,
    ];
    let script: Vec<_> = lengths.iter().map(|length| ruler_script(*length)).collect();
    host.ran(name, &[], &script.join("; ")).await;
    let cut = payloads(&host.raw_log(name).await, 1);
    assert!(cut.len() > lengths.len() + 15, "the engine cuts");
    assert!(cut.iter().any(|payload| payload.len() == STAMP + 16384));

    let expected: Vec<_> = lengths.iter().map(|length| ruler(*length)).collect();
    assert_eq!(host.texts(name).await, expected);
    let file = host.download(name).await;
    assert_eq!(file.lines().map(text).collect::<Vec<_>>(), expected);
    let path = format!("/containers/{name}/logs/stream");
    let events = host.events(&path).await.into_iter();
    let logs = events.filter(|(event, _)| event.as_deref() == Some("log"));
    let lines: Vec<String> = logs
        .map(|(_, data)| serde_json::from_str::<serde_json::Value>(&data).unwrap())
        .map(|data| text(data["log"].as_str().unwrap()).to_owned())
        .collect();
    assert_eq!(lines, expected);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn keeps_the_outputs_apart_where_they_are_cut_between_each_other() {
    let host = Host::start().await;
    let name = "split-both";
    // Both outputs write half a line, then the other half, twice.
    let half = |number: usize| {
        format!(
            "seq 1 40000 | tr '\\n' . | tail -c +{} | head -c 20000",
            number * 20000 + 1
        )
    };
    let rounds = format!(
        "for i in 1 2; do {0}; {0} >&2; sleep 0.1; {1}; echo; {1} >&2; echo >&2; echo; done",
        half(0),
        half(1)
    );
    // An engine that is held up reads all of one output first.
    for _ in 0..5 {
        host.ran(name, &[], &rounds).await;
        let log = host.raw_log(name).await;
        assert_eq!(host.texts(name).await, vec![ruler(40000); 4]);
        host.engine.remove(name).await;
        let sources: Vec<_> = frames(&log).iter().map(|(source, _)| *source).collect();
        if sources.windows(2).filter(|pair| pair[0] != pair[1]).count() >= 3 {
            return;
        }
    }
    panic!("the outputs are never mixed");
}

#[tokio::test]
async fn reads_lengths_that_hold_a_line_feed() {
    let host = Host::start().await;
    let name = "split-lengths";
    // Payloads of 0x010A, 0x0A00, 0x0A0A and 0x0AFF bytes, and of two plain lengths around them.
    let payloads = [0x010A, 0x0A00, 0x0A0A, 0x0AFF, 0x0100, 0x0B00];
    let lengths = payloads.map(|payload| payload - STAMP - 1);
    let script: Vec<_> = lengths.iter().map(|length| ruler_script(*length)).collect();
    host.ran(name, &[], &script.join("; ")).await;
    let seen: Vec<_> = frames(&host.raw_log(name).await)
        .iter()
        .map(|(_, payload)| payload.len())
        .collect();
    assert_eq!(seen, payloads);
    let expected = lengths.map(ruler);
    assert_eq!(host.texts(name).await, expected);
    let file = host.download(name).await;
    assert_eq!(file.lines().map(text).collect::<Vec<_>>(), expected);
    host.engine.remove(name).await;
}

#[tokio::test]
async fn gives_a_last_line_that_was_not_ended() {
    let host = Host::start().await;
    for (name, length) in [("split-open", 7), ("split-open-long", 20000)] {
        let script = format!("echo one; seq 1 {length} | tr '\\n' . | head -c {length}");
        host.ran(name, &[], &script).await;
        assert!(!host.raw_log(name).await.ends_with(b"\n"));
        let expected = ["one".to_owned(), ruler(length)];
        assert_eq!(host.texts(name).await, expected);
        let file = host.download(name).await;
        assert_eq!(file.split('\n').map(text).collect::<Vec<_>>(), expected);
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn does_not_join_the_lines_of_two_runs() {
    let host = Host::start().await;
    for (name, length) in [("split-runs", 10), ("split-runs-long", 20000)] {
        let script = format!("seq 1 {length} | tr '\\n' . | head -c {length}");
        host.ran(name, &[], &script).await;
        host.engine.docker(&["start", name]).await;
        host.engine.docker(&["wait", name]).await;
        let expected = vec![ruler(length); 2];
        assert_eq!(host.texts(name).await, expected);
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn waits_for_the_rest_of_a_line_while_it_follows() {
    let host = Host::start().await;
    let name = "split-follow";
    let script = "echo ready; seq 1 40000 | tr '\\n' . | head -c 20000; until [ -e /go ]; do sleep 0.01; done; \
                  seq 1 40000 | tr '\\n' . | tail -c +20001 | head -c 20000; echo; sleep 600";
    host.engine.run(name, &[], script).await;
    let mut stream = host
        .agent
        .sse(&format!("/containers/{name}/logs/stream"))
        .await;
    let mut next = async || stream.next(SOON).await.unwrap();
    assert_eq!(next().await.name(), "connected");
    let ready = next().await.json();
    assert_eq!(text(ready["log"].as_str().unwrap()), "ready");
    wait::until("half a line is in the log", SOON, async || {
        host.raw_log(name).await.len() > 16384
    })
    .await;
    host.engine.docker(&["exec", name, "touch", "/go"]).await;
    let whole = next().await.json();
    assert_eq!(text(whole["log"].as_str().unwrap()), ruler(40000));
    host.engine.remove(name).await;
}
