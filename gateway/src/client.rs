//! `carillon listen`: a minimal client that opens a socket as a user and prints every frame.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::Message;

use crate::console::print_line;

/// The first ping, as the contract asks: its answer reveals frames that were sent before the socket could receive them.
const FIRST_PING_AFTER: Duration = Duration::from_secs(2);
/// API Gateway closes a connection without messages after 10 minutes.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// Why a command failed. The text is printed as it is.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens a socket as the user `sub` on the gateway at `url` and prints every frame until the socket is closed.
pub async fn listen(url: &str, sub: &str) -> Result<(), BoxError> {
    let address = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("the URL must begin with http://, got {url}"))?
        .trim_end_matches('/');
    let sub: String = percent_encoding::utf8_percent_encode(sub, percent_encoding::NON_ALPHANUMERIC).collect();
    let token = call(address, "GET", &format!("/_gateway/token?sub={sub}"), None).await?;
    let token = token["token"].as_str().ok_or_else(|| no_token(&token))?.to_owned();
    let ticket = call(address, "POST", "/api/ws/ticket", Some(&token)).await?;
    let (Some(socket), Some(ticket)) = (ticket["url"].as_str(), ticket["ticket"].as_str()) else {
        return Err(format!("/api/ws/ticket returned no ticket but {ticket}").into());
    };
    let stream = TcpStream::connect(address).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(format!("{socket}?ticket={ticket}"), stream).await?;
    print_line("connected; press Ctrl-C to stop")?;
    let mut pings = interval_at(Instant::now() + FIRST_PING_AFTER, PING_INTERVAL);
    loop {
        tokio::select! {
            _ = pings.tick() => socket.send(Message::text(r#"{"action":"ping"}"#)).await?,
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => print_line(&text)?,
                Some(Ok(Message::Close(close))) => {
                    let reason = close.map(|close| format!("{} {}", close.code, close.reason)).unwrap_or_default();
                    print_line(&format!("closed {reason}"))?;
                    return Ok(());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}

fn no_token(answer: &Value) -> String {
    let reason = answer["message"].as_str().unwrap_or("no message");
    format!("/_gateway/token returned no token ({reason}): is this a local gateway that signs tokens, on loopback?")
}

async fn call(address: &str, method: &str, path: &str, token: Option<&str>) -> Result<Value, BoxError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect to {address} (is carillon running?): {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(path).header("host", address);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok(serde_json::from_slice(&body)?)
}
