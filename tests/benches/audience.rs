//! Users who listen, one socket each, and the proof that each heard every notification once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use harness::http::call;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::carillon::Carillon;
use crate::client::token;

/// Longer than a frame that was not taken at first waits for the drain: what comes later is lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for frames that should not come.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Users with an open socket each. Dropping it ends the connections.
pub(crate) struct Audience {
    /// Who listens.
    pub(crate) users: Vec<String>,
    arrivals: UnboundedReceiver<Arrival>,
    heard: Vec<Arrival>,
    _readers: JoinSet<()>,
}

/// A frame, as it was read.
struct Arrival {
    user: usize,
    at: Instant,
    text: Utf8Bytes,
}

impl Audience {
    /// Opens the sockets of so many users.
    pub(crate) async fn open(carillon: &Carillon, size: usize) -> Self {
        let users: Vec<String> = (0..size).map(|n| format!("listener-{n}")).collect();
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let mut readers = JoinSet::new();
        let mut opening = stream::iter(&users).map(|user| open(carillon.address, user)).buffered(16).enumerate();
        while let Some((user, mut socket)) = opening.next().await {
            let arrived = arrived.clone();
            readers.spawn(async move {
                while let Some(Ok(message)) = socket.next().await {
                    let at = Instant::now();
                    if let Message::Text(text) = message {
                        // Nobody listens any more when the audience was dropped.
                        let _ = arrived.send(Arrival { user, at, text });
                    }
                }
            });
        }
        drop(opening);
        Self { users, arrivals, heard: Vec::new(), _readers: readers }
    }

    /// Waits until so many more frames were read; returns when the last of them was.
    pub(crate) async fn hears(&mut self, frames: usize) -> Instant {
        let mut last = Instant::now();
        for _ in 0..frames {
            let Ok(Some(arrival)) = timeout(PATIENCE, self.arrivals.recv()).await else {
                panic!("WRONG: a frame was lost; {} came", self.heard.len());
            };
            last = arrival.at;
            self.heard.push(arrival);
        }
        last
    }

    /// Which notification each frame told, and when it was read.
    pub(crate) fn heard(&self) -> impl Iterator<Item = (String, Instant)> {
        self.heard.iter().map(|arrival| (notification_id(arrival), arrival.at))
    }

    /// Panics unless every user heard exactly what these answers promised, once. Costs time: not while measuring.
    pub(crate) async fn heard_exactly(mut self, answers: &[Bytes]) {
        tokio::time::sleep(AFTERMATH).await;
        while let Ok(arrival) = self.arrivals.try_recv() {
            self.heard.push(arrival);
        }
        // By user and notification: how often it was heard more than it was promised.
        let mut balance: HashMap<(String, String), i32> = HashMap::new();
        for arrival in &self.heard {
            *balance.entry((self.users[arrival.user].clone(), notification_id(arrival))).or_default() += 1;
        }
        for answer in answers {
            let sent: Value = serde_json::from_slice(answer).unwrap();
            for notification in sent["notifications"].as_array().unwrap() {
                let [user, id] = ["userId", "id"].map(|name| notification[name].as_str().unwrap().to_owned());
                *balance.entry((user, id)).or_default() -= 1;
            }
        }
        let count = |wrong: fn(i32) -> bool| balance.values().filter(|heard| wrong(**heard)).count();
        let (lost, surplus) = (count(|heard| heard < 0), count(|heard| heard > 0));
        let heard = self.heard.len();
        assert!(lost + surplus == 0, "WRONG: of {heard} frames {lost} were lost, {surplus} doubled or not sent");
    }
}

fn notification_id(arrival: &Arrival) -> String {
    let frame: Value = serde_json::from_str(&arrival.text).unwrap();
    frame["notification"]["id"].as_str().unwrap_or_else(|| panic!("WRONG: {frame}")).to_owned()
}

async fn open(address: SocketAddr, user: &str) -> WebSocketStream<TcpStream> {
    let authorization = format!("Bearer {}", token(address, user, "").await);
    let issued = call(address, "POST", "/api/ws/ticket", &[("authorization", &authorization)], "").await.expect(201);
    let url = format!("ws://{address}/live?ticket={}", issued["ticket"].as_str().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    tokio_tungstenite::client_async(url, stream).await.unwrap().0
}
