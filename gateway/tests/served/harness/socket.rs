//! A WebSocket client.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::in_time;

pub struct Socket {
    pub stream: WebSocketStream<TcpStream>,
    pub response: Response,
    pub id: String,
}

impl Socket {
    pub async fn connect(address: SocketAddr, path: &str) -> Result<Self, Error> {
        Self::connect_with(address, path, &[]).await
    }

    pub async fn connect_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let tcp = TcpStream::connect(address).await.unwrap();
        let (stream, response) = in_time(client_async(request, tcp)).await?;
        Ok(Self { stream, response, id: String::new() })
    }

    /// Attempts a handshake that must be refused, and returns the status and the body.
    pub async fn refused(address: SocketAddr, path: &str) -> (u16, String) {
        match Self::connect(address, path).await {
            Err(Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                (response.status().as_u16(), String::from_utf8(body).unwrap())
            }
            Err(error) => panic!("expected an HTTP response, got {error}"),
            Ok(_) => panic!("the handshake was accepted"),
        }
    }

    pub fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    pub async fn sends(&mut self, text: &str) {
        in_time(self.stream.send(Message::text(text))).await.unwrap();
    }

    /// Sends any message. The server may have closed the socket already.
    pub async fn sends_message(&mut self, message: Message) {
        let _ = in_time(self.stream.send(message)).await;
    }

    /// The next text message.
    pub async fn sees(&mut self) -> String {
        match in_time(self.stream.next()).await {
            Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
            other => panic!("expected a text message, got {other:?}"),
        }
    }

    /// Waits for a pong.
    pub async fn sees_pong(&mut self) {
        assert!(matches!(in_time(self.stream.next()).await, Some(Ok(Message::Pong(_)))));
    }

    /// The code and reason with which the server closes the socket.
    pub async fn sees_close(&mut self) -> (u16, String) {
        loop {
            match in_time(self.stream.next()).await {
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    return (code.into(), reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }

    pub async fn closes(&mut self, frame: Option<CloseFrame>) {
        in_time(self.stream.close(frame)).await.unwrap();
    }
}
