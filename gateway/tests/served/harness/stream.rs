//! Both ends of a streamed answer: what the function sends, and what the client sees.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gateway::{FunctionError, StreamedAnswer};
use lambda_http::Response;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::in_time;

/// The function's end. Dropping it ends the stream.
pub struct Source {
    parts: mpsc::Sender<Result<Bytes, FunctionError>>,
}

/// The client's end: an answer of which only the head has been read.
pub struct Streamed {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

impl Source {
    /// A stream whose parts a test sends.
    pub fn new() -> (Self, StreamedAnswer) {
        let (parts, received) = mpsc::channel(1);
        let body = stream::unfold(received, |mut received| async { Some((received.recv().await?, received)) });
        let answer = Response::builder().header("content-type", "text/event-stream").body(body.boxed());
        (Self { parts }, answer.unwrap())
    }

    /// Sends a part. Returns when there is room for it, which is when the one before has been taken.
    pub async fn sends(&self, part: impl Into<Bytes>) {
        in_time(self.parts.send(Ok(part.into()))).await.expect("the invocation was cancelled");
    }

    pub async fn fails(self) {
        let error = FunctionError { error_type: "Unavailable".into(), message: "the store is down".into() };
        in_time(self.parts.send(Err(error))).await.unwrap();
    }

    /// Waits until the invocation is cancelled.
    pub async fn is_cancelled(&self) {
        in_time(self.parts.closed()).await;
    }
}

impl Streamed {
    /// Reads the head of an answer.
    pub async fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let first = line(&mut reader).await;
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = line(&mut reader).await;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Self { status, headers, reader }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The next chunk.
    pub async fn sees(&mut self) -> String {
        String::from_utf8(self.chunk().await.expect("the answer was cut off").expect("the answer has ended")).unwrap()
    }

    /// Waits for the end of the answer.
    pub async fn sees_end(mut self) {
        assert_eq!(self.chunk().await, Some(None));
    }

    /// Waits until the answer is cut off. Returns what arrived before that.
    pub async fn sees_cut(mut self) -> Vec<u8> {
        let mut seen = Vec::new();
        while let Some(chunk) = self.chunk().await {
            seen.extend(chunk.expect("the answer has ended"));
        }
        seen
    }

    /// The next chunk; `Some(None)` at the end, `None` if the connection has ended before.
    async fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let length = usize::from_str_radix(&line(&mut self.reader).await, 16).ok()?;
        let mut chunk = vec![0; length + 2];
        in_time(self.reader.read_exact(&mut chunk)).await.ok()?;
        chunk.truncate(length);
        Some((length > 0).then_some(chunk))
    }
}

/// A line without its end; empty if the connection has ended.
async fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let _ = in_time(reader.read_line(&mut line)).await;
    line.trim_end().to_owned()
}
