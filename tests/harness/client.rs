//! The client shows heads, events and ends as they are.

use std::time::Duration;

use crate::support::client::{Client, EventStream};
use crate::support::scripted::{Answer, RunningEngine, ScriptedEngine};
use crate::support::wait::SOON;

async fn served(answer: Answer) -> (RunningEngine, Client) {
    let engine = ScriptedEngine::new()
        .tcp()
        .route("GET", "/sse", answer)
        .start()
        .await;
    let host = engine.docker_host();
    let client = Client::new(host.strip_prefix("tcp://").unwrap().parse().unwrap());
    (engine, client)
}

#[tokio::test]
async fn reads_events_as_they_come_and_sees_the_end() {
    let (answer, handles) = Answer::handed();
    let (engine, client) = served(answer.header("X-Accel-Buffering", "no")).await;
    let client = client.with_key("k");
    let mut events = client.sse_with("/sse", &[("last-event-id", "7")]).await;
    assert_eq!(events.header("x-accel-buffering"), Some("no"));
    let asked = &engine.requests()[0].headers;
    assert_eq!(
        (&asked["x-auth-key"], &asked["last-event-id"]),
        (&"k".parse().unwrap(), &"7".parse().unwrap())
    );

    let handle = handles.next().await;
    handle.send("event: log\nid: 8\nda").await;
    handle.send("ta: {\"log\":\"a\"}\n").await;
    assert!(events.try_next(Duration::from_millis(50)).await.is_err());
    handle.send("\n: beat\n\n").await;
    let event = events.next(SOON).await.unwrap();
    assert_eq!((event.name(), &event.json()["log"]), ("log", &"a".into()));
    if events.comments() == 0 {
        events.comment(SOON).await;
    }
    assert_eq!((events.comments(), events.last_id()), (1, Some("8")));
    handle.finish();
    assert_eq!(events.next(SOON).await, None);
}

#[tokio::test]
async fn sees_a_torn_event_stream() {
    let (_engine, client) = served(Answer::stream(async |w| {
        w.send("data: a\n\n").await;
        w.abort().await;
    }))
    .await;
    let mut events: EventStream = client.sse("/sse").await;
    assert_eq!(events.next(SOON).await.unwrap().data, "a");
    let end = events.try_next(SOON).await.unwrap_err();
    assert!(end.to_string().contains("torn"), "{end}");
}

#[tokio::test]
async fn keeps_one_connection_for_a_session() {
    let (engine, client) = served(Answer::chunks(["a", "b"])).await;
    let mut session = client.session().await;
    for _ in 0..3 {
        assert_eq!(session.get("/sse").await.unwrap().text(), "ab");
    }
    assert_eq!(engine.state(|s| (s.accepted, s.requests.len())), (1, 3));
    drop(session);
    engine
        .wait("the session's connection is closed", |s| s.connections == 0)
        .await;
}
