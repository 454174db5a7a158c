//! A listener: one event stream of a user, and the events that it says.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::api::{Exchange, check_event};

/// Longer than any event takes; a test that waits this long has failed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An open event stream.
#[derive(Debug)]
pub struct Listener {
    body: Incoming,
    /// What was read and is not a whole event yet.
    text: String,
    /// The `id` of the last event that had one.
    last_id: Option<String>,
    driver: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Opens a stream with this query and these headers, or returns the status of the refusal. Panics unless the answer is
    /// as described.
    pub async fn open(address: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        let mut request = http::Request::get(format!("/api/events{query}")).header("host", address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let check = |answer: &str| {
            let (path, query) = ("/api/events", query.trim_start_matches('?'));
            Exchange { method: "GET", path, query, body: b"", status, headers: &head.headers, answer }.check();
        };
        if status == 200 {
            check("");
            return Ok(Self { body, text: String::new(), last_id: None, driver });
        }
        // A refusal that is cut off says nothing.
        if let Ok(refusal) = body.collect().await {
            check(std::str::from_utf8(&refusal.to_bytes()).unwrap());
        }
        Err(status)
    }

    /// The next event, which must be described; `None` once the stream has ended or was cut off. Panics if there is none
    /// for long.
    pub async fn next(&mut self) -> Option<Value> {
        let event = tokio::time::timeout(TIMEOUT, self.heard()).await.expect("the stream is silent");
        event.iter().for_each(check_event);
        event
    }

    /// The next event, however long it takes; `None` once the stream has ended or was cut off. Safe to cancel. Unchecked, for
    /// tests that measure.
    pub async fn heard(&mut self) -> Option<Value> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
                if let Some(id) = field("id: ") {
                    self.last_id = Some(id.to_owned());
                }
                if let Some(data) = field("data: ") {
                    return Some(serde_json::from_str(data).unwrap());
                }
            }
            let frame = self.body.frame().await?;
            self.text.push_str(std::str::from_utf8(frame.ok()?.data_ref()?).unwrap());
        }
    }

    /// The next event of this type; pongs in between are skipped.
    pub async fn hears(&mut self, kind: &str) -> Value {
        self.hears_one_of(&[kind]).await
    }

    /// The next event of these types; pongs in between are skipped.
    pub async fn hears_one_of(&mut self, kinds: &[&str]) -> Value {
        loop {
            let event = self.next().await.expect("the stream has ended");
            if kinds.iter().any(|kind| event["type"] == *kind) {
                return event;
            }
            assert_eq!(event["type"], "pong", "{event}");
        }
    }

    /// The next event, which must be of a notification with this title.
    pub async fn hears_of(&mut self, title: &str) -> Value {
        let event = self.hears("notification").await;
        assert_eq!(event["notification"]["title"], title, "{event}");
        event
    }

    /// The `id` of the last event that had one, as a browser sends it back.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
