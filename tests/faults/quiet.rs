//! A stream on which nothing happens says every 15 seconds that it is alive.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::inside::{self, Inside, is_about, leaping, piece};
use crate::support::fixture::engine_with_live_log;
use crate::support::scripted::{Answer, Handles, STDOUT, StreamHandle, frame, line};

const BEAT: &str = ": heartbeat\n\n";

/// Where a client is that has seen an empty log.
const PLACE: &str = "id: 4fa6e0f0c678.0.o0!\n\n";

/// Reads what comes at once: the opening, if there `is` one, and the place.
async fn begin(stream: &mut inside::Answer, is: bool) {
    if is {
        let opening = piece(stream).await.unwrap().unwrap();
        assert!(opening.starts_with(b"event: connected\n"));
    }
    assert_eq!(piece(stream).await.unwrap().unwrap(), PLACE);
}

/// The handle of the log's reader. The stream moves on only where it is read, and has nothing to say yet.
async fn reader(handles: &Handles, stream: &mut inside::Answer) -> StreamHandle {
    tokio::select! {
        handle = handles.of_an_empty_log() => handle,
        event = piece(stream) => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn beats_every_15_seconds() {
    for (path, opens) in [
        ("/containers/c/logs/stream", true),
        ("/containers/c/logs?follow=true", false),
    ] {
        let (log, _handles) = Answer::handed();
        let engine = engine_with_live_log(log).start().await;
        let mut stream = Inside::on(&engine).get(path).await;
        begin(&mut stream, opens).await;
        for _ in 0..3 {
            let (beat, passed) = leaping(piece(&mut stream)).await;
            assert_eq!(beat.unwrap().unwrap(), format!("{BEAT}{PLACE}"));
            assert!(is_about(passed, 15), "{path}: {passed:?}");
        }
    }
}

#[tokio::test]
async fn counts_from_the_last_line() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log).start().await;
    let mut stream = Inside::on(&engine).get("/containers/c/logs/stream").await;
    begin(&mut stream, true).await;
    let handle = reader(&handles, &mut stream).await;

    // Most of the time to the next beat passes, then comes a line.
    let almost = std::time::Duration::from_secs(14);
    let (nothing, _) = leaping(tokio::time::timeout(almost, piece(&mut stream))).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert!(handle.send(frame(STDOUT, line(1, "here"))).await);
    let event = piece(&mut stream).await.unwrap().unwrap();
    assert!(event.starts_with(b"event: log\n"), "{event:?}");
    let event = String::from_utf8(event.to_vec()).unwrap();
    let id = event.lines().find(|field| field.starts_with("id: "));
    let (beat, passed) = leaping(piece(&mut stream)).await;
    // With the place, which has moved on where what came is not wanted.
    assert_eq!(beat.unwrap().unwrap(), format!("{BEAT}{}\n\n", id.unwrap()));
    assert!(is_about(passed, 15), "{passed:?}");
}

#[tokio::test]
async fn tells_no_place_behind_what_is_still_to_be_read() {
    let (log, _handles) = Answer::handed();
    let engine = engine_with_live_log(log.clone()).start().await;
    let asked = AtomicUsize::new(0);
    engine.route_fn("GET", "/containers/*/logs", move |request| {
        let value = |name| request.query_value(name).unwrap_or_default();
        match (value("follow").as_str(), value("tail").as_str()) {
            ("1", _) => log.clone(),
            // Written just now, after it was looked for lines of that time.
            (_, "1") => Answer::bytes(200, frame(STDOUT, line(1, "here"))),
            _ if asked.fetch_add(1, Ordering::Relaxed) == 0 => Answer::bytes(200, ""),
            // Then the engine searches for long.
            _ => Answer::hang_body(""),
        }
    });
    let path = "/containers/c/logs/stream?since=1";
    let mut stream = Inside::on(&engine).get(path).await;
    piece(&mut stream).await.unwrap().unwrap();
    for _ in 0..2 {
        let (beat, _) = leaping(piece(&mut stream)).await;
        assert_eq!(beat.unwrap().unwrap(), BEAT);
    }
    let requests = engine.requests().into_iter();
    let searches = requests.filter(|asked| {
        let is_last = asked.query_value("tail").as_deref() == Some("1");
        asked.path.ends_with("/logs") && !is_last
    });
    assert!(searches.count() > 2, "it is not at that point");
}

#[tokio::test]
async fn beats_while_the_engine_is_away() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log).start().await;
    let mut stream = Inside::on(&engine).get("/containers/c/logs/stream").await;
    begin(&mut stream, true).await;
    let handle = reader(&handles, &mut stream).await;
    engine.crash().await;
    drop(handle);
    for _ in 0..3 {
        let (beat, passed) = leaping(piece(&mut stream)).await;
        assert_eq!(beat.unwrap().unwrap(), format!("{BEAT}{PLACE}"));
        assert!(is_about(passed, 15), "{passed:?}");
    }
    engine.start_again().await;
    let handle = handles.next().await;
    assert!(handle.send(frame(STDOUT, line(1, "here"))).await);
    let event = piece(&mut stream).await.unwrap().unwrap();
    assert!(event.starts_with(b"event: log\n"), "{event:?}");
}
