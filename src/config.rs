//! What can be configured, by flags and the environment; parsed once.

use std::{
    env,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{
    Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::Resettable,
};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::{
    engine::{Address, address::AddressError},
    logs::{Redaction, hub::Limits},
    telemetry::LogFormat,
};

/// The port of the API.
const API_PORT: u16 = 3000;

/// The docker.ps agent: a Docker host's containers, logs and images over authenticated HTTP.
#[derive(Clone, Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Config {
    /// Where the API listens; by default `[::]:3000`, or `0.0.0.0:3000` where there is no IPv6
    #[arg(long, env, value_name = "IP:PORT")]
    pub listen_addr: Option<SocketAddr>,

    /// Where Prometheus finds the metrics, or `off`
    #[arg(long, env, value_name = "IP:PORT", default_value = "[::]:9464")]
    pub metrics_addr: MetricsAddr,

    /// The Docker Engine: unix://, tcp:// or http://; by default what --node-env says
    #[arg(
        long,
        env,
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    pub docker_host: EngineHost,

    /// `production`: the engine at /var/run/docker.sock; else the one at localhost:2375, or that socket
    #[arg(
        long,
        env,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub node_env: String,

    /// The folder of the auth key's file
    #[arg(long, env, value_name = "FOLDER", default_value = "data")]
    pub data_dir: PathBuf,

    /// Whether the auth key is printed at start
    #[arg(long, env, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub show_key: bool,

    /// How the agent's own log is written
    #[arg(long, env, value_name = "FORMAT", default_value = "pretty")]
    pub log_format: LogFormat,

    /// What is written there: off, error, warn, info, debug or trace, or module=level, …
    #[arg(
        long = "log",
        env = "RUST_LOG",
        value_name = "FILTER",
        default_value = "info",
        value_parser = log_filter
    )]
    pub log_filter: Targets,

    /// The most bytes of text in one line of a container's log; the rest follows as further lines
    #[arg(long, env, value_name = "BYTES", default_value_t = 1024 * 1024, value_parser = max_line)]
    pub max_line_bytes: usize,

    /// Whose logs are redacted: those that are asked for so, or with `env` all
    #[arg(long, env, value_name = "WHEN", default_value = "off")]
    pub redact: Redact,

    /// Further words, comma-separated, that mark a container's variable as secret by its name
    #[arg(long, env, value_name = "WORDS", value_delimiter = ',')]
    pub redact_names: Vec<String>,

    /// The most connections to the API at a time; more wait
    #[arg(long, env, value_name = "NUMBER", default_value_t = 16_384, value_parser = number)]
    pub max_connections: usize,

    /// The most logs that are read from the engine at a time; more followers of one log do not count
    #[arg(long, env, value_name = "NUMBER", default_value_t = 512, value_parser = readers)]
    pub max_log_readers: usize,

    /// The most of them for one container, beside the reader that its followers share
    #[arg(long, env, value_name = "NUMBER", default_value_t = 16, value_parser = number)]
    pub max_log_readers_per_container: usize,

    /// The most followers of logs at a time
    #[arg(long, env, value_name = "NUMBER", default_value_t = 16_384, value_parser = number)]
    pub max_log_followers: usize,

    /// The most followers of one container's log at a time
    #[arg(long, env, value_name = "NUMBER", default_value_t = 4096, value_parser = number)]
    pub max_log_followers_per_container: usize,

    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else the binary can do.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Ask the agent on this machine whether it serves, with its key; exit 0 if so, else 1
    Health,
}

/// Whether the values of secret variables are taken out of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Redact {
    /// Where a request asks for it.
    Off,
    /// Always.
    Env,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAddr {
    /// Nowhere.
    Off,
    /// There; `[::]` means `0.0.0.0` where there is no IPv6.
    At(SocketAddr),
}

impl FromStr for MetricsAddr {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At)
    }
}

/// What `DOCKER_HOST` says: nothing where it is empty, as for Docker's own client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineHost(pub Option<Address>);

impl FromStr for EngineHost {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address)))
    }
}

impl Config {
    /// What this process was given. Where that makes no sense it says so and ends the process. An empty variable is none:
    /// Compose makes those that it is not told.
    pub fn of_process() -> Self {
        let command = Self::command().mut_args(unless_empty);
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.listen_addr
            .unwrap_or_else(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, API_PORT)))
    }

    /// How many logs are read and followed, where so many `readers` can be afforded.
    pub fn log_limits(&self, readers: usize) -> Limits {
        Limits {
            readers,
            readers_per_container: self.max_log_readers_per_container,
            followers: self.max_log_followers,
            followers_per_container: self.max_log_followers_per_container,
        }
    }

    /// What is taken out of logs.
    pub fn redaction(&self) -> Redaction {
        Redaction::new(self.redact == Redact::Env, &self.redact_names)
    }

    /// The engines to try, in this order; the first that answers is used.
    pub fn engines(&self) -> Vec<Address> {
        match &self.docker_host.0 {
            Some(address) => vec![address.clone()],
            None if self.node_env == "production" => vec![Address::default_socket()],
            None => vec![Address::development(), Address::default_socket()],
        }
    }
}

fn unless_empty(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(env::var_os);
    match value.is_some_and(|value| value.is_empty()) {
        true => arg.env(Resettable::Reset),
        false => arg,
    }
}

/// A word alone is a level: as a module it would silence all others.
fn log_filter(text: &str) -> Result<Targets, String> {
    let mut alone = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.contains('='));
    if let Some(word) = alone.find(|part| !part.is_empty() && part.parse::<LevelFilter>().is_err())
    {
        return Err(format!(
            "{word:?} is no level; a module is given as module=level"
        ));
    }
    text.parse().map_err(|error| format!("{error}"))
}

fn max_line(text: &str) -> Result<usize, String> {
    within(text, 1024, 64 * 1024 * 1024)
}

fn number(text: &str) -> Result<usize, String> {
    within(text, 1, 1_000_000)
}

fn readers(text: &str) -> Result<usize, String> {
    // One for what is new, and one for what was written before.
    within(text, 2, 1_000_000)
}

fn within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from([&["docker-ps-agent"], args].concat())
    }

    #[test]
    fn an_explicit_engine_wins_over_the_environment_s_name() {
        let config = parse(&["--docker-host", "tcp://e:1", "--node-env", "production"]).unwrap();
        assert_eq!(config.engines(), ["tcp://e:1".parse().unwrap()]);
    }

    #[test]
    fn production_has_one_engine_and_development_two() {
        let production = parse(&["--node-env", "production"]).unwrap();
        assert_eq!(production.engines(), [Address::default_socket()]);
        let other = parse(&["--node-env", "staging"]).unwrap();
        assert_eq!(
            other.engines(),
            [Address::development(), Address::default_socket()]
        );
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for args in [
            &["--listen-addr", "3000"][..],
            &["--metrics-addr", "on"],
            &["--docker-host", "https://x"],
            &["--max-line-bytes", "0"],
            &["--max-connections", "0"],
            &["--max-log-readers", "1"],
            &["--show-key", "perhaps"],
            &["--redact", "all"],
            &["--log", "info=loud=er"],
            &["--log", "warning"],
            &["--log", "cargo=debug,verbose"],
            &["--log-format", "xml"],
            &["serve"],
        ] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn metrics_can_be_switched_off() {
        let config = parse(&["--metrics-addr", "off"]).unwrap();
        assert_eq!(config.metrics_addr, MetricsAddr::Off);
    }
}
