//! A log whose lines all have one time: only their number tells them apart.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Client, assert_same};
use crate::support::fixture::{agent_on, engine_with_log};
use crate::support::scripted::{Answer, RunningEngine, STDERR, STDOUT, frame, line, timestamp};

/// A log that grows, as an engine gives it: all of it or the last lines, and then what comes.
#[derive(Clone)]
struct Growing(Arc<watch::Sender<Vec<Vec<u8>>>>);

impl Growing {
    fn write(&self, number: usize) {
        let source = if number.is_multiple_of(3) {
            STDERR
        } else {
            STDOUT
        };
        let record = frame(source, line(1, format!("line {number}")));
        self.0.send_modify(|records| records.push(record));
    }

    async fn engine(&self) -> RunningEngine {
        let this = self.clone();
        let engine = engine_with_log(Answer::bytes(200, ""));
        let engine = engine.route_fn("GET", "/containers/*/logs", move |request| {
            let follows = request.query_value("follow").unwrap() == "1";
            let tail = request.query_value("tail").unwrap();
            let this = this.clone();
            Answer::stream(move |handle| {
                let (mut records, tail) = (this.0.subscribe(), tail.clone());
                async move {
                    let mut at = match tail.parse::<usize>() {
                        Ok(many) => records.borrow().len().saturating_sub(many),
                        Err(_) => 0,
                    };
                    loop {
                        let new = records.borrow_and_update()[at..].to_vec();
                        at += new.len();
                        if !new.is_empty() {
                            handle.send(new.concat()).await;
                        }
                        if !follows {
                            return;
                        }
                        tokio::select! {
                            _ = records.changed() => {}
                            () = handle.closed() => return,
                        }
                    }
                }
            })
        });
        engine.start().await
    }
}

#[tokio::test]
async fn are_given_once_each_to_clients_that_come_back() {
    const LINES: usize = 3000;
    let log = Growing(Arc::new(watch::Sender::default()));
    for number in 0..1500 {
        log.write(number);
    }
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let mut clients: Vec<_> = (0..10).map(|_| Client::default()).collect();
    let path = "/containers/c/logs/stream?tail=all";
    let mut open = Vec::new();
    for client in &clients {
        open.push(client.open(&agent, path).await);
    }
    let mut number = 1500;
    for round in 0_usize.. {
        // Each takes another part, and every other one leaves and comes back.
        for (index, (client, stream)) in clients.iter_mut().zip(&mut open).enumerate() {
            let left = number - client.lines.len();
            client.take(stream, left.min(100 + 37 * index)).await;
            if (index + round).is_multiple_of(2) {
                *stream = client.open(&agent, path).await;
            }
        }
        if number == LINES {
            break;
        }
        for _ in 0..100 {
            log.write(number);
            number += 1;
        }
    }
    let time = timestamp(1);
    let wanted: Vec<_> = (0..LINES)
        .map(|number| format!("{time} line {number}"))
        .collect();
    for (index, (mut client, mut stream)) in clients.into_iter().zip(open).enumerate() {
        let left = LINES - client.lines.len();
        client.take(&mut stream, left).await;
        assert_eq!(client.gaps, 0);
        assert_same(&client.lines, &wanted, &format!("client {index}"));
    }
}
