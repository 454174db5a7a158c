//! What a frame costs in allocations, which no other load of the machine changes. A number that fell is to be lowered here.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::sync::mpsc;
use std::thread;

use allocation_counter::AllocationInfo;
use aws_credential_types::Credentials;
use http_body_util::{BodyExt, Empty};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use shared::ids::ConnectionId;
use shared::protocol::Frame;
use shared::sockets::api_gateway::ApiGatewayPush;
use shared::sockets::push::{MAX_AT_ONCE, Outcome, Push};
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};

/// Of one POST: the request, its signature, its answer.
const OF_A_FRAME: u64 = 40;
/// So many frames fit into the same requests under way.
const FRAMES: usize = MAX_AT_ONCE;

/// Only allocations of the thread that measures are counted, so everything that is measured runs in it.
fn current_thread() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A management API in a thread of its own, which accepts every frame; returns its URL.
fn management_api() -> String {
    let (told, port) = mpsc::channel();
    thread::spawn(move || {
        current_thread().block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service_fn(|request: http::Request<Incoming>| async {
                    request.into_body().collect().await?;
                    Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { http.serve_connection(TokioIo::new(stream), service).await });
            }
        });
    });
    format!("http://127.0.0.1:{}/live", port.recv().unwrap())
}

/// Measures pushing this frame to so many connections, over HTTP connections that are open before.
fn pushing(frame: &Frame, connections: usize) -> AllocationInfo {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("session".into()), None, "test");
    let push = ApiGatewayPush::new(&management_api(), "eu-central-1".into(), credentials);
    let frames: Vec<(ConnectionId, Frame)> =
        (0..connections).map(|n| (ConnectionId::new(format!("PJqB0fHsqR{n:04}c=")), Frame::clone(frame))).collect();
    let runtime = current_thread();
    let push_all = || runtime.block_on(push.push(&frames));
    for _ in 0..3 {
        assert_eq!(push_all(), vec![Outcome::Offered; connections]);
    }
    allocation_counter::measure(|| {
        push_all();
    })
}

#[test]
fn a_frame_costs_few_allocations() {
    let frame = Frame::from(format!("{{\"text\": \"{}\"}}", "x".repeat(300)));
    let each = pushing(&frame, FRAMES).count_total / FRAMES as u64;
    assert!((OF_A_FRAME * 9 / 10..=OF_A_FRAME).contains(&each), "{each} allocations for each frame");
}

#[test]
fn a_frame_is_not_copied_for_each_device() {
    let [short, long] = [100, 20_000].map(|length| {
        let frame = Frame::from(format!("{{\"text\": \"{}\"}}", "x".repeat(length)));
        pushing(&frame, FRAMES).bytes_total / FRAMES as u64
    });
    assert!(long < short + 10_000, "{short} bytes are allocated for each short frame, and {long} for each long one");
}
