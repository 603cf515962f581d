//! Waiting for conditions, in place of sleeping and hoping.

use std::time::Duration;

/// Long enough for anything that is to happen at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(15);

/// Between two looks at a condition that cannot announce itself.
const PAUSE: Duration = Duration::from_millis(5);

/// Returns as soon as `condition` holds; panics with `what` when it does not within `deadline`.
pub async fn until(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    found(what, deadline, async || condition().await.then_some(())).await;
}

/// Returns what `probe` finds; panics with `what` when it finds nothing within `deadline`.
pub async fn found<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let search = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(what, deadline, search).await
}

/// The future's output; panics with `what` when it takes longer than `deadline`.
pub async fn within<T>(what: &str, deadline: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(deadline, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {deadline:?}: {what}"),
    }
}
