//! A log that grows on the scripted engine, given as an engine gives one: the last lines or all since a time,
//! and then what comes.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::support::fixture::{ID, engine_with_log, running};
use crate::support::scripted::{Answer, Recorded, RunningEngine, frame};

/// The cursor of a container's line of this time in nanoseconds.
pub fn cursor(nanos: i128) -> String {
    format!("{}.{nanos}.o0", &ID[..12])
}

/// Lines, each with its time and as a frame.
type Records = Vec<(Timestamp, Vec<u8>)>;

/// The log; clones share it.
#[derive(Clone, Default)]
pub struct Growing(Arc<watch::Sender<Records>>);

impl Growing {
    /// Adds a line of this time.
    pub fn write(&self, source: u8, time: Timestamp, text: &str) {
        self.write_part(source, time, &format!("{text}\n"));
    }

    /// Adds what may be a part of a line.
    pub fn write_part(&self, source: u8, time: Timestamp, text: &str) {
        let record = frame(source, format!("{time:.9} {text}"));
        self.0.send_modify(|records| records.push((time, record)));
    }

    /// The engine of a running container with this log.
    pub async fn engine(&self) -> RunningEngine {
        let engine = engine_with_log(Answer::bytes(200, ""));
        let engine = engine.route("GET", "/containers/*/json", running(ID));
        let engine = engine.start().await;
        self.serve(&engine);
        engine
    }

    /// Makes this the log of the engine's containers.
    pub fn serve(&self, engine: &RunningEngine) {
        let this = self.clone();
        engine.route_fn("GET", "/containers/*/logs", move |request| {
            this.answer(request)
        });
    }

    /// What an engine with this log answers.
    pub fn answer(&self, request: &Recorded) -> Answer {
        let value = |name: &str| request.query_value(name);
        let follows = value("follow").unwrap() == "1";
        let tail = value("tail").unwrap().parse::<usize>().ok();
        let since = value("since").map_or(Timestamp::UNIX_EPOCH, |since| {
            Timestamp::UNIX_EPOCH + seconds(&since)
        });
        let this = self.clone();
        Answer::stream(move |handle| {
            let mut records = this.0.subscribe();
            async move {
                let mut at = tail.map_or(0, |many| records.borrow().len().saturating_sub(many));
                loop {
                    let new: Vec<_> = {
                        let all = records.borrow_and_update();
                        let new = all[at..].iter().filter(|(time, _)| *time >= since);
                        let new = new.map(|(_, record)| record.clone()).collect();
                        at = all.len();
                        new
                    };
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
    }
}

/// Seconds with up to nine decimals.
fn seconds(text: &str) -> jiff::SignedDuration {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part = format!("{part:0<9}").parse().unwrap();
    jiff::SignedDuration::new(whole.parse().unwrap(), part)
}
