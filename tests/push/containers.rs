//! `GET /containers/stream`.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Stage, event, next, next_is};
use crate::metrics::samples::{Samples, becomes};
use crate::support::scripted::Answer;
use crate::support::wait::{self, SOON};

const PATH: &str = "/containers/stream";

/// How long after the last event the containers are listed for the last time.
const LAST_LOOK: Duration = Duration::from_secs(5);

#[tokio::test]
async fn tells_the_list_and_each_change_as_the_engine_writes_them() {
    let a = r#"{"Id":"a","Status":"Up 1 second" , "N":1.0e0}"#;
    let stage = Stage::with(&format!("[{a},\n{{\"Id\":\"b\"}}]\n")).await;
    let (mut stream, events) = stage.open(PATH).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let snapshot = next_is(&mut stream, "snapshot").await;
    let version = snapshot.id.clone().unwrap();
    let wanted = format!("{{\"version\":\"{version}\",\"containers\":[{a},{{\"Id\":\"b\"}}]}}");
    assert_eq!(snapshot.data, wanted);

    let other = r#"{"Id":"a","Status":"Exited (0) 1 second ago" , "N":1.0e0}"#;
    stage.set(&format!("[{other}]"));
    assert!(events.send(event("destroy", "b", 1)).await);
    let (epoch, _) = version.split_once('.').unwrap();
    let removed = next_is(&mut stream, "removed").await;
    assert_eq!(removed.data, r#"{"Id":"b"}"#);
    assert_eq!(removed.id, Some(format!("{epoch}.1")));
    let changed = next_is(&mut stream, "changed").await;
    assert_eq!(changed.data, other);
    assert_eq!(changed.id, Some(format!("{epoch}.2")));
    assert_eq!(stage.engine.requests_to("GET", "/events").len(), 1);
}

#[tokio::test]
async fn asks_the_engine_no_more_for_many_than_for_one() {
    let stage = Stage::with(r#"[{"Id":"a"}]"#).await;
    let begun = Instant::now();
    let (first, events) = stage.open(PATH).await;
    let mut streams = vec![first];
    for _ in 1..50 {
        streams.push(stage.agent.sse(PATH).await);
    }
    for number in 1..=200 {
        stage.set(&format!("[{{\"Id\":\"a\",\"N\":{number}}}]"));
        assert!(events.send(event("start", "a", number)).await);
    }
    for stream in &mut streams {
        next_is(stream, "snapshot").await;
        while next(stream).await.data != r#"{"Id":"a","N":200}"# {}
    }
    let (most, lists) = (
        begun.elapsed().as_millis() / 100 + 1,
        stage.lists.lock().unwrap().len(),
    );
    assert!(lists as u128 <= most, "{lists} lists, {most} at most");
    assert_eq!(stage.engine.requests_to("GET", "/events").len(), 1);
    let calls = [("operation", "events"), ("outcome", "ok")];
    let samples = Samples::of(&stage.agent).await;
    assert_eq!(
        samples.sum("docker_ps_agent_engine_calls_total", &calls),
        1.0
    );
    let open = [("stream", "containers")];
    assert_eq!(samples.sum("docker_ps_agent_push_listeners", &open), 50.0);
    // And nothing once nobody listens.
    drop(streams);
    events.closed().await;
    becomes(&stage.agent, "docker_ps_agent_push_listeners", &open, 0.0).await;
}

#[tokio::test]
async fn time_that_passes_is_no_change_but_for_who_is_named() {
    let stage = Stage::with(r#"[{"Id":"a","Status":"Up 1 second"},{"Id":"b"}]"#).await;
    let (mut stream, events) = stage.open(PATH).await;
    next_is(&mut stream, "snapshot").await;
    stage.set(r#"[{"Id":"a","Status":"Up 2 seconds"},{"Id":"b","N":1}]"#);
    events.send(event("start", "b", 1)).await;
    assert_eq!(next(&mut stream).await.data, r#"{"Id":"b","N":1}"#);
    stage.set(r#"[{"Id":"a","Status":"Up 1 second"},{"Id":"b","N":1}]"#);
    events.send(event("restart", "a", 2)).await;
    let restarted = next(&mut stream).await;
    assert_eq!(restarted.data, r#"{"Id":"a","Status":"Up 1 second"}"#);
}

/// The engine tells of a health check's end, and of no count of those that failed.
#[tokio::test]
async fn tells_how_many_health_checks_have_failed() {
    let health = |failed: u32| {
        format!(r#"[{{"Id":"a","Health":{{"Status":"healthy","FailingStreak":{failed}}}}}]"#)
    };
    let checked = |code: u32, time: i64| {
        let with = format!("\"exitCode\":\"{code}\",\"name\"");
        event("exec_die", "a", time).replace("\"name\"", &with)
    };
    let stage = Stage::with(&health(0)).await;
    let (mut stream, events) = stage.open(PATH).await;
    next_is(&mut stream, "snapshot").await;
    for (time, (failed, code)) in (1..).zip([(1, 1), (0, 0)]) {
        stage.set(&health(failed));
        let begun = Instant::now();
        assert!(events.send(checked(code, time)).await);
        let changed = next_is(&mut stream, "changed").await;
        assert_eq!(changed.data, health(failed).trim_matches(['[', ']']));
        // Else the next may be seen by a look that this has led to.
        looks_no_more(&stage, begun).await;
    }
}

/// Checks that fail time and again must not make an engine list for nothing.
#[tokio::test]
async fn does_not_look_for_a_failed_check_that_the_list_does_not_count() {
    let stage = Stage::with(r#"[{"Id":"a"},{"Id":"b"}]"#).await;
    let begun = Instant::now();
    let (mut stream, events) = stage.open(PATH).await;
    next_is(&mut stream, "snapshot").await;
    looks_no_more(&stage, begun).await;
    let begun = Instant::now();
    let failed = event("exec_die", "a", 1).replace("\"name\"", "\"exitCode\":\"1\",\"name\"");
    assert!(events.send(failed).await);
    wait::until("it would have looked", SOON, async || {
        begun.elapsed() > Duration::from_millis(500)
    })
    .await;
    stage.set(r#"[{"Id":"a"},{"Id":"b","N":1}]"#);
    let started = Instant::now();
    assert!(events.send(event("start", "b", 2)).await);
    // By then the other event has been seen too.
    next_is(&mut stream, "changed").await;
    let lists = stage.lists.lock().unwrap();
    let between = lists.iter().filter(|at| (begun..started).contains(*at));
    assert_eq!(between.count(), 0);
}

/// Waits for the last look that something at that time has led to.
async fn looks_no_more(stage: &Stage, begun: Instant) {
    wait::until("it looks no more", SOON, async || {
        let last = *stage.lists.lock().unwrap().last().unwrap();
        last.duration_since(begun) >= LAST_LOOK
    })
    .await;
}

/// As a removal that fails, which leaves a container dead.
#[tokio::test]
async fn tells_what_no_event_told_of() {
    let state = |state: &str| format!(r#"[{{"Id":"a","State":"{state}"}}]"#);
    let stage = Stage::with(&state("exited")).await;
    let begun = Instant::now();
    let (mut stream, _events) = stage.open(PATH).await;
    next_is(&mut stream, "snapshot").await;
    looks_no_more(&stage, begun).await;
    stage.set(&state("dead"));
    let changed = stream.next(4 * SOON).await.unwrap();
    assert_eq!(
        (changed.name(), format!("[{}]", changed.data)),
        ("changed", state("dead"))
    );
}

#[tokio::test]
async fn tells_a_restart_that_no_event_told_of() {
    let up = |time: &str| format!(r#"[{{"Id":"a","Status":"Up {time}"}}]"#);
    let stage = Stage::with(&up("5 seconds")).await;
    let (mut stream, events) = stage.open(PATH).await;
    let id = next_is(&mut stream, "snapshot").await.id.unwrap();
    drop(stream);
    events.closed().await;
    // Nobody watched; the new run is older than the last was then.
    stage.set(&up("5 minutes"));
    let begun = Instant::now();
    let mut stream = stage.resume(PATH, &id).await;
    let events = stage.subscriptions.next().await;
    let changed = next_is(&mut stream, "changed").await;
    assert_eq!(format!("[{}]", changed.data), up("5 minutes"));
    looks_no_more(&stage, begun).await;
    // The engine does not say what happened while it was away.
    stage.set(&up("10 minutes"));
    events.abort().await;
    let events = stage.subscriptions.next().await;
    let changed = next_is(&mut stream, "changed").await;
    assert_eq!(format!("[{}]", changed.data), up("10 minutes"));
    // An event of another container brings it to light.
    stage.set(&up("2 seconds"));
    events.send(event("create", "b", 1)).await;
    let changed = next_is(&mut stream, "changed").await;
    assert_eq!(format!("[{}]", changed.data), up("2 seconds"));
}

#[tokio::test]
async fn looks_where_it_cannot_read_what_has_happened() {
    let stage = Stage::with(r#"[{"Id":"a","State":"running"}]"#).await;
    let begun = Instant::now();
    let (mut stream, events) = stage.open(PATH).await;
    next_is(&mut stream, "snapshot").await;
    looks_no_more(&stage, begun).await;
    // The second time too, though it has been told that something is missing.
    for state in ["exited", "running"] {
        let container = format!(r#"{{"Id":"a","State":"{state}"}}"#);
        stage.set(&format!("[{container}]"));
        let sent = Instant::now();
        events.send(event(&"x".repeat(1 << 20), "a", 1)).await;
        let changed = next_is(&mut stream, "changed").await;
        assert_eq!(changed.data, container);
        looks_no_more(&stage, sent).await;
    }
}

#[tokio::test]
async fn looks_again_when_the_list_is_behind_the_events() {
    let stage = Stage::with(r#"[{"Id":"a","State":"running"}]"#).await;
    let (mut stream, events) = stage.open(PATH).await;
    next_is(&mut stream, "snapshot").await;
    let before = stage.lists.lock().unwrap().len();
    events.send(event("die", "a", 1)).await;
    wait::until("it is listed", SOON, async || {
        stage.lists.lock().unwrap().len() > before
    })
    .await;
    stage.set(r#"[{"Id":"a","State":"exited"}]"#);
    let changed = next_is(&mut stream, "changed").await;
    assert_eq!(changed.data, r#"{"Id":"a","State":"exited"}"#);
}

#[tokio::test]
async fn goes_on_behind_a_version_though_nobody_watched() {
    let stage = Stage::with(r#"[{"Id":"a"},{"Id":"b"}]"#).await;
    let (mut stream, events) = stage.open(PATH).await;
    let id = next_is(&mut stream, "snapshot").await.id.unwrap();
    drop(stream);
    events.closed().await;
    stage.set(r#"[{"Id":"a"},{"Id":"c"}]"#);
    for resumed in [
        stage.resume(PATH, &id).await,
        stage.agent.sse(&format!("{PATH}?after={id}")).await,
    ] {
        let mut resumed = resumed;
        assert_eq!(next_is(&mut resumed, "removed").await.data, r#"{"Id":"b"}"#);
        assert_eq!(next_is(&mut resumed, "changed").await.data, r#"{"Id":"c"}"#);
    }
    // Of another process, or of a future that never was.
    let (epoch, _) = id.split_once('.').unwrap();
    for other in [
        "0123456789abcdef.0".to_owned(),
        format!("{epoch}.99"),
        String::new(),
    ] {
        let mut stream = stage.resume(PATH, &other).await;
        next_is(&mut stream, "snapshot").await;
    }
    for broken in ["x", "0123456789abcdef", "1.1", "0123456789abcdef.x"] {
        let headers = [("last-event-id", broken)];
        let reply = stage.agent.request("GET", PATH, &headers, "").await;
        assert_eq!(reply.status, 400, "{broken}");
    }
    for query in ["all=true", "after=x", "after=&after="] {
        let reply = stage.agent.get(&format!("{PATH}?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
    }
}

#[tokio::test]
async fn who_is_too_slow_gets_a_new_snapshot() {
    let stage = Stage::with("[]").await;
    let text = "x".repeat(1 << 20);
    let lists = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&lists);
    stage.engine.route_fn("GET", "/containers/json", move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Answer::json(
            200,
            format!("[{{\"Id\":\"a\",\"N\":{number},\"X\":\"{text}\"}}]"),
        )
    });
    let (mut slow, events) = stage.open(PATH).await;
    let first = next_is(&mut slow, "snapshot").await.id.unwrap();
    let before = stage.agent.rss_bytes();
    let mut nanos = 0;
    wait::until("there is much to read", 3 * SOON, async || {
        nanos += 1;
        events.send(event("start", "a", nanos)).await;
        lists.load(std::sync::atomic::Ordering::Relaxed) >= 40
    })
    .await;
    let grown = stage.agent.rss_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
    let number = |id: &str| id.rsplit_once('.').unwrap().1.parse::<u64>().unwrap();
    let mut last = number(&first);
    loop {
        let event = next(&mut slow).await;
        let at = number(event.id.as_deref().unwrap());
        if event.name() == "snapshot" {
            assert!(at > last + 1, "{at} {last}");
            break;
        }
        assert_eq!(at, last + 1);
        last = at;
    }
    let of = [("stream", "containers")];
    becomes(
        &stage.agent,
        "docker_ps_agent_push_listeners_passed_total",
        &of,
        1.0,
    )
    .await;
}

#[tokio::test]
async fn outlives_the_engine() {
    let stage = Stage::with(r#"[{"Id":"a"}]"#).await;
    let (mut stream, _events) = stage.open(PATH).await;
    next_is(&mut stream, "snapshot").await;
    stage.engine.stop().await;
    // Who comes now is told why there is nothing.
    assert_eq!(stage.agent.get(PATH).await.status, 502);
    stage.set(r#"[{"Id":"b"}]"#);
    stage.engine.start_again().await;
    assert_eq!(next_is(&mut stream, "removed").await.data, r#"{"Id":"a"}"#);
    assert_eq!(next_is(&mut stream, "changed").await.data, r#"{"Id":"b"}"#);
}

#[tokio::test]
async fn answers_with_the_engines_refusal() {
    let stage = Stage::with("[]").await;
    let refusal = Answer::message(500, "out of order");
    stage.engine.route("GET", "/containers/json", refusal);
    let reply = stage.agent.get(PATH).await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["message"].as_str()),
        (500, Some("out of order"))
    );
    let refusal = Answer::message(403, "no events here");
    stage.engine.route("GET", "/events", refusal);
    for path in [PATH, "/events"] {
        assert_eq!(stage.agent.get(path).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn ends_with_the_agent() {
    let stage = Stage::with("[]").await;
    let (mut containers, _handle) = stage.open(PATH).await;
    next_is(&mut containers, "snapshot").await;
    let events = stage.agent.sse("/events").await;
    stage.agent.signal(Signal::TERM);
    for stream in [containers, events] {
        let rest = stream.rest(SOON).await;
        assert_eq!(rest.len(), 1);
        assert_eq!(
            (rest[0].name(), &*rest[0].data),
            ("close", r#"{"status":"closed"}"#)
        );
    }
    let begun = Instant::now();
    assert_eq!(stage.agent.wait_exit(SOON).await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8));
}
