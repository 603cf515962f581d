//! Nothing is answered without the key, and nothing is told of what would have been.

use http::HeaderMap;

use super::host::Host;
use crate::support::agent::Agent;
use crate::support::client::Reply;

/// Requests of every kind, and the status that each gets with the right key.
const REQUESTS: [(&str, &str, u16); 16] = [
    ("GET", "/", 200),
    ("HEAD", "/", 200),
    ("GET", "/containers", 200),
    ("GET", "/images", 200),
    ("GET", "/containers/no-such-container", 404),
    ("GET", "/containers/no-such-container/logs/stream", 404),
    ("GET", "/containers/no-such-container/start", 404),
    ("GET", "/no/such/path", 404),
    ("HEAD", "/no/such/path", 404),
    ("POST", "/containers", 405),
    ("DELETE", "/", 405),
    ("HEAD", "/containers/no-such-container/stop", 405),
    ("PUT", "/no/such/path", 404),
    ("GET", "/containers/%zz/stop", 400),
    ("GET", "/containers/..%2fimages/start", 400),
    ("GET", "/containers/no-such-container/logs?tail=ten", 400),
];

/// What an answer tells, without what is its own in any case.
fn told(reply: &Reply) -> (u16, HeaderMap, bytes::Bytes) {
    let mut headers = reply.headers.clone();
    for own in ["date", "x-request-id"] {
        headers.remove(own);
    }
    (reply.status.as_u16(), headers, reply.body.clone())
}

#[tokio::test]
async fn refuses_every_request_with_a_wrong_key_alike() {
    let host = Host::start().await;
    let key = host.agent.key.clone();
    let digit = |wrong: &str| format!("{}{wrong}", &key[..key.len() - 1]);
    let wrong_digit = digit(if key.ends_with('0') { "1" } else { "0" });
    let one_more = format!("{key}0");
    let long = key.repeat(100);
    let both = format!("{key}, {key}");
    let wrong: [(&str, &[&str]); 11] = [
        ("missing", &[]),
        ("empty", &[""]),
        ("wrong", &["docker_ps_"]),
        ("one wrong digit", &[&wrong_digit]),
        ("a digit short", &[&key[..key.len() - 1]]),
        ("a digit too long", &[&one_more]),
        ("very long", &[&long]),
        ("in capitals", &[&key.to_uppercase()]),
        ("doubled", &[&key, &key]),
        ("doubled in one header", &[&both]),
        ("right, then empty", &[&key, ""]),
    ];
    let client = host.agent.client.without_key();
    for (method, path, status) in REQUESTS {
        let mut first = None;
        for (what, keys) in wrong {
            let headers: Vec<_> = keys.iter().map(|key| ("x-auth-key", *key)).collect();
            let reply = client.request(method, path, &headers, "").await;
            assert_eq!(reply.status, 401, "{what} key: {method} {path}");
            let body = match method {
                "HEAD" => "",
                _ => r#"{"message":"Unauthorized"}"#,
            };
            assert_eq!(reply.text(), body, "{what} key: {method} {path}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
            let told = told(&reply);
            assert_eq!(first.get_or_insert(told.clone()), &told, "{what} key");
        }
        let right = host.agent.request(method, path, &[], "").await;
        assert_eq!(right.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn does_nothing_for_who_has_no_key() {
    let host = Host::start().await;
    let id = host.engine.run("auth-guarded", &[], "sleep 600").await;
    let path = format!("/containers/{id}/json");
    let before = host.inspect(&path).await;
    for action in ["stop", "restart", "pause", "remove"] {
        for key in [None, Some("docker_ps_"), Some("")] {
            let path = format!("/containers/auth-guarded/{action}");
            assert_eq!(host.agent.get_with_key(&path, key).await.status, 401);
        }
    }
    assert_eq!(host.inspect(&path).await["State"], before["State"]);
    host.engine.remove("auth-guarded").await;
}

#[tokio::test]
async fn never_tells_the_key() {
    let host = Host::with(Agent::builder().env("RUST_LOG", "trace")).await;
    let key = &host.agent.key;
    let digits = key.strip_prefix("docker_ps_").unwrap();
    let wrong = digits.replace(&digits[..1], "x");
    for (method, path, _) in REQUESTS {
        for headers in [&[][..], &[("x-auth-key", wrong.as_str())]] {
            let reply = host.agent.request(method, path, headers, "").await;
            assert!(!format!("{reply:?}").contains(digits), "{reply:?}");
        }
    }
    let metrics = host.agent.metrics.as_ref().unwrap().get("/metrics").await;
    assert!(metrics.text().contains("docker_ps_agent_"));
    assert!(!metrics.text().contains(digits));
    // The last requests' events are there once they are answered; a later one's show that.
    let probe = [("x-request-id", "the-last-one")];
    host.agent.request("GET", "/nowhere", &probe, "").await;
    host.agent.wait_for_output("the-last-one").await;
    let lines = host.agent.lines();
    let telling = lines.iter().filter(|line| line.text.contains(digits));
    assert_eq!(telling.count(), 1, "but for the line at the start");
    assert!(!lines.iter().any(|line| line.text.contains(&wrong)));
}
