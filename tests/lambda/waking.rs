//! A function that enqueues work wakes the drain by an asynchronous invocation of Lambda.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use harness::binaries::{self, Profile};
use harness::event;
use harness::sandbox::{Sandbox, Variables};
use http::Response;
use http::request::Parts;
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::environment::{bearer, servers, with};

/// A fake of the API that invokes functions.
struct LambdaApi {
    url: String,
    requests: Arc<Mutex<Vec<Parts>>>,
}

impl LambdaApi {
    /// Answers every invocation with this status.
    async fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Parts>>>::default();
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                let service = service_fn(move |request: http::Request<Incoming>| {
                    log.lock().unwrap().push(request.into_parts().0);
                    async move { Response::builder().status(status).body(Empty::<Bytes>::new()) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
            }
            Ok::<_, Infallible>(())
        });
        Self { url, requests }
    }

    /// The requests since the last call of this.
    fn taken(&self) -> Vec<Parts> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// Sends to this many recipients, with these additional members.
async fn sends(sandbox: &mut Sandbox, variables: &Variables, recipients: usize, members: Value) {
    let users: Vec<String> = (0..recipients).map(|n| format!("user {n}")).collect();
    let mut payload = json!({"type": "like", "userIds": users, "title": "Hi"});
    payload.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let mut sending = event("send");
    sending["headers"]["authorization"] = bearer(variables, "shop", "notify:send").into();
    sending["body"] = payload.to_string().into();
    let answer = sandbox.invoke(&sending).await.unwrap();
    assert_eq!(answer["statusCode"], 202, "{answer}");
}

/// A sandbox of `send` on a migrated database.
async fn sandbox(variables: &Variables) -> Sandbox {
    Sandbox::start(&binaries::built(Profile::Dev)["migrate"], variables).await.invoke(&json!({})).await.unwrap();
    Sandbox::start(&binaries::built(Profile::Dev)["send"], variables).await
}

/// Adds the variables that let a function invoke the drain through this API.
fn waking(servers: Variables, api: &LambdaApi) -> Variables {
    let elsewhere = with(servers, "AWS_REGION", "eu-central-1");
    with(with(elsewhere, "DRAIN_FUNCTION", "app-drain-4KJ2"), "AWS_ENDPOINT_URL_LAMBDA", &api.url)
}

#[tokio::test]
async fn enqueued_work_wakes_the_drain_at_most_once_a_second() {
    let api = LambdaApi::answering(202).await;
    let variables = waking(servers().await, &api);
    let mut send = sandbox(&variables).await;
    // The first send enqueues nothing, and the second nothing that is due within a minute.
    sends(&mut send, &variables, 1, json!({})).await;
    sends(&mut send, &variables, 1, json!({"delayMs": 3_600_000})).await;
    assert!(api.taken().is_empty());

    sends(&mut send, &variables, 201, json!({})).await;
    sends(&mut send, &variables, 1, json!({"delayMs": 1_000})).await;
    let requests = api.taken();
    let [invoked] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(
        (invoked.method.as_str(), invoked.uri.path()),
        ("POST", "/2015-03-31/functions/app-drain-4KJ2/invocations")
    );
    assert_eq!(invoked.headers["x-amz-invocation-type"], "Event");
    let signed = invoked.headers["authorization"].to_str().unwrap();
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=") && signed.contains("/eu-central-1/lambda/aws4_request"));
}

#[tokio::test]
async fn a_send_is_answered_even_if_the_drain_cannot_be_woken() {
    for api in [LambdaApi::answering(500).await, LambdaApi::answering(403).await] {
        let variables = waking(servers().await, &api);
        sends(&mut sandbox(&variables).await, &variables, 201, json!({})).await;
        assert!(!api.taken().is_empty());
    }
    let unreachable = LambdaApi { url: "http://127.0.0.1:9".into(), requests: Arc::default() };
    let variables = waking(servers().await, &unreachable);
    sends(&mut sandbox(&variables).await, &variables, 201, json!({})).await;
}
