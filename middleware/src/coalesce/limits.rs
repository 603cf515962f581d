//! How much is shared at a time, and that it is not copied.

use std::{convert::Infallible, sync::Mutex};

use http_body_util::{BodyExt, Full};
use tokio_test::{assert_pending, task::spawn};
use tower::{Service, service_fn};

use super::*;

type Answer = Result<Response<Full<Bytes>>, BoxError>;

/// The paths that a service was asked for.
type Asked = Arc<Mutex<Vec<String>>>;

/// What answers one of them.
type Asking = Pin<Box<dyn Future<Output = Answer>>>;

/// Asks a service that answers its path as soon as it may.
fn shared(limits: Limits, may: Arc<tokio::sync::Semaphore>) -> (impl FnMut(&str) -> Asking, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let inside = service_fn(move |request: Request<()>| {
        let path = request.uri().path().to_owned();
        log.lock().unwrap().push(path.clone());
        let may = Arc::clone(&may);
        async move {
            may.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(path)))
        }
    });
    let key = |request: &Request<()>| Some(request.uri().clone());
    let put_back = |_, read: Bytes| Full::from(read);
    let mut service = CoalesceLayer::new(key, put_back, limits).layer(inside);
    let ask = move |path: &str| -> Asking {
        Box::pin(service.call(Request::get(path).body(()).unwrap()))
    };
    (ask, asked)
}

async fn bytes(answer: Answer) -> Bytes {
    answer
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
}

#[tokio::test]
async fn past_the_most_keys_each_asks_by_itself() {
    let may = Arc::new(tokio::sync::Semaphore::new(0));
    let limits = Limits {
        keys: 1,
        ..Limits::default()
    };
    let (mut ask, asked) = shared(limits, Arc::clone(&may));
    let paths = ["/a", "/b", "/b", "/a"];
    let mut waiting = paths.map(|path| spawn(ask(path)));
    for one in &mut waiting {
        assert_pending!(one.poll());
    }
    // The second for /a waits for the next call of its key.
    assert_eq!(*asked.lock().unwrap(), ["/a", "/b", "/b"]);
    may.add_permits(4);
    for (one, path) in waiting.into_iter().zip(paths) {
        assert_eq!(bytes(one.await).await, path);
    }
}

#[tokio::test]
async fn past_what_may_be_held_answers_go_out_as_they_come() {
    for (answers, calls) in [(10, 3), (1000, 2)] {
        let may = Arc::new(tokio::sync::Semaphore::new(1));
        let limits = Limits {
            answers,
            ..Limits::default()
        };
        let (mut ask, asked) = shared(limits, Arc::clone(&may));
        let held = ask("/8-bytes").await.unwrap();
        asked.lock().unwrap().clear();
        // The second and the third share a call, if its answer may be held beside the one that is.
        let mut all = [(); 3].map(|()| spawn(ask("/another")));
        for one in &mut all {
            assert_pending!(one.poll());
        }
        may.add_permits(3);
        for one in all {
            assert_eq!(bytes(one.await).await, "/another");
        }
        assert_eq!(asked.lock().unwrap().len(), calls);
        drop(held);
    }
}

/// An answer of which only the beginning may be held is held as far as it was read, until it has been sent.
#[tokio::test]
async fn what_was_read_of_a_long_answer_counts_as_held() {
    let may = Arc::new(tokio::sync::Semaphore::new(0));
    let limits = Limits {
        answer: 8,
        answers: 16,
        ..Limits::default()
    };
    let (mut ask, asked) = shared(limits, Arc::clone(&may));
    may.add_permits(1);
    let long = ask("/9-bytes!").await.unwrap();
    // Two of 8 bytes that wait for the next call share it, if there is room for its answer.
    for (long, calls) in [(Some(long), 3), (None, 2)] {
        asked.lock().unwrap().clear();
        let mut all = [(); 3].map(|()| spawn(ask("/8-bytes")));
        for one in &mut all {
            assert_pending!(one.poll());
        }
        may.add_permits(3);
        for one in all {
            assert_eq!(bytes(one.await).await, "/8-bytes");
        }
        assert_eq!(asked.lock().unwrap().len(), calls);
        may.forget_permits(may.available_permits());
        drop(long);
    }
}

#[tokio::test]
async fn an_answer_is_one_for_all_who_share_it() {
    let may = Arc::new(tokio::sync::Semaphore::new(0));
    let (mut ask, asked) = shared(Limits::default(), Arc::clone(&may));
    let mut all = [(); 3].map(|()| spawn(ask("/one")));
    // The first begins its call at once.
    for one in &mut all {
        assert_pending!(one.poll());
    }
    may.add_permits(2);
    let [first, second, third] = all;
    assert_eq!(bytes(first.await).await, "/one");
    let (second, third) = tokio::join!(second, third);
    let (second, third) = (bytes(second).await, bytes(third).await);
    assert_eq!(second.as_ptr(), third.as_ptr());
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_call_has_its_time_whenever_its_askers_came() {
    let second = Duration::from_secs;
    let inside = service_fn(move |request: Request<Duration>| {
        let takes = *request.body();
        async move {
            tokio::time::sleep(takes).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("late")))
        }
    });
    let key = |request: &Request<Duration>| Some(request.uri().clone());
    let put_back = |_, read: Bytes| Full::from(read);
    let mut limits = Limits::default();
    for alone in [false, true] {
        let layer =
            CoalesceLayer::new(key, put_back, limits).limit(|_| Some(Duration::from_secs(30)));
        let mut service = layer.layer(inside);
        let mut ask = |path: &str, takes| {
            let request = Request::get(path).body(second(takes)).unwrap();
            tokio::spawn(service.call(request))
        };
        let begun = tokio::time::Instant::now();
        let _other = ask("/other", 1_000);
        let (one, stuck) = (ask("/one", 20), ask("/stuck", 40));
        tokio::time::sleep(second(1)).await;
        let next = [ask("/one", 20), ask("/stuck", 20)];
        assert!(one.await.unwrap().is_ok());
        assert_eq!(begun.elapsed().as_secs(), 20);
        let error = stuck.await.unwrap().unwrap_err();
        assert!(error.is::<crate::timeout::Elapsed>());
        assert_eq!(begun.elapsed().as_secs(), 30);
        // Behind the two, or beside them where there are too many keys.
        for (next, after) in next
            .into_iter()
            .zip(if alone { [30, 30] } else { [40, 50] })
        {
            assert!(next.await.unwrap().is_ok());
            assert_eq!(begun.elapsed().as_secs(), after);
        }
        limits.keys = 1;
    }
}
