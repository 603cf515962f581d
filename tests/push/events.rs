//! `GET /events`.

use serde_json::json;

use super::{Stage, event, next, next_is};
use crate::support::fixture::{ID, inspect};
use crate::support::scripted::Answer;
use crate::support::wait::{self, SOON};

const PATH: &str = "/events";

#[tokio::test]
async fn hands_on_each_line_wherever_it_is_torn() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open(PATH).await;
    let lines = [
        event("create", "a", 7),
        event("start", "ä", 7),
        event("die", "a", 9),
    ];
    let all = lines.concat();
    for piece in all.as_bytes().chunks(50) {
        assert!(events.send(piece.to_vec()).await);
    }
    for (line, id) in lines.iter().zip(["7.0", "7.1", "9.0"]) {
        let event = next_is(&mut stream, "message").await;
        assert_eq!(event.data, line.trim_end());
        assert_eq!(event.id.as_deref(), Some(id));
    }
    // Several in one piece, something broken among them: nobody knows what that would have been.
    let many = [
        event("start", "b", 10),
        "{broken\n".into(),
        event("die", "b", 11),
    ]
    .concat();
    events.send(many).await;
    assert_eq!(next(&mut stream).await.id.as_deref(), Some("10.0"));
    next_is(&mut stream, "gap").await;
    assert_eq!(next(&mut stream).await.id.as_deref(), Some("11.0"));
}

#[tokio::test]
async fn tells_only_what_is_wanted_over_one_subscription() {
    let stage = Stage::with("[]").await;
    let (mut all, events) = stage.open(PATH).await;
    let mut starts = stage
        .agent
        .sse("/events?type=container&event=start&event=die")
        .await;
    let mut of_b = stage.agent.sse("/events?container=b").await;
    let mut images = stage.agent.sse("/events?type=image").await;
    for (at, (action, id)) in [
        ("create", "a"),
        ("start", "a"),
        ("start", "b1"),
        ("exec_create: sh", "b1"),
    ]
    .into_iter()
    .enumerate()
    {
        events.send(event(action, id, at as i64 + 1)).await;
    }
    events
        .send("{\"Type\":\"image\",\"Action\":\"pull\",\"timeNano\":9}\n")
        .await;
    for (stream, wanted) in [
        (&mut all, &["1.0", "2.0", "3.0", "4.0", "9.0"][..]),
        (&mut starts, &["2.0", "3.0"]),
        (&mut of_b, &["3.0", "4.0"]),
        (&mut images, &["9.0"]),
    ] {
        for id in wanted {
            assert_eq!(next(stream).await.id.as_deref(), Some(*id));
        }
    }
    let asked = stage.engine.requests_to("GET", "/events");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].query_value("filters"), None);
}

#[tokio::test]
async fn refuses_what_it_does_not_know() {
    let stage = Stage::with("[]").await;
    for query in ["x=1", "until=1", "type=", "since=x", "after=x", "label==a"] {
        let reply = stage.agent.get(&format!("{PATH}?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
    }
    let reply = stage
        .agent
        .request("GET", PATH, &[("last-event-id", "x")], "")
        .await;
    assert_eq!(reply.status, 400);
    assert_eq!(stage.engine.requests_to("GET", "/events").len(), 0);
}

#[tokio::test]
async fn who_follows_all_logs_looks_for_more_where_an_event_cannot_be_read() {
    let stage = Stage::with("[]").await;
    let (log, _logs) = Answer::handed();
    let facts = inspect(json!({ "Tty": false }));
    stage.engine.route("GET", "/containers/*/json", facts);
    stage.engine.route("GET", "/containers/*/logs", log);
    let (mut stream, events) = stage.open("/logs/stream?all=true").await;
    next_is(&mut stream, "connected").await;
    // At first, and once the subscription stands.
    wait::until("it looks no more", SOON, async || {
        stage.lists.lock().unwrap().len() == 2
    })
    .await;
    stage.set(&format!("[{{\"Id\":\"{ID}\"}}]"));
    events.send(event(&"x".repeat(1 << 20), ID, 1)).await;
    let joined = next_is(&mut stream, "container").await.json();
    assert_eq!(
        (&joined["id"], &joined["state"]),
        (&json!(ID), &json!("joined"))
    );
}

#[tokio::test]
async fn who_follows_all_logs_looks_for_more_where_the_engine_has_forgotten() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open("/logs/stream?all=true").await;
    next_is(&mut stream, "connected").await;
    let looks = async |wanted| {
        wait::until("it looks no more", SOON, async || {
            stage.lists.lock().unwrap().len() == wanted
        })
        .await;
    };
    looks(2).await;
    events.send(event("kill", "a", 1)).await;
    events.abort().await;
    let _events = stage.subscriptions.next().await;
    // Once it stands again; and once more when it is known that something is missing.
    looks(3).await;
    looks(4).await;
}

#[tokio::test]
async fn the_head_comes_once_the_subscription_stands() {
    let stage = Stage::with("[]").await;
    let gate = crate::support::scripted::Gate::shut();
    let (live, handles) = Answer::handed();
    stage.engine.route("GET", "/events", live.behind(&gate));
    let client = stage.agent.client.clone();
    let opened = tokio::spawn(async move { client.sse(PATH).await });
    stage
        .engine
        .wait("it is asked", |state| state.waiting == 1)
        .await;
    assert!(!opened.is_finished());
    gate.open();
    let mut stream = opened.await.unwrap();
    handles.next().await.send(event("start", "a", 1)).await;
    assert_eq!(next(&mut stream).await.id.as_deref(), Some("1.0"));
}

#[tokio::test]
async fn tells_who_is_too_slow_what_is_missing() {
    let stage = Stage::with("[]").await;
    let (mut slow, events) = stage.open(PATH).await;
    const MANY: i64 = 6000;
    let long = "x".repeat(4096);
    let before = stage.agent.rss_bytes();
    for at in 1..=MANY {
        assert!(
            events
                .send(event("start", &format!("{at}-{long}"), at))
                .await
        );
    }
    // Who comes now gets what is still known.
    let mut other = stage.agent.sse("/events?since=0").await;
    while next(&mut other).await.id != Some(format!("{MANY}.0")) {}
    let grown = stage.agent.rss_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown}");
    let (mut last, mut gaps) = (0, 0);
    while last < MANY {
        let event = next(&mut slow).await;
        if event.name() == "gap" {
            gaps += 1;
            let before = event.json()["before"].as_str().unwrap().to_owned();
            let nanos = before
                .trim_start_matches("1970-01-01T00:00:00.")
                .trim_end_matches('Z');
            last = format!("{nanos:0<9}").parse::<i64>().unwrap() - 1;
        } else {
            last += 1;
            assert_eq!(event.id, Some(format!("{last}.0")));
        }
    }
    assert!(gaps > 0);
}

#[tokio::test]
async fn moves_the_place_of_who_wants_little() {
    let stage = Stage::with("[]").await;
    let (mut stream, events) = stage.open("/events?type=image").await;
    events.send(event("start", "a", 7)).await;
    stream.comment(2 * SOON).await;
    assert_eq!(stream.last_id(), Some("7.0"));
}
