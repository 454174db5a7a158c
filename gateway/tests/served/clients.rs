//! Clients that stall, or hold more than their share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

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
