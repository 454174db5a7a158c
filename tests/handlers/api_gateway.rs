//! How the answers of API Gateway's management API become outcomes of a push, and what becomes of pushes to a slow one.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_lc_rs::{digest, hmac};
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Region};
use aws_sdk_apigatewaymanagement::primitives::Blob;
use harness::TestApp;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use shared::emit::draft::Draft;
use shared::emit::telling;
use shared::ids::{ConnectionId, UserId};
use shared::protocol::{self, Event, Frame};
use shared::sockets::api_gateway::ApiGatewayPush;
use shared::sockets::push::{Outcome, Push};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
    let credentials = Credentials::new("local", "local", None, None, "local");
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

/// A gateway that keeps what it is asked, and the requests so far: path, headers and body.
async fn recorder() -> (String, Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/live", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            let service = service_fn(move |request: http::Request<Incoming>| {
                let kept = Arc::clone(&kept);
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    kept.lock().unwrap().push((head.uri.to_string(), head.headers, body));
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
        }
    });
    (endpoint, asked)
}

/// Whether a `POST` is signed with this secret, as the documentation of Signature Version 4 says.
fn is_signed((path, headers, body): &(String, HeaderMap, Bytes), secret: &str) -> bool {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha256 = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let authorization = headers["authorization"].to_str().unwrap();
    let (_, parts) = authorization.split_once("Credential=").unwrap();
    let (credential, parts) = parts.split_once(", SignedHeaders=").unwrap();
    let (signed, signature) = parts.split_once(", Signature=").unwrap();
    let (_, scope) = credential.split_once('/').unwrap();

    // What is escaped in the path is escaped once more.
    let path = path.replace('%', "%25").replace('@', "%40");
    let lines = signed.split(';').map(|name| format!("{name}:{}\n", headers[name].to_str().unwrap()));
    let canonical = format!("POST\n{path}\n\n{}\n{signed}\n{}", lines.collect::<String>(), sha256(body));
    let date = headers["x-amz-date"].to_str().unwrap();
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part));
    ["host", "x-amz-date", "x-amz-security-token"].iter().all(|name| signed.split(';').any(|other| other == *name))
        && hex(&mac(&key, &text)) == signature
}

#[tokio::test]
async fn a_frame_is_signed_as_the_sdk_signs_it() {
    let (endpoint, asked) = recorder().await;
    let secret = "a secret/+=";
    let credentials = Credentials::new("AKIDEXAMPLE", secret, Some("a session".into()), None, "test");
    let push = ApiGatewayPush::new(&endpoint, "eu-central-1".into(), credentials.clone());
    let sdk = aws_sdk_apigatewaymanagement::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(credentials)
        .endpoint_url(&endpoint);
    let sdk = aws_sdk_apigatewaymanagement::Client::from_conf(sdk.build());
    for id in ["PJqB0fHsqRcCHlw=", "a/b+c==", "a b%20~_-.ü"] {
        let frame = Frame::from("{\"title\": \"Grüße\"}");
        asked.lock().unwrap().clear();
        let outcomes = push.push(&[(ConnectionId::new(id), Frame::clone(&frame))]).await;
        assert_eq!(outcomes, [Outcome::Offered]);
        sdk.post_to_connection().connection_id(id).data(Blob::new(frame.as_bytes())).send().await.unwrap();
        let asked = asked.lock().unwrap();
        let [own, theirs] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((&own.0, &own.2), (&theirs.0, &theirs.2), "{id}");
        assert_eq!(own.1["x-amz-security-token"], "a session");
        assert!(is_signed(theirs, secret) && !is_signed(theirs, "another"), "{theirs:?}");
        assert!(is_signed(own, secret) && !is_signed(own, "another"), "{own:?}");
    }
}

#[tokio::test]
async fn a_connection_that_died_is_replaced_once() {
    // Each connection serves one request, and is closed without a word while the next one is under way.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/live", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut buffer = [0; 8_192];
                if stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
                // The next request is read, and never answered.
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    let credentials = Credentials::new("local", "local", None, None, "local");
    let push = ApiGatewayPush::new(&endpoint, "eu-central-1".into(), credentials);
    let frames = [(ConnectionId::new("a"), protocol::frame(&Event::Resync))];
    for _ in 0..3 {
        assert_eq!(push.push(&frames).await, [Outcome::Offered]);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 3);
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
