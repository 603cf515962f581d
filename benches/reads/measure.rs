//! Asks several servers the same in turn, and tells what came of it.

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    load::{Address, Job, Outcome, load},
    proxies::Proxy,
    tests::support::agent::Agent,
};

const WARM_UP: Duration = Duration::from_millis(200);

/// What is asked.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum What {
    Health,
    List,
    /// Of these many containers.
    Inspect(usize),
}

/// How it is asked.
#[derive(Clone, Copy)]
pub(crate) struct Asking {
    what: What,
    connections: usize,
    /// Of the load.
    core: Option<usize>,
}

impl Asking {
    pub(crate) fn new(what: What, connections: usize) -> Self {
        Self {
            what,
            connections,
            core: None,
        }
    }

    pub(crate) fn on(self, core: usize) -> Self {
        let core = Some(core);
        Self { core, ..self }
    }

    /// How often each is asked, and for how long. Many short rounds, since the machine is not always as fast: the ratio of
    /// two servers that are alike is within 3 % of 1 after some thirty, after fifteen within 10 %. But a list takes the
    /// engine some milliseconds, and one of 64 a second and more.
    fn rounds(self) -> (usize, Duration) {
        match (self.what, self.connections) {
            (What::List, 1) => (32, Duration::from_millis(750)),
            (What::List, _) => (5, Duration::from_secs(4)),
            _ => (32, Duration::from_millis(600)),
        }
    }
}

/// Who is asked.
pub(crate) struct Server {
    name: &'static str,
    address: Address,
    key: String,
    is_agent: bool,
    pid: Option<u32>,
}

impl Server {
    pub(crate) fn agent(agent: &Agent) -> Self {
        Self {
            name: "agent",
            address: Address::Tcp(agent.client.address),
            key: agent.key.clone(),
            is_agent: true,
            pid: Some(agent.pid()),
        }
    }

    pub(crate) fn proxy(name: &'static str, proxy: &Proxy, key: &str) -> Self {
        Self {
            name,
            address: Address::Tcp(proxy.address),
            key: key.into(),
            is_agent: false,
            pid: Some(proxy.pid()),
        }
    }

    /// The engine itself, which is sent the same and looks at no key.
    pub(crate) fn engine(socket: PathBuf, key: &str) -> Self {
        Self {
            name: "the engine's socket",
            address: Address::Unix(socket),
            key: key.into(),
            is_agent: false,
            pid: None,
        }
    }

    /// What nginx answers itself.
    pub(crate) fn own_answer(nginx: &Proxy, key: &str) -> Self {
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
pub(crate) struct Median {
    name: &'static str,
    pub(crate) per_second: f64,
    median: f64,
    pub(crate) slow: f64,
    /// The server's processor time for a request, in µs.
    cost: f64,
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Asks all of them in turn, there and back, and begins with another one each time: whose turn comes right after that of
/// the engine's socket finds it less at rest.
pub(crate) fn measure(servers: &[&Server], ids: &[String], asking: Asking) -> Vec<Median> {
    let mut rounds: Vec<Vec<(Outcome, f64)>> = vec![Vec::new(); servers.len()];
    let (count, time) = asking.rounds();
    for round in 0..count {
        for step in 0..servers.len() {
            let step = match round % 2 {
                0 => step,
                _ => servers.len() - 1 - step,
            };
            let next = (round / 2 + step) % servers.len();
            let (server, outcomes) = (servers[next], &mut rounds[next]);
            let job = Job {
                address: server.address.clone(),
                key: server.key.clone(),
                connections: asking.connections,
                paths: server.paths(asking.what, ids),
                statuses: vec![200],
                warm_up: WARM_UP,
                time,
            };
            let before = server.pid.map_or(0.0, cpu);
            let outcome = load(&job, asking.core);
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

pub(crate) fn print(what: &str, medians: &[Median]) {
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

pub(crate) fn title() {
    println!("| asked for | of | a second | median | 99th percentile | its processor time each |");
    println!("|---|---|---|---|---|---|");
}
