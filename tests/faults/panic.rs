//! A panic, which is a bug, costs the request that met it, and nothing else.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::service_fn;

use super::inside::{Answer, Inside};
use docker_ps_agent::service::{Body, Error};

async fn text(answer: Answer) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn panics_at_boom() -> Inside {
    Inside::around(service_fn(async |request: Request<()>| {
        match request.uri().path() {
            "/containers" => panic!("a bug"),
            _ => Ok::<_, Error>(Response::new(Body::from(Bytes::from("fine")))),
        }
    }))
}

#[tokio::test]
async fn is_a_500_with_the_requests_id() {
    let answer = panics_at_boom().get("/containers").await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert!(!id.is_empty());
    let text = text(answer).await;
    assert_eq!(text, r#"{"message":"The agent failed; its log has more."}"#);
}

#[tokio::test]
async fn leaves_the_service_as_it_was() {
    let inside = panics_at_boom();
    for _ in 0..3 {
        let answer = inside.clone().get("/containers").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(text(inside.clone().get("/").await).await, "fine");
    }
}

#[tokio::test]
async fn before_the_first_await_is_no_worse() {
    let inside = Inside::around(service_fn(|_: Request<()>| {
        assert!(std::hint::black_box(false), "a bug in the call itself");
        std::future::ready(Ok::<_, Error>(Response::new(Body::from(Bytes::new()))))
    }));
    let answer = inside.get("/").await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.headers().contains_key("x-request-id"));
}

#[derive(Clone, Debug, thiserror::Error)]
#[error("the secret cause")]
struct SecretCause;

#[tokio::test]
async fn is_not_told_apart_from_an_error_that_nobody_foresaw() {
    let inside = Inside::around(service_fn(async |_: Request<()>| {
        Err::<Response<Body>, _>(SecretCause)
    }));
    let answer = inside.get("/").await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = text(answer).await;
    assert_eq!(text, r#"{"message":"The agent failed; its log has more."}"#);
}
