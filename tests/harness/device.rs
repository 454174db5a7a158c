//! A device: one socket of a user, and the frames that it receives.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::api;

/// Longer than any frame takes; a test that waits this long has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An open socket.
#[derive(Debug)]
pub struct Device {
    socket: WebSocketStream<TcpStream>,
}

impl Device {
    /// Opens a socket with a ticket, or returns the status code of the refused handshake.
    pub async fn open(address: SocketAddr, ticket: &str, origin: Option<&str>) -> Result<Self, u16> {
        let mut request = format!("ws://{address}/live?ticket={ticket}").into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("the handshake failed: {other}"),
        }
    }

    /// Sends a JSON frame.
    pub async fn sends(&mut self, frame: Value) {
        self.sends_text(frame.to_string()).await;
    }

    /// Sends text that need not be a valid frame.
    pub async fn sends_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next frame that arrives.
    pub async fn next(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("expected a frame, got {other:?}"),
        }
    }

    /// The next frame, which must be of this type.
    pub async fn receives(&mut self, kind: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frame, which must be a notification with this title.
    pub async fn sees(&mut self, title: &str) -> Value {
        let frame = self.receives("notification").await;
        assert_eq!(frame["notification"]["title"], title, "{frame}");
        frame
    }

    /// Asserts that nothing was pushed: the next frame is the pong of a ping, which is returned.
    pub async fn sees_nothing(&mut self) -> Value {
        self.sends(json!({"action": "ping"})).await;
        self.receives("pong").await
    }

    /// Asserts that the socket is closed. Returns the close frame, or `None` if the connection ended without one.
    pub async fn is_closed(&mut self) -> Option<CloseFrame> {
        match self.message().await {
            Some(Message::Close(frame)) => frame,
            None => None,
            other => panic!("expected a close, got {other:?}"),
        }
    }

    /// Asserts that the socket receives this error and is then closed. The error may arrive more than once, because
    /// any number of drains may run at the same time.
    pub async fn is_closed_with(&mut self, code: &str) {
        assert_eq!(self.receives("error").await["code"], code);
        loop {
            match self.message().await {
                Some(Message::Text(text)) => {
                    let again: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(again["code"], code, "{again}");
                }
                Some(Message::Close(_)) | None => return,
                other => panic!("expected a close, got {other:?}"),
            }
        }
    }

    /// Closes the socket with a close handshake and waits for its end.
    pub async fn closes(mut self) {
        self.socket.close(None).await.unwrap();
        while self.message().await.is_some() {}
    }

    async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(TIMEOUT, self.socket.next()).await.expect("no message arrived in time");
        let message = next.transpose().unwrap_or(None);
        if let Some(Message::Text(text)) = &message {
            api::check_frame(&serde_json::from_str(text).unwrap());
        }
        message
    }
}
