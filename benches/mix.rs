//! Some of everything that clients ask of an agent whose engine answers at once.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::Instant};

use crate::{
    load::{Address, Job, load},
    support::{agent::Agent, wait::SOON},
};

/// Requests that are answered at once, over and over, until `end`; how many there were.
async fn ask(agent: Arc<Agent>, end: Instant, round: Duration) -> u64 {
    let mut paths: Vec<String> = [
        "/",
        "/containers",
        "/",
        "/images",
        "/",
        "/nowhere",
        "/containers/nobody",
        "/containers/a/logs?tail=10",
        "/containers?fields=Id,Names,State",
        "/containers/%20",
        "/containers?nope=1",
        "/containers/a/logs/download",
        "/images/i",
    ]
    .map(String::from)
    .into();
    paths.extend((0..20).map(|number| format!("/containers/c{number}")));
    // More of them at a time are refused.
    let actions = vec!["/containers/a/pause".to_owned()];
    let mut requests = 0;
    while Instant::now() < end {
        let (right, wrong) = (&agent.key, &"wrong".to_owned());
        for (key, connections, paths, time, statuses) in [
            (right, 32, &paths, round, vec![200, 400, 404]),
            (right, 4, &actions, round / 20, vec![200]),
            (wrong, 4, &paths, round / 50, vec![401]),
        ] {
            let job = Job {
                address: Address::Tcp(agent.client.address),
                key: key.clone(),
                connections,
                paths: paths.clone(),
                statuses,
                warm_up: Duration::ZERO,
                time,
            };
            requests += spawn_blocking(move || load(&job, None))
                .await
                .unwrap()
                .requests;
        }
    }
    requests
}

/// Log streams that are left after some events, until `end`; how many there were.
async fn follow(agent: Arc<Agent>, end: Instant) -> u64 {
    let mut requests = 0;
    while Instant::now() < end {
        let path = format!("/containers/f{}/logs/stream", requests % 7);
        let mut events = agent.sse(&path).await;
        for _ in 0..3 {
            events.next(SOON).await.unwrap();
        }
        requests += 1;
    }
    requests
}

/// What tells of changes, left after its first event, until `end`; how many there were.
async fn watch(agent: Arc<Agent>, end: Instant) -> u64 {
    let paths = [
        "/containers/stream",
        "/events?since=0",
        "/logs/stream?container=a",
    ];
    let mut requests = 0;
    // While one is open the next is opened: of the engine's events there is mostly one reader, but not always.
    let mut last = None;
    while Instant::now() < end {
        let mut events = agent.sse(paths[requests as usize % paths.len()]).await;
        events.next(SOON).await.unwrap();
        last = (requests % 10 > 0).then_some(events);
        requests += 1;
    }
    drop(last);
    requests
}

/// Lists that are packed, then with the tag that those had, so that the answer is 304, then without a body, until `end`; how
/// many there were.
async fn poll(agent: Arc<Agent>, end: Instant) -> u64 {
    let mut requests = 0;
    while Instant::now() < end {
        let packed = [("accept-encoding", ["gzip", "zstd"][requests as usize % 2])];
        let list = agent.request("GET", "/containers", &packed, "").await;
        let again = [packed[0], ("if-none-match", list.header("etag").unwrap())];
        let again = agent.request("GET", "/containers", &again, "").await;
        assert_eq!((list.status.as_u16(), again.status.as_u16()), (200, 304));
        let head = agent.request("HEAD", "/containers", &packed, "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        requests += 3;
    }
    requests
}

/// All of these beside each other, over connections that last for a `round`; how many requests there were.
pub(crate) async fn ask_everything(agent: &Arc<Agent>, end: Instant, round: Duration) -> u64 {
    let (asked, followed, watched, polled) = tokio::join!(
        tokio::spawn(ask(Arc::clone(agent), end, round)),
        tokio::spawn(follow(Arc::clone(agent), end)),
        tokio::spawn(watch(Arc::clone(agent), end)),
        tokio::spawn(poll(Arc::clone(agent), end)),
    );
    asked.unwrap() + followed.unwrap() + watched.unwrap() + polled.unwrap()
}
