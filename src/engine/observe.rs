//! What the metrics tell of the engine.

use std::{future::Future, sync::LazyLock};

use metrics::{Gauge, counter, gauge, histogram};
use middleware::metrics::Timed;
use quanta::Instant;

use super::Error;
use crate::telemetry::name as metric;

/// Of the recorder that is installed when the engine is first asked.
static REACHABLE: LazyLock<Gauge> = LazyLock::new(|| gauge!(metric::ENGINE_REACHABLE));

/// By operation and outcome.
static CALLS: LazyLock<Timed<(&str, &str)>> = LazyLock::new(Timed::default);

/// Times one call, counts its outcome, and keeps the gauge of the engine's reachability.
pub(super) async fn observe<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut observed = Observed {
        operation,
        begun: Instant::now(),
        outcome: "abandoned",
    };
    let result = call.await;
    observed.outcome = match &result {
        Ok(_) => "ok",
        Err(error) => error.outcome(),
    };
    let reachable = !matches!(result, Err(Error::Unreachable(_)));
    REACHABLE.set(f64::from(u8::from(reachable)));
    if let Err(error) = &result {
        tracing::debug!(operation, %error, "engine call failed");
    }
    result
}

/// Records a call when it drops, so that one whose asker has left is counted too.
struct Observed {
    operation: &'static str,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Observed {
    fn drop(&mut self) {
        let (operation, outcome) = (self.operation, self.outcome);
        CALLS.record((operation, outcome), self.begun, || {
            let calls =
                counter!(metric::ENGINE_CALLS, "operation" => operation, "outcome" => outcome);
            let seconds = histogram!(metric::ENGINE_SECONDS, "operation" => operation);
            (calls, seconds)
        });
    }
}
