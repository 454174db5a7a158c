//! The line of a device to Carillon: a socket, over which it also asks, or an event stream, which only tells.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use harness::Listener;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// An open line.
pub(crate) enum Line {
    Socket(Box<WebSocketStream<TcpStream>>),
    Stream(Box<Listener>),
}

impl Line {
    /// Opens a socket with a ticket; `None` if it does not open.
    pub(crate) async fn socket(address: SocketAddr, ticket: &str) -> Option<Self> {
        let url = format!("ws://{address}/live?ticket={ticket}");
        let stream = TcpStream::connect(address).await.ok()?;
        let (socket, _) = tokio_tungstenite::client_async(url.into_client_request().ok()?, stream).await.ok()?;
        Some(Self::Socket(Box::new(socket)))
    }

    /// Opens an event stream that begins after this cursor; `None` if it does not open.
    pub(crate) async fn stream(address: SocketAddr, authorization: &str, after: Option<&str>) -> Option<Self> {
        let mut headers = vec![("authorization", authorization)];
        headers.extend(after.map(|cursor| ("last-event-id", cursor)));
        Listener::open(address, "", &headers).await.ok().map(|stream| Self::Stream(Box::new(stream)))
    }

    /// Whether the line can be asked.
    pub(crate) fn takes_frames(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// The next frame; `None` once the line has ended. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        match self {
            Self::Socket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap_or_default()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return None,
                }
            },
            Self::Stream(stream) => stream.heard().await,
        }
    }

    /// Sends a frame over a socket; `None` if it has ended.
    pub(crate) async fn send(&mut self, frame: &Value) -> Option<()> {
        match self {
            Self::Socket(socket) => socket.send(Message::text(frame.to_string())).await.ok(),
            Self::Stream(_) => unreachable!("an event stream cannot be asked"),
        }
    }
}
