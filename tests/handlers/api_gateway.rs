//! How the answers of API Gateway's management API become outcomes of a push, and what becomes of pushes to a slow one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::TestApp;
use http::Response;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use shared::emit::draft::Draft;
use shared::emit::telling;
use shared::ids::{ConnectionId, UserId};
use shared::protocol::{self, Event};
use shared::sockets::api_gateway::ApiGatewayPush;
use shared::sockets::push::{Outcome, Push};
use tokio::net::TcpListener;

/// The sockets of a gateway that always gives this answer, this long after it was asked, and the number of requests.
async fn sockets(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    after: Duration,
) -> (ApiGatewayPush, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/live", listener.local_addr().unwrap());
    let posts = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&posts);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counting = Arc::clone(&counting);
            let service = service_fn(move |_: http::Request<Incoming>| {
                counting.fetch_add(1, Ordering::Relaxed);
                let answer = headers
                    .iter()
                    .fold(Response::builder().status(status), |answer, (name, value)| answer.header(*name, *value));
                async move {
                    tokio::time::sleep(after).await;
                    answer.body(Empty::<Bytes>::new())
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
        }
        Ok::<_, Infallible>(())
    });
    let credentials = aws_credential_types::Credentials::new("local", "local", None, None, "local");
    (ApiGatewayPush::new(&endpoint, "eu-central-1".into(), credentials), posts)
}

/// Pushes one frame to a gateway that gives this answer; returns the outcome and the number of requests.
async fn posted(status: u16, headers: &'static [(&'static str, &'static str)]) -> (Outcome, usize) {
    let (push, posts) = sockets(status, headers, Duration::ZERO).await;
    let frame = protocol::frame(&Event::Resync);
    let outcomes = push.push(&[(ConnectionId::new("PJqB0fHsqRcCHlw="), frame)]).await;
    (outcomes[0], posts.load(Ordering::Relaxed))
}

#[tokio::test]
async fn each_answer_has_its_outcome_and_no_request_is_repeated() {
    let throttled = |retry_after_ms| Outcome::Throttled { retry_after_ms };
    for (status, headers, outcome) in [
        (200, [].as_slice(), Outcome::Offered),
        (410, &[("x-amzn-errortype", "GoneException")], Outcome::Gone),
        (429, &[("x-amzn-errortype", "LimitExceededException")], throttled(0)),
        (429, &[("x-amzn-errortype", "LimitExceededException"), ("retry-after", "2")], throttled(2_000)),
        (429, &[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], throttled(0)),
        (503, &[("retry-after", "7")], throttled(7_000)),
        (503, &[], Outcome::Failed),
        (500, &[("retry-after", "7")], Outcome::Failed),
        (403, &[("x-amzn-errortype", "ForbiddenException")], Outcome::Failed),
    ] {
        assert_eq!(posted(status, headers).await, (outcome, 1), "{status} {headers:?}");
    }
}

#[tokio::test]
async fn an_event_is_pushed_to_every_device_however_slow_the_sockets_are() {
    const USERS: usize = 300;
    let mut test = TestApp::new().await;
    let (push, posts) = sockets(200, &[], Duration::from_millis(100)).await;
    test.app.push = Arc::new(push);
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
    for user in &users {
        test.connect(user, &[&format!("socket of {user}")]).await;
    }
    let event = json!({"type": "system", "title": "Back in five minutes"});
    let draft = Draft::read(&UserId::new("ops").unwrap(), event.as_object().unwrap().clone(), None).unwrap();
    telling::emit(&test.app, &draft).await.unwrap();
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!(posts.load(Ordering::Relaxed), USERS);
}
