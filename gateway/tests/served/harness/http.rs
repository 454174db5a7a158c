//! An HTTP client that sends exactly what the test says, even if it is invalid.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{Streamed, in_time};

pub struct Request {
    address: SocketAddr,
    line: String,
    host: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        let line = format!("{method} {path} HTTP/1.1");
        Self { address, line, host: address.to_string(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}\r\n"));
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self.header("Content-Length", &body.as_ref().len().to_string())
    }

    pub async fn send(self) -> Answer {
        in_time(async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let head =
                format!("{}\r\nHost: {}\r\nConnection: close\r\n{}\r\n", self.line, self.host, self.headers.concat());
            stream.write_all(head.as_bytes()).await.unwrap();
            // A server that refuses a request may close before it has read everything.
            let _ = stream.write_all(&self.body).await;
            let mut bytes = Vec::new();
            let _ = stream.read_to_end(&mut bytes).await;
            Answer::read(&bytes)
        })
        .await
    }
}

impl Request {
    /// Sends the request and reads only the head of the answer.
    pub async fn opens(self) -> Streamed {
        Streamed::read(self.leaves_unread().await).await
    }

    /// Sends the request and reads nothing. The system keeps little of the answer for this client.
    pub async fn leaves_unread(self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        let head = format!("{}\r\nHost: {}\r\n{}\r\n", self.line, self.host, self.headers.concat());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("no complete head in the answer");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { status, headers: lines.map(header).collect(), body: bytes[end + 4..].to_vec() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
