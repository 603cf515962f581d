//! Reads through the agent, through what a user would take instead, and from the engine's own socket: in turn, several
//! rounds, medians.
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
mod proxies;
mod report;
#[path = "../tests"]
mod tests {
    pub mod support;
}

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use tests::support;

use crate::{
    instant::Instant,
    load::{Address, Job, Outcome, load},
    proxies::Proxy,
    support::{
        agent::{Agent, AgentBuilder},
        dockerd::{IMAGE, RealEngine},
    },
};

const CONTAINERS: usize = 100;
const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(500);
const TIME: Duration = Duration::from_millis(1500);
/// A list takes the engine some milliseconds, and not always as many.
const TIME_OF_LISTS: Duration = Duration::from_secs(4);

/// What is asked.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Health,
    List,
    /// Of these many containers.
    Inspect(usize),
}

/// Who is asked.
struct Server {
    name: &'static str,
    address: Address,
    key: String,
    is_agent: bool,
    pid: Option<u32>,
}

impl Server {
    fn agent(agent: &Agent) -> Self {
        Self {
            name: "agent",
            address: Address::Tcp(agent.client.address),
            key: agent.key.clone(),
            is_agent: true,
            pid: Some(agent.pid()),
        }
    }

    fn proxy(name: &'static str, proxy: &Proxy, key: &str) -> Self {
        Self {
            name,
            address: Address::Tcp(proxy.address),
            key: key.into(),
            is_agent: false,
            pid: Some(proxy.pid()),
        }
    }

    /// What nginx answers itself.
    fn own_answer(nginx: &Proxy, key: &str) -> Self {
        Self {
            address: Address::Tcp(nginx.own),
            ..Self::proxy("nginx, `return 200`", nginx, key)
        }
    }

    fn paths(&self, what: What, ids: &[String]) -> Vec<String> {
        let (list, end) = match self.is_agent {
            true => ("/containers", ""),
            false => ("/containers/json?all=true", "/json"),
        };
        match what {
            What::Health => vec!["/".into()],
            What::List => vec![list.into()],
            What::Inspect(count) => {
                let ids = ids[..count].iter();
                ids.map(|id| format!("/containers/{id}{end}")).collect()
            }
        }
    }
}

/// The processor time of a process and its children, in seconds.
fn cpu(pid: u32) -> f64 {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut sum = 0.0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let own = entry.file_name().to_str() == Some(&pid.to_string());
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        if own || fields[1] == pid.to_string() {
            sum += fields[11..13]
                .iter()
                .map(|n| n.parse::<f64>().unwrap())
                .sum::<f64>();
        }
    }
    sum / ticks
}

/// What the rounds of one server at one question came to.
#[derive(Clone)]
struct Median {
    name: &'static str,
    per_second: f64,
    median: f64,
    slow: f64,
    /// The server's processor time for a request, in µs.
    cost: f64,
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Asks all of them in turn.
fn measure(
    servers: &[&Server],
    what: What,
    ids: &[String],
    connections: usize,
    core: Option<usize>,
) -> Vec<Median> {
    let mut rounds: Vec<Vec<(Outcome, f64)>> = vec![Vec::new(); servers.len()];
    let time = match what {
        What::List => TIME_OF_LISTS,
        _ => TIME,
    };
    for _ in 0..ROUNDS {
        for (server, outcomes) in servers.iter().zip(&mut rounds) {
            let job = Job {
                address: server.address.clone(),
                key: server.key.clone(),
                connections,
                paths: server.paths(what, ids),
                statuses: vec![200],
                warm_up: WARM_UP,
                time,
            };
            let before = server.pid.map_or(0.0, cpu);
            let outcome = load(&job, core);
            let used = server.pid.map_or(0.0, cpu) - before;
            // The warm-up costs as much as the rest.
            let asked = outcome.per_second * (WARM_UP + time).as_secs_f64();
            outcomes.push((outcome, used / asked * 1e6));
        }
    }
    let medians = servers.iter().zip(&rounds).map(|(server, rounds)| Median {
        name: server.name,
        per_second: middle(rounds.iter().map(|(o, _)| o.per_second)),
        median: middle(rounds.iter().map(|(o, _)| o.median.as_secs_f64() * 1e3)),
        slow: middle(rounds.iter().map(|(o, _)| o.slow.as_secs_f64() * 1e3)),
        cost: middle(rounds.iter().map(|(_, cost)| *cost)),
    });
    medians.collect()
}

fn print(what: &str, medians: &[Median]) {
    for m in medians {
        println!(
            "| {what} | {} | {:.0} | {:.2} ms | {:.2} ms | {} |",
            m.name,
            m.per_second,
            m.median,
            m.slow,
            if m.cost > 0.0 {
                format!("{:.1} µs", m.cost)
            } else {
                "".into()
            },
        );
    }
}

fn title() {
    println!("| asked for | of | a second | median | 99th percentile | its processor time each |");
    println!("|---|---|---|---|---|---|");
}

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

/// An agent that logs requests as little as the proxies do.
fn quiet(host: String) -> AgentBuilder {
    Agent::builder()
        .docker_host(host)
        .env("RUST_LOG", "docker_ps_agent=info,warn")
}

/// A real engine.
async fn real(engine: &RealEngine, ids: &[String]) -> Vec<report::Row<'static>> {
    let agent = quiet(engine.docker_host()).start().await;
    let nginx = Proxy::nginx(&engine.socket(), &agent.key, None);
    let haproxy = Proxy::haproxy(&engine.socket(), &agent.key, None);
    let socket = Server {
        name: "the engine's socket",
        address: Address::Unix(engine.socket()),
        key: agent.key.clone(),
        is_agent: false,
        pid: None,
    };
    let servers = [
        &socket,
        &Server::agent(&agent),
        &Server::proxy("nginx", &nginx, &agent.key),
        &Server::proxy("HAProxy", &haproxy, &agent.key),
    ];
    title();
    let case = |text: &str, what, connections| {
        let medians = measure(&servers, what, ids, connections, None);
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
    let engine = Instant::start(list, inspect, None);
    let host = format!("unix://{}", engine.socket().display());
    let agent = quiet(host).start().await;
    let nginx = Proxy::nginx(&engine.socket(), &agent.key, None);
    let haproxy = Proxy::haproxy(&engine.socket(), &agent.key, None);
    let own = Server::own_answer(&nginx, &agent.key);
    let servers = [
        &Server::agent(&agent),
        &Server::proxy("nginx", &nginx, &agent.key),
        &own,
        &Server::proxy("HAProxy", &haproxy, &agent.key),
    ];
    let both = measure(&servers, What::Health, ids, 64, None);
    print("`GET /`, 64 connections, both cores for all", &both);
    drop((agent, nginx, haproxy, engine));

    let engine = Instant::start(list, inspect, Some(1));
    let host = format!("unix://{}", engine.socket().display());
    let program = env!("CARGO_BIN_EXE_docker-ps-agent");
    let builder = quiet(host).program("taskset");
    let agent = builder.args_before(&["-c", "0", program]).start().await;
    let nginx = Proxy::nginx(&engine.socket(), &agent.key, Some(0));
    let haproxy = Proxy::haproxy(&engine.socket(), &agent.key, Some(0));
    let own = Server::own_answer(&nginx, &agent.key);
    let servers = [
        &Server::agent(&agent),
        &Server::proxy("nginx", &nginx, &agent.key),
        &Server::proxy("HAProxy", &haproxy, &agent.key),
    ];
    let health = measure(
        &[servers[0], &own, servers[1]],
        What::Health,
        ids,
        64,
        Some(1),
    );
    print("`GET /`, 64 connections", &health);
    let inspects = measure(&servers, What::Inspect(CONTAINERS), ids, 16, Some(1));
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
