//! A function that does what its event says, and fails as functions fail. Events are `{"do": …}`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use lambda_http::lambda_runtime::run;
use lambda_http::{Error, LambdaEvent, Request, Response, run_with_streaming_response, service_fn};
use serde_json::{Value, json};

/// How often a thread that a call left running has run since.
static TICKS: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let begins = std::env::var("BEGINS").unwrap_or_default();
    match begins.as_str() {
        "with an exit" => {
            say("no begin");
            std::process::exit(4)
        }
        "with an error" => report_init_error(),
        "streaming" => return run_with_streaming_response(service_fn(streams)).await,
        _ => {}
    }
    run(service_fn(answers)).await
}

async fn answers(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let call = 1 + CALLS.fetch_add(1, Ordering::Relaxed);
    let known = json!({
        "pid": std::process::id(),
        "call": call,
        "ticks": TICKS.load(Ordering::Relaxed),
        "event": event.payload,
        "requestId": event.context.request_id,
        "arn": event.context.invoked_function_arn,
        "deadlineMs": event.context.deadline,
        "variables": std::env::vars().collect::<std::collections::BTreeMap<_, _>>(),
    });
    match event.payload["do"].as_str().unwrap_or_default() {
        "print" => {
            say("printed");
            eprint!("and an error without an end");
        }
        "fail" => return Err("the store is down".into()),
        "panic" => panic!("nothing works"),
        "exit" => std::process::exit(3),
        "hang" => std::future::pending().await,
        "wait for a file" => {
            while !std::path::Path::new(event.payload["file"].as_str().unwrap_or_default()).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        "use memory" => drop(std::hint::black_box(vec![1_u8; 64 * 1024 * 1024])),
        "answer too much" => return Ok("x".repeat(7 * 1024 * 1024).into()),
        "leave a thread" => drop(std::thread::spawn(|| {
            loop {
                TICKS.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        })),
        _ => {}
    }
    Ok(known)
}

/// Streams two parts, or one and then what the path says.
async fn streams(
    request: Request,
) -> Result<Response<StreamBody<BoxStream<'static, Result<Frame<Bytes>, Error>>>>, Error> {
    let path = request.uri().path().to_owned();
    let parts = stream::iter(["one", "two"]).then(move |part| {
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        async move {
            match (part, last.as_str()) {
                ("two", "exit") => {
                    // For so long that the first part is on its way.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    std::process::exit(3)
                }
                ("two", "hang") => std::future::pending().await,
                _ => Ok(Frame::data(Bytes::from_static(part.as_bytes()))),
            }
        }
    });
    Ok(Response::builder().status(201).header("x-erratic", "yes").body(StreamBody::new(parts.boxed()))?)
}

/// Calls the Runtime API as a runtime does that cannot start, and exits.
fn report_init_error() -> ! {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let (address, path) = api.trim_start_matches("http://").split_once('/').expect("each sandbox has a path");
    let body = r#"{"errorType":"Erratic.NoBegin","errorMessage":"it has no handler"}"#;
    let request = format!(
        "POST /{path}/2018-06-01/runtime/init/error HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).expect("the Runtime API listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    std::process::exit(1)
}

#[allow(clippy::print_stdout, reason = "what functions print is what is tested")]
fn say(text: &str) {
    println!("{text}");
}
