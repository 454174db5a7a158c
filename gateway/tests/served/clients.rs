//! Clients that stall, or hold more than their share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gateway::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Served, in_time};

/// A timeout that passes during a test; those that must not pass keep their default.
const SHORT: Duration = Duration::from_millis(100);

async fn with(change: impl FnOnce(&mut Limits)) -> Served {
    Served::start_with(include_str!("template.yaml"), |mut options| {
        change(&mut options.limits);
        options
    })
    .await
}

/// A connection that has sent this, which need not be a whole request.
async fn sends(served: &Served, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address()).await.unwrap();
    // The gateway may have closed it already.
    let _ = stream.write_all(text.as_bytes()).await;
    stream
}

/// What arrives until the gateway closes the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = in_time(stream.read_to_end(&mut bytes)).await;
    bytes
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Waits for an answer on a connection that stays open.
async fn is_answered(stream: &mut TcpStream, start: &str) {
    let mut bytes = vec![0; 1024];
    let length = in_time(stream.read(&mut bytes)).await.unwrap();
    assert!(bytes[..length].starts_with(start.as_bytes()), "{}", String::from_utf8_lossy(&bytes[..length]));
}

#[tokio::test]
async fn a_head_that_stalls_closes_the_connection() {
    let served = with(|limits| limits.head_timeout = SHORT).await;
    for head in
        ["G", "GET /rooms/7 HTTP/1.1\r\nHost: localhost\r\nX-A: ", "GET /live HTTP/1.1\r\nUpgrade: websocket\r\n"]
    {
        let mut stalled = sends(&served, head).await;
        assert_eq!(rest(&mut stalled).await, b"");
    }
    assert!(served.http.has_no_events().await && served.socket.has_no_events().await);
}

#[tokio::test]
async fn a_head_that_trickles_closes_the_connection() {
    let served = with(|limits| limits.head_timeout = SHORT).await;
    let mut trickling = sends(&served, "GET /rooms/7 HTTP/1.1\r\nX-A: ").await;
    let mut sent_bytes = 0;
    in_time(async {
        let mut byte = [0];
        while trickling.write_all(b"x").await.is_ok() {
            sent_bytes += 1;
            let reading = tokio::time::timeout(Duration::from_millis(1), trickling.read(&mut byte)).await;
            if matches!(reading, Ok(Ok(0) | Err(_))) {
                break;
            }
        }
    })
    .await;
    assert!(sent_bytes < 1_000, "only the size of the head was limited");
}

#[tokio::test]
async fn the_timeout_of_a_head_does_not_close_idle_connections_or_slow_calls() {
    let served = with(|limits| limits.head_timeout = SHORT).await;
    let permits = Arc::new(Semaphore::new(1));
    served.http.does({
        let permits = Arc::clone(&permits);
        move |_| {
            let permits = Arc::clone(&permits);
            async move {
                permits.acquire().await.unwrap().forget();
                Ok(Bytes::from_static(br#"{"statusCode":200}"#))
            }
        }
    });
    let mut unused = TcpStream::connect(served.address()).await.unwrap();
    let mut used = sends(&served, &get("/rooms/7")).await;
    is_answered(&mut used, "HTTP/1.1 200").await;
    let mut waiting = sends(&served, &get("/rooms/7")).await;
    // Closed after the timeout, which has passed for the others, too.
    rest(&mut sends(&served, "G").await).await;

    permits.add_permits(3);
    is_answered(&mut waiting, "HTTP/1.1 200").await;
    for idle in [&mut used, &mut unused] {
        idle.write_all(get("/rooms/7").as_bytes()).await.unwrap();
        is_answered(idle, "HTTP/1.1 200").await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_and_after_its_first_request() {
    let served = with(|limits| limits.idle_timeout = SHORT).await;
    let mut unused = TcpStream::connect(served.address()).await.unwrap();
    assert_eq!(rest(&mut unused).await, b"");
    let mut used = sends(&served, &get("/rooms/7")).await;
    assert!(rest(&mut used).await.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_socket_outlives_the_timeouts_of_http() {
    let served = with(|limits| (limits.head_timeout, limits.idle_timeout) = (SHORT, SHORT)).await;
    let mut alice = served.connects().await;
    rest(&mut TcpStream::connect(served.address()).await.unwrap()).await;
    assert_eq!(served.pushes(&alice.id, "still open").await, 200);
    assert_eq!(alice.sees().await, "still open");
}

#[tokio::test]
async fn a_body_that_stalls_is_408() {
    let served = with(|limits| limits.body_timeout = SHORT).await;
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let mut stalled = sends(&served, &format!("POST /rooms/7 HTTP/1.1\r\nHost: localhost\r\n{head}")).await;
        let answer = String::from_utf8(rest(&mut stalled).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408") && answer.ends_with(r#"{"message":"Request Timeout"}"#), "{answer}");
    }
    assert!(served.http.has_no_events().await);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_given_up() {
    let served = with(|limits| (limits.write_timeout, limits.connections_from_loopback) = (SHORT, 1)).await;
    let length_bytes = 5 * 1024 * 1024;
    served.http.answers(json!({ "statusCode": 200, "body": "x".repeat(length_bytes) }));
    let socket = TcpSocket::new_v4().unwrap();
    // The system keeps little of the answer for a client that does not read.
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    let mut deaf = socket.connect(served.address()).await.unwrap();
    deaf.write_all(get("/rooms/7").as_bytes()).await.unwrap();
    served.http.event().await;
    served.http.answers(json!({ "statusCode": 204 }));
    gets_in(&served).await;
    assert!(rest(&mut deaf).await.len() < length_bytes);
}

/// Tries until a connection is accepted and a request answered.
async fn gets_in(served: &Served) {
    in_time(async {
        let request = get("/rooms/7").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        while !rest(&mut sends(served, &request).await).await.starts_with(b"HTTP/1.1 2") {}
    })
    .await;
}

#[tokio::test]
async fn an_address_has_at_most_its_limit_of_connections_sockets_included() {
    let served = with(|limits| limits.connections_from_loopback = 2).await;
    let alice = served.connects().await;
    let idle = TcpStream::connect(served.address()).await.unwrap();
    assert_eq!(rest(&mut sends(&served, &get("/rooms/7")).await).await, b"");
    drop(alice);
    gets_in(&served).await;
    drop(idle);
    assert!(served.http.event().await.is_object());
}

#[tokio::test]
async fn a_body_for_which_there_is_no_room_is_503_and_small_ones_and_pushes_are_not_affected() {
    let served = with(|limits| (limits.body_bytes, limits.body_wait) = (256 * 1024, SHORT)).await;
    let mut alice = served.connects().await;
    let permits = Arc::new(Semaphore::new(0));
    served.http.does({
        let permits = Arc::clone(&permits);
        move |event| {
            let permits = Arc::clone(&permits);
            async move {
                if event["rawPath"] == "/rooms/slow" {
                    permits.acquire().await.unwrap().forget();
                }
                Ok(Bytes::from_static(br#"{"statusCode":200}"#))
            }
        }
    });
    let large = "x".repeat(100 * 1024);
    let slow = tokio::spawn(served.http("POST", "/rooms/slow").body(&large).send());
    served.http.event().await;

    let refused = served.http("POST", "/rooms/7").body(&large).send().await;
    assert_eq!((refused.status, refused.text()), (503, r#"{"message":"Service Unavailable"}"#));
    assert_eq!(served.http("POST", "/rooms/7").body("small").send().await.status, 200);
    assert_eq!(served.pushes(&alice.id, "x".repeat(32 * 1024)).await, 200);
    assert_eq!(alice.sees().await.len(), 32 * 1024);

    permits.add_permits(1);
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(served.http("POST", "/rooms/7").body(&large).send().await.status, 200);
}

#[tokio::test]
async fn a_client_that_pings_without_reading_gets_few_answers_and_the_last() {
    const PINGS: usize = 60_000;
    let served = Served::start().await;
    let mut alice = served.connects().await;
    let ping = |n: usize| Bytes::from(format!("{n:0125}"));
    for n in 1..=PINGS {
        in_time(alice.stream.feed(Message::Ping(ping(n)))).await.unwrap();
    }
    alice.sends(r#"{"action":"tell"}"#).await;
    served.socket.event().await;
    let mut answers = 0;
    in_time(async {
        while let Some(Ok(Message::Pong(pong))) = alice.stream.next().await {
            answers += 1;
            if pong == ping(PINGS) {
                return;
            }
        }
        panic!("the socket ended before the last answer");
    })
    .await;
    assert!(answers < PINGS, "all answers were kept for a client that did not read");
}
