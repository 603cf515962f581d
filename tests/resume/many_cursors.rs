//! The cursors of streams of many logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use serde_json::json;

use super::many::says;
use super::{Client, assert_same};
use crate::contract::host::{Host, text};
use crate::metrics::samples::becomes;
use crate::push::event;
use crate::support::agent::Agent;
use crate::support::dockerd::RealEngine;
use crate::support::fixture::{ID, agent_on, engine_with_log, listed, running};
use crate::support::scripted::{Answer, Recorded, STDOUT, frame, line};
use crate::support::wait::SOON;

const GAPS: &str = "docker_ps_agent_log_gaps_total";

#[tokio::test]
async fn goes_on_where_it_was_in_the_midst_of_what_was_written_before() {
    let host = Host::start().await;
    let label = ["--label", "many=midst"];
    host.ran("midst-a", &label, "echo a1; echo a2; echo a3")
        .await;
    let script = "for i in $(seq 300); do echo b $i; done";
    host.ran("midst-b", &label, script).await;
    let path = "/logs/stream?label=many%3Dmidst&tail=5";
    let mut whole = Client::default();
    let mut stream = whole.open(&host.agent, path).await;
    whole.take(&mut stream, 8).await;
    assert_eq!(text(&whole.lines[3]), "b 296");
    for cut in 1..8 {
        let mut client = Client::default();
        // Also where it leaves again before the second container's turn.
        for many in [1, cut - 1, 1, 8] {
            let left = 8 - client.lines.len();
            let mut stream = client.open(&host.agent, path).await;
            client.take(&mut stream, many.min(left)).await;
        }
        assert_same(&client.lines, &whole.lines, &format!("cut {cut}"));
        assert_eq!(client.gaps, 0);
    }
    for name in ["midst-a", "midst-b"] {
        host.engine.remove(name).await;
    }
}

/// What has no container yet tells a place too.
#[tokio::test]
async fn goes_on_where_there_was_no_container_yet() {
    let host = Host::start().await;
    let path = "/logs/stream?label=many%3Dnobody";
    let mut client = Client::default();
    let mut stream = client.open(&host.agent, path).await;
    client.cursor = Some(stream.id(SOON).await);
    drop(stream);
    let label = ["--label", "many=nobody"];
    host.ran("nobody", &label, "for i in $(seq 300); do echo $i; done")
        .await;
    let mut stream = client.open(&host.agent, path).await;
    client.take(&mut stream, 300).await;
    assert_eq!(text(&client.lines[0]), "1");
    assert_eq!(client.gaps, 0);
    host.engine.remove("nobody").await;
}

/// A client that came back with the place in one log only would be given all of the other.
#[tokio::test]
async fn tells_no_place_before_it_is_known_in_all() {
    let ids = [ID.to_owned(), ID.replace('4', "5")];
    let engine = engine_with_log(Answer::hang_body(""))
        .route("GET", "/containers/json", listed(&ids))
        .route_fn("GET", "/containers/*/json", |request| {
            running(request.segment(1))
        })
        .route_fn("GET", "/containers/*/logs", |request| {
            let has_lines = request.segment(1) == ID && !request.query.contains("follow=1");
            match has_lines {
                true => Answer::bytes(200, frame(STDOUT, line(1, "one"))),
                false => Answer::hang_body(""),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut stream = agent.sse("/logs/stream?all=true&tail=all").await;
    stream.comment(2 * SOON).await;
    assert_eq!(stream.last_id(), None);
}

/// Its lines could not be told apart from those that a client that comes back has not got.
#[tokio::test]
async fn who_appears_waits_until_a_place_is_known_in_all() {
    let ids = [ID.to_owned(), ID.replace('4', "5"), ID.replace('4', "6")];
    let there = Arc::new(AtomicUsize::new(1));
    let (now, all) = (Arc::clone(&there), ids.clone());
    let (subscription, subscriptions) = Answer::handed();
    let (search, searches) = Answer::handed();
    let late = ids[1].clone();
    let engine = engine_with_log(Answer::hang_body(""))
        .route("GET", "/events", subscription)
        .route_fn("GET", "/containers/json", move |_| {
            listed(&all[..now.load(Relaxed)])
        })
        .route_fn("GET", "/containers/*/json", |request| {
            running(request.segment(1))
        })
        .route_fn("GET", "/containers/*/logs", move |request| {
            match (request.segment(1), request.query.contains("follow=1")) {
                (ID, false) => search.clone(),
                (id, false) if id == late => Answer::bytes(200, frame(STDOUT, line(1, "late"))),
                _ => Answer::hang_body(""),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client.open(&agent, "/logs/stream?all=true&tail=all").await;
    let events = subscriptions.next().await;
    for (number, id) in (1..).zip(&ids[1..]) {
        there.fetch_add(1, Relaxed);
        assert!(events.send(event("start", id, number)).await);
        says(&mut stream, id, "joined").await;
    }
    let search = searches.next().await;
    assert!(search.send(frame(STDOUT, line(2, "searched"))).await);
    search.finish();
    // Each has to have a cursor.
    client.take(&mut stream, 2).await;
    let mut texts: Vec<_> = client.lines.iter().map(|line| text(line)).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["late", "searched"]);
}

/// It was still there when it was looked for.
#[tokio::test]
async fn tells_what_is_missing_of_one_that_is_gone_when_it_is_read() {
    tells_what_is_missing(Answer::message(404, "no such container")).await;
}

/// The same, but for the engine's words.
#[tokio::test]
async fn tells_what_is_missing_of_one_whose_removal_has_begun() {
    tells_what_is_missing(Answer::message(409, "marked for removal")).await;
}

async fn tells_what_is_missing(refusal: Answer) {
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = Arc::clone(&gone);
    let log = frame(STDOUT, line(1, "one"));
    let engine = engine_with_log(Answer::empty(200))
        .route(
            "GET",
            "/containers/json",
            Answer::json(200, json!([{ "Id": ID }])),
        )
        .route_fn("GET", "/containers/*/logs", move |_| {
            match is_gone.load(Relaxed) {
                true => refusal.clone(),
                false => Answer::bytes(200, log.clone()),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let path = "/logs/stream?all=true&tail=all";
    let mut stream = client.open(&agent, path).await;
    client.take(&mut stream, 1).await;
    gone.store(true, Relaxed);
    let mut stream = client.open(&agent, path).await;
    while client.gaps == 0 {
        let event = stream.next(SOON).await.expect("a gap is told");
        assert_ne!(event.name(), "error");
        client.keep(&event);
    }
}

/// Its place comes along, for when it can be read again.
#[tokio::test]
async fn goes_on_where_it_was_in_one_that_could_not_be_read_meanwhile() {
    for refused in ["json", "logs"] {
        let ids = [ID.to_owned(), ID.replace('4', "5")];
        let stage = Arc::new(AtomicUsize::new(0));
        let (now, then) = (Arc::clone(&stage), Arc::clone(&stage));
        let refuses = move |request: &Recorded, stage: usize| {
            stage == 1 && request.segment(1) != ID && request.segment(2) == refused
        };
        let engine = engine_with_log(Answer::empty(200))
            .route("GET", "/containers/json", listed(&ids))
            .route_fn("GET", "/containers/*/json", move |request| {
                match refuses(request, now.load(Relaxed)) {
                    true => Answer::message(500, "broken"),
                    false => running(request.segment(1)),
                }
            })
            .route_fn("GET", "/containers/*/logs", move |request| {
                let stage = then.load(Relaxed);
                if refuses(request, stage) {
                    return Answer::message(500, "broken");
                }
                if request.query.contains("follow=1") {
                    return Answer::hang_body("");
                }
                let (old, new, since) = match request.segment(1) {
                    ID => ((1, "one"), (3, "three"), 1),
                    _ => ((2, "two"), (4, "four"), 2),
                };
                let lines = [Some(old), Some(new).filter(|_| stage >= since)];
                let lines = lines.into_iter().flatten();
                let lines = lines.map(|(nanos, text)| frame(STDOUT, line(nanos, text)));
                Answer::bytes(200, lines.collect::<Vec<_>>().concat())
            });
        let engine = engine.start().await;
        let agent = agent_on(&engine).await;
        let mut client = Client::default();
        for (at, many) in [(0, 2), (1, 1), (2, 1)] {
            stage.store(at, Relaxed);
            let path = "/logs/stream?all=true&tail=all";
            let mut stream = client.open(&agent, path).await;
            client.take(&mut stream, many).await;
        }
        let texts: Vec<_> = client.lines.iter().map(|line| text(line)).collect();
        assert_eq!(texts, ["one", "two", "three", "four"], "{refused}");
        assert_eq!(client.gaps, 0);
    }
}

/// What it wrote since is missing then.
#[tokio::test]
async fn tells_what_is_missing_of_one_that_could_not_be_read_before_it_went() {
    let ids = [ID.to_owned(), ID.replace('4', "5")];
    let stage = Arc::new(AtomicUsize::new(0));
    let (now, then) = (Arc::clone(&stage), Arc::clone(&stage));
    let engine = engine_with_log(Answer::bytes(200, frame(STDOUT, line(1, "one"))))
        .route_fn("GET", "/containers/json", move |_| {
            listed(&ids[..if then.load(Relaxed) < 2 { 2 } else { 1 }])
        })
        .route_fn("GET", "/containers/*/json", move |request| {
            match (now.load(Relaxed), request.segment(1)) {
                (0, id) | (_, id @ ID) => running(id),
                _ => Answer::message(500, "broken"),
            }
        });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let path = "/logs/stream?all=true&tail=all";
    let mut stream = client.open(&agent, path).await;
    client.take(&mut stream, 2).await;
    stage.store(1, Relaxed);
    let mut stream = client.open(&agent, path).await;
    says(&mut stream, ID, "joined").await;
    stage.store(2, Relaxed);
    while client.gaps == 0 {
        client.keep(&stream.next(SOON).await.expect("a gap is told"));
    }
}

/// A browser asks for the same again.
#[tokio::test]
async fn goes_on_where_one_that_was_named_has_been_removed() {
    let host = Host::start().await;
    for name in ["named-a", "named-b"] {
        host.ran(name, &[], "echo one; echo two").await;
    }
    let path = "/logs/stream?container=named-a&container=named-b";
    let mut client = Client::default();
    let mut stream = client.open(&host.agent, path).await;
    client.take(&mut stream, 3).await;
    host.engine.remove("named-b").await;
    assert_eq!(host.agent.get(path).await.status, 404);
    let mut stream = client.open(&host.agent, path).await;
    while client.gaps == 0 {
        client.keep(&stream.next(SOON).await.expect("a gap is told"));
    }
    says(&mut stream, "named-a", "joined").await;
    host.engine.remove("named-a").await;
    let gone = [("last-event-id", client.cursor.as_deref().unwrap())];
    let refused = host.agent.client.open_with("GET", path, &gone, "").await;
    assert_eq!(refused.status, 404);
}

#[tokio::test]
async fn refuses_cursors_of_containers_that_are_not_wanted() {
    let host = Host::start().await;
    for name in ["foreign-a", "foreign-b"] {
        host.ran(name, &[], "echo one; echo two").await;
    }
    let mut client = Client::default();
    let both = "/logs/stream?container=foreign-a&container=foreign-b";
    let mut stream = client.open(&host.agent, both).await;
    client.take(&mut stream, 1).await;
    let cursor = client.cursor.clone().unwrap();
    let one = "/logs/stream?container=foreign-a";
    for after in [cursor.clone(), format!("{cursor},{cursor}")] {
        let path = format!("{one}&after={after}");
        assert_eq!(host.agent.get(&path).await.status, 400, "{path}");
    }
    let twice = format!("{both}&after={cursor},{cursor}");
    assert_eq!(host.agent.get(&twice).await.status, 400);
    // Of one that is gone nobody can say what is missing.
    host.engine.remove("foreign-b").await;
    let mut stream = client.open(&host.agent, one).await;
    client.take(&mut stream, 1).await;
    assert_eq!(client.gaps, 1);
    becomes(&host.agent, GAPS, &[], 1.0).await;
    host.engine.remove("foreign-a").await;
}

#[tokio::test]
async fn goes_on_after_the_agent_was_killed() {
    let engine = RealEngine::shared().await;
    let builder = Agent::builder().docker_host(engine.docker_host());
    let names = ["killed-a", "killed-b"];
    let script = "i=0; while :; do echo $HOSTNAME $i; i=$((i+1)); sleep 0.01; done";
    for name in names {
        let options = ["--hostname", name, "--label", "many=killed"];
        engine.run(name, &options, script).await;
    }
    let path = "/logs/stream?label=many%3Dkilled&tail=all";
    let mut client = Client::default();
    for _ in 0..3 {
        let agent = builder.start().await;
        let mut stream = client.open(&agent, path).await;
        client.take(&mut stream, 100).await;
        agent.kill9();
        agent.wait_exit(SOON).await;
    }
    assert_eq!(client.gaps, 0);
    for name in names {
        let lines = client.lines.iter().map(|line| text(line).to_owned());
        let seen: Vec<_> = lines.filter(|line| line.starts_with(name)).collect();
        let wanted: Vec<_> = (0..seen.len()).map(|n| format!("{name} {n}")).collect();
        assert_same(&seen, &wanted, name);
        engine.remove(name).await;
    }
}
