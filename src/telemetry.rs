//! Tracing set-up, the recorder of metrics, and every metric's name.

mod counted;
mod histograms;

use std::{io, sync::Arc};

use clap::ValueEnum;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use middleware::BoxError;
use tracing_subscriber::{filter::Targets, prelude::*};

pub use self::counted::Counted;
use self::histograms::{Histograms, Recording};

/// The names of the metrics. Labels are route templates, operations and statuses, never ids.
pub mod name {
    /// Counter; `route`, `method`, `status`.
    pub const REQUESTS: &str = "docker_ps_agent_http_requests_total";
    /// Histogram of seconds until an answer's head; `route`, `method`.
    pub const REQUEST_SECONDS: &str = "docker_ps_agent_http_request_duration_seconds";
    /// Gauge.
    pub const IN_FLIGHT: &str = "docker_ps_agent_http_requests_in_flight";
    /// Counter; `reason`: `missing` or `wrong`.
    pub const REFUSED_KEYS: &str = "docker_ps_agent_refused_keys_total";
    /// Counter.
    pub const SHARED_ANSWERS: &str = "docker_ps_agent_shared_answers_total";
    /// Gauge; `listener`: `api` or `metrics`.
    pub const CONNECTIONS: &str = "docker_ps_agent_connections_open";
    /// Counter; `operation`, `outcome`.
    pub const ENGINE_CALLS: &str = "docker_ps_agent_engine_calls_total";
    /// Histogram of seconds until the engine's answer; `operation`.
    pub const ENGINE_SECONDS: &str = "docker_ps_agent_engine_call_duration_seconds";
    /// Gauge; 1 or 0.
    pub const ENGINE_REACHABLE: &str = "docker_ps_agent_engine_reachable";
    /// Gauge; `route`.
    pub const STREAMS: &str = "docker_ps_agent_log_streams_open";
    /// Counter; `route`.
    pub const LINES: &str = "docker_ps_agent_log_lines_sent_total";
    /// Counter; `route`.
    pub const BYTES: &str = "docker_ps_agent_log_bytes_sent_total";
    /// Gauge; `kind`: `live` or `catch_up` of followers, or `once`.
    pub const LOG_READERS: &str = "docker_ps_agent_log_readers_open";
    /// Gauge.
    pub const FOLLOWERS: &str = "docker_ps_agent_log_followers";
    /// Counter.
    pub const CATCH_UPS: &str = "docker_ps_agent_log_catch_ups_total";
    /// Counter.
    pub const FOLLOWERS_PASSED: &str = "docker_ps_agent_log_followers_passed_total";
    /// Counter.
    pub const GAPS: &str = "docker_ps_agent_log_gaps_total";
    /// Gauge.
    pub const RING_BYTES: &str = "docker_ps_agent_log_ring_bytes";
    /// Histogram of seconds.
    pub const FOLLOWER_LAG: &str = "docker_ps_agent_log_follower_lag_seconds";
    /// Counter; `what`: `readers` or `followers`.
    pub const LOG_REFUSALS: &str = "docker_ps_agent_log_refusals_total";
    /// Gauge; `stream`: `containers` or `events`.
    pub const LISTENERS: &str = "docker_ps_agent_push_listeners";
    /// Counter; `stream`.
    pub const LISTENERS_PASSED: &str = "docker_ps_agent_push_listeners_passed_total";
    /// Gauge, always 1; `version`.
    pub const BUILD: &str = "docker_ps_agent_build_info";
    /// In front of the names of the process's own metrics.
    pub const PROCESS: &str = "docker_ps_agent_";
}

/// The form of the agent's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Sends what is traced to standard output, a line each, as far as `filter` lets it through.
pub fn init_tracing(format: LogFormat, filter: Targets) {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stdout);
    let layer = match format {
        LogFormat::Pretty => layer
            .with_ansi(io::IsTerminal::is_terminal(&io::stdout()))
            .boxed(),
        LogFormat::Json => layer
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(location, message, "panic; this is a bug in the agent");
    }));
}

/// What renders the metrics.
#[derive(Clone)]
pub struct Metrics {
    exporter: PrometheusHandle,
    histograms: Arc<Histograms>,
    process: metrics_process::Collector,
}

impl Metrics {
    /// Installs the recorder of this process.
    ///
    /// # Errors
    ///
    /// If there is one already.
    pub fn install() -> Result<Self, BoxError> {
        let recorder = PrometheusBuilder::new().build_recorder();
        let exporter = recorder.handle();
        let histograms = Arc::<Histograms>::default();
        metrics::set_global_recorder(Recording {
            exporter: recorder,
            histograms: Arc::clone(&histograms),
        })?;
        describe();
        gauge!(name::BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let process = metrics_process::Collector::new(name::PROCESS);
        process.describe();
        Ok(Self {
            exporter,
            histograms,
            process,
        })
    }

    /// All metrics in Prometheus' text format, those of the process as they are now.
    pub fn render(&self) -> String {
        self.process.collect();
        let mut text = self.exporter.render();
        self.histograms.render(&mut text);
        text
    }
}

fn describe() {
    use self::name::*;

    describe_counter!(
        REQUESTS,
        "Requests answered, by route template, method and status"
    );
    describe_histogram!(
        REQUEST_SECONDS,
        Unit::Seconds,
        "Time to the head of an answer"
    );
    describe_gauge!(IN_FLIGHT, "Requests whose answer is not sent to its end");
    describe_counter!(REFUSED_KEYS, "Requests refused for their key");
    describe_counter!(
        SHARED_ANSWERS,
        "Requests answered by a call to the Docker Engine that another one made"
    );
    describe_gauge!(CONNECTIONS, "Open connections of clients");
    describe_counter!(
        ENGINE_CALLS,
        "Calls to the Docker Engine, by operation and outcome"
    );
    describe_histogram!(
        ENGINE_SECONDS,
        Unit::Seconds,
        "Time to the head of an engine's answer, or to its end where it is read at once"
    );
    describe_gauge!(
        ENGINE_REACHABLE,
        "Whether the last call reached the Docker Engine"
    );
    describe_gauge!(STREAMS, "Log answers that are being sent");
    describe_counter!(LINES, "Log lines sent");
    describe_counter!(BYTES, Unit::Bytes, "Bytes of log answers sent");
    describe_gauge!(
        LOG_READERS,
        "Logs that are being read at the engine, by kind"
    );
    describe_gauge!(FOLLOWERS, "Clients that follow a log");
    describe_counter!(
        CATCH_UPS,
        "Reads of what a follower has missed, or asks for from before"
    );
    describe_counter!(
        FOLLOWERS_PASSED,
        "Times that a follower was slower than the lines in memory lasted"
    );
    describe_counter!(
        GAPS,
        "Times that lines were gone which a follower should get"
    );
    describe_gauge!(
        RING_BYTES,
        Unit::Bytes,
        "Lines kept for followers, as text and as events"
    );
    describe_histogram!(
        FOLLOWER_LAG,
        Unit::Seconds,
        "Time from a line's arrival to a follower's taking it"
    );
    describe_counter!(
        LOG_REFUSALS,
        "Requests refused since too many logs are read or followed"
    );
    describe_gauge!(
        LISTENERS,
        "Clients that watch the containers or the engine's events, by stream"
    );
    describe_counter!(
        LISTENERS_PASSED,
        "Times that such a client was slower than the events in memory lasted"
    );
    describe_gauge!(BUILD, "The agent's version");
}
