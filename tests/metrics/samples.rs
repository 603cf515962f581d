//! One scrape, read.

use std::collections::BTreeMap;

use crate::support::agent::Agent;
use crate::support::wait::{self, SOON};

/// One line of an exposition.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// All of them.
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// What the agent's metrics listener says now.
    pub async fn of(agent: &Agent) -> Self {
        let reply = agent.metrics.as_ref().unwrap().get("/metrics").await;
        assert_eq!(reply.status, 200);
        Self::read(reply.text())
    }

    fn read(text: &str) -> Self {
        let lines = text.lines();
        let samples = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(samples.map(sample).collect())
    }

    /// The sum over all series of this name that have these labels; 0 where there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = |sample: &&Sample| {
            let has = |(name, value): &(&str, &str)| {
                sample.labels.get(*name).is_some_and(|at| at == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        self.0
            .iter()
            .filter(wanted)
            .map(|sample| sample.value)
            .sum()
    }

    /// Whether there is a series of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|sample| sample.name == name)
    }
}

/// `name{label="value",…} value`. No value of the agent's labels holds a quote or a comma.
fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap().split(',');
    let pairs = labels.filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample {
        name: name.to_owned(),
        labels: pairs.collect(),
        value: value.parse().unwrap(),
    }
}

/// Waits until the sum is so much: what a client has read may be counted a moment later.
pub async fn becomes(agent: &Agent, name: &str, labels: &[(&str, &str)], wanted: f64) {
    let what = format!("{name}{labels:?} is {wanted}");
    wait::until(&what, SOON, async || {
        Samples::of(agent).await.sum(name, labels) == wanted
    })
    .await;
}
