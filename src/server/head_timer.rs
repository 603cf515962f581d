//! The clock of one connection's heads.
//!
//! hyper makes a timer for each head that it waits for, and drops it when the head is there, mostly at once. The
//! runtime's timers are made to go off: each is put into a list of all connections and taken out of it. Here a connection
//! has one for all its heads. It stays where it is when a head has come, goes off early, and then is set anew.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use hyper::rt;
use tokio::time::{Sleep, sleep_until};

/// Makes timers for one connection; clones are the same one.
#[derive(Clone, Default)]
pub(super) struct HeadTimer(Arc<Mutex<Option<Pin<Box<Sleep>>>>>);

impl HeadTimer {
    fn put(&self, alarm: Option<Pin<Box<Sleep>>>) -> Option<Pin<Box<Sleep>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut kept, alarm)
    }
}

impl fmt::Debug for HeadTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeadTimer")
    }
}

impl rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Pause {
            deadline,
            alarm: self.put(None),
            home: self.clone(),
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

/// Until a deadline. The connection's alarm is on loan meanwhile.
struct Pause {
    deadline: Instant,
    /// Goes off at the deadline or before, if there is one.
    alarm: Option<Pin<Box<Sleep>>>,
    home: HeadTimer,
}

impl rt::Sleep for Pause {}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It was set for a head that came in time.
            alarm.as_mut().reset(deadline);
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let alarm = self.alarm.take();
        self.home.put(alarm);
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Timer;
    use tokio::time::{Instant, advance};
    use tokio_test::{assert_pending, assert_ready, task::spawn};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn goes_off_at_the_deadline_whatever_was_waited_for_before() {
        let timer = HeadTimer::default();
        for head in 0..3 {
            let mut pause = spawn(timer.sleep(10 * SECOND));
            assert_pending!(pause.poll());
            advance(6 * SECOND).await;
            // The alarm of a head before goes off in here.
            assert_pending!(pause.poll(), "head {head}");
        }
        let begun = Instant::now();
        timer.sleep(10 * SECOND).await;
        assert_eq!(begun.elapsed().as_secs(), 10);
        // One that is over is of use for the next.
        timer.sleep(10 * SECOND).await;
        assert_eq!(begun.elapsed().as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn goes_off_early_where_that_is_wanted() {
        let timer = HeadTimer::default();
        assert_pending!(spawn(timer.sleep(10 * SECOND)).poll());
        let mut sooner = spawn(timer.sleep(SECOND));
        assert_pending!(sooner.poll());
        advance(SECOND + Duration::from_millis(1)).await;
        assert_ready!(sooner.poll());
    }
}
