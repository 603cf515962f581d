//! A log whose lines all have one time and one ending: only their number tells them apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::RwLock;

use super::growing::Growing;
use super::killed::{Now, restart};
use super::{Client, assert_same};
use crate::support::agent::Agent;
use crate::support::fixture::agent_on;
use crate::support::scripted::{STDERR, STDOUT, timestamp};
use crate::support::wait::{self, SOON};

const CLIENTS: usize = 50;
const LINES: usize = 3000;
const PATH: &str = "/containers/c/logs/stream?tail=all";

fn text(number: usize) -> String {
    format!("line {number} of the log")
}

impl Growing {
    fn number(&self, number: usize) {
        let source = if number.is_multiple_of(3) {
            STDERR
        } else {
            STDOUT
        };
        let time: Timestamp = timestamp(1).parse().unwrap();
        self.write(source, time, &text(number));
    }
}

/// Follows with a break after each so many lines, until it has all.
async fn follow(now: Now, many: usize, progress: Arc<AtomicUsize>) -> Client {
    let mut client = Client::default();
    while client.lines.len() < LINES {
        let now = now.read().await;
        let agent = now
            .as_ref()
            .expect("an agent is there but while it is replaced");
        let headers: Vec<_> = client
            .cursor
            .iter()
            .map(|cursor| ("last-event-id", cursor.as_str()))
            .collect();
        let mut stream = agent.sse_with(PATH, &headers).await;
        drop(now);
        if stream.status != 200 {
            assert_eq!(stream.status, 502);
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let enough = (client.lines.len() + many).min(LINES);
        while client.lines.len() < enough {
            match stream.try_next(4 * SOON).await {
                Ok(Some(event)) => {
                    let before = client.lines.len();
                    client.keep(&event);
                    progress.fetch_add(client.lines.len() - before, Ordering::Relaxed);
                }
                _ => break,
            }
        }
    }
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn are_given_once_each_to_clients_that_come_back_whatever_is_killed() {
    let log = Growing::default();
    (0..LINES / 2).for_each(|number| log.number(number));
    let engine = log.engine().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let now: Now = Arc::new(RwLock::new(Some(builder.start().await)));
    let progress = Arc::<AtomicUsize>::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let many = 150 + 7 * number;
            tokio::spawn(follow(Arc::clone(&now), many, Arc::clone(&progress)))
        })
        .collect();
    let mut number = LINES / 2;
    for round in 1..=15 {
        // In the middle of what there is to read. Without an engine nobody gets further.
        let enough = CLIENTS * (number - LINES / 4);
        if round != 8 {
            wait::until("the clients are further", 4 * SOON, async || {
                progress.load(Ordering::Relaxed) >= enough
            })
            .await;
        }
        match round {
            3 | 11 => restart(&now, &builder).await,
            7 => engine.crash().await,
            8 => engine.start_again().await,
            _ => {}
        }
        for _ in 0..LINES / 2 / 15 {
            log.number(number);
            number += 1;
        }
    }
    let time = timestamp(1);
    let wanted: Vec<_> = (0..LINES)
        .map(|number| format!("{time} {}", text(number)))
        .collect();
    for (index, client) in clients.into_iter().enumerate() {
        let client = wait::within("a client has all", 8 * SOON, client).await;
        let client = client.unwrap();
        assert_eq!(client.gaps, 0, "client {index}");
        assert_same(&client.lines, &wanted, &format!("client {index}"));
    }
}

#[tokio::test]
async fn are_counted_where_only_the_last_ones_are_wanted() {
    let log = Growing::default();
    let same: Timestamp = timestamp(1).parse().unwrap();
    for _ in 0..20 {
        log.write(STDOUT, same, "the same");
    }
    let engine = log.engine().await;
    let mut client = Client::default();
    let agent = agent_on(&engine).await;
    let mut stream = client
        .open(&agent, "/containers/c/logs/stream?tail=5")
        .await;
    client.take(&mut stream, 3).await;
    assert!(client.cursor.as_ref().unwrap().ends_with(".o17"));
    // An agent that has seen none of it.
    let agent = agent_on(&engine).await;
    log.write(STDOUT, same, "another");
    let mut stream = client.open(&agent, "/containers/c/logs/stream").await;
    client.take(&mut stream, 3).await;
    let texts: Vec<_> = client.lines[3..]
        .iter()
        .map(|line| crate::contract::host::text(line))
        .collect();
    assert_eq!(texts, ["the same", "the same", "another"]);
    assert_eq!(client.gaps, 0);
}
