//! A stream on which nothing happens says every 15 seconds that it is alive.

use super::inside::{self, Inside, is_about, leaping, piece};
use crate::support::fixture::engine_with_live_log;
use crate::support::scripted::{Answer, Handles, STDOUT, StreamHandle, frame, line};

const BEAT: &str = ": heartbeat\n\n";

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
        if opens {
            let opening = piece(&mut stream).await.unwrap().unwrap();
            assert!(opening.starts_with(b"event: connected\n"));
        }
        for _ in 0..3 {
            let (beat, passed) = leaping(piece(&mut stream)).await;
            assert_eq!(beat.unwrap().unwrap(), BEAT);
            assert!(is_about(passed, 15), "{path}: {passed:?}");
        }
    }
}

#[tokio::test]
async fn counts_from_the_last_line() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log).start().await;
    let mut stream = Inside::on(&engine).get("/containers/c/logs/stream").await;
    piece(&mut stream).await.unwrap().unwrap();
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
async fn beats_while_the_engine_is_away() {
    let (log, handles) = Answer::handed();
    let engine = engine_with_live_log(log).start().await;
    let mut stream = Inside::on(&engine).get("/containers/c/logs/stream").await;
    piece(&mut stream).await.unwrap().unwrap();
    let handle = reader(&handles, &mut stream).await;
    engine.crash().await;
    drop(handle);
    for _ in 0..3 {
        let (beat, passed) = leaping(piece(&mut stream)).await;
        assert_eq!(beat.unwrap().unwrap(), BEAT);
        assert!(is_about(passed, 15), "{passed:?}");
    }
    engine.start_again().await;
    let handle = handles.next().await;
    assert!(handle.send(frame(STDOUT, line(1, "here"))).await);
    let event = piece(&mut stream).await.unwrap().unwrap();
    assert!(event.starts_with(b"event: log\n"), "{event:?}");
}
