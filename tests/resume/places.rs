//! Where a client is that has not got a line for long, or never.

use super::Client;
use crate::contract::host::Host;
use crate::support::wait::SOON;

const PATHS: [&str; 2] = [
    "/containers/places/logs/stream?tail=all&grep=wanted",
    "/logs/stream?container=places&tail=all&grep=wanted",
];

#[tokio::test]
async fn who_got_no_line_gets_all_that_were_written_while_away() {
    let host = Host::start().await;
    let script = "echo other; while [ ! -e /go ]; do sleep 0.1; done; \
                  echo wanted 1; seq 1 300; echo wanted 2; sleep 600";
    host.engine.run("places", &[], script).await;
    let mut clients = Vec::new();
    for path in PATHS {
        let mut client = Client::default();
        let mut stream = client.open(&host.agent, path).await;
        client.cursor = Some(stream.id(SOON).await);
        clients.push(client);
    }
    host.engine
        .docker(&["exec", "places", "touch", "/go"])
        .await;
    for (mut client, path) in clients.into_iter().zip(PATHS) {
        // Were it without a place, it would begin with the last lines.
        let path = path.replace("tail=all", "tail=1");
        let mut stream = client.open(&host.agent, &path).await;
        client.take(&mut stream, 2).await;
        assert!(client.lines[0].ends_with(" wanted 1"), "{path}");
        assert_eq!((client.lines.len(), client.gaps), (2, 0), "{path}");
    }
    host.engine.remove("places").await;
}

#[tokio::test]
async fn who_wants_little_is_not_left_behind() {
    let host = Host::start().await;
    let script = "echo wanted; while :; do echo other; sleep 0.1; done";
    host.engine.run("places-little", &[], script).await;
    let mut streams = Vec::new();
    for path in PATHS {
        let path = path.replace("places", "places-little");
        let mut client = Client::default();
        let mut stream = client.open(&host.agent, &path).await;
        client.take(&mut stream, 1).await;
        streams.push((stream, client));
    }
    for (stream, client) in &mut streams {
        stream.comment(2 * SOON).await;
        assert_ne!(stream.last_id(), client.cursor.as_deref());
    }
    host.engine.remove("places-little").await;
}

#[tokio::test]
async fn a_time_to_come_ends_a_stream_behind_all_lines_that_are_early_enough() {
    let host = Host::start().await;
    // An engine that is held up in the last second before it is not waited for.
    let mut seen = Vec::new();
    while seen
        .last()
        .is_none_or(|(all, streams)| *streams != [*all, *all])
    {
        assert!(seen.len() < 3, "{seen:?}");
        seen.push(up_to_a_time(&host).await);
    }
    assert!(seen.iter().all(|(all, _)| *all > 1000), "{seen:?}");
}

/// How many lines a log and streams have up to a time to come.
async fn up_to_a_time(host: &Host) -> (usize, Vec<usize>) {
    let script = "i=0; while :; do echo line $i; i=$((i+1)); done";
    host.engine.run("places-until", &[], script).await;
    let until = jiff::Timestamp::now() + std::time::Duration::from_millis(1500);
    let query = format!("tail=all&timestamps=false&until={until}");
    let mut streams = Vec::new();
    for path in [
        format!("/containers/places-until/logs/stream?{query}"),
        format!("/logs/stream?container=places-until&{query}"),
    ] {
        let stream = host.agent.sse(&path).await;
        streams.push(tokio::spawn(async move {
            let events = stream.rest(4 * SOON).await;
            let lines = events.iter().filter(|event| event.name() == "log");
            lines.count()
        }));
    }
    let mut seen = Vec::new();
    for stream in streams {
        seen.push(stream.await.unwrap());
    }
    host.engine.docker(&["kill", "places-until"]).await;
    let path = format!("/containers/places-until/logs/download?{query}");
    let all = host.agent.get(&path).await.text().lines().count();
    host.engine.remove("places-until").await;
    (all, seen)
}
