//! Every order in which a few askers may come, be woken, and leave, while their calls end well, badly, too
//! long or in a panic: run one by one, on one thread, by a scheduler that takes each choice in turn.
//!
//! What is outside of the lock, a call's own poll, is a choice too: while it runs, another asker may come,
//! be polled or leave, as on another thread. Where there is a clock, each call takes some time, and those who wait for
//! others may wait until it is over.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use http_body_util::Full;
use tokio::{
    runtime::{Builder, Runtime},
    time::advance,
};

use super::*;

/// What the scheduler may still do of a kind in one run.
#[derive(Clone, Copy)]
struct Budget {
    askers: usize,
    /// Further ones, which nobody polls.
    sleepers: usize,
    /// Askers that leave.
    leavers: usize,
    /// Calls that do not end well.
    mishaps: usize,
    /// Steps in the middle of a call's poll.
    inside: usize,
    has_clock: bool,
}

/// What a call takes where there is a clock.
const CALL: Duration = Duration::from_millis(10);

/// More than another one waits for askers then.
const LINGER: Duration = Duration::from_millis(6);

/// The choices of this run, and how many there were each time.
#[derive(Default)]
struct Choices {
    taken: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, of));
        }
        let (choice, known) = self.taken[self.at];
        assert_eq!(known, of, "a run cannot be repeated");
        self.at += 1;
        choice
    }

    /// Goes to the next run; false after the last.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.taken.pop() {
            if choice + 1 < of {
                self.taken.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Well,
    Badly,
    Panics,
    TooLong,
}

struct ModelCall {
    began: usize,
    is_alive: bool,
    /// How many it has served.
    served: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

type AskerFuture = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>>>>;

struct ModelAsker {
    arrived: usize,
    /// None: answered, gone, or being polled.
    future: Option<AskerFuture>,
    is_waiting: bool,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct World {
    clock: usize,
    calls: Vec<ModelCall>,
    askers: Vec<ModelAsker>,
    asleep: Vec<AskerFuture>,
    choices: Choices,
    budget: Option<Budget>,
    /// An answer was too long, so some ask by themselves.
    some_are_alone: bool,
    /// Nothing was done since time passed.
    has_passed: bool,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

fn world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(f)
}

/// The service below: a call ends when the scheduler says so.
#[derive(Clone)]
struct Model;

struct ModelFuture(usize);

impl Service<Request<()>> for Model {
    type Response = Response<Full<Bytes>>;
    type Error = Failure;
    type Future = ModelFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> ModelFuture {
        world(|world| {
            let busy = world.calls.iter().any(|call| call.is_alive);
            assert!(!busy || world.some_are_alone, "two calls at a time");
            world.clock += 1;
            world.calls.push(ModelCall {
                began: world.clock,
                is_alive: true,
                served: 0,
                end: None,
                waker: None,
            });
            ModelFuture(world.calls.len() - 1)
        })
    }
}

#[derive(Clone, Debug)]
struct Failure(usize);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} failed", self.0)
    }
}

impl std::error::Error for Failure {}

impl Future for ModelFuture {
    type Output = Result<Response<Full<Bytes>>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Another thread may do something just now.
        step_inside();
        let end = world(|world| {
            let call = &mut world.calls[self.0];
            call.waker = Some(cx.waker().clone());
            call.end
        });
        let id = self.0.to_string();
        match end {
            None => Poll::Pending,
            Some(End::Well) => Poll::Ready(Ok(Response::new(Full::from(id)))),
            Some(End::TooLong) => {
                world(|world| world.some_are_alone = true);
                Poll::Ready(Ok(Response::new(Full::from(format!("{id:>9}")))))
            }
            Some(End::Badly) => Poll::Ready(Err(Failure(self.0))),
            // As a panic, without the hook's noise.
            Some(End::Panics) => std::panic::resume_unwind(Box::new("a panic of the model")),
        }
    }
}

impl Drop for ModelFuture {
    fn drop(&mut self) {
        world(|world| world.calls[self.0].is_alive = false);
    }
}

type Asked = Coalesce<Model, fn(&Request<()>) -> Option<u8>, u8, Full<Bytes>, Failure>;

thread_local! {
    static SERVICE: RefCell<Option<Asked>> = const { RefCell::new(None) };
    static CLOCK: Runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
}

fn pass(time: Duration) {
    CLOCK.with(|clock| clock.block_on(advance(time)));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Arrive,
    ArriveAsleep,
    Poll(usize),
    Leave(usize),
    End(usize, End),
    /// Nobody does anything for as long as a call may linger.
    Pass,
}

/// What can be done now.
fn possible(is_inside: bool) -> Vec<Op> {
    world(|world| {
        let budget = world.budget.expect("a run has one");
        let mut ops = Vec::new();
        if world.askers.len() < budget.askers {
            ops.push(Op::Arrive);
        }
        if budget.sleepers > 0 {
            ops.push(Op::ArriveAsleep);
        }
        for (n, asker) in world.askers.iter().enumerate() {
            if asker.future.is_some() && asker.woken.0.load(Ordering::Relaxed) {
                ops.push(Op::Poll(n));
            }
            if asker.future.is_some() && budget.leavers > 0 {
                ops.push(Op::Leave(n));
            }
        }
        if is_inside {
            return ops;
        }
        let is_idle = world.calls.iter().all(|call| !call.is_alive);
        let is_waited_for = world.askers.iter().any(|asker| asker.is_waiting);
        let is_quiet = !ops.iter().any(|op| matches!(op, Op::Poll(_)));
        if budget.has_clock && is_idle && is_waited_for && is_quiet && !world.has_passed {
            ops.push(Op::Pass);
        }
        for (n, call) in world.calls.iter().enumerate() {
            if call.is_alive && call.end.is_none() {
                ops.push(Op::End(n, End::Well));
                if budget.mishaps > 0 {
                    ops.extend([End::Badly, End::Panics, End::TooLong].map(|end| Op::End(n, end)));
                }
            }
        }
        ops
    })
}

fn step_inside() {
    if world(|world| world.budget.is_some_and(|budget| budget.inside == 0)) {
        return;
    }
    let ops = possible(true);
    let choice = world(|world| world.choices.choose(ops.len() + 1));
    if let Some(op) = choice.checked_sub(1) {
        world(|world| world.budget.as_mut().expect("a run has one").inside -= 1);
        take(ops[op]);
    }
}

fn take(op: Op) {
    world(|world| world.has_passed = matches!(op, Op::Pass));
    match op {
        Op::Pass => pass(LINGER),
        Op::Arrive => {
            let arrived = world(|world| {
                world.clock += 1;
                world.clock
            });
            let mut service = SERVICE.with_borrow(|service| service.clone()).unwrap();
            let future = Box::pin(service.call(Request::new(())));
            world(|world| {
                world.askers.push(ModelAsker {
                    arrived,
                    future: Some(future),
                    is_waiting: true,
                    woken: Arc::new(Flag(AtomicBool::new(true))),
                });
            });
        }
        Op::ArriveAsleep => {
            let mut service = SERVICE.with_borrow(|service| service.clone()).unwrap();
            let future: AskerFuture = Box::pin(service.call(Request::new(())));
            world(|world| {
                world.budget.as_mut().expect("a run has one").sleepers -= 1;
                world.asleep.push(future);
            });
        }
        Op::Poll(n) => {
            let (mut future, woken) = world(|world| {
                let asker = &mut world.askers[n];
                asker.woken.0.store(false, Ordering::Relaxed);
                (asker.future.take().unwrap(), Arc::clone(&asker.woken))
            });
            let waker = Waker::from(woken);
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => world(|world| world.askers[n].future = Some(future)),
                Poll::Ready(answer) => {
                    drop(future);
                    answered(n, answer);
                }
            }
        }
        Op::Leave(n) => {
            let future = world(|world| {
                world.budget.as_mut().expect("a run has one").leavers -= 1;
                world.askers[n].is_waiting = false;
                world.askers[n].future.take()
            });
            drop(future);
        }
        Op::End(n, end) => {
            if world(|world| world.budget.is_some_and(|budget| budget.has_clock)) {
                pass(CALL);
            }
            let waker = world(|world| {
                if end != End::Well {
                    world.budget.as_mut().expect("a run has one").mishaps -= 1;
                }
                world.calls[n].end = Some(end);
                world.calls[n].waker.take()
            });
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// Looks at what asker `n` was told.
fn answered(n: usize, answer: Result<Response<Full<Bytes>>, BoxError>) {
    let (call, expected) = match answer {
        Ok(answer) => {
            let body = text(answer.into_body());
            let end = if body.len() > 8 {
                End::TooLong
            } else {
                End::Well
            };
            (Some(body.trim().parse::<usize>().unwrap()), end)
        }
        Err(error) => match error.downcast::<Failure>() {
            Ok(failure) => (Some(failure.0), End::Badly),
            Err(error) => {
                assert!(error.is::<Panicked>(), "{error}");
                (None, End::Panics)
            }
        },
    };
    world(|world| {
        let asker = &mut world.askers[n];
        asker.is_waiting = false;
        if let Some(call) = call {
            let call = &mut world.calls[call];
            call.served += 1;
            assert!(
                call.began > asker.arrived,
                "the answer is older than the question"
            );
            assert_eq!(call.end, Some(expected), "told of another call");
        } else {
            let mut calls = world.calls.iter();
            let own = |call: &ModelCall| call.began > asker.arrived && call.end == Some(expected);
            assert!(calls.any(own), "told of a panic before its time");
        }
    });
}

/// A body that is there already.
fn text(mut body: Full<Bytes>) -> String {
    let waker = Waker::noop();
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(waker)) {
        Poll::Ready(Some(Ok(frame))) => {
            String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
        }
        _ => panic!("the body is not there"),
    }
}

/// Runs every order within `budget`: at least so `many`, in some of which all askers share a call.
fn explore(budget: Budget, many: usize) {
    let handle = CLOCK.with(|clock| clock.handle().clone());
    let _clock = handle.enter();
    let (mut runs, mut shared_by) = (0, 0);
    let mut choices = Choices::default();
    loop {
        runs += 1;
        world(|world| {
            *world = World {
                choices: std::mem::take(&mut choices),
                budget: Some(budget),
                ..World::default()
            };
        });
        let key: fn(&Request<()>) -> Option<u8> = |_| Some(0);
        let limits = Limits {
            answer: 8,
            answers: 1024,
            keys: 1,
        };
        let layer = CoalesceLayer::new(key, |_, read| Full::from(read), limits);
        let shared = {
            let service = layer.layer(Model);
            let shared = Arc::clone(&service.shared);
            SERVICE.with_borrow_mut(|slot| *slot = Some(service));
            shared
        };
        loop {
            let ops = possible(false);
            if ops.is_empty() {
                break;
            }
            let choice = world(|world| world.choices.choose(ops.len()));
            take(ops[choice]);
        }
        world(|world| {
            let waiting = world.askers.iter().any(|asker| asker.is_waiting);
            assert!(
                !waiting,
                "someone waits for ever: {:?}",
                world.choices.taken
            );
            let alive = world.calls.iter().any(|call| call.is_alive);
            assert!(!alive, "a call outlives its askers");
            let served = world.calls.iter().map(|call| call.served);
            shared_by = served.max().unwrap_or(0).max(shared_by);
            choices = std::mem::take(&mut world.choices);
        });
        if budget.has_clock {
            pass(LINGER);
            shared.lanes.sweep();
        }
        assert_eq!(shared.lanes.len(), 0, "a lane outlives its calls");
        assert_eq!(shared.held.load(Ordering::Relaxed), 0);
        if !choices.advance() {
            break;
        }
    }
    assert!(runs >= many, "{runs} orders");
    // One at least has to ask first, and has the first call for itself.
    assert_eq!(shared_by, budget.askers - 1);
}

#[test]
fn every_order_of_three_askers_keeps_the_rules() {
    let budget = Budget {
        askers: 3,
        sleepers: 0,
        leavers: 2,
        mishaps: 1,
        inside: 0,
        has_clock: false,
    };
    explore(budget, 105_000);
}

#[test]
fn every_order_with_another_thread_inside_a_poll_keeps_the_rules() {
    let budget = Budget {
        askers: 3,
        sleepers: 0,
        leavers: 1,
        mishaps: 1,
        inside: 1,
        has_clock: false,
    };
    explore(budget, 91_000);
}

#[test]
fn every_order_of_four_askers_that_are_answered_well_keeps_the_rules() {
    let budget = Budget {
        askers: 4,
        sleepers: 0,
        leavers: 0,
        mishaps: 0,
        inside: 1,
        has_clock: false,
    };
    explore(budget, 105_000);
}

#[test]
fn every_order_beside_one_who_is_never_polled_keeps_the_rules() {
    let budget = Budget {
        askers: 3,
        sleepers: 1,
        leavers: 1,
        mishaps: 0,
        inside: 0,
        has_clock: false,
    };
    explore(budget, 59_000);
}

#[test]
fn every_order_in_which_some_come_back_at_once_keeps_the_rules() {
    let budget = Budget {
        askers: 4,
        sleepers: 0,
        leavers: 1,
        mishaps: 0,
        inside: 0,
        has_clock: true,
    };
    explore(budget, 394_000);
}
