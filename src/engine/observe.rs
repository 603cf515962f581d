//! What the metrics tell of the engine.

use std::{
    collections::HashMap,
    future::Future,
    sync::{LazyLock, PoisonError, RwLock},
    time::Instant,
};

use foldhash::fast::FixedState;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::Error;
use crate::telemetry::name as metric;

/// The series, each looked up by name once. Of the recorder that is installed when the engine is first asked.
struct Series {
    reachable: Gauge,
    calls: RwLock<HashMap<(&'static str, &'static str), Call, FixedState>>,
}

#[derive(Clone)]
struct Call {
    count: Counter,
    seconds: Histogram,
}

static SERIES: LazyLock<Series> = LazyLock::new(|| Series {
    reachable: gauge!(metric::ENGINE_REACHABLE),
    calls: RwLock::default(),
});

impl Series {
    fn record(&self, operation: &'static str, outcome: &'static str, begun: Instant) {
        let key = (operation, outcome);
        let known = self.calls.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = known.get(&key) {
            return call.record(begun);
        }
        drop(known);
        let call = Call {
            count: counter!(metric::ENGINE_CALLS, "operation" => operation, "outcome" => outcome),
            seconds: histogram!(metric::ENGINE_SECONDS, "operation" => operation),
        };
        call.record(begun);
        let mut known = self.calls.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, call);
    }
}

impl Call {
    fn record(&self, begun: Instant) {
        self.count.increment(1);
        self.seconds.record(begun.elapsed());
    }
}

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
    SERIES.reachable.set(f64::from(u8::from(reachable)));
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
        SERIES.record(self.operation, self.outcome, self.begun);
    }
}
