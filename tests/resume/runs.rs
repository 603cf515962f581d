//! Containers that stop and start again: streams end with the run that they joined, with its last words.

use super::{Client, line_of};
use crate::contract::host::{Host, text};
use crate::support::client::EventStream;
use crate::support::wait::SOON;

/// Says which run it is, then something now and then.
const TICKER: &str = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; \
                      seq 1 900 | while read i; do echo line $i of the run $n is long; done; \
                      echo run $n; while :; do echo tick $n; sleep 0.1; done";

/// Reads up to the line with this text; false where the stream ends before.
async fn reaches(client: &mut Client, stream: &mut EventStream, wanted: &str) -> bool {
    while let Some(event) = stream.next(SOON).await {
        client.keep(&event);
        if line_of(&event).is_some_and(|line| text(&line) == wanted) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_stop_that_others_went_over_does_not_end_who_joined_later() {
    let host = Host::start().await;
    host.engine.run("runs", &[], TICKER).await;
    let path = "/containers/runs/logs/stream";
    let [mut stays, mut leaves, mut new] = [(); 3].map(|()| Client::default());
    let mut over = stays
        .open(&host.agent, &format!("{path}?restarts=follow&tail=all"))
        .await;
    assert!(reaches(&mut stays, &mut over, "tick 1").await);
    let mut stream = leaves.open(&host.agent, path).await;
    leaves.take(&mut stream, 1).await;
    let mut many = host.agent.sse("/logs/stream?container=runs").await;
    assert!(reaches(&mut Client::default(), &mut many, "tick 1").await);

    host.engine.docker(&["restart", "-t", "0", "runs"]).await;
    assert!(!reaches(&mut leaves, &mut stream, "run 2").await);
    // As soon as it runs, whether or not it has been seen to be.
    let mut stream = leaves.open(&host.agent, path).await;
    assert!(reaches(&mut leaves, &mut stream, "run 2").await);
    assert!(reaches(&mut stays, &mut over, "tick 2").await);
    let mut stream = leaves.open(&host.agent, path).await;
    assert!(reaches(&mut leaves, &mut stream, "tick 2").await);
    let mut stream = new.open(&host.agent, &format!("{path}?tail=all")).await;
    assert!(reaches(&mut new, &mut stream, "tick 2").await);
    assert!(reaches(&mut Client::default(), &mut many, "tick 2").await);
    host.engine.remove("runs").await;
}

#[tokio::test]
async fn last_words_without_a_newline_come_before_the_end() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; \
                  trap 'end=1' USR1; echo run $n; until [ $end ]; do sleep 0.01; done; printf 'last of %s' $n";
    for (name, options) in [("words-frames", &[][..]), ("words-terminal", &["-t"])] {
        host.engine.run(name, options, script).await;
        let path = format!("/containers/{name}/logs/stream");
        let mut clients = [(); 2].map(|()| Client::default());
        let [ends, stays] = &mut clients;
        let mut stream = ends.open(&host.agent, &path).await;
        let mut over = stays
            .open(&host.agent, &format!("{path}?restarts=follow"))
            .await;
        for run in 1..=2 {
            let [begun, last] = [format!("run {run}"), format!("last of {run}")];
            // A line of its own, though the log of a terminal holds both runs as one.
            assert!(reaches(stays, &mut over, &begun).await, "{name}");
            assert!(reaches(ends, &mut stream, &begun).await, "{name}");
            host.engine.docker(&["kill", "-s", "USR1", name]).await;
            assert!(reaches(ends, &mut stream, &last).await, "{name}");
            assert_eq!(stream.next(SOON).await.unwrap().name(), "close");
            assert!(reaches(stays, &mut over, &last).await, "{name}");
            if run == 1 {
                host.engine.docker(&["start", name]).await;
                stream = ends.open(&host.agent, &path).await;
            }
        }
        let texts = clients.map(|client| {
            assert_eq!(client.gaps, 0, "{name}");
            let texts = client.lines.iter().map(|line| text(line).to_owned());
            texts.collect::<Vec<_>>()
        });
        let wanted = ["run 1", "last of 1", "run 2", "last of 2"];
        assert_eq!(texts, [wanted, wanted], "{name}");
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn a_cursor_behind_last_words_goes_on_with_the_next_run() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; echo run $n; \
                  [ $n -gt 1 ] || { printf prompt; exit; }; echo second; sleep 600";
    for (name, options) in [("seam-frames", &[][..]), ("seam-terminal", &["-t"])] {
        host.ran(name, options, script).await;
        let path = format!("/containers/{name}/logs/stream");
        let mut client = Client::default();
        let mut stream = client.open(&host.agent, &path).await;
        assert!(reaches(&mut client, &mut stream, "prompt").await, "{name}");
        host.engine.docker(&["start", name]).await;
        // Behind the last words, and behind what a terminal's log has in one line with them.
        for wanted in ["run 2", "second"] {
            let mut stream = client.open(&host.agent, &path).await;
            assert!(reaches(&mut client, &mut stream, wanted).await, "{name}");
        }
        assert_eq!((client.lines.len(), client.gaps), (4, 0), "{name}");
        host.engine.remove(name).await;
    }
}
