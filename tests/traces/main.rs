//! The spans of calls, as a collector receives them by OTLP. Only with the feature `otlp`.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use harness::app::request;
use harness::{TestApp, event};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use shared::sockets::push::Outcome;
use shared::telemetry::otlp;
use tokio::net::TcpListener;
use tracing_subscriber::layer::SubscriberExt;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
/// The kinds of spans in the protocol.
const SERVER: i32 = 2;
const CONSUMER: i32 = 5;

/// What a collector has received and a test has not taken.
#[derive(Clone, Default)]
struct Received {
    spans: Arc<Mutex<Vec<Span>>>,
    /// Whether the collector refuses everything.
    is_refused: Arc<AtomicBool>,
}

impl Received {
    /// The spans since the last call, none of which has anything that a client decides.
    fn taken(&self) -> Vec<Span> {
        let spans = std::mem::take(&mut *self.spans.lock().unwrap());
        let text = format!("{spans:?}");
        assert!(!text.contains("canary"), "{text}");
        spans
    }
}

/// A collector on loopback; returns its base URL too.
async fn collector() -> (http::Uri, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let received = Received::default();
    let keeping = received.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let keeping = keeping.clone();
            let service = service_fn(move |request| receive(keeping.clone(), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, received)
}

async fn receive(keeping: Received, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
    let body = request.into_body().collect().await?.to_bytes();
    if keeping.is_refused.load(Ordering::Relaxed) {
        let refusal = Response::builder().status(503).body(Full::default());
        return Ok(refusal.unwrap());
    }
    let export = ExportTraceServiceRequest::decode(body).unwrap();
    let of_scopes = export.resource_spans.into_iter().flat_map(|of_resource| of_resource.scope_spans);
    keeping.spans.lock().unwrap().extend(of_scopes.flat_map(|of_scope| of_scope.spans));
    Ok(Response::new(Full::default()))
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The only span of this name.
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name} in {spans:?}"));
    assert!(found.next().is_none(), "two of {name} in {spans:?}");
    first
}

/// The names of all others of the same trace, of which the span must be the parent.
fn children<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a str> {
    let others = spans.iter().filter(|span| span.trace_id == parent.trace_id && span.span_id != parent.span_id);
    let named = others.map(|span| {
        assert_eq!(hex(&span.parent_span_id), hex(&parent.span_id), "{span:?}");
        span.name.as_str()
    });
    named.collect()
}

/// Sends to a user, with this header `traceparent`.
async fn sends(test: &TestApp, caller: Option<String>) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("canary-sender", "notify:send").into();
    if let Some(caller) = caller {
        sending["headers"]["traceparent"] = caller.into();
    }
    sending["body"] =
        json!({"type": "like", "userId": "canary", "title": "canary", "body": "canary", "data": {"canary": 1}})
            .to_string()
            .into();
    assert_eq!(send::handle(&test.app, request(sending)).await.status(), 202);
}

/// One test, since a process has one exporter.
#[tokio::test]
async fn a_call_and_what_it_leaves_are_one_tree() {
    const SEND: &str = "POST /api/notifications/send";
    let (url, received) = collector().await;
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(otlp::layer(&url)));
    let test = TestApp::new().await;
    test.connect("canary", &["canary-phone"]).await;
    test.push.will("canary-phone", &[Outcome::Failed]);

    // The spans have arrived before the answer.
    sends(&test, Some(format!("00-{TRACE}-{CALLER}-01"))).await;
    let spans = received.taken();
    let call = only(&spans, SEND).clone();
    assert_eq!((hex(&call.trace_id), hex(&call.parent_span_id), call.kind), (TRACE.into(), CALLER.into(), SERVER));
    let acts = children(&spans, &call);
    assert!(!acts.is_empty() && acts.iter().all(|name| *name == "record"), "{acts:?}");
    assert_eq!(spans.len(), 1 + acts.len());

    test.clock.advance(Duration::from_secs(1));
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    let spans = received.taken();
    let push = only(&spans, "push");
    assert_eq!(hex(&push.trace_id), TRACE);
    assert_eq!((hex(&push.parent_span_id), push.kind), (hex(&call.span_id), CONSUMER));
    // The drain works for many calls, so it has a trace of its own.
    let drain = only(&spans, "drain");
    assert!(hex(&drain.trace_id) != TRACE && drain.parent_span_id.is_empty(), "{drain:?}");
    let steps = children(&spans, drain);
    assert!(steps.contains(&"process") && spans.len() == 2 + steps.len(), "{steps:?}");

    // Without a caller's span, a trace begins here.
    sends(&test, None).await;
    let spans = received.taken();
    let call = only(&spans, SEND);
    assert!(hex(&call.trace_id) != TRACE && call.parent_span_id.is_empty(), "{call:?}");
    assert_eq!(children(&spans, call).len() + 1, spans.len());

    // A caller that does not record its own part does not want this one either.
    sends(&test, Some(format!("00-{TRACE}-{CALLER}-00"))).await;
    assert!(received.taken().is_empty());

    // A collector that takes nothing costs no call its answer, and the next calls do not wait for it.
    received.is_refused.store(true, Ordering::Relaxed);
    sends(&test, None).await;
    received.is_refused.store(false, Ordering::Relaxed);
    sends(&test, None).await;
    assert!(received.taken().is_empty());
}
