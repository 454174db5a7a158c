//! A device: shows each notification once, follows the cursors of its frames, closes holes by a sync after 250 ms,
//! acknowledges, pings, and comes back when it is cut off.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// How long a hole is waited for.
const GAP: Duration = Duration::from_millis(250);
/// How often a device asks where its inbox is: the contract's minute, quickened.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
const BACKOFF: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(12);

/// A device, until it is dropped.
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
    hang_up: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What a device has seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// What is shown, in its order.
    pub(crate) shown: Vec<Shown>,
    /// The frames of notifications that came, by id.
    pub(crate) frames: HashMap<String, usize>,
    /// When the first frame of each came.
    pub(crate) rang: HashMap<String, Instant>,
    /// Frames that told to sync.
    pub(crate) resyncs: usize,
    /// How often it asked over HTTP.
    pub(crate) syncs: usize,
    /// How often its socket was opened.
    pub(crate) opened: usize,
    /// What should not be.
    pub(crate) wrong: Vec<String>,
    /// The ids of what is shown.
    ids: HashSet<String>,
    cursor: Option<Cursor>,
    is_open: bool,
}

/// One notification on the screen.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) offset: i64,
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) at: Instant,
}

/// Where a device stands: the cursor as it was told, and its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    text: String,
    offset: i64,
}

impl Cursor {
    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?.to_owned();
        let offset = text.rsplit_once('.')?.1.parse().ok()?;
        Some(Self { text, offset })
    }
}

impl Device {
    pub(crate) fn new(user: &str, address: SocketAddr, authorization: String) -> Self {
        let (seen, hang_up) = (Arc::<Mutex<Seen>>::default(), Arc::<Notify>::default());
        let life = Life {
            address,
            authorization,
            seen: Arc::clone(&seen),
            hang_up: Arc::clone(&hang_up),
            waiting: BTreeMap::new(),
            hole_since: None,
        };
        Self { user: user.to_owned(), seen, hang_up, task: tokio::spawn(life.goes_on()) }
    }

    /// Its socket breaks, without a goodbye; it comes back by itself.
    pub(crate) fn is_cut_off(&self) {
        self.hang_up.notify_one();
    }

    /// The offset up to which it has shown everything.
    pub(crate) fn offset(&self) -> i64 {
        self.seen.lock().unwrap().cursor.as_ref().map_or(0, |cursor| cursor.offset)
    }

    /// Whether its socket is open.
    pub(crate) fn is_open(&self) -> bool {
        self.seen.lock().unwrap().is_open
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Life {
    address: SocketAddr,
    authorization: String,
    seen: Arc<Mutex<Seen>>,
    hang_up: Arc<Notify>,
    /// Frames beyond a hole, by their offset.
    waiting: BTreeMap<i64, Value>,
    hole_since: Option<Instant>,
}

type Socket = WebSocketStream<TcpStream>;

impl Life {
    async fn goes_on(mut self) {
        loop {
            if let Some(socket) = self.opens().await {
                let seen = Arc::clone(&self.seen);
                seen.lock().unwrap().is_open = true;
                self.lives(socket).await;
                seen.lock().unwrap().is_open = false;
                self.waiting.clear();
                self.hole_since = None;
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    async fn opens(&mut self) -> Option<Socket> {
        let ticket = self.asks("POST", "/api/ws/ticket", 201).await?;
        let url = format!("ws://{}/live?ticket={}", self.address, ticket["ticket"].as_str()?);
        let stream = TcpStream::connect(self.address).await.ok()?;
        let handshake = tokio_tungstenite::client_async(url.into_client_request().ok()?, stream);
        let (socket, _) = tokio::time::timeout(PATIENCE, handshake).await.ok()?.ok()?;
        self.seen.lock().unwrap().opened += 1;
        Some(socket)
    }

    /// Until the socket ends. What it missed while it was away comes by a sync.
    async fn lives(&mut self, mut socket: Socket) {
        self.syncs().await;
        let hang_up = Arc::clone(&self.hang_up);
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut acked = 0;
        loop {
            let hole = self.hole_since.map_or(HEARTBEAT, |since| GAP.saturating_sub(since.elapsed()));
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                        if !self.is_told(&frame).await {
                            return;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return,
                },
                () = tokio::time::sleep(hole), if self.hole_since.is_some() => self.syncs().await,
                _ = heartbeat.tick() => {
                    let cursor = self.seen.lock().unwrap().cursor.clone();
                    let mut frames = vec![json!({"action": "ping"})];
                    if let Some(cursor) = cursor && cursor.offset > acked {
                        acked = cursor.offset;
                        frames.push(json!({"action": "ack", "cursor": cursor.text}));
                    }
                    for frame in frames {
                        if socket.send(Message::text(frame.to_string())).await.is_err() {
                            return;
                        }
                    }
                }
                // The stream is dropped as it is: no close frame.
                () = hang_up.notified() => return,
            }
        }
    }

    /// Takes a frame; false where it ends the socket.
    async fn is_told(&mut self, frame: &Value) -> bool {
        match frame["type"].as_str().unwrap_or_default() {
            "notification" | "fetch" => self.arrives(frame).await,
            "changed" => self.syncs().await,
            "resync" => {
                self.seen.lock().unwrap().resyncs += 1;
                self.syncs().await;
            }
            "pong" => {
                let own = self.seen.lock().unwrap().cursor.clone();
                let is_behind =
                    Cursor::read(&frame["cursor"]).zip(own).is_some_and(|(head, own)| head.offset > own.offset);
                // What is on its way is waited for as any hole is.
                if is_behind && self.hole_since.is_none() {
                    self.hole_since = Some(Instant::now());
                }
            }
            "error" => {
                return !["invalid_ticket", "token_expired"].contains(&frame["code"].as_str().unwrap_or_default());
            }
            _ => {}
        }
        true
    }

    async fn arrives(&mut self, frame: &Value) {
        let (Some(cursor), id) = (Cursor::read(&frame["cursor"]), frame["notification"]["id"].as_str()) else {
            return;
        };
        if let Some(id) = id {
            let mut seen = self.seen.lock().unwrap();
            *seen.frames.entry(id.to_owned()).or_default() += 1;
            seen.rang.entry(id.to_owned()).or_insert_with(Instant::now);
        }
        self.waiting.insert(cursor.offset, frame.clone());
        self.applies();
        if frame["type"] == "fetch" {
            self.syncs().await;
        }
    }

    /// Shows whatever follows its own cursor; the rest waits for what is missing before it.
    fn applies(&mut self) {
        let mut seen = self.seen.lock().unwrap();
        let own = |seen: &Seen| seen.cursor.as_ref().map_or(0, |cursor| cursor.offset);
        self.waiting.retain(|offset, _| *offset > own(&seen));
        while let Some(first) = self.waiting.first_entry() {
            let follows = Cursor::read(&first.get()["prev"]).is_some_and(|prev| prev.offset <= own(&seen));
            if !follows || first.get()["type"] == "fetch" {
                break;
            }
            let frame = first.remove();
            seen.shows(&frame["notification"]);
            seen.moves(Cursor::read(&frame["cursor"]));
        }
        self.hole_since = (!self.waiting.is_empty()).then(|| self.hole_since.unwrap_or_else(Instant::now));
    }

    /// Asks for whatever changed after its own cursor until it has all of it.
    async fn syncs(&mut self) {
        loop {
            let since = self.seen.lock().unwrap().cursor.clone();
            let since = since.map(|cursor| format!("&since={}", cursor.text)).unwrap_or_default();
            let Some(sync) = self.asks("GET", &format!("/api/sync?limit=200{since}"), 200).await else {
                tokio::time::sleep(BACKOFF).await;
                continue;
            };
            let mut seen = self.seen.lock().unwrap();
            seen.syncs += 1;
            for notification in sync["notifications"].as_array().into_iter().flatten() {
                seen.shows(notification);
            }
            seen.moves(Cursor::read(&sync["cursor"]));
            drop(seen);
            if sync["complete"] == true {
                break;
            }
        }
        self.applies();
    }

    /// The body of an answer with this status.
    async fn asks(&self, method: &str, path: &str, status: u16) -> Option<Value> {
        let headers = [("authorization", self.authorization.as_str())];
        let call = harness::http::call(self.address, method, path, &headers, "");
        let answer = tokio::time::timeout(PATIENCE, call).await.ok()?;
        if answer.status == 410 {
            self.seen.lock().unwrap().wrong.push(format!("{path} is 410 {}", answer.code()));
        }
        (answer.status == status).then(|| answer.json())
    }
}

impl Seen {
    fn shows(&mut self, notification: &Value) {
        let text = |member: &str| notification[member].as_str().unwrap_or_default().to_owned();
        let Some(cursor) = Cursor::read(&notification["cursor"]) else { return };
        // A row that changed after it was shown is told again by a sync; what it says stands there already.
        let (id, title) = (text("id"), text("title"));
        if self.ids.insert(id.clone()) {
            self.shown.push(Shown { offset: cursor.offset, id, title, at: Instant::now() });
        }
    }

    fn moves(&mut self, to: Option<Cursor>) {
        if let Some(to) = to {
            if self.cursor.as_ref().is_some_and(|own| own.offset > to.offset) {
                self.wrong.push(format!("its cursor went back to {}", to.text));
            }
            self.cursor = Some(to);
        }
    }
}
