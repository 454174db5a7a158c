//! A socket that sends what no client would.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use harness::World;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longer than any frame takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An open socket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// A refused handshake.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Socket {
    /// Opens a socket with this query and these headers.
    pub(crate) async fn open(world: &World, query: &str, headers: &[(&'static str, &str)]) -> Result<Self, Refusal> {
        let address = world.address();
        let mut request = format!("ws://{address}/live{query}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().and_then(|body| serde_json::from_slice(body).ok());
                Err(Refusal { status: response.status().as_u16(), body: body.unwrap_or_default() })
            }
            Err(other) => panic!("the handshake failed: {other}"),
        }
    }

    /// A socket of a user, opened as every client does.
    pub(crate) async fn of(world: &World, user: &str) -> Self {
        let ticket = world.user(user).ticket().await;
        Self::open(world, &format!("?ticket={ticket}"), &[]).await.unwrap()
    }

    /// Sends a message; false if the connection has ended.
    pub(crate) async fn sends(&mut self, message: Message) -> bool {
        self.stream.send(message).await.is_ok()
    }

    /// Sends text; false if the connection has ended.
    pub(crate) async fn says(&mut self, text: impl Into<String>) -> bool {
        self.sends(Message::text(text.into())).await
    }

    /// Sends one message of text in several frames.
    pub(crate) async fn says_in_parts(&mut self, parts: &[String]) {
        for (index, part) in parts.iter().enumerate() {
            let kind = if index == 0 { Data::Text } else { Data::Continue };
            let is_last = index + 1 == parts.len();
            let frame = Frame::message(part.clone(), OpCode::Data(kind), is_last);
            if !self.sends(Message::Frame(frame)).await {
                return;
            }
        }
    }

    /// The next frame; `None` if the connection is closing or has ended.
    pub(crate) async fn hears(&mut self) -> Option<Value> {
        match self.next().await {
            Heard::Frame(frame) => Some(frame),
            Heard::Closing(_) | Heard::End => None,
        }
    }

    /// Asserts that the next frame is an error with this code.
    pub(crate) async fn is_refused(&mut self, code: &str, sent: &str) {
        let sent: String = sent.chars().take(200).collect();
        let frame = self.hears().await.unwrap_or_else(|| panic!("{sent}: closed"));
        assert_eq!((&frame["type"], &frame["code"]), (&"error".into(), &code.into()), "{sent}: {frame}");
        let text = frame.to_string();
        assert!(text.len() <= 4 * 1_024, "an error frame of {} bytes for {sent}", text.len());
        assert!(!text.contains(crate::row::CANARY), "repeats a value: {text}");
    }

    /// Asserts that the socket works: a ping is answered.
    pub(crate) async fn works(&mut self) {
        assert!(self.says(r#"{"action":"ping"}"#).await);
        let frame = self.hears().await.expect("the socket was closed");
        assert_eq!(frame["type"], "pong", "{frame}");
    }

    /// Reads all frames until the connection ends; the frames, and the code of the close frame.
    pub(crate) async fn ends(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut frames = Vec::new();
        let mut code = None;
        loop {
            match self.next().await {
                Heard::Frame(frame) => frames.push(frame),
                // Reading on answers the close frame, so that the server need not wait for that.
                Heard::Closing(closing) => code = Some(closing),
                Heard::End => return (frames, code),
            }
        }
    }

    async fn next(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(TIMEOUT, self.stream.next()).await.expect("no frame arrived in time");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    harness::api::check_frame(&frame);
                    return Heard::Frame(frame);
                }
                Some(Ok(Message::Close(Some(frame)))) => return Heard::Closing(frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::End,
            }
        }
    }
}

enum Heard {
    Frame(Value),
    /// A close frame with this code.
    Closing(u16),
    End,
}
