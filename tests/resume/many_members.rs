//! Which containers are in a stream of many logs, and what becomes of the others.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::many::says;
use super::{Client, assert_same, line_of};
use crate::contract::host::{Host, text};
use crate::push::event;
use crate::support::agent::Agent;
use crate::support::client::EventStream;
use crate::support::dockerd::IMAGE;
use crate::support::fixture::{ID, agent_on, engine_with_log, listed, running};
use crate::support::scripted::{Answer, Recorded, STDOUT, State, frame, line};
use crate::support::wait::SOON;

const NO_LOG: [&str; 2] = ["--log-driver", "none"];

/// Waits for the line.
async fn sees(stream: &mut EventStream, what: &str) {
    loop {
        let event = stream.next(SOON).await.expect("the stream goes on");
        if line_of(&event).is_some_and(|line| text(&line) == what) {
            return;
        }
    }
}

/// Waits until the stream says that a container has no log.
async fn fails(stream: &mut EventStream, id: &str, name: &str) {
    loop {
        let event = stream.next(SOON).await.expect("the stream goes on");
        if event.name() == "error" && event.json()["name"] == name {
            assert_eq!(event.json()["id"], id);
            assert!(event.json()["error"].is_string());
            return;
        }
    }
}

#[tokio::test]
async fn follows_the_others_where_one_has_no_log() {
    let host = Host::start().await;
    let options = [&NO_LOG[..], &["--label", "many=mute"]].concat();
    let id = host.engine.run("mute-none", &options, "sleep 600").await;
    let script = "echo good; sleep 600";
    host.engine
        .run("mute-good", &["--label", "many=mute"], script)
        .await;
    for query in ["label=many%3Dmute", "all=true"] {
        let mut stream = host.agent.sse(&format!("/logs/stream?{query}")).await;
        assert_eq!(stream.status, 200, "{query}");
        fails(&mut stream, &id, "mute-none").await;
        let mut stream = host.agent.sse(&format!("/logs/stream?{query}")).await;
        sees(&mut stream, "good").await;
    }
    let path = "/logs/stream?container=mute-good&container=mute-none";
    assert_eq!(host.agent.get(path).await.status, 501);
    for name in ["mute-none", "mute-good"] {
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn joins_those_that_appear_beside_one_without_log() {
    let host = Host::start().await;
    let label = ["--label", "many=late"];
    let mut stream = host.agent.sse("/logs/stream?label=many%3Dlate").await;
    let options = [&NO_LOG[..], &label].concat();
    let id = host.engine.run("late-none", &options, "sleep 600").await;
    fails(&mut stream, &id, "late-none").await;
    for name in ["late-a", "late-b"] {
        let script = format!("echo {name}; sleep 600");
        host.engine.run(name, &label, &script).await;
        sees(&mut stream, name).await;
    }
    // Another start is another try.
    let restart = ["restart", "-t", "0", "late-none"];
    host.engine.docker(&restart).await;
    fails(&mut stream, &id, "late-none").await;
    host.engine.docker(&["rm", "-f", "late-a"]).await;
    says(&mut stream, "late-a", "stopped").await;
    says(&mut stream, "late-a", "removed").await;
    for name in ["late-none", "late-b"] {
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn follows_more_containers_than_may_be_read_at_a_time() {
    const LINES: usize = 3000;
    let host = Host::with(Agent::builder().env("MAX_LOG_READERS", "4")).await;
    let names = ["few-a", "few-b", "few-c"];
    for name in names {
        let options = ["--hostname", name, "--label", "many=few"];
        let script = format!("seq {LINES} | sed \"s/^/$HOSTNAME /\"; sleep 600");
        host.engine.run(name, &options, &script).await;
    }
    let mut client = Client::default();
    let path = "/logs/stream?label=many%3Dfew&tail=all";
    let mut stream = client.open(&host.agent, path).await;
    client.take(&mut stream, names.len() * LINES).await;
    for name in names {
        let lines = client.lines.iter().map(|line| text(line).to_owned());
        let seen: Vec<_> = lines.filter(|line| line.starts_with(name)).collect();
        let wanted: Vec<_> = (1..=LINES).map(|n| format!("{name} {n}")).collect();
        assert_same(&seen, &wanted, name);
        host.engine.remove(name).await;
    }
}

/// One that cannot be looked at any more does not hide the others.
#[tokio::test]
async fn who_appears_joins_beside_one_that_the_engine_refuses() {
    let ids = [ID.to_owned(), ID.replace('4', "5"), ID.replace('4', "6")];
    let there = Arc::new(AtomicUsize::new(1));
    let (now, then, all) = (Arc::clone(&there), Arc::clone(&there), ids.clone());
    let (subscription, subscriptions) = Answer::handed();
    let engine = engine_with_log(Answer::hang_body(""))
        .route("GET", "/events", subscription)
        .route_fn("GET", "/containers/json", move |_| {
            listed(&all[..now.load(Relaxed)])
        })
        .route_fn("GET", "/containers/*/json", move |request| {
            let id = request.segment(1);
            if id == ID && then.load(Relaxed) > 1 {
                return Answer::message(500, "it is broken");
            }
            running(id)
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let path = format!("/logs/stream?all=true&container={ID}");
    let mut stream = agent.sse(&path).await;
    let events = subscriptions.next().await;
    for (number, id) in (1..).zip(&ids[1..]) {
        // It is not found by a look that is under way for another reason.
        let looks = || engine.requests_to("GET", "/containers/json").len();
        let mut seen = 0;
        while looks() > seen {
            seen = looks();
            sleep(Duration::from_millis(500)).await;
        }
        there.fetch_add(1, Relaxed);
        assert!(events.send(event("start", id, number)).await);
        // Not only when it is looked again whether that one can be looked at.
        let joined = timeout(Duration::from_secs(5), says(&mut stream, id, "joined"));
        joined.await.expect("it joins at once");
    }
}

#[tokio::test]
async fn refuses_many_where_too_many_follow() {
    let host = Host::with(Agent::builder().env("MAX_LOG_FOLLOWERS", "1")).await;
    for name in ["crowd-a", "crowd-b"] {
        host.engine.run(name, &[], "sleep 600").await;
    }
    let path = "/logs/stream?container=crowd-a&container=crowd-b";
    let refused = host.agent.get(path).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let alone = host.agent.sse("/logs/stream?container=crowd-a").await;
    assert_eq!(alone.status, 200);
    for name in ["crowd-a", "crowd-b"] {
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn ends_when_no_line_can_be_early_enough_any_more() {
    let host = Host::start().await;
    let script = "echo first; while :; do echo tick; sleep 0.1; done";
    host.engine.run("until", &[], script).await;
    let now = jiff::Timestamp::now().as_second();
    for until in [now + 2, now] {
        let path = format!("/logs/stream?container=until&tail=all&until={until}");
        let events = host.agent.sse(&path).await.rest(SOON).await;
        assert_eq!(events.last().unwrap().name(), "close");
    }
    host.engine.remove("until").await;
}

/// It was started between the look at it and the read of its log, so that the run was over before it was known.
#[tokio::test]
async fn a_run_that_began_unseen_is_not_told_to_begin_when_it_is_over() {
    const INSPECT: &str = "/containers/*/json";
    let (inspects, again) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let (events, subscriptions) = Answer::handed();
    let engine = engine_with_log(Answer::bytes(200, "")).route("GET", "/events", events);
    let runs = Arc::clone(&again);
    let engine = engine.route_fn("GET", INSPECT, move |_| {
        let is_again = runs.load(Relaxed);
        let started_at = match inspects.fetch_add(1, Relaxed) {
            0 => "0001-01-01T00:00:00Z",
            _ if !is_again => "2024-01-01T00:00:00Z",
            _ => "2024-01-01T01:00:00Z",
        };
        let state = json!({ "Running": is_again, "StartedAt": started_at });
        let name = if is_again { "/again" } else { "/once" };
        let facts = json!({ "Id": ID, "Name": name, "Config": {}, "State": state });
        Answer::json(200, facts)
    });
    let runs = Arc::clone(&again);
    let engine = engine.route_fn("GET", "/containers/*/logs", move |request| {
        let mut log = frame(STDOUT, line(1, "one"));
        if !runs.load(Relaxed) {
            return Answer::bytes(200, log);
        }
        log.extend(frame(STDOUT, line(2, "two")));
        match request.query.contains("follow=1") {
            true => Answer::hang_body(log),
            false => Answer::bytes(200, log),
        }
    });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut stream = agent.sse("/logs/stream?container=c").await;
    let events = subscriptions.next().await;
    says(&mut stream, "once", "joined").await;
    sees(&mut stream, "one").await;
    says(&mut stream, "once", "stopped").await;
    // At first, by the log's reader, and because of the stop.
    engine.wait_for_more(3, "GET", INSPECT).await;
    again.store(true, Relaxed);
    assert!(events.send(event("start", ID, 1)).await);
    let started = stream.next(SOON).await.unwrap().json();
    let (name, state) = (&started["name"], &started["state"]);
    assert_eq!((name, state), (&json!("again"), &json!("started")));
    let next = stream.next(SOON).await.unwrap();
    let line = line_of(&next).unwrap_or_else(|| panic!("{next:?}"));
    assert_eq!(text(&line), "two");
}

/// A container that was only created has no log to follow yet.
#[tokio::test]
async fn one_that_never_ran_joins_when_it_is_started() {
    let host = Host::start().await;
    let label = ["--label", "many=created"];
    let create = [
        "create", "--name", "created", label[0], label[1], IMAGE, "true",
    ];
    host.engine.docker(&create).await;
    let mut stream = host.agent.sse("/logs/stream?label=many%3Dcreated").await;
    assert_eq!(stream.next(SOON).await.unwrap().name(), "connected");
    host.engine.docker(&["start", "created"]).await;
    says(&mut stream, "created", "joined").await;
    says(&mut stream, "created", "stopped").await;
    host.engine.remove("created").await;
    says(&mut stream, "created", "removed").await;
}

#[tokio::test]
async fn an_engine_that_does_not_list_holds_up_no_drain() {
    let log = frame(STDOUT, line(1, "one"));
    let engine = engine_with_log(Answer::bytes(200, log));
    let looks = AtomicUsize::new(0);
    let list = move |_: &Recorded| match looks.fetch_add(1, Relaxed) {
        0 => Answer::json(200, json!([{ "Id": ID }])),
        _ => Answer::hang_head(),
    };
    let engine = engine.route_fn("GET", "/containers/json", list);
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut stream = agent.sse("/logs/stream?all=true").await;
    sees(&mut stream, "one").await;
    // The container has stopped, so that it is looked what there is.
    let is_list = |request: &&Recorded| request.path.ends_with("/containers/json");
    let is_asked = |now: &State| now.requests.iter().filter(is_list).count() == 2;
    engine.wait("the list is asked for", is_asked).await;
    agent.signal(Signal::TERM);
    let rest = stream.rest(SOON).await;
    assert_eq!(rest.last().unwrap().name(), "close");
}
