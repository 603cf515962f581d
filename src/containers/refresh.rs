//! The one task that lists the containers.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    GATHER, Listed, Shared,
    changes::{Touched, read},
};
use crate::engine::{
    Error,
    events::{Event, Listener, Step},
};

/// How long after the last event to look once more. The engine tells of a container's end, for one, before its
/// list shows that, and tells nothing after.
const AGAIN: [Duration; 3] = [GATHER, Duration::from_secs(1), Duration::from_secs(5)];

/// How often to look where nothing happens: a removal or a restart that fails may change the list without being told.
const QUIET: Duration = Duration::from_secs(30);

/// When to try again where the engine does not list.
const PAUSE: Duration = Duration::from_secs(1);

/// What happens to a container without changing how it is listed.
const UNSEEN: [&str; 13] = [
    "archive-path",
    "attach",
    "commit",
    "copy",
    "detach",
    "exec_create",
    "exec_detach",
    "exec_start",
    "exec_stop",
    "export",
    "extract-to-dir",
    "resize",
    "top",
];

/// What happens to an image and changes what it is called in the list.
const IMAGES: [&str; 7] = ["delete", "import", "load", "pull", "remove", "tag", "untag"];

/// What must be listed, and when.
struct Plan {
    due: Option<Instant>,
    /// When the last event came.
    event: Instant,
    /// The containers that something may have happened to.
    touched: Touched,
}

/// Lists the containers when they may have changed, for ever.
pub(super) async fn refresh(shared: Arc<Shared>, mut events: Listener, wanted: Arc<Notify>) {
    let mut plan = Plan {
        due: None,
        event: Instant::now(),
        // What happened while nobody watched.
        touched: Touched::All,
    };
    loop {
        let last = shared.state().last_began;
        let due = plan
            .due
            .map(|due| last.map_or(due, |last| due.max(last + GATHER)));
        tokio::select! {
            // First, since events that come all the time would never let it have its turn.
            biased;
            () = until(due) => {
                while let Some(step) = events.take() {
                    plan.note(&step, &shared);
                }
                list(&shared, &mut plan).await;
            }
            step = events.next() => plan.note(&step, &shared),
            () = wanted.notified() => plan.now(),
        }
    }
}

impl Plan {
    fn now(&mut self) {
        let now = Instant::now();
        self.due = Some(self.due.map_or(now, |due| due.min(now)));
    }

    /// Fixed by the event: looks that newcomers ask for in between must not take the place of these.
    fn next_look(&self, last_began: Instant) -> Instant {
        let mut looks = AGAIN.iter().map(|after| self.event + *after);
        let look = looks.find(|look| *look > last_began);
        look.unwrap_or(last_began + QUIET)
    }

    fn note(&mut self, step: &Step, shared: &Shared) {
        match step {
            Step::Event(event) => {
                let Some(id) = concerns(event, shared) else {
                    return;
                };
                self.touched.add(id);
            }
            // A restart that was not told changes nothing in the list but a status.
            Step::Again | Step::Gap(_) | Step::Passed(_) => self.touched = Touched::All,
        }
        self.event = Instant::now();
        self.now();
    }
}

/// Which container an event may have changed, as far as the list goes; an empty id where that is not said.
fn concerns<'a>(event: &'a Event, shared: &Shared) -> Option<&'a str> {
    match event.kind() {
        // A health check is one of these, and the list may say how many have failed.
        "container" if event.verb() == "exec_die" => {
            let id = event.actor();
            let has_failed = event.attribute("exitCode") != Some("0");
            let had_failed = shared.state().history.says_failing(id)?;
            (has_failed || had_failed).then_some(id)
        }
        "container" if !UNSEEN.contains(&event.verb()) => Some(event.actor()),
        "network" if ["connect", "disconnect"].contains(&event.verb()) => {
            Some(event.attribute("container").unwrap_or_default())
        }
        "image" if IMAGES.contains(&event.verb()) => Some(""),
        _ => None,
    }
}

async fn list(shared: &Shared, plan: &mut Plan) {
    plan.due = None;
    let began = Instant::now();
    let (asked, begun) = {
        let mut state = shared.state();
        state.begun += 1;
        state.last_began = Some(began);
        (state.asked, state.begun)
    };
    let answer = shared.engine.containers_now().await;
    let list = answer.and_then(|bytes| read(&bytes).map_err(Error::broken));
    let error = match list {
        Ok(list) => {
            if shared.state().history.take_in(begun, list, &plan.touched) {
                shared.changed.send_replace(());
            }
            plan.touched = Touched::none();
            plan.due = Some(plan.next_look(began));
            None
        }
        Err(error) => {
            tracing::debug!(%error, "cannot look which containers there are");
            plan.due = Some(Instant::now() + PAUSE);
            Some(error)
        }
    };
    // A task that has been ended may still be here, behind the next one.
    shared.listed.send_if_modified(|listed| {
        let is_newer = asked >= listed.asked;
        if is_newer {
            *listed = Listed { asked, error };
        }
        is_newer
    });
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_again_however_many_look_in_between() {
        let event = Instant::now();
        let mut plan = Plan {
            due: None,
            event,
            touched: Touched::none(),
        };
        let mut looks = Vec::new();
        // Newcomers every 50 ms, each of whom has the containers listed.
        for _ in 0..200 {
            plan.now();
            looks.push(plan.next_look(Instant::now()) - event);
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        looks.dedup();
        assert_eq!(looks[..AGAIN.len()], AGAIN);
        let now = Instant::now();
        assert_eq!(plan.next_look(now), now + QUIET);
    }
}
