//! Users with one open socket each, and the check that each received every notification once.

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
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::carillon::Carillon;
use crate::client::token;

/// Longer than it takes until the drain retries a failed push: a frame that takes longer counts as lost.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The read buffer of a socket, which is filled with zeros before every read. The default of 128 KiB would be 1.3 GB for ten
/// thousand sockets.
const READ_BUFFER_BYTES: usize = 4_096;
/// How long to wait for frames that should not arrive.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Users with an open socket each. Dropping it ends the connections.
pub(crate) struct Audience {
    /// The ids of the users.
    pub(crate) users: Vec<String>,
    arrivals: UnboundedReceiver<Arrival>,
    received: Vec<Arrival>,
    _readers: JoinSet<()>,
}

/// A frame that was read from a socket.
struct Arrival {
    user: usize,
    at: Instant,
    text: Utf8Bytes,
}

impl Audience {
    /// Opens one socket for each of `size` users.
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
                        // The receiver is gone once the audience is dropped.
                        let _ = arrived.send(Arrival { user, at, text });
                    }
                }
            });
        }
        drop(opening);
        Self { users, arrivals, received: Vec::new(), _readers: readers }
    }

    /// Waits until this many more frames were read; returns the time of the last one.
    pub(crate) async fn receives(&mut self, frames: usize) -> Instant {
        let mut last = Instant::now();
        for _ in 0..frames {
            let Ok(Some(arrival)) = timeout(TIMEOUT, self.arrivals.recv()).await else {
                panic!("WRONG: a frame was lost; {} arrived", self.received.len());
            };
            last = arrival.at;
            self.received.push(arrival);
        }
        last
    }

    /// The notification id of each frame, and when it was read.
    pub(crate) fn received(&self) -> impl Iterator<Item = (String, Instant)> {
        self.received.iter().map(|arrival| (notification_id(arrival), arrival.at))
    }

    /// Panics unless every user received exactly the notifications of these answers, once each. It takes time and CPU,
    /// so not to be called during a measurement.
    pub(crate) async fn received_exactly(mut self, answers: &[Bytes]) {
        tokio::time::sleep(AFTERMATH).await;
        while let Ok(arrival) = self.arrivals.try_recv() {
            self.received.push(arrival);
        }
        // By user and notification: how often it arrived minus how often it was accepted.
        let mut balance: HashMap<(String, String), i32> = HashMap::new();
        for arrival in &self.received {
            *balance.entry((self.users[arrival.user].clone(), notification_id(arrival))).or_default() += 1;
        }
        for answer in answers {
            let sent: Value = serde_json::from_slice(answer).unwrap();
            for notification in sent["notifications"].as_array().unwrap() {
                let [user, id] = ["userId", "id"].map(|name| notification[name].as_str().unwrap().to_owned());
                *balance.entry((user, id)).or_default() -= 1;
            }
        }
        let count = |wrong: fn(i32) -> bool| balance.values().filter(|surplus| wrong(**surplus)).count();
        let (lost, surplus) = (count(|surplus| surplus < 0), count(|surplus| surplus > 0));
        let received = self.received.len();
        assert!(lost + surplus == 0, "WRONG: of {received} frames {lost} were lost, {surplus} duplicated or not sent");
    }
}

fn notification_id(arrival: &Arrival) -> String {
    let frame: Value = serde_json::from_str(&arrival.text).unwrap();
    frame["notification"]["id"].as_str().unwrap_or_else(|| panic!("WRONG: {frame}")).to_owned()
}

/// Opens a socket of a user.
pub(crate) async fn open(address: SocketAddr, user: &str) -> WebSocketStream<TcpStream> {
    let authorization = format!("Bearer {}", token(address, user, "").await);
    let issued = call(address, "POST", "/api/ws/ticket", &[("authorization", &authorization)], "").await.expect(201);
    let url = format!("ws://{address}/live?ticket={}", issued["ticket"].as_str().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await.unwrap().0
}
