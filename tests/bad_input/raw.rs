//! Requests that no HTTP client would send.

use std::time::Duration;

use harness::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than the server may wait for anything.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Writes bytes, ends its side, and returns everything that the server writes until it closes.
pub(crate) async fn exchange(world: &World, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.expect("the server keeps the connection open");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Writes a request and returns the head of the answer.
pub(crate) async fn head(world: &World, request: &str) -> String {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(TIMEOUT, stream.read_u8()).await.expect("there is no answer").unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Writes `start` at once and then a byte a second, until the server closes. Returns what the server wrote.
pub(crate) async fn trickle(world: &World, start: &str) -> String {
    let stream = TcpStream::connect(world.address()).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(start.as_bytes()).await.unwrap();
    let writing = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            if writer.write_all(b"a").await.is_err() {
                return;
            }
        }
    });
    let mut answer = Vec::new();
    let read = timeout(TIMEOUT, reader.read_to_end(&mut answer)).await;
    writing.abort();
    let _ = read.expect("the server waits for a client that sends a byte a second");
    String::from_utf8_lossy(&answer).into_owned()
}
