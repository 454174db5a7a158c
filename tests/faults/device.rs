//! A device: shows each notification once, follows the cursors of its frames, closes gaps with a sync after 250 ms,
//! acknowledges, pings, and reconnects after it was cut off.

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

/// How long a device waits for a missing frame before it syncs.
const GAP_TIMEOUT: Duration = Duration::from_millis(250);
/// How often a device pings to learn the head of its inbox. The contract says a minute; the test runs faster.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
const BACKOFF: Duration = Duration::from_millis(200);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);

/// A device; it stops when dropped.
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) seen: Arc<Mutex<Seen>>,
    hang_up: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What a device has received and shown.
#[derive(Default)]
pub(crate) struct Seen {
    /// The notifications on the screen, in the order in which they were shown.
    pub(crate) shown: Vec<Shown>,
    /// How many frames came for each notification id.
    pub(crate) frames: HashMap<String, usize>,
    /// When the first frame of each notification came.
    pub(crate) first_frame_at: HashMap<String, Instant>,
    /// How many frames told the device to sync.
    pub(crate) resyncs: usize,
    /// How many syncs over HTTP succeeded.
    pub(crate) syncs: usize,
    /// How many sockets were opened.
    pub(crate) connects: usize,
    /// Events that must not happen.
    pub(crate) errors: Vec<String>,
    /// The ids of the notifications on the screen.
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

/// The position of a device: the cursor as received, and the offset in it.
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
        let task = DeviceTask {
            address,
            authorization,
            seen: Arc::clone(&seen),
            hang_up: Arc::clone(&hang_up),
            out_of_order: BTreeMap::new(),
            gap_since: None,
        };
        Self { user: user.to_owned(), seen, hang_up, task: tokio::spawn(task.run()) }
    }

    /// Drops the socket without a close frame; the device reconnects.
    pub(crate) fn cut_off(&self) {
        self.hang_up.notify_one();
    }

    /// The offset up to which everything is shown.
    pub(crate) fn offset(&self) -> i64 {
        self.seen.lock().unwrap().cursor.as_ref().map_or(0, |cursor| cursor.offset)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.seen.lock().unwrap().is_open
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct DeviceTask {
    address: SocketAddr,
    authorization: String,
    seen: Arc<Mutex<Seen>>,
    hang_up: Arc<Notify>,
    /// Frames beyond a gap, by offset.
    out_of_order: BTreeMap<i64, Value>,
    gap_since: Option<Instant>,
}

type Socket = WebSocketStream<TcpStream>;

impl DeviceTask {
    async fn run(mut self) {
        loop {
            if let Some(socket) = self.open().await {
                let seen = Arc::clone(&self.seen);
                seen.lock().unwrap().is_open = true;
                self.serve(socket).await;
                seen.lock().unwrap().is_open = false;
                self.out_of_order.clear();
                self.gap_since = None;
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    async fn open(&mut self) -> Option<Socket> {
        let ticket = self.request("POST", "/api/ws/ticket", 201).await?;
        let url = format!("ws://{}/live?ticket={}", self.address, ticket["ticket"].as_str()?);
        let stream = TcpStream::connect(self.address).await.ok()?;
        let handshake = tokio_tungstenite::client_async(url.into_client_request().ok()?, stream);
        let (socket, _) = tokio::time::timeout(REQUEST_TIMEOUT, handshake).await.ok()?.ok()?;
        self.seen.lock().unwrap().connects += 1;
        Some(socket)
    }

    /// Runs until the socket ends. A sync first fetches what the device missed while it was not connected.
    async fn serve(&mut self, mut socket: Socket) {
        self.sync().await;
        let hang_up = Arc::clone(&self.hang_up);
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut acked = 0;
        loop {
            let gap_left = self.gap_since.map_or(HEARTBEAT, |since| GAP_TIMEOUT.saturating_sub(since.elapsed()));
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let frame: Value = serde_json::from_str(&text).unwrap_or_default();
                        if !self.handle_frame(&frame).await {
                            return;
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    _ => return,
                },
                () = tokio::time::sleep(gap_left), if self.gap_since.is_some() => self.sync().await,
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
                // The stream is dropped without a close frame.
                () = hang_up.notified() => return,
            }
        }
    }

    /// Handles a frame; returns false if it ends the socket.
    async fn handle_frame(&mut self, frame: &Value) -> bool {
        match frame["type"].as_str().unwrap_or_default() {
            "notification" | "fetch" => self.receive(frame).await,
            "changed" => self.sync().await,
            "resync" => {
                self.seen.lock().unwrap().resyncs += 1;
                self.sync().await;
            }
            "pong" => {
                let own = self.seen.lock().unwrap().cursor.clone();
                let is_stale =
                    Cursor::read(&frame["cursor"]).zip(own).is_some_and(|(head, own)| head.offset > own.offset);
                // The missing frames may be on their way, so they get the same time as any gap.
                if is_stale && self.gap_since.is_none() {
                    self.gap_since = Some(Instant::now());
                }
            }
            "error" => {
                return !["invalid_ticket", "token_expired"].contains(&frame["code"].as_str().unwrap_or_default());
            }
            _ => {}
        }
        true
    }

    async fn receive(&mut self, frame: &Value) {
        let (Some(cursor), id) = (Cursor::read(&frame["cursor"]), frame["notification"]["id"].as_str()) else {
            return;
        };
        if let Some(id) = id {
            let mut seen = self.seen.lock().unwrap();
            *seen.frames.entry(id.to_owned()).or_default() += 1;
            seen.first_frame_at.entry(id.to_owned()).or_insert_with(Instant::now);
        }
        self.out_of_order.insert(cursor.offset, frame.clone());
        self.apply_in_order();
        if frame["type"] == "fetch" {
            self.sync().await;
        }
    }

    /// Shows the frames that follow the cursor without a gap; the others stay out of order.
    fn apply_in_order(&mut self) {
        let mut seen = self.seen.lock().unwrap();
        let own = |seen: &Seen| seen.cursor.as_ref().map_or(0, |cursor| cursor.offset);
        self.out_of_order.retain(|offset, _| *offset > own(&seen));
        while let Some(first) = self.out_of_order.first_entry() {
            let follows = Cursor::read(&first.get()["prev"]).is_some_and(|prev| prev.offset <= own(&seen));
            if !follows || first.get()["type"] == "fetch" {
                break;
            }
            let frame = first.remove();
            seen.show(&frame["notification"]);
            seen.advance(Cursor::read(&frame["cursor"]));
        }
        self.gap_since = (!self.out_of_order.is_empty()).then(|| self.gap_since.unwrap_or_else(Instant::now));
    }

    /// Syncs over HTTP until nothing after the cursor is missing.
    async fn sync(&mut self) {
        loop {
            let since = self.seen.lock().unwrap().cursor.clone();
            let since = since.map(|cursor| format!("&since={}", cursor.text)).unwrap_or_default();
            let Some(sync) = self.request("GET", &format!("/api/sync?limit=200{since}"), 200).await else {
                tokio::time::sleep(BACKOFF).await;
                continue;
            };
            let mut seen = self.seen.lock().unwrap();
            seen.syncs += 1;
            for notification in sync["notifications"].as_array().into_iter().flatten() {
                seen.show(notification);
            }
            seen.advance(Cursor::read(&sync["cursor"]));
            drop(seen);
            if sync["complete"] == true {
                break;
            }
        }
        self.apply_in_order();
    }

    /// Calls the API; returns the body if the answer has this status.
    async fn request(&self, method: &str, path: &str, status: u16) -> Option<Value> {
        let headers = [("authorization", self.authorization.as_str())];
        let call = harness::http::call(self.address, method, path, &headers, "");
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, call).await.ok()?;
        if answer.status == 410 {
            self.seen.lock().unwrap().errors.push(format!("{path} was answered with 410 {}", answer.code()));
        }
        (answer.status == status).then(|| answer.json())
    }
}

impl Seen {
    fn show(&mut self, notification: &Value) {
        let text = |member: &str| notification[member].as_str().unwrap_or_default().to_owned();
        let Some(cursor) = Cursor::read(&notification["cursor"]) else { return };
        // A sync returns a row again if it changed after it was shown; the screen has it already.
        let (id, title) = (text("id"), text("title"));
        if self.ids.insert(id.clone()) {
            self.shown.push(Shown { offset: cursor.offset, id, title, at: Instant::now() });
        }
    }

    fn advance(&mut self, to: Option<Cursor>) {
        if let Some(to) = to {
            if self.cursor.as_ref().is_some_and(|own| own.offset > to.offset) {
                self.errors.push(format!("the cursor went back to {}", to.text));
            }
            self.cursor = Some(to);
        }
    }
}
