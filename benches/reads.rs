//! Reads through the agent, through what a user would take instead, and from the engine's own socket: in turn, several
//! rounds, medians.
//!
//! Each of them, and the engine, runs in a session of its own; the load is in another one.
//!
//! The first table is of a real engine with a hundred containers, half of them running; the second of an engine that
//! answers at once, so that what stands in front of it shows; there the servers are on one core, the load and the engine on
//! the other, but where it says so. Ends with an error where a figure is over its limit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a bench reports by printing and fails by panicking"
)]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "of the tests' support a bench uses a part"
)]

mod instant;
mod load;
#[path = "reads/measure.rs"]
mod measure;
mod proxies;
mod report;
mod session;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::process::ExitCode;

use tests::support;

use crate::{
    instant::Instant,
    measure::{Asking, Server, What, measure, print, title},
    proxies::Proxy,
    session::apart,
    support::{
        agent::{Agent, AgentBuilder, program},
        dockerd::{IMAGE, RealEngine},
    },
};

const CONTAINERS: usize = 100;

/// A ratio with its limit: at least, or at most.
fn ratio<'a>(what: &'a str, of: f64, to: f64, limit: &'a str, at_least: bool) -> report::Row<'a> {
    let (value, wanted) = (of / to, limit.parse::<f64>().unwrap());
    let holds = if at_least {
        value >= wanted
    } else {
        value <= wanted
    };
    (what, format!("{value:.2}"), limit, holds)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if load::is_called() || instant::is_called() {
        return ExitCode::SUCCESS;
    }
    let engine = RealEngine::start().await;
    let mut ids = Vec::new();
    for number in 0..CONTAINERS {
        let (name, label) = (format!("c-{number}"), format!("--label=number={number}"));
        ids.push(match number % 2 {
            0 => engine.run(&name, &[&label], "sleep 1000000").await,
            _ => {
                engine
                    .docker(&["create", "--name", &name, &label, IMAGE])
                    .await
            }
        });
    }
    let (_, _, list) = engine.raw("GET", "/containers/json?all=true").await;
    let (_, _, inspect) = engine
        .raw("GET", &format!("/containers/{}/json", ids[0]))
        .await;
    println!(
        "A list has {} bytes, an inspect {}.\n",
        list.len(),
        inspect.len()
    );

    let mut rows = real(&engine, &ids).await;
    drop(engine);
    rows.extend(at_once(&list, &inspect, &ids).await);
    report::print(&rows)
}

/// An agent that logs requests as little as the proxies do, on this core if one is given.
fn quiet(host: String, core: Option<usize>) -> AgentBuilder {
    let mut words = apart(core);
    words.push(program().into_string().unwrap());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Agent::builder()
        .docker_host(host)
        .env("RUST_LOG", "docker_ps_agent=info,warn")
        .program(words[0])
        .args_before(&words[1..])
}

/// A real engine.
async fn real(engine: &RealEngine, ids: &[String]) -> Vec<report::Row<'static>> {
    let agent = quiet(engine.docker_host(), None).start().await;
    let nginx = Proxy::nginx(&engine.socket(), &agent.key, None);
    let haproxy = Proxy::haproxy(&engine.socket(), &agent.key, None);
    let servers = [
        &Server::engine(engine.socket(), &agent.key),
        &Server::agent(&agent),
        &Server::proxy("nginx", &nginx, &agent.key),
        &Server::proxy("HAProxy", &haproxy, &agent.key),
    ];
    title();
    let case = |text: &str, what, connections| {
        let medians = measure(&servers, ids, Asking::new(what, connections));
        print(text, &medians);
        medians
    };
    let list_1 = case("list, 1 connection", What::List, 1);
    let list_64 = case("list, 64 connections", What::List, 64);
    let distinct = case(
        "inspects of 100 containers, 16 connections",
        What::Inspect(CONTAINERS),
        16,
    );
    let one = case(
        "inspects of one container, 16 connections",
        What::Inspect(1),
        16,
    );
    println!();
    let (agent, nginx, haproxy) = (1, 2, 3);
    vec![
        ratio(
            "list, 1 connection, agent to socket",
            list_1[agent].per_second,
            list_1[0].per_second,
            "0.95",
            true,
        ),
        ratio(
            "list, 64 connections, agent to socket",
            list_64[agent].per_second,
            list_64[0].per_second,
            "15",
            true,
        ),
        ratio(
            "their 99th percentiles",
            list_64[agent].slow,
            list_64[0].slow,
            "0.25",
            false,
        ),
        ratio(
            "inspects of 100, agent to nginx",
            distinct[agent].per_second,
            distinct[nginx].per_second,
            "1",
            true,
        ),
        ratio(
            "inspects of 100, agent to HAProxy",
            distinct[agent].per_second,
            distinct[haproxy].per_second,
            "1",
            true,
        ),
        ratio(
            "inspects of one, agent to socket",
            one[agent].per_second,
            one[0].per_second,
            "1",
            true,
        ),
    ]
}

/// An engine that answers at once.
async fn at_once(list: &[u8], inspect: &[u8], ids: &[String]) -> Vec<report::Row<'static>> {
    title();
    let engine = Instant::start(list, inspect, &apart(None));
    let host = format!("unix://{}", engine.socket().display());
    let agent = quiet(host, None).start().await;
    let nginx = Proxy::nginx(&engine.socket(), &agent.key, None);
    let haproxy = Proxy::haproxy(&engine.socket(), &agent.key, None);
    let own = Server::own_answer(&nginx, &agent.key);
    let servers = [
        &Server::agent(&agent),
        &Server::proxy("nginx", &nginx, &agent.key),
        &own,
        &Server::proxy("HAProxy", &haproxy, &agent.key),
    ];
    let both = measure(&servers, ids, Asking::new(What::Health, 64));
    print("`GET /`, 64 connections, all cores for all", &both);
    drop((agent, nginx, haproxy, engine));

    let engine = Instant::start(list, inspect, &apart(Some(1)));
    let host = format!("unix://{}", engine.socket().display());
    let agent = quiet(host, Some(0)).start().await;
    let nginx = Proxy::nginx(&engine.socket(), &agent.key, Some(0));
    let haproxy = Proxy::haproxy(&engine.socket(), &agent.key, Some(0));
    let own = Server::own_answer(&nginx, &agent.key);
    let servers = [
        &Server::agent(&agent),
        &Server::proxy("nginx", &nginx, &agent.key),
        &Server::proxy("HAProxy", &haproxy, &agent.key),
    ];
    let one_core = Asking::new(What::Health, 64).on(1);
    let health = measure(&[servers[0], &own, servers[1]], ids, one_core);
    print("`GET /`, 64 connections", &health);
    let inspects = Asking::new(What::Inspect(CONTAINERS), 16).on(1);
    let inspects = measure(&servers, ids, inspects);
    print("inspects of 100 containers, 16 connections", &inspects);
    println!();
    vec![
        ratio(
            "`GET /`, agent to nginx as a proxy",
            both[0].per_second,
            both[1].per_second,
            "2",
            true,
        ),
        ratio(
            "their 99th percentiles",
            both[0].slow,
            both[1].slow,
            "1",
            false,
        ),
        (
            "`GET /`, nginx's `return 200` to nginx as a proxy, to compare",
            format!("{:.2}", both[2].per_second / both[1].per_second),
            "",
            true,
        ),
        ratio(
            "`GET /`, agent to nginx's `return 200`, one core",
            health[0].per_second,
            health[1].per_second,
            "0.8",
            true,
        ),
        ratio(
            "their 99th percentiles",
            health[0].slow,
            health[1].slow,
            "1",
            false,
        ),
    ]
}
