//! That those who ask again at once share the next call, and that nobody waits for them for long.

use std::{convert::Infallible, sync::Mutex};

use http_body_util::Full;
use tokio::{
    task::JoinHandle,
    time::{Instant, advance, sleep},
};
use tower::service_fn;

use super::*;

const CALL: Duration = Duration::from_millis(10);
const MOMENT: Duration = Duration::from_millis(1);

/// Asks for a path.
type Ask = Box<dyn FnMut(&'static str) -> JoinHandle<()>>;

/// When the calls began, in ms.
type Began = Arc<Mutex<Vec<u128>>>;

/// Asks a service that takes `call` to answer.
fn asking(call: Duration, limits: Limits) -> (Ask, Began) {
    let began = Began::default();
    let (log, first) = (Arc::clone(&began), Instant::now());
    let inside = service_fn(move |_: Request<()>| {
        log.lock().unwrap().push(first.elapsed().as_millis());
        async move {
            sleep(call).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("answer")))
        }
    });
    let key = |request: &Request<()>| Some(request.uri().clone());
    let mut service =
        CoalesceLayer::new(key, |_, read: Bytes| Full::from(read), limits).layer(inside);
    let ask = Box::new(move |path| {
        let answer = service.call(Request::get(path).body(()).unwrap());
        tokio::spawn(async move { assert!(answer.await.is_ok()) })
    });
    (ask, began)
}

async fn answered(all: impl IntoIterator<Item = JoinHandle<()>>) {
    for one in all {
        one.await.unwrap();
    }
}

/// Lets one call end that serves the first of those who ask, and one that serves the other three.
async fn until_three_were_answered(ask: &mut Ask) {
    let all = [(); 4].map(|()| ask("/list"));
    answered(all).await;
}

/// They ask again, one after the other, and are answered.
async fn three_come_back(ask: &mut Ask) {
    let mut all = Vec::new();
    for _ in 0..3 {
        sleep(MOMENT).await;
        all.push(ask("/list"));
    }
    answered(all).await;
}

#[tokio::test(start_paused = true)]
async fn those_who_come_back_together_share_the_next_call() {
    let (mut ask, began) = asking(CALL, Limits::default());
    until_three_were_answered(&mut ask).await;
    three_come_back(&mut ask).await;
    assert_eq!(*began.lock().unwrap(), [0, 10, 23]);
}

#[tokio::test(start_paused = true)]
async fn those_who_had_gathered_are_waited_for_no_less() {
    let (mut ask, began) = asking(CALL, Limits::default());
    let first = [(); 4].map(|()| ask("/list"));
    sleep(CALL + MOMENT).await;
    let second = ask("/list");
    answered(first).await;
    three_come_back(&mut ask).await;
    second.await.unwrap();
    assert_eq!(*began.lock().unwrap(), [0, 10, 23]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_alone_waits_for_half_a_call() {
    let (mut ask, began) = asking(CALL, Limits::default());
    until_three_were_answered(&mut ask).await;
    sleep(MOMENT).await;
    ask("/list").await.unwrap();
    // And whoever is alone does not.
    ask("/list").await.unwrap();
    assert_eq!(*began.lock().unwrap(), [0, 10, 25, 35]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_does_not_wait() {
    let (mut ask, began) = asking(CALL, Limits::default());
    until_three_were_answered(&mut ask).await;
    sleep(CALL / 2).await;
    ask("/list").await.unwrap();
    assert_eq!(*began.lock().unwrap(), [0, 10, 25]);
}

#[tokio::test(start_paused = true)]
async fn where_the_first_leaves_the_second_waits_no_longer() {
    let (mut ask, began) = asking(CALL, Limits::default());
    until_three_were_answered(&mut ask).await;
    let first = ask("/list");
    sleep(MOMENT).await;
    let second = ask("/list");
    sleep(MOMENT).await;
    first.abort();
    second.await.unwrap();
    assert_eq!(*began.lock().unwrap(), [0, 10, 25]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_behind_a_short_call_or_for_long() {
    for (call, lingers) in [(3, 0), (4, 2), (100, 50), (30_000, 50)] {
        let (mut ask, began) = asking(Duration::from_millis(call), Limits::default());
        until_three_were_answered(&mut ask).await;
        ask("/list").await.unwrap();
        let call = u128::from(call);
        assert_eq!(*began.lock().unwrap(), [0, call, 2 * call + lingers]);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_who_was_not_answered() {
    let limits = Limits {
        answer: 1,
        ..Limits::default()
    };
    let (mut ask, began) = asking(CALL, limits);
    let [first, second, third] = [(); 3].map(|()| ask("/list"));
    first.await.unwrap();
    second.await.unwrap();
    // That answer is too long to be shared, and the third asks by itself.
    let again = ask("/list");
    third.await.unwrap();
    again.await.unwrap();
    assert_eq!(*began.lock().unwrap(), [0, 10, 20, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_comes_back_to_makes_room() {
    let limits = Limits {
        keys: 1,
        ..Limits::default()
    };
    let (mut ask, began) = asking(CALL, limits);
    until_three_were_answered(&mut ask).await;
    advance(CALL / 2).await;
    let all = [(); 3].map(|()| ask("/other"));
    answered(all).await;
    assert_eq!(*began.lock().unwrap(), [0, 10, 25, 35]);
}
