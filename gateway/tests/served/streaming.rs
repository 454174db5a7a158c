//! How the REST API relays a stream: as it comes, no faster than the client reads, and to its end.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use gateway::{Limits, Options};
use lambda_http::Response;
use tokio::io::AsyncReadExt;

use crate::harness::{Served, Source, in_time};

/// A timeout that passes during a test; those that must not pass keep their default.
const SHORT: Duration = Duration::from_millis(100);
const PATH: &str = "/v1/api/events";
const CHUNK_BYTES: usize = 64 * 1024;

async fn served() -> Served {
    with(|_| {}).await
}

async fn with(change: impl FnOnce(&mut Options)) -> Served {
    Served::start_with(include_str!("rest.yaml"), |mut options| {
        change(&mut options);
        options
    })
    .await
}

/// The template with another timeout of the function or of the route `/api/events`.
async fn with_timeout(from: &str, to: &str) -> Served {
    let template = include_str!("rest.yaml").replace(from, to);
    Served::start_with(&template, |options| options).await
}

/// Sends large chunks until there is no room for another one for a while. Returns how many bytes that were.
async fn sends_until_it_waits(source: &Source) -> usize {
    let mut sent_bytes = 0;
    while tokio::time::timeout(Duration::from_millis(500), source.sends(vec![b'x'; CHUNK_BYTES])).await.is_ok() {
        sent_bytes += CHUNK_BYTES;
        assert!(sent_bytes < 64 * 1024 * 1024, "the stream is read although the client does not read");
    }
    sent_bytes
}

/// Sends more parts than there could be room for if they were not read.
async fn is_read(source: &Source) {
    for _ in 0..1_000 {
        source.sends("unseen").await;
    }
}

#[tokio::test]
async fn chunks_arrive_as_they_are_sent() {
    let served = served().await;
    let mut sources = served.stream.streams();
    let mut alice = served.http("GET", PATH).opens().await;
    assert_eq!((alice.status, alice.header("content-type")), (200, Some("text/event-stream")));
    let source = sources.recv().await.unwrap();
    for text in ["data: 1\n\n", ": still here\n\n", "data: \0\0\0\0\0\0\0\0\n\n"] {
        source.sends(text).await;
        assert_eq!(alice.sees().await, text);
    }
    drop(source);
    alice.sees_end().await;
}

#[tokio::test]
async fn streams_do_not_wait_for_each_other() {
    let served = served().await;
    let mut sources = served.stream.streams();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let stream = served.http("GET", PATH).opens().await;
        streams.push((stream, sources.recv().await.unwrap()));
    }
    for (stream, source) in streams.iter_mut().rev() {
        source.sends("hello").await;
        assert_eq!(stream.sees().await, "hello");
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_cut_off_after_what_it_sent() {
    let served = served().await;
    let mut sources = served.stream.streams();
    let alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    source.sends("one ").await;
    source.sends("two").await;
    source.fails().await;
    assert_eq!(alice.sees_cut().await, b"one two");

    served.stream.does_streaming(|_| async {
        let parts = stream::iter(["one"]).map(|part| Ok(part.into()));
        let panics = stream::poll_fn(|_| panic!("on purpose"));
        Ok(Response::new(parts.chain(panics).boxed()))
    });
    assert_eq!(served.http("GET", PATH).opens().await.sees_cut().await, b"one");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_stream_until_it_reads_on() {
    let served = served().await;
    let mut sources = served.stream.streams();
    let mut deaf = served.http("GET", PATH).leaves_unread().await;
    let source = in_time(sources.recv()).await.unwrap();
    let sent_bytes = sends_until_it_waits(&source).await;
    // The one part that waited is lost; all others arrive.
    let ending = async {
        source.sends("the end").await;
        drop(source);
    };
    let reading = async {
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            assert_ne!(in_time(deaf.read_buf(&mut seen)).await.unwrap(), 0);
        }
        seen
    };
    let ((), seen) = tokio::join!(ending, reading);
    let seen = String::from_utf8(seen).unwrap();
    let (_, body) = seen.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.matches('x').count(), sent_bytes);
    assert!(body.contains("the end"));
}

#[tokio::test]
async fn a_client_that_reads_nothing_for_too_long_is_cut_off_and_its_stream_read_to_the_end() {
    let served = with(|options| options.limits.write_timeout = SHORT).await;
    let mut sources = served.stream.streams();
    let mut deaf = served.http("GET", PATH).leaves_unread().await;
    let source = in_time(sources.recv()).await.unwrap();
    // Waits as long as the client counts as one that reads.
    let mut sent_bytes = 0;
    for _ in 0..2_000 {
        source.sends(vec![b'x'; CHUNK_BYTES]).await;
        sent_bytes += CHUNK_BYTES;
    }
    let mut seen = Vec::new();
    let _ = in_time(deaf.read_to_end(&mut seen)).await;
    assert!(seen.len() < sent_bytes / 2);
}

#[tokio::test]
async fn a_quiet_stream_outlives_the_timeouts_of_http() {
    let served = with(|options| {
        let mut limits = Limits::default();
        (limits.head_timeout, limits.idle_timeout, limits.write_timeout) = (SHORT, SHORT, SHORT);
        options.limits = limits;
    })
    .await;
    let mut sources = served.stream.streams();
    let mut alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(SHORT * 2).await;
        source.sends(": still here\n\n").await;
        assert_eq!(alice.sees().await, ": still here\n\n");
    }
}

#[tokio::test]
async fn the_invocation_continues_after_its_client_has_left() {
    let served = served().await;
    let mut sources = served.stream.streams();
    let mut alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    source.sends("hello").await;
    assert_eq!(alice.sees().await, "hello");
    drop(alice);
    is_read(&source).await;
}

#[tokio::test]
async fn the_invocation_ends_with_its_client_if_that_is_asked_for() {
    let served = with(|options| options.cancel_on_disconnect = true).await;
    let mut sources = served.stream.streams();
    let alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    drop(alice);
    source.is_cancelled().await;

    // Also before the head of its answer is known.
    let (begun, mut calls) = tokio::sync::mpsc::unbounded_channel();
    served.stream.does_streaming(move |_| {
        let (source, answer) = Source::new();
        begun.send(source).unwrap();
        async move {
            std::future::pending::<()>().await;
            Ok(answer)
        }
    });
    let waiting = served.http("GET", PATH).leaves_unread().await;
    let source = in_time(calls.recv()).await.unwrap();
    drop(waiting);
    source.is_cancelled().await;
}

#[tokio::test]
async fn a_route_that_times_out_cuts_the_client_off_and_the_invocation_continues() {
    let served = with_timeout("TimeoutInMillis: 900000", "TimeoutInMillis: 100").await;
    let mut sources = served.stream.streams();
    let alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    source.sends("hello").await;
    assert_eq!(alice.sees_cut().await, b"hello");
    is_read(&source).await;

    served.stream.does_streaming(|_| std::future::pending());
    let late = served.http("GET", PATH).send().await;
    assert_eq!((late.status, late.text()), (504, r#"{"message":"Endpoint request timed out"}"#));
}

#[tokio::test]
async fn a_function_that_times_out_is_cancelled_and_its_client_cut_off() {
    let served = with_timeout("Timeout: 600", "Timeout: 1").await;
    let mut sources = served.stream.streams();
    let alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    source.sends("hello").await;
    assert_eq!(alice.sees_cut().await, b"hello");
    source.is_cancelled().await;
}

#[tokio::test]
async fn a_stop_waits_for_a_stream_to_end() {
    let served = served().await;
    let mut sources = served.stream.streams();
    let mut alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    let ending = async {
        // The stop has begun when new requests are refused.
        in_time(async { while served.http("GET", "/rooms/7").send().await.status != 503 {} }).await;
        source.sends("goodbye").await;
        drop(source);
        assert_eq!(alice.sees().await, "goodbye");
        alice.sees_end().await;
    };
    tokio::join!(in_time(served.gateway.stop()), ending);
}

#[tokio::test]
async fn a_stop_cuts_off_a_stream_that_does_not_end() {
    let served = served().await;
    let mut sources = served.stream.streams();
    let alice = served.http("GET", PATH).opens().await;
    let source = sources.recv().await.unwrap();
    source.sends("hello").await;
    in_time(served.gateway.stop()).await;
    assert_eq!(alice.sees_cut().await, b"hello");
    source.is_cancelled().now_or_never().expect("the stop returned before the invocation was cancelled");
}
