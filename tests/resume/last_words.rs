//! What a run writes last, without a newline: it comes before the stream's end, once, and whoever has got it goes on behind it.

use jiff::{SignedDuration, Timestamp};

use super::Client;
use super::growing::Growing;
use super::runs::reaches;
use crate::contract::host::{Host, text};
use crate::support::agent::Agent;
use crate::support::fixture::{ID, agent_on, engine_with_log};
use crate::support::scripted::{Answer, STDERR, STDOUT, frame, line};
use crate::support::wait::SOON;

const PATH: &str = "/containers/c/logs/stream";

fn texts(client: &Client) -> Vec<&str> {
    client.lines.iter().map(|line| text(line)).collect()
}

#[tokio::test]
async fn last_words_without_a_newline_come_before_the_end() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; \
                  trap 'end=1' USR1; echo run $n; until [ $end ]; do sleep 0.01; done; printf 'last of %s' $n";
    for (name, options) in [("words-frames", &[][..]), ("words-terminal", &["-t"])] {
        host.engine.run(name, options, script).await;
        let path = format!("/containers/{name}/logs/stream");
        let mut clients = [(); 2].map(|()| Client::default());
        let [ends, stays] = &mut clients;
        let mut stream = ends.open(&host.agent, &path).await;
        let mut over = stays
            .open(&host.agent, &format!("{path}?restarts=follow"))
            .await;
        for run in 1..=2 {
            let [begun, last] = [format!("run {run}"), format!("last of {run}")];
            // A line of its own, though the log of a terminal holds both runs as one.
            assert!(reaches(stays, &mut over, &begun).await, "{name}");
            assert!(reaches(ends, &mut stream, &begun).await, "{name}");
            host.engine.docker(&["kill", "-s", "USR1", name]).await;
            assert!(reaches(ends, &mut stream, &last).await, "{name}");
            assert_eq!(stream.next(SOON).await.unwrap().name(), "close");
            assert!(reaches(stays, &mut over, &last).await, "{name}");
            if run == 1 {
                host.engine.docker(&["start", name]).await;
                stream = ends.open(&host.agent, &path).await;
            }
        }
        let texts = clients.map(|client| {
            assert_eq!(client.gaps, 0, "{name}");
            let texts = client.lines.iter().map(|line| text(line).to_owned());
            texts.collect::<Vec<_>>()
        });
        let wanted = ["run 1", "last of 1", "run 2", "last of 2"];
        assert_eq!(texts, [wanted, wanted], "{name}");
        host.engine.remove(name).await;
    }
}

/// The next run has begun when it is known that the one before is over.
#[tokio::test]
async fn of_a_restarted_container_come_before_the_end() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; \
                  trap 'end=1' TERM; echo run $n; until [ $end ]; do sleep 0.01; done; printf 'last of %s' $n";
    // The log of a terminal has them in one line with what the next run writes.
    for (name, terminal, runs) in [("words-again", false, 3), ("words-again-terminal", true, 1)] {
        let terminal = format!("--tty={terminal}");
        let options = ["--stop-signal", "TERM", &terminal];
        host.engine.run(name, &options, script).await;
        let path = format!("/containers/{name}/logs/stream");
        let mut client = Client::default();
        for run in 1..=runs {
            let mut stream = client.open(&host.agent, &path).await;
            // The engine may not have known that it had begun when it wrote that.
            let begun = format!("run {run}");
            let has_begun = texts(&client).contains(&&*begun);
            assert!(has_begun || reaches(&mut client, &mut stream, &begun).await);
            host.engine.docker(&["restart", name]).await;
            let last = format!("last of {run}");
            let words = reaches(&mut client, &mut stream, &last).await;
            assert!(words, "{name} {run}");
            while let Some(event) = stream.next(SOON).await {
                client.keep(&event);
            }
        }
        let mut stream = client.open(&host.agent, &path).await;
        if client.lines.len() == 2 * runs {
            client.take(&mut stream, 1).await;
        }
        let written = (1..=runs).flat_map(|run| [format!("run {run}"), format!("last of {run}")]);
        let written: Vec<_> = written.chain([format!("run {}", runs + 1)]).collect();
        assert_eq!(texts(&client), written, "{name}");
        assert_eq!(client.gaps, 0, "{name}");
        host.engine.remove(name).await;
    }
}

#[tokio::test]
async fn a_cursor_behind_last_words_goes_on_with_the_next_run() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; echo run $n; \
                  [ $n -gt 1 ] || { printf prompt; exit; }; echo second; sleep 600";
    for (name, options) in [("seam-frames", &[][..]), ("seam-terminal", &["-t"])] {
        host.ran(name, options, script).await;
        let path = format!("/containers/{name}/logs/stream");
        let mut client = Client::default();
        let mut stream = client.open(&host.agent, &path).await;
        assert!(reaches(&mut client, &mut stream, "prompt").await, "{name}");
        host.engine.docker(&["start", name]).await;
        // Behind the last words, and behind what a terminal's log has in one line with them.
        for wanted in ["run 2", "second"] {
            let mut stream = client.open(&host.agent, &path).await;
            assert!(reaches(&mut client, &mut stream, wanted).await, "{name}");
        }
        assert_eq!((client.lines.len(), client.gaps), (4, 0), "{name}");
        host.engine.remove(name).await;
    }
}

/// The other output may say nothing more for ever.
#[tokio::test]
async fn last_words_of_one_output_do_not_hold_up_the_other() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; echo run $n; \
                  [ $n -gt 1 ] || { printf prompt; printf fatal >&2; exit; }; trap 'echo loud >&2' USR1; \
                  sleep 1.5; echo later; while :; do sleep 0.1; done";
    let name = "words-apart";
    host.ran(name, &[], script).await;
    let path = format!("/containers/{name}/logs/stream");
    let [mut early, mut late, mut stays] = [(); 3].map(|()| Client::default());
    for client in [&mut early, &mut late] {
        let mut stream = client.open(&host.agent, &path).await;
        client.take(&mut stream, 3).await;
    }
    let over = format!("{path}?restarts=follow&tail=all");
    let mut over = stays.open(&host.agent, &over).await;
    stays.take(&mut over, 3).await;
    host.engine.docker(&["start", name]).await;
    let mut stream = early.open(&host.agent, &path).await;
    for wanted in ["run 2", "later"] {
        assert!(reaches(&mut early, &mut stream, wanted).await);
    }
    // Behind a line that is later than any that may be in the wrong order.
    let mut another = late.open(&host.agent, &path).await;
    assert!(reaches(&mut late, &mut another, "later").await);
    host.engine.docker(&["kill", "-s", "USR1", name]).await;
    assert!(reaches(&mut early, &mut stream, "loud").await);
    assert!(reaches(&mut late, &mut another, "loud").await);
    assert!(reaches(&mut stays, &mut over, "loud").await);
    for client in [early, late, stays] {
        let mut texts: Vec<_> = client.lines.iter().map(|line| text(line)).collect();
        // Of these the engine gets either at first.
        texts[1..3].sort_unstable();
        let wanted = ["run 1", "fatal", "prompt", "run 2", "later", "loud"];
        assert_eq!(texts, wanted);
        assert_eq!(client.gaps, 0);
    }
    host.engine.remove(name).await;
}

/// A run's last words, and what the next ones write to the other output. Who has got all of it is not sent back to them.
#[tokio::test]
async fn of_an_earlier_run_come_late_and_alone() {
    let host = Host::start().await;
    let script = "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n > /n; \
                  [ $n -gt 1 ] || { printf prompt; exit; }; trap 'end=1' USR1; echo run $n >&2; \
                  until [ $end ]; do sleep 0.01; done; echo two of $n >&2; printf 'last of %s' $n >&2";
    let name = "words-earlier";
    host.ran(name, &[], script).await;
    host.engine.docker(&["start", name]).await;
    let path = format!("/containers/{name}/logs/stream");
    let [mut ends, mut stays] = [(); 2].map(|()| Client::default());
    let mut stream = ends.open(&host.agent, &format!("{path}?tail=10")).await;
    let over = format!("{path}?restarts=follow&tail=10");
    let mut over = stays.open(&host.agent, &over).await;
    for client in [(&mut ends, &mut stream), (&mut stays, &mut over)] {
        assert!(reaches(client.0, client.1, "run 2").await);
    }
    host.engine.docker(&["kill", "-s", "USR1", name]).await;
    assert!(reaches(&mut ends, &mut stream, "prompt").await);
    drop(stream);
    // From the ring and, by an agent that has given nothing yet, from the engine.
    let another = agent_beside(&host).await;
    for agent in [&host.agent, &another] {
        let mut again = Client {
            cursor: ends.cursor.clone(),
            ..Client::default()
        };
        let mut stream = again.open(agent, &path).await;
        assert!(reaches(&mut again, &mut stream, "last of 2").await);
        assert_eq!(texts(&again), ["last of 2"]);
        let mut stream = again.open(agent, &path).await;
        again.take(&mut stream, 1).await;
        assert_eq!((again.lines.len(), again.gaps), (1, 0));
    }
    assert!(reaches(&mut stays, &mut over, "last of 2").await);
    host.engine.docker(&["start", name]).await;
    assert!(reaches(&mut stays, &mut over, "run 3").await);
    let wanted = ["run 2", "two of 2", "prompt", "last of 2", "run 3"];
    assert_eq!(texts(&stays), wanted);
    assert_eq!(stays.gaps, 0);
    host.engine.remove(name).await;
}

/// Another agent on the same engine.
async fn agent_beside(host: &Host) -> Agent {
    let builder = Agent::builder();
    builder.docker_host(host.engine.docker_host()).start().await
}

#[tokio::test]
async fn of_an_earlier_run_leave_the_client_behind_what_came_since() {
    let second = 1_000_000_000;
    let log = [
        frame(STDOUT, line(second, "prompt").trim_ascii_end()),
        frame(STDERR, line(2 * second, "one")),
        frame(STDERR, line(3 * second, "two")),
    ];
    let engine = engine_with_log(Answer::bytes(200, log.concat()));
    let engine = engine.start().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    for _ in 0..3 {
        let mut stream = client.open(&agent, PATH).await;
        client.take(&mut stream, 4).await;
    }
    assert_eq!(texts(&client), ["one", "two", "prompt"]);
    assert_eq!(client.gaps, 0);
}

/// A client begins at a log that ends in some: what comes while the line before them is looked for is new.
#[tokio::test]
async fn hide_nothing_that_comes_while_a_client_begins() {
    for (source, wanted) in [(STDERR, "second"), (STDOUT, "pppppppppp")] {
        // What is asked for once nothing but those is found.
        for (query, more) in [("tail=10", "80"), ("tail=0", "8"), ("tail=0&since=1h", "8")] {
            let log = Growing::default();
            log.write(STDOUT, ago(30_000), "first");
            let engine = log.engine().await;
            let written = log.clone();
            engine.route_fn("GET", "/containers/*/logs", move |request| {
                if request.query_value("tail").unwrap() == more {
                    log.write(source, Timestamp::now(), "second");
                }
                log.answer(request)
            });
            let agent = agent_on(&engine).await;
            let begun = ago(20_000);
            for _ in 0..10 {
                written.write_part(STDOUT, begun, "p");
            }
            let mut client = Client::default();
            let mut stream = client.open(&agent, &format!("{PATH}?{query}")).await;
            client.take(&mut stream, 1).await;
            assert!(texts(&client)[0].starts_with(wanted), "{source}, {query}");
        }
    }
}

/// Of two, one that is not the first ends meanwhile.
#[tokio::test]
async fn come_where_another_still_has_no_end() {
    let log = Growing::default();
    let begun = ago(10_000);
    log.write(STDOUT, ago(30_000), "first");
    log.write_part(STDOUT, ago(20_000), "prompt");
    log.write_part(STDERR, begun, "begun, ");
    let engine = log.engine().await;
    let growing = log.clone();
    engine.route_fn("GET", "/containers/*/logs", move |request| {
        if request.query_value("tail").unwrap() == "16" {
            growing.write(STDERR, begun, "ended");
        }
        growing.answer(request)
    });
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stream = client.open(&agent, &format!("{PATH}?tail=2")).await;
    client.take(&mut stream, 1).await;
    assert_eq!(texts(&client), ["begun, ended"]);
}

/// What came behind the beginning of a line that has long not ended, and before the client, is not new.
#[tokio::test]
async fn make_nothing_new_that_was_there_before_a_client() {
    for query in ["tail=0", "tail=1"] {
        let log = Growing::default();
        let begun = ago(20_000);
        log.write_part(STDOUT, begun, "p");
        log.write(STDERR, ago(500), "old");
        log.write_part(STDOUT, begun, "p");
        let engine = log.engine().await;
        let agent = agent_on(&engine).await;
        let mut client = Client::default();
        let mut stream = client.open(&agent, &format!("{PATH}?{query}")).await;
        engine
            .wait("the line before it was looked for", |state| {
                let mut logs = state.requests_to("GET", "/containers/*/logs");
                logs.any(|request| request.query_value("tail").unwrap() == "8")
            })
            .await;
        log.write(STDERR, Timestamp::now(), "new");
        client.take(&mut stream, 1).await;
        assert_eq!(texts(&client), ["new"], "{query}");
    }
}

/// However few lines a client wants, none was within its times when it began: all that are now have come since.
#[tokio::test]
async fn no_line_is_too_many_that_comes_while_a_client_begins_within_times() {
    let log = Growing::default();
    log.write(STDOUT, ago(7_200_000), "old");
    let engine = log.engine().await;
    let growing = log.clone();
    engine.route_fn("GET", "/containers/*/logs", move |request| {
        if request.query_value("tail").unwrap() == "1" {
            for text in ["a", "b", "c"] {
                growing.write(STDOUT, Timestamp::now(), text);
            }
        }
        growing.answer(request)
    });
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let path = format!("{PATH}?tail=2&since=1h");
    let mut stream = client.open(&agent, &path).await;
    client.take(&mut stream, 3).await;
    assert_eq!(texts(&client), ["a", "b", "c"]);
}

/// So long before now, in milliseconds.
fn ago(millis: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_millis(millis)
}

fn behind(time: Timestamp, what: &str) -> Client {
    Client {
        cursor: Some(format!("{}.{}.{what}", &ID[..12], time.as_nanosecond())),
        ..Client::default()
    }
}

/// Of both outputs, the client got the later ones last. The next run may write to either first.
#[tokio::test]
async fn of_both_outputs_do_not_come_again() {
    for (first, then) in [(STDOUT, STDERR), (STDERR, STDOUT)] {
        let log = Growing::default();
        let fatal = ago(20_000);
        log.write_part(STDOUT, ago(20_500), "prompt");
        log.write_part(STDERR, fatal, "fatal");
        log.write(first, ago(15_000), "run 2");
        let engine = log.engine().await;
        let agent = agent_on(&engine).await;
        let mut client = behind(fatal, "e0_5");
        let mut stream = client.open(&agent, PATH).await;
        client.take(&mut stream, 1).await;
        log.write(then, ago(10_000), "later");
        client.take(&mut stream, 1).await;
        assert_eq!(texts(&client), ["run 2", "later"], "{first} first");
        assert_eq!(client.gaps, 0);
    }
}

/// The client got the last words, then a line of the other output, and left; then its own output says more.
#[tokio::test]
async fn do_not_come_again_behind_a_line_of_the_other_output() {
    let log = Growing::default();
    let prompt = ago(20_500);
    log.write_part(STDOUT, prompt, "prompt");
    log.write(STDERR, ago(20_000), "one");
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let mut client = behind(prompt, "o0_6");
    let mut stream = client.open(&agent, PATH).await;
    client.take(&mut stream, 1).await;
    drop(stream);
    for (number, agent) in [agent, agent_on(&engine).await].iter().enumerate() {
        let mut stream = client.open(agent, PATH).await;
        log.write(STDOUT, Timestamp::now(), &format!("line {number}"));
        client.take(&mut stream, 1).await;
    }
    assert_eq!(texts(&client), ["one", "line 0", "line 1"]);
    assert_eq!(client.gaps, 0);
}

/// A line that goes on is none of those, though the client got one that is later.
#[tokio::test]
async fn are_not_what_goes_on() {
    let log = Growing::default();
    let (long, one) = (ago(20_500), ago(20_000));
    log.write_part(STDOUT, long, "a long ");
    log.write(STDERR, one, "one");
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    // Of a client that began in the midst of it.
    let mut client = behind(one, "e0");
    let mut stream = client.open(&agent, PATH).await;
    log.write(STDOUT, long, "line");
    client.take(&mut stream, 1).await;
    assert_eq!(texts(&client), ["a long line"]);
}

/// What seems to be older than the client's place may have been written since.
#[tokio::test]
async fn of_a_clock_that_went_back_come() {
    let log = Growing::default();
    let known = ago(20_000);
    log.write(STDOUT, known, "known");
    let engine = log.engine().await;
    let agent = agent_on(&engine).await;
    let mut client = Client::default();
    let mut stays = client.open(&agent, PATH).await;
    client.take(&mut stays, 1).await;
    let mut stream = client.open(&agent, PATH).await;
    log.write_part(STDERR, ago(40_000), "fatal");
    log.write(STDERR, Timestamp::now(), "next");
    client.take(&mut stream, 2).await;
    assert_eq!(texts(&client), ["known", "fatal", "next"]);
}
