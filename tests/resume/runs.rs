//! Containers that stop and start again: streams end with the run that they joined.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::json;

use super::many::says;
use super::{Client, line_of};
use crate::contract::host::{Host, text};
use crate::support::client::EventStream;
use crate::support::fixture::{ID, agent_on, engine_with_log};
use crate::support::scripted::{
    Answer, Gate, Handles, STDERR, STDOUT, ScriptedEngine, frame, line,
};
use crate::support::wait::{self, SOON};

/// Says which run it is, then something now and then.
const TICKER: &str = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; \
                      seq 1 900 | while read i; do echo line $i of the run $n is long; done; \
                      echo run $n; while :; do echo tick $n; sleep 0.1; done";

/// Reads up to the line with this text; false where the stream ends before.
pub async fn reaches(client: &mut Client, stream: &mut EventStream, wanted: &str) -> bool {
    while let Some(event) = stream.next(SOON).await {
        client.keep(&event);
        if line_of(&event).is_some_and(|line| text(&line) == wanted) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_stop_that_others_went_over_does_not_end_who_joined_later() {
    let host = Host::start().await;
    host.engine.run("runs", &[], TICKER).await;
    let path = "/containers/runs/logs/stream";
    let [mut stays, mut leaves, mut new] = [(); 3].map(|()| Client::default());
    let mut over = stays
        .open(&host.agent, &format!("{path}?restarts=follow&tail=all"))
        .await;
    assert!(reaches(&mut stays, &mut over, "tick 1").await);
    let mut stream = leaves.open(&host.agent, path).await;
    leaves.take(&mut stream, 1).await;
    let mut many = host.agent.sse("/logs/stream?container=runs").await;
    assert!(reaches(&mut Client::default(), &mut many, "tick 1").await);

    host.engine.docker(&["restart", "-t", "0", "runs"]).await;
    assert!(!reaches(&mut leaves, &mut stream, "run 2").await);
    // As soon as it runs, whether or not it has been seen to be.
    let mut stream = leaves.open(&host.agent, path).await;
    assert!(reaches(&mut leaves, &mut stream, "run 2").await);
    assert!(reaches(&mut stays, &mut over, "tick 2").await);
    let mut stream = leaves.open(&host.agent, path).await;
    assert!(reaches(&mut leaves, &mut stream, "tick 2").await);
    let mut stream = new.open(&host.agent, &format!("{path}?tail=all")).await;
    assert!(reaches(&mut new, &mut stream, "tick 2").await);
    assert!(reaches(&mut Client::default(), &mut many, "tick 2").await);
    host.engine.remove("runs").await;
}

/// It runs in the engine's words while it waits to be started again.
#[tokio::test]
async fn a_crash_ends_the_run_though_the_engine_starts_it_again() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; trap 'end=1' USR1; echo run $n; \
                  until [ $end ]; do sleep 0.01; done; echo last of $n; exit 1";
    let name = "crashes";
    let options = ["--restart", "always"];
    host.engine.run(name, &options, script).await;
    let path = format!("/containers/{name}/logs/stream");
    let [mut ends, mut stays, mut many] = [(); 3].map(|()| Client::default());
    let mut over = stays
        .open(&host.agent, &format!("{path}?restarts=follow"))
        .await;
    let mut all = many
        .open(&host.agent, &format!("/logs/stream?container={name}"))
        .await;
    for run in 1..=3 {
        let [begun, last] = [format!("run {run}"), format!("last of {run}")];
        let mut stream = ends.open(&host.agent, &path).await;
        assert!(reaches(&mut ends, &mut stream, &begun).await);
        assert!(reaches(&mut stays, &mut over, &begun).await);
        assert!(reaches(&mut many, &mut all, &begun).await);
        host.engine.docker(&["kill", "-s", "USR1", name]).await;
        assert!(reaches(&mut ends, &mut stream, &last).await);
        assert_eq!(stream.next(SOON).await.unwrap().name(), "close");
        assert!(reaches(&mut stays, &mut over, &last).await);
        assert!(reaches(&mut many, &mut all, &last).await);
        says(&mut all, name, "stopped").await;
        if run < 3 {
            says(&mut all, name, "started").await;
        }
        wait::until("it runs again", SOON, async || {
            let state = [
                "inspect",
                "-f",
                "{{.State.Restarting}} {{.RestartCount}}",
                name,
            ];
            host.engine.docker(&state).await == format!("false {run}")
        })
        .await;
    }
    host.engine.remove(name).await;
}

const INSPECT: &str = "/containers/*/json";

/// When the first run begins, and mostly the next one.
const FIRST: &str = "2024-01-01T00:00:00Z";
const NEXT: &str = "2024-01-01T01:00:00Z";

/// Whether a container runs, and when it was started.
type State = (bool, &'static str);

/// What it is each time that it is looked at; the last for good.
#[derive(Clone)]
struct States(Arc<Mutex<Vec<State>>>);

impl States {
    fn new(first: State) -> Self {
        Self(Arc::new(Mutex::new(vec![first])))
    }

    fn are(&self, states: &[State]) {
        *self.0.lock().unwrap() = states.into();
    }

    fn next(&self) -> State {
        let mut states = self.0.lock().unwrap();
        match states.len() {
            1 => states[0],
            _ => states.remove(0),
        }
    }

    /// An engine with a container that is so, and no log yet.
    fn engine(&self) -> ScriptedEngine {
        let states = self.clone();
        engine_with_log(Answer::empty(200))
            .route_fn("GET", INSPECT, move |_| Self::answer(states.next()))
    }

    /// What an engine says of a container that is so.
    fn answer((running, started_at): State) -> Answer {
        let state = json!({ "Running": running, "StartedAt": started_at });
        let facts = json!({ "Id": ID, "Name": "/c", "Config": {}, "State": state });
        Answer::json(200, facts)
    }

    /// The same with a log, and what is given to those who follow it.
    fn engine_with(&self, log: Vec<u8>) -> (ScriptedEngine, Handles) {
        self.engine_on(&Arc::new(Mutex::new(log)))
    }

    /// The same with a log that can be written.
    fn engine_on(&self, log: &Arc<Mutex<Vec<u8>>>) -> (ScriptedEngine, Handles) {
        let (live, lives) = Answer::handed();
        let (engine, log) = (self.engine(), Arc::clone(log));
        let engine = engine.route_fn("GET", "/containers/*/logs", move |request| {
            match request.query.contains("follow=1") {
                true => live.clone(),
                false => Answer::bytes(200, log.lock().unwrap().clone()),
            }
        });
        (engine, lives)
    }
}

/// The engine may search the log for long, and in silence.
#[tokio::test]
async fn who_joins_the_next_run_while_the_last_words_are_looked_for_stays() {
    joins_while_last_words_are_looked_for(NEXT).await;
}

#[tokio::test]
async fn who_joins_a_run_of_a_clock_that_was_set_back_while_the_last_words_are_looked_for_stays() {
    joins_while_last_words_are_looked_for("2023-12-31T23:30:00Z").await;
}

async fn joins_while_last_words_are_looked_for(next_begins: &'static str) {
    let record = |nanos| frame(STDOUT, line(nanos, format!("line {nanos}")));
    let states = States::new((true, FIRST));
    let [(live, lives), (search, searches)] = [(); 2].map(|()| Answer::handed());
    let searching = Arc::new(AtomicBool::new(false));
    let is_searching = Arc::clone(&searching);
    let engine =
        states
            .engine()
            .route_fn("GET", "/containers/*/logs", move |request| {
                match request.query.contains("follow=1") {
                    true => live.clone(),
                    false if is_searching.swap(false, Ordering::Relaxed) => search.clone(),
                    false => Answer::bytes(200, record(1)),
                }
            });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/stream";
    let [mut early, mut late] = [(); 2].map(|()| Client::default());
    let mut stream = early.open(&agent, path).await;
    early.take(&mut stream, 1).await;
    let log = lives.next().await;
    assert!(log.send(record(1)).await);

    searching.store(true, Ordering::Relaxed);
    states.are(&[(false, FIRST)]);
    let looks = engine.requests_to("GET", INSPECT).len();
    log.finish();
    let search = searches.next().await;
    engine.wait_for_more(looks + 1, "GET", INSPECT).await;
    states.are(&[(true, next_begins)]);
    let mut next = late.open(&agent, &format!("{path}?tail=0")).await;
    search.finish();
    assert_eq!(stream.rest(SOON).await.last().unwrap().name(), "close");
    let log = lives.next().await;
    for nanos in [1, 3_000_000_000] {
        assert!(log.send(record(nanos)).await);
    }
    late.take(&mut next, 1).await;
    assert_eq!(late.lines.len(), 1, "it was sent away");
}

#[tokio::test]
async fn the_stop_of_a_run_before_ends_no_stream_where_the_clock_was_set_back() {
    begins_at_an_earlier_time(false).await;
}

#[tokio::test]
async fn a_stop_ends_streams_where_the_next_run_has_begun_by_a_clock_that_was_set_back() {
    begins_at_an_earlier_time(true).await;
}

/// A second run begins at an earlier time than the first, `at_once` or when it has been seen that that was over. Someone waits
/// for restarts, so that the ring still knows where it ended.
async fn begins_at_an_earlier_time(at_once: bool) {
    const LATER: &str = "2024-01-01T01:00:00Z";
    let second = (true, "2024-01-01T00:30:00Z");
    let records = |many| {
        let all = (0..many).map(|at| frame(STDOUT, line(at * 3_000_000_000 + 1, format!("{at}"))));
        all.collect::<Vec<_>>().concat()
    };
    let states = States::new((true, LATER));
    let (engine, lives) = states.engine_with(records(1));
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/stream";
    let [mut stays, mut one, mut many] = [(); 3].map(|()| Client::default());
    let mut over = stays.open(&agent, &format!("{path}?restarts=follow")).await;
    stays.take(&mut over, 1).await;
    let mut first = one.open(&agent, path).await;
    one.take(&mut first, 1).await;
    let mut all = many.open(&agent, "/logs/stream?container=c").await;
    many.take(&mut all, 1).await;
    let log = lives.next().await;
    assert!(log.send(records(1)).await);
    states.are(&[if at_once { second } else { (false, LATER) }]);
    log.finish();
    assert_eq!(first.rest(SOON).await.last().unwrap().name(), "close");
    says(&mut all, "c", "stopped").await;
    drop(all);

    states.are(&[second]);
    let mut next = one.open(&agent, path).await;
    let looks = engine.requests_to("GET", INSPECT).len();
    let mut all = many.open(&agent, "/logs/stream?container=c").await;
    let log = lives.next().await;
    assert!(log.send(records(2)).await);
    for (client, stream) in [(&mut one, &mut next), (&mut many, &mut all)] {
        client.take(stream, 1).await;
        assert_eq!(client.lines.len(), 2, "it was sent away");
    }
    let looks = engine.requests_to("GET", INSPECT).len() - looks;
    assert!(looks < 20, "{looks} looks");
}

fn records(seconds: &[u64]) -> Vec<u8> {
    let record = |second: &u64| {
        let nanos = second * 1_000_000_000;
        frame(STDOUT, line(nanos, format!("line {second}")))
    };
    seconds.iter().map(record).collect::<Vec<_>>().concat()
}

/// It has stopped when it is looked at for the last time, and when that is known someone has joined the next run.
#[tokio::test]
async fn who_joins_the_next_run_while_it_is_looked_whether_there_is_one_stays() {
    let states = States::new((true, FIRST));
    let (engine, lives) = states.engine_with(records(&[1]));
    let gate = Gate::shut();
    // The last of so many looks has no answer yet.
    let looks = Arc::new(AtomicUsize::new(0));
    let (seen, left, shut) = (states.clone(), Arc::clone(&looks), gate.clone());
    let engine = engine.route_fn("GET", INSPECT, move |_| {
        let answer = States::answer(seen.next());
        match left.load(Ordering::Relaxed) > 0 && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            true => answer.behind(&shut),
            false => answer,
        }
    });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/stream";
    let [mut early, mut late] = [(); 2].map(|()| Client::default());
    let mut stream = early.open(&agent, path).await;
    early.take(&mut stream, 1).await;
    let log = lives.next().await;
    assert!(log.send(records(&[1])).await);

    // Once it has ended, then in front of its last words and behind them.
    looks.store(3, Ordering::Relaxed);
    states.are(&[(false, FIRST), (false, FIRST), (false, FIRST), (true, NEXT)]);
    let before = engine.requests_to("GET", INSPECT).len();
    log.finish();
    engine.wait_for_more(before + 2, "GET", INSPECT).await;
    let mut next = late.open(&agent, &format!("{path}?tail=0")).await;
    gate.open();
    assert_eq!(stream.rest(SOON).await.last().unwrap().name(), "close");
    assert!(lives.next().await.send(records(&[1, 3])).await);
    late.take(&mut next, 1).await;
    assert_eq!(late.lines.len(), 1, "it was sent away");
}

/// What it read by itself goes on beyond the end of its run, and so would the ring.
#[tokio::test]
async fn who_reads_beyond_the_end_of_its_run_ends_there_too() {
    let states = States::new((true, FIRST));
    let [(live, lives), (history, histories)] = [(); 2].map(|()| Answer::handed());
    let log = Arc::new(Mutex::new(records(&[1, 2])));
    let (written, is_first) = (Arc::clone(&log), AtomicBool::new(true));
    let engine = states.engine();
    let engine = engine.route_fn("GET", "/containers/*/logs", move |request| {
        match request.query.contains("follow=1") {
            true => live.clone(),
            false if is_first.swap(false, Ordering::Relaxed) => history.clone(),
            false => Answer::bytes(200, written.lock().unwrap().clone()),
        }
    });
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let path = "/containers/c/logs/stream?tail";
    let [mut slow, mut stays, ends] = [(); 3].map(|()| Client::default());
    let mut stream = slow.open(&agent, &format!("{path}=all")).await;
    let history = histories.next().await;
    assert!(history.send(records(&[1])).await);
    slow.take(&mut stream, 1).await;
    let run = lives.next().await;
    assert!(run.send(records(&[2])).await);
    let mut over = stays
        .open(&agent, &format!("{path}=1&restarts=follow"))
        .await;
    stays.take(&mut over, 1).await;
    let other = ends.open(&agent, &format!("{path}=1")).await;
    states.are(&[(false, FIRST)]);
    run.finish();
    assert_eq!(other.rest(SOON).await.last().unwrap().name(), "close");

    *log.lock().unwrap() = records(&[1, 2, 3]);
    states.are(&[(true, NEXT)]);
    let run = lives.next().await;
    assert!(run.send(records(&[2, 3])).await);
    stays.take(&mut over, 1).await;
    history.abort().await;
    let events = stream.rest(SOON).await;
    assert_eq!(events.iter().filter_map(line_of).count(), 2);
    assert_eq!(events.last().unwrap().name(), "close");
}

/// From [`FIRST`], with which the times of lines begin, to [`NEXT`], in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// What a run writes: a line, and then last words.
fn first_run() -> Vec<u8> {
    let last = line(2, "last");
    let last = frame(STDOUT, last.trim_ascii_end());
    [frame(STDOUT, line(1, "one")), last].concat()
}

/// The next run's lines stand behind them in the log, and in front of their end.
#[tokio::test]
async fn last_words_take_nothing_of_the_next_run_with_them() {
    let next = |number: u64| HOUR + number;
    let both = [
        frame(STDERR, line(next(1), "next 1")),
        frame(STDOUT, line(next(2), "next 2")),
    ];
    let much = (1..=40).map(|number| {
        let text = format!("next {number} {}", "x".repeat(1000));
        frame(STDERR, line(next(number), text))
    });
    for (number, written) in [both.into(), much.collect::<Vec<_>>()].iter().enumerate() {
        let states = States::new((true, FIRST));
        let one = frame(STDOUT, line(1, "one"));
        let log = Arc::new(Mutex::new(one.clone()));
        let (engine, lives) = states.engine_on(&log);
        let engine = engine.start().await;
        let agent = agent_on(&engine).await;
        let path = "/containers/c/logs/stream";
        let [mut ends, mut stays] = [(); 2].map(|()| Client::default());
        let mut stream = ends.open(&agent, path).await;
        let mut goes_on = stays.open(&agent, &format!("{path}?restarts=follow")).await;
        let run = lives.next().await;
        assert!(run.send(one).await);
        ends.take(&mut stream, 1).await;
        stays.take(&mut goes_on, 1).await;
        let all = [first_run(), written.concat()].concat();
        *log.lock().unwrap() = all.clone();
        states.are(&[(true, NEXT)]);
        run.finish();
        let run = lives.next().await;
        assert!(run.send(all).await);
        while let Some(event) = stream.next(SOON).await {
            ends.keep(&event);
        }
        stays.take(&mut goes_on, 1 + written.len()).await;
        // Behind its end, from its own place.
        let mut stream = ends.open(&agent, path).await;
        ends.take(&mut stream, written.len()).await;
        for client in [&ends, &stays] {
            let texts: Vec<_> = client.lines.iter().map(|line| text(line)).collect();
            assert_eq!(texts[..2], ["one", "last"], "{number}");
            let next = texts[2..]
                .iter()
                .map(|text| text.split(' ').nth(1).unwrap());
            let wanted = (1..=written.len()).map(|number| number.to_string());
            assert!(next.eq(wanted), "{number}: {texts:?}");
            assert_eq!(client.gaps, 0);
        }
    }
}

/// A run that has not written anything yet is read as soon as the last words of the one before have come again.
#[tokio::test]
async fn a_silent_run_behind_last_words_holds_up_no_end_of_a_time() {
    let states = States::new((true, FIRST));
    let (engine, lives) = states.engine_with(first_run());
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let until = jiff::Timestamp::now() + std::time::Duration::from_secs(3);
    let path = format!("/containers/c/logs/stream?restarts=follow&until={until}");
    let mut client = Client::default();
    let mut stream = client.open(&agent, &path).await;
    let run = lives.next().await;
    assert!(run.send(frame(STDOUT, line(1, "one"))).await);
    client.take(&mut stream, 1).await;
    states.are(&[(true, NEXT)]);
    run.finish();
    let run = lives.next().await;
    assert!(run.send(first_run()).await);
    let events = stream.rest(2 * SOON).await;
    assert_eq!(events.iter().filter_map(line_of).count(), 1);
    assert_eq!(events.last().unwrap().name(), "close");
}

/// The next run is seen when the one before has ended, and is over when it is looked at again.
#[tokio::test]
async fn a_run_that_is_over_as_soon_as_it_was_seen_is_read() {
    let record = |nanos| frame(STDOUT, line(nanos, format!("line {nanos}")));
    let states = States::new((true, FIRST));
    let (engine, lives) = states.engine_with(record(1));
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client
        .open(&agent, "/containers/c/logs/stream?restarts=follow")
        .await;
    client.take(&mut stream, 1).await;
    let log = lives.next().await;
    assert!(log.send(record(1)).await);
    states.are(&[(true, NEXT), (false, NEXT)]);
    log.finish();
    let log = lives.next().await;
    assert!(log.send([record(1), record(3_000_000_000)].concat()).await);
    client.take(&mut stream, 1).await;
    assert_eq!(client.lines.len(), 2);
}

/// The container did not run when it was looked at, so that its last words are waited for; it ran when its log was read.
#[tokio::test]
async fn a_run_that_began_unseen_keeps_no_stream_open_beyond_its_time() {
    let log = || frame(STDOUT, line(1, "one"));
    let engine = engine_with_log(Answer::bytes(200, "")).route_fn(
        "GET",
        "/containers/*/logs",
        move |request| match request.query.contains("follow=1") {
            true => Answer::hang_body(log()),
            false => Answer::bytes(200, log()),
        },
    );
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let one = "/containers/c/logs/stream?";
    for path in [one, "/logs/stream?container=c&"] {
        let path = format!("{path}tail=all&until=1h");
        let events = agent.sse(&path).await.rest(SOON).await;
        assert_eq!(events.last().unwrap().name(), "close", "{path}");
    }
}
