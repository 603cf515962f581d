//! Many who watch: a hundred while twenty containers come and go, and as many as there may be.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use std::time::{Duration, Instant};

use docker_ps_agent::telemetry::name;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Stage;
use crate::metrics::samples::Samples;
use crate::support::agent::Agent;
use crate::support::client::EventStream;
use crate::support::dockerd::RealEngine;
use crate::support::fixture::{ID, agent_on};
use crate::support::scripted::{Answer, ScriptedEngine};
use crate::support::wait::{self, SOON};

const LISTENERS: usize = 100;
/// Of streams of both kinds.
const MOST: usize = 4096;
const CONTAINERS: usize = 20;
const TIME: Duration = Duration::from_secs(60);

/// By id, each without the time that it has been as it is, and that time in seconds.
type Known = BTreeMap<String, (Value, u64)>;
type Seen = Arc<Mutex<Known>>;

/// A container as it is known.
fn known(mut container: Value) -> (String, (Value, u64)) {
    let status = container["Status"].take();
    let words: Vec<&str> = status.as_str().unwrap().split(' ').collect();
    container["Status"] = Value::from(words[0]);
    let time = words.windows(2).find_map(|pair| {
        let unit = match pair[1].trim_end_matches('s') {
            "second" => 1,
            "minute" => 60,
            _ => return None,
        };
        // Less than a second, or about a minute.
        Some(pair[0].parse().unwrap_or(unit / 60) * unit)
    });
    let id = container["Id"].as_str().unwrap().to_owned();
    (id, (container, time.unwrap_or(0)))
}

/// Whether what is known is as it is now, but for time that has passed.
fn is_right(known: &Known, now: &Known) -> bool {
    known.len() == now.len()
        && known
            .iter()
            .zip(now)
            .all(|((id, (seen, then)), (other, (fresh, now)))| {
                id == other && seen == fresh && then <= now
            })
}

/// Keeps what a stream tells.
async fn watch(mut stream: EventStream, seen: Seen) {
    while let Some(event) = stream.next(2 * TIME).await {
        let mut data = event.json();
        let mut seen = seen.lock().unwrap();
        match event.name() {
            "snapshot" => {
                let all = data["containers"].take();
                let all = all.as_array().unwrap().iter().cloned();
                *seen = all.map(known).collect();
            }
            "changed" => {
                seen.extend([known(data)]);
            }
            "removed" => {
                seen.remove(data["Id"].as_str().unwrap());
            }
            other => panic!("{other}"),
        }
    }
}

async fn fresh(engine: &RealEngine) -> Known {
    let (.., list) = engine.raw("GET", "/containers/json?all=true").await;
    let list: Vec<Value> = serde_json::from_slice(&list).unwrap();
    list.into_iter().map(known).collect()
}

async fn event_listeners(engine: &RealEngine) -> u64 {
    let (.., info) = engine.raw("GET", "/info").await;
    let info: Value = serde_json::from_slice(&info).unwrap();
    info["NEventsListener"].as_u64().unwrap()
}

#[tokio::test]
async fn each_knows_in_the_end_what_there_is() {
    let engine = Arc::new(RealEngine::start().await);
    let agent = Agent::builder()
        .docker_host(engine.docker_host())
        .start()
        .await;
    for number in 0..CONTAINERS {
        engine.run(&format!("c{number}"), &[], "sleep 600").await;
    }
    let mut listeners: Vec<(Seen, _)> = Vec::new();
    for _ in 0..LISTENERS {
        let seen = Seen::default();
        let stream = agent.sse("/containers/stream").await;
        assert_eq!(stream.status, 200);
        listeners.push((Arc::clone(&seen), tokio::spawn(watch(stream, seen))));
    }
    assert_eq!(event_listeners(&engine).await, 1);
    let begun = Instant::now();
    let turns = (0..CONTAINERS).map(|number| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let mut turns = 0;
            while begun.elapsed() < TIME {
                for action in ["kill", "wait", "start"] {
                    let path = format!("/containers/c{number}/{action}");
                    let (status, ..) = engine.raw("POST", &path).await;
                    assert!(status.is_success(), "{path}: {status}");
                }
                turns += 1;
            }
            turns
        })
    });
    let mut all = 0;
    for turns in turns.collect::<Vec<_>>() {
        all += turns.await.unwrap();
    }
    assert!(all >= 2 * CONTAINERS, "{all}");
    engine.remove("c0").await;
    // Last, what the engine tells of before its list shows it.
    let kills = (1..CONTAINERS).map(|number| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            let path = format!("/containers/c{number}/kill");
            assert!(engine.raw("POST", &path).await.0.is_success());
        })
    });
    for kill in kills.collect::<Vec<_>>() {
        kill.await.unwrap();
    }
    wait::until("each knows what there is", SOON, async || {
        let fresh = fresh(&engine).await;
        let knows = |(seen, _): &(Seen, _)| is_right(&seen.lock().unwrap(), &fresh);
        fresh.len() == CONTAINERS - 1 && listeners.iter().all(knows)
    })
    .await;
    assert!(listeners.iter().all(|(_, task)| !task.is_finished()));
    let elapsed = begun.elapsed().as_secs_f64() * 10.0;
    assert_eq!(event_listeners(&engine).await, 1);
    let samples = Samples::of(&agent).await;
    let calls = |operation| {
        let labels = [("operation", operation)];
        samples.sum("docker_ps_agent_engine_calls_total", &labels)
    };
    println!("{all} turns, {} lists", calls("container_list"));
    assert_eq!(calls("events"), 1.0);
    // A list for each listener at first, but for those that shared one.
    assert!(calls("container_list") <= elapsed + LISTENERS as f64);
    for (_, task) in listeners {
        task.abort();
    }
}

#[tokio::test]
async fn refuses_more_streams_than_there_may_be() {
    let stage = Stage::with("[]").await;
    let mut open = Vec::new();
    while open.len() < MOST {
        // At once, since each new one waits for a new list; of both kinds, since they share the limit.
        let some = (0..256).map(|number| {
            stage
                .agent
                .open(["/containers/stream", "/events"][number % 2])
        });
        for stream in join_all(some).await {
            assert_eq!(stream.status, 200, "stream {}", open.len());
            open.push(stream);
        }
    }
    let listeners = async || {
        let samples = Samples::of(&stage.agent).await;
        ["containers", "events"].map(|stream| samples.sum(name::LISTENERS, &[("stream", stream)]))
    };
    assert_eq!(listeners().await, [MOST as f64 / 2.0; 2]);
    for path in ["/containers/stream", "/events"] {
        let refused = stage.agent.get(path).await;
        assert_eq!(refused.status, 503);
        assert!(refused.header("retry-after").is_some());
        assert!(refused.json()["message"].is_string());
    }
    drop(open);
    wait::until("all have left", SOON, async || {
        listeners().await == [0.0; 2]
    })
    .await;
    assert_eq!(stage.agent.open("/events").await.status, 200);
}

/// Each of these lists is another one, so that they share nothing.
#[tokio::test]
async fn refuses_who_comes_where_others_have_not_read_much() {
    let lists = AtomicUsize::new(0);
    let engine = ScriptedEngine::new()
        .route("GET", "/events", Answer::hang_body(""))
        .route_fn("GET", "/containers/json", move |_| {
            let digit = lists.fetch_add(1, Relaxed) % 10;
            let text = digit.to_string().repeat(40 << 20);
            Answer::json(200, json!([{ "Id": ID, "Image": text }]))
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut unread = Vec::new();
    for _ in 0..2 {
        let stream = agent.open("/containers/stream").await;
        assert_eq!(stream.status, 200);
        unread.push(stream);
    }
    let refused = agent.get("/containers/stream").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    drop(unread);
    wait::until("there is room again", SOON, async || {
        agent.open("/containers/stream").await.status == 200
    })
    .await;
}
