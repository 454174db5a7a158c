//! A device: one socket of a user, and what it was told.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longer than anything takes here; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open socket.
#[derive(Debug)]
pub struct Device {
    socket: WebSocketStream<TcpStream>,
}

impl Device {
    /// Opens a socket with a ticket; the status of the refusal where it is refused.
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

    /// Says a frame.
    pub async fn says(&mut self, frame: Value) {
        self.says_text(frame.to_string()).await;
    }

    /// Says a text that may be no frame.
    pub async fn says_text(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("no frame but {other:?}"),
        }
    }

    /// The next frame, which must be of this type.
    pub async fn told(&mut self, kind: &str) -> Value {
        let frame = self.next().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frame, which must ring with this title.
    pub async fn sees(&mut self, title: &str) -> Value {
        let frame = self.told("notification").await;
        assert_eq!(frame["notification"]["title"], title, "{frame}");
        frame
    }

    /// Asserts that nothing was pushed: the answer to a ping is the next frame. Returns it.
    pub async fn sees_nothing(&mut self) -> Value {
        self.says(json!({"action": "ping"})).await;
        self.told("pong").await
    }

    /// The close frame that comes next; `None` where the connection just ended.
    pub async fn is_closed(&mut self) -> Option<CloseFrame> {
        match self.message().await {
            Some(Message::Close(frame)) => frame,
            None => None,
            other => panic!("not closed but told {other:?}"),
        }
    }

    /// Asserts that the socket is told why and closed. Told twice where two drains ran at once, as any number may.
    pub async fn is_closed_with(&mut self, code: &str) {
        assert_eq!(self.told("error").await["code"], code);
        loop {
            match self.message().await {
                Some(Message::Text(text)) => {
                    let again: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(again["code"], code, "{again}");
                }
                Some(Message::Close(_)) | None => return,
                other => panic!("not closed but told {other:?}"),
            }
        }
    }

    /// Closes the socket properly and waits until it is closed.
    pub async fn closes(mut self) {
        self.socket.close(None).await.unwrap();
        while self.message().await.is_some() {}
    }

    async fn message(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
        next.transpose().unwrap_or(None)
    }
}
