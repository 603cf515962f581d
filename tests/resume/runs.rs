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
