//! The docker.ps agent's process: arguments → config → engine → key → stack → serve.

use std::{
    future::ready,
    io::{self, Write},
    pin::pin,
    process::{self, ExitCode},
    thread,
    time::Duration,
};

use docker_ps_agent::{
    cat,
    config::{Command, Config, MetricsAddr},
    exposition::Exposition,
    health,
    key::{self, Key},
    server::{Connections, Listener, Worker, Workers},
    service::ContainerService,
    stack::stack,
    startup::find_engine,
    telemetry::{self, Metrics},
};
use middleware::{
    BoxError,
    file_watch::{self, Fingerprint},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

/// Gives memory back when many clients have left. The system's own was 2 MiB larger after each thousand that came and went;
/// mimalloc needed 28 MiB where this one needs 13. How it is set, and what that is worth, is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// More threads than this gain nothing: the engine is what is waited for.
const MAX_WORKERS: usize = 4;

/// How many scrapers may be connected at a time.
const MAX_SCRAPERS: usize = 64;

/// How long requests are refused, once the key has changed, before the process ends.
const FAREWELL: Duration = Duration::from_millis(250);

/// How soon the process ends then whatever holds it up, as standard output does that nobody reads.
const LAST_RESORT: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if cat::is_meant(args.next().as_deref()) {
        return cat::run(args);
    }
    let config = Config::of_process();
    let (worker, runtime) = match Worker::new() {
        Ok(made) => made,
        Err(error) => return fail(&error),
    };
    if let Some(Command::Health) = config.command {
        return match runtime.block_on(health::check(&config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.as_ref()),
        };
    }
    telemetry::init_tracing(config.log_format, config.log_filter.clone());
    let code = runtime
        .block_on(run(&config, worker))
        .unwrap_or_else(|error| {
            say(&error.to_string());
            ExitCode::FAILURE
        });
    // Whatever still runs is cut off: its time is over.
    runtime.shutdown_background();
    code
}

#[expect(clippy::print_stderr, reason = "there is no tracing")]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("docker-ps-agent: {error}");
    ExitCode::FAILURE
}

/// However little is logged, it must be known why there is no agent.
#[expect(clippy::print_stderr, reason = "errors are not logged then")]
fn say(error: &str) {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{error}");
    } else {
        eprintln!("docker-ps-agent: {error}");
    }
}

async fn run(config: &Config, worker: Worker) -> Result<ExitCode, BoxError> {
    // Before anything else, since a signal may come at any time and PID 1 ignores what it does not handle.
    let stop = stop_signal()?;
    let metrics = Metrics::install()?;
    // The search may take its time, and a signal need not wait for it.
    let engines = config.engines();
    let connections = Connections::afford(config.max_connections, config.max_log_readers);
    let engine = find_engine(&engines, connections.engine);
    let Some(engine) = stop.run_until_cancelled(engine).await else {
        tracing::info!("stopped before there was an engine");
        return Ok(ExitCode::SUCCESS);
    };
    let engine = engine.inspect_err(|error| say(error.hint()))?;
    let key = key::load_or_create(&config.data_dir)?;
    let key_changed = watch(config, &key)?;
    if config.show_key {
        show(&key);
    }

    let api = Listener::bind("api", config.api_addr(), connections.clients)?;
    let service = ContainerService::new(
        engine.clone(),
        config.max_line_bytes,
        config.log_limits(connections.log_readers),
        config.redaction(),
        stop.clone(),
    );
    let has_acted = service.has_acted();
    let service = stack(service, key.digest(), key_changed.clone());
    drop(key);
    if let MetricsAddr::At(address) = config.metrics_addr {
        let listener = Listener::bind("metrics", address, MAX_SCRAPERS)?;
        let exposition = Exposition::new(metrics, engine);
        let service = service_fn(move |request| exposition.clone().answer(request));
        let served = listener.serve(service, Workers::here(), stop.clone(), ready(()));
        tokio::spawn(served);
    }

    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = Workers::start(worker, cores.min(MAX_WORKERS))?;
    let mut serving = pin!(api.serve(service, workers, stop, has_acted));
    tokio::select! {
        () = &mut serving => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        () = key_changed.cancelled() => {
            say("Auth Key file has been changed externally. Service will terminate for security reasons.");
            // Who asks now is still told so.
            let _mostly_in_vain = timeout(FAREWELL, serving).await;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Cancelled by SIGTERM or SIGINT.
fn stop_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

/// Cancelled once the key's file is not what it was, or does not hold `key`.
fn watch(config: &Config, key: &Key) -> Result<CancellationToken, BoxError> {
    let changed = CancellationToken::new();
    let path = config.data_dir.join(key::FILE);
    let known = Fingerprint::take(&path)?;
    // Looked at again, since it may have changed between the two.
    if !key::peek(&path).is_ok_and(|seen| seen.reveal() == key.reveal()) {
        changed.cancel();
    }
    let watching = file_watch::watch(path, known, changed.clone())?;
    let last_resort = move || {
        let _panicked_or_not = watching.join();
        thread::sleep(LAST_RESORT);
        process::exit(1);
    };
    thread::Builder::new()
        .name("last-resort".into())
        .stack_size(64 * 1024)
        .spawn(last_resort)?;
    Ok(changed)
}

/// Prints the key on a line of its own, so that `docker logs … | grep "Your Auth Key"` finds it.
fn show(key: &Key) {
    let mut out = io::stdout().lock();
    // A closed standard output is no reason not to serve.
    let _ = writeln!(out, "Your Auth Key: {}", key.reveal()).and_then(|()| out.flush());
}
