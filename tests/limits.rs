//! The limits of a connection and of the service, and what happens beyond them.

mod connections;
mod heads;
mod peers;
mod request_id;
mod strangers;

use crate::support::agent::Agent;
use crate::support::client::Client;

/// What came back, head by head: the status line's version and status.
fn status_lines(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers);
    let lines = text.match_indices("HTTP/1.");
    lines
        .map(|(at, _)| text[at..].chars().take(12).collect())
        .collect()
}

/// What a connection still gives before it is closed.
async fn rest_of(agent: &Agent, request: &str) -> Vec<String> {
    status_lines(&agent.raw(request).await)
}

/// The value of a metric that has no labels, or exactly these.
async fn metric(agent: &Agent, series: &str) -> f64 {
    let metrics: &Client = agent.metrics.as_ref().unwrap();
    let text = metrics.get("/metrics").await;
    let line = text
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(series));
    let value = line.unwrap_or_else(|| panic!("{series} is not in\n{}", text.text()));
    value.trim().parse().unwrap()
}
