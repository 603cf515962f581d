//! An engine that comes back and is not ready yet.

use jiff::Timestamp;

use super::Client;
use super::growing::Growing;
use crate::support::fixture::agent_on;
use crate::support::scripted::{Answer, STDOUT};

#[tokio::test]
async fn refusals_of_an_engine_that_starts_do_not_end_a_stream() {
    let log = Growing::default();
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client.open(&agent, "/containers/c/logs/stream").await;
    log.write(STDOUT, Timestamp::now(), "before");
    client.take(&mut stream, 1).await;

    engine.crash().await;
    let busy = Answer::message(409, "not yet");
    let asked = engine.requests_to("GET", "/containers/*/logs").len();
    engine.route("GET", "/containers/*/logs", busy);
    engine.start_again().await;
    // More often than a failing log is read again, without an outage before.
    engine
        .wait_for_more(asked + 6, "GET", "/containers/*/logs")
        .await;
    log.write(STDOUT, Timestamp::now(), "after");
    log.serve(&engine);
    client.take(&mut stream, 1).await;
    assert!(client.lines.last().unwrap().ends_with(" after"));
    assert_eq!((client.lines.len(), client.gaps), (2, 0));
}
