//! What is logged of requests that went well and ill.

use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::sync::{Arc, Mutex};
use tower::{BoxError, ServiceExt, service_fn};

/// What was logged, as text.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Clone)]
struct Quiet;

/// Serves one request with `status` and lets `read` treat the answer; the lines logged.
async fn logged<Fut: Future<Output = ()>>(
    method: Method,
    quiet: bool,
    status: u16,
    read: impl FnOnce(Response<TracedBody<Full<Bytes>>>) -> Fut,
) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let inside = service_fn(move |_: Request<()>| async move {
        debug!("inside");
        let answer = Response::builder().status(status);
        Ok::<_, BoxError>(answer.body(Full::from("12345")).unwrap())
    });
    // Quiet routes have no other path than their own.
    let layer = TraceLayer::new(|extensions: &Extensions| match extensions.get::<Quiet>() {
        Some(Quiet) => Route {
            template: "/",
            quiet: true,
        },
        None => Route {
            template: "/items/{id}",
            quiet: false,
        },
    });
    let path = if quiet { "/" } else { "/items/7" };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{path}?token=hidden"))
        .header("x-request-id", "abc-1")
        .header("x-auth-key", "hidden")
        .body(())
        .unwrap();
    let peer = SocketAddr::from(([192, 0, 2, 1], 4321));
    request.extensions_mut().insert(Peer(peer));
    if quiet {
        request.extensions_mut().insert(Quiet);
    }
    read(layer.layer(inside).oneshot(request).await.unwrap()).await;
    let lines = lines.0.lock().unwrap().clone();
    String::from_utf8(lines).unwrap()
}

async fn to_the_end(answer: Response<TracedBody<Full<Bytes>>>) {
    answer.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn tells_who_asked_what_and_how_it_went() {
    let lines = logged(Method::GET, false, 503, to_the_end).await;
    let told = lines.lines().last().unwrap();
    for part in [
        " WARN ",
        "id=\"abc-1\"",
        "client=192.0.2.1:4321",
        "method=GET",
        "path=\"/items/7\"",
        "route=\"/items/{id}\"",
        "answered status=503",
        "bytes=5",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert!(!lines.contains("hidden"), "{lines}");
}

#[tokio::test]
async fn tells_little_of_a_method_that_fills_the_log() {
    let method = Method::from_bytes(&[b'A'; 60_000]).unwrap();
    let lines = logged(method, false, 401, to_the_end).await;
    assert!(lines.contains(&"A".repeat(MAX_TEXT)), "{lines}");
    assert!(lines.len() < 1000, "{} bytes", lines.len());
}

#[tokio::test]
async fn puts_what_the_service_logs_inside_the_span() {
    let lines = logged(Method::GET, false, 200, to_the_end).await;
    let first = lines.lines().next().unwrap();
    assert!(
        first.contains("request{id=\"abc-1\"") && first.ends_with("inside"),
        "{first}"
    );
}

#[tokio::test]
async fn is_quiet_about_the_successes_of_a_quiet_route_only() {
    let success = logged(Method::GET, true, 200, to_the_end).await;
    let told = success.lines().last().unwrap();
    assert!(
        told.contains(" DEBUG ") && told.contains("answered"),
        "{told}"
    );
    let failure = logged(Method::GET, true, 404, to_the_end).await;
    assert!(
        failure.lines().last().unwrap().contains(" INFO "),
        "{failure}"
    );
    for told in [success, failure] {
        let last = told.lines().last().unwrap();
        let span = r#"request{id="abc-1" client=192.0.2.1:4321 method=GET path="/" route="/"}"#;
        assert!(last.contains(span), "{told}");
    }
    let loud = logged(Method::GET, false, 200, to_the_end).await;
    assert!(loud.lines().last().unwrap().contains(" INFO "), "{loud}");
}

#[tokio::test]
async fn tells_a_client_that_left_from_an_answer_to_head() {
    let left = logged(Method::GET, false, 200, async |answer| drop(answer)).await;
    assert!(left.contains("client left status=200"), "{left}");
    let head = logged(Method::HEAD, false, 200, async |answer| drop(answer)).await;
    assert!(head.contains("answered status=200"), "{head}");
}
