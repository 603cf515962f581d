//! Histograms that count where they are recorded.
//!
//! The exporter's own keep each sample, eight bytes of it, until they are scraped or folded from time to time: megabytes
//! where a hundred thousand requests a second are answered, and pages that nothing else can use when those are gone. These
//! hold a number a bucket. Everything else is the exporter's.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use metrics_exporter_prometheus::{
    PrometheusRecorder,
    formatting::{sanitize_label_value, write_help_line, write_type_line},
};

/// The upper bounds of all buckets but the last, in seconds: from an answer out of memory to the grace of a stop.
const BOUNDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// The exporter's recorder, but for histograms.
pub(super) struct Recording {
    pub(super) exporter: PrometheusRecorder,
    pub(super) histograms: Arc<Histograms>,
}

/// All histograms, by name.
#[derive(Debug, Default)]
pub(super) struct Histograms(Mutex<BTreeMap<String, Family>>);

/// Those of one name, by their labels as they are told.
#[derive(Debug, Default)]
struct Family {
    help: SharedString,
    members: BTreeMap<String, Arc<Buckets>>,
}

/// How many samples were in each bucket, and their sum.
#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// The bits of a float.
    sum: AtomicU64,
}

impl Histograms {
    fn families(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buckets(&self, key: &Key) -> Arc<Buckets> {
        let mut families = self.families();
        let family = families.entry(key.name().into()).or_default();
        Arc::clone(family.members.entry(labels(key)).or_default())
    }

    /// Writes all that have samples, or may get some, in Prometheus' text format.
    pub(super) fn render(&self, text: &mut String) {
        for (name, family) in self.families().iter() {
            if family.members.is_empty() {
                continue;
            }
            write_help_line(text, name, None, None, &family.help);
            write_type_line(text, name, None, None, "histogram");
            for (labels, buckets) in &family.members {
                // Writing to a string cannot fail.
                let _ = buckets.write(text, name, labels);
            }
            text.push('\n');
        }
    }
}

impl Buckets {
    fn write(&self, text: &mut String, name: &str, labels: &str) -> std::fmt::Result {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (at, bucket) in self.counts.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            write!(text, "{name}_bucket{{{labels}{comma}le=\"")?;
            match BOUNDS.get(at) {
                Some(bound) => write!(text, "{bound}")?,
                None => text.push_str("+Inf"),
            }
            writeln!(text, "\"}} {count}")?;
        }
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        let labels = match labels {
            "" => String::new(),
            labels => format!("{{{labels}}}"),
        };
        writeln!(text, "{name}_sum{labels} {sum}")?;
        writeln!(text, "{name}_count{labels} {count}")
    }
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        let at = BOUNDS.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        GaugeFn::increment(&self.sum, value);
    }
}

fn labels(key: &Key) -> String {
    let mut text = String::new();
    for label in key.labels() {
        let comma = if text.is_empty() { "" } else { "," };
        let value = sanitize_label_value(label.value());
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{}=\"{value}\"", label.key());
    }
    text
}

impl Recorder for Recording {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_counter(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.exporter.describe_gauge(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, description: SharedString) {
        let mut families = self.histograms.families();
        families.entry(name.as_str().into()).or_default().help = description;
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.exporter.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.exporter.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.histograms.buckets(key))
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Label, Level};
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

    use super::*;

    #[test]
    fn tells_what_the_exporter_would() {
        let theirs = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BOUNDS)
            .unwrap()
            .build_recorder();
        let ours = Recording {
            exporter: PrometheusBuilder::new().build_recorder(),
            histograms: Arc::default(),
        };
        let metadata = Metadata::new("", Level::INFO, None);
        let recorders: [&dyn Recorder; 2] = [&theirs, &ours];
        for recorder in recorders {
            for (name, labels) in [
                ("b_seconds", vec![]),
                ("a_seconds", vec![("route", "/{id}"), ("method", "GET")]),
                ("a_seconds", vec![("route", "a\"\\\nb")]),
            ] {
                let unit = Some(Unit::Seconds);
                recorder.describe_histogram(name.into(), unit, "how long\nit \\ took".into());
                let labels: Vec<_> = labels.iter().map(Label::from).collect();
                let key = Key::from_parts(name, labels);
                for value in [0.0, 0.0005, 0.0006, 0.3, 30.0, 31.5, 1e9] {
                    recorder.register_histogram(&key, &metadata).record(value);
                }
                recorder
                    .register_histogram(&key, &metadata)
                    .record_many(0.125, 3);
            }
            recorder.describe_histogram("never_seconds".into(), None, "not used".into());
        }
        let mut text = String::new();
        ours.histograms.render(&mut text);
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&text), sorted(&theirs.handle().render()));
        assert!(ours.exporter.handle().render().is_empty());
    }
}
