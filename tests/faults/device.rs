//! A device: shows each notification and each message once, follows the cursors of its frames and the `seq` of chats, closes
//! gaps after 250 ms, acknowledges, reads, writes, pings, and reconnects after it was cut off.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::conversation::Shown as ShownChat;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::line::Line;

/// How long a device waits for a missing frame before it syncs.
const GAP_TIMEOUT: Duration = Duration::from_millis(250);
/// How often a device pings to learn the head of its inbox. The contract says a minute; the test runs faster.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);
const BACKOFF: Duration = Duration::from_millis(200);
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(12);

/// How a device listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Socket,
    /// It asks nothing, so it marks nothing as read either.
    Stream,
}

/// A device; it stops when dropped.
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) transport: Transport,
    pub(crate) seen: Arc<Mutex<Seen>>,
    hang_up: Arc<Notify>,
    is_away: Arc<AtomicBool>,
    requests: mpsc::UnboundedSender<Request>,
    task: JoinHandle<()>,
}

/// A frame that is to be answered under its `ref`.
struct Request {
    reference: String,
    frame: Value,
    reply: oneshot::Sender<Value>,
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
    /// The messages on the screen, by chat.
    pub(crate) chats: BTreeMap<String, ShownChat>,
    /// How many frames came for each message id.
    pub(crate) message_frames: HashMap<String, usize>,
    /// The greatest `seq` of each chat that a reply confirmed as read.
    pub(crate) read: BTreeMap<String, i64>,
    /// The events of presence: the user, and whether that user is online.
    pub(crate) presence: Vec<(String, bool)>,
    /// How many frames told the device to sync.
    pub(crate) resyncs: usize,
    /// How many syncs over HTTP succeeded.
    pub(crate) syncs: usize,
    /// How many lines were opened.
    pub(crate) connects: usize,
    /// Events that must not happen.
    pub(crate) errors: Vec<String>,
    /// The ids of the notifications on the screen.
    ids: HashSet<String>,
    cursor: Option<Cursor>,
    /// The first part of the last sync's `etag`.
    etag: String,
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
    /// Opens a device, which marks what it shows of chats as read if it `reads`.
    pub(crate) fn new(
        user: &str,
        transport: Transport,
        address: SocketAddr,
        authorization: String,
        reads: bool,
    ) -> Self {
        let (seen, hang_up) = (Arc::<Mutex<Seen>>::default(), Arc::<Notify>::default());
        let (is_away, (requests, asked)) = (Arc::<AtomicBool>::default(), mpsc::unbounded_channel());
        let task = DeviceTask {
            transport,
            address,
            authorization,
            seen: Arc::clone(&seen),
            hang_up: Arc::clone(&hang_up),
            is_away: Arc::clone(&is_away),
            reads,
            out_of_order: BTreeMap::new(),
            gap_since: None,
            chat_gap_since: None,
            stale_since: None,
        };
        Self { user: user.to_owned(), transport, seen, hang_up, is_away, requests, task: tokio::spawn(task.run(asked)) }
    }

    /// Sends a frame over the socket; returns the reply, or `None` if the socket ended first or took too long.
    pub(crate) fn asks(&self, mut frame: Value) -> impl Future<Output = Option<Value>> + use<> {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let reference = format!("r{}", ASKED.fetch_add(1, Ordering::Relaxed));
        frame["ref"] = reference.as_str().into();
        let (reply, replied) = oneshot::channel();
        let is_sent = self.requests.send(Request { reference, frame, reply }).is_ok();
        async move {
            let replied = tokio::time::timeout(REQUEST_TIMEOUT, replied);
            if is_sent { replied.await.ok()?.ok() } else { None }
        }
    }

    /// Drops the socket without a close frame, and does not reconnect before [`comes_back`](Self::comes_back).
    pub(crate) fn goes_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
        self.cut_off();
    }

    /// Reconnects a device that went away.
    pub(crate) fn comes_back(&self) {
        self.is_away.store(false, Ordering::Relaxed);
    }

    /// The `seq` up to which everything said in a chat is shown.
    pub(crate) fn last_seq(&self, chat: &str) -> i64 {
        self.seen.lock().unwrap().chats.get(chat).map_or(0, ShownChat::last_seq)
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
    transport: Transport,
    address: SocketAddr,
    authorization: String,
    seen: Arc<Mutex<Seen>>,
    hang_up: Arc<Notify>,
    is_away: Arc<AtomicBool>,
    reads: bool,
    /// Frames beyond a gap, by offset.
    out_of_order: BTreeMap<i64, Value>,
    gap_since: Option<Instant>,
    /// Since when a message of some chat is missing.
    chat_gap_since: Option<Instant>,
    /// Since when a pong differs from what the last sync brought.
    stale_since: Option<Instant>,
}

impl DeviceTask {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let hang_up = Arc::clone(&self.hang_up);
        loop {
            if !self.is_away.load(Ordering::Relaxed)
                && let Ok(Some(line)) = tokio::time::timeout(REQUEST_TIMEOUT, self.open()).await
            {
                let seen = Arc::clone(&self.seen);
                {
                    let mut seen = seen.lock().unwrap();
                    seen.is_open = true;
                    seen.connects += 1;
                }
                let (heard, frames) = mpsc::unbounded_channel();
                let (own_frames, outgoing) = mpsc::unbounded_channel();
                let own_frames = line.takes_frames().then_some(own_frames);
                tokio::join!(carry(line, heard, outgoing, &mut requests, &hang_up), self.follow(frames, own_frames));
                seen.lock().unwrap().is_open = false;
                self.out_of_order.clear();
                (self.gap_since, self.chat_gap_since, self.stale_since) = (None, None, None);
            }
            tokio::time::sleep(BACKOFF).await;
        }
    }

    async fn open(&mut self) -> Option<Line> {
        match self.transport {
            Transport::Socket => {
                let ticket = self.request("POST", "/api/ws/ticket", 201).await?;
                Line::socket(self.address, ticket["ticket"].as_str()?).await
            }
            Transport::Stream => {
                let cursor = self.seen.lock().unwrap().cursor.clone();
                let after = cursor.as_ref().map(|cursor| cursor.text.as_str());
                Line::stream(self.address, &self.authorization, after).await
            }
        }
    }

    /// Handles frames until the line ends. What a device missed while it was not connected, a stream tells by itself,
    /// except to a device that knows no cursor yet; otherwise a sync fetches it.
    async fn follow(
        &mut self,
        mut frames: mpsc::UnboundedReceiver<Value>,
        own_frames: Option<mpsc::UnboundedSender<Value>>,
    ) {
        if own_frames.is_some() || self.seen.lock().unwrap().cursor.is_none() {
            self.sync().await;
        }
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut acked = 0;
        loop {
            let left =
                |since: Option<Instant>| GAP_TIMEOUT.saturating_sub(since.map_or(GAP_TIMEOUT, |at| at.elapsed()));
            let (missing, chat_missing) = (self.gap_since.or(self.stale_since), self.chat_gap_since);
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => if !self.handle_frame(&frame).await {
                        return;
                    },
                    None => return,
                },
                () = tokio::time::sleep(left(missing)), if missing.is_some() => self.sync().await,
                () = tokio::time::sleep(left(chat_missing)), if chat_missing.is_some() => self.close_gaps().await,
                _ = heartbeat.tick() => if let Some(own_frames) = &own_frames {
                    let _ = own_frames.send(json!({"action": "ping"}));
                    let cursor = self.seen.lock().unwrap().cursor.clone();
                    if let Some(cursor) = cursor && cursor.offset > acked {
                        acked = cursor.offset;
                        let _ = own_frames.send(json!({"action": "ack", "cursor": cursor.text}));
                    }
                    for frame in self.unconfirmed_reads() {
                        let _ = own_frames.send(frame);
                    }
                },
            }
        }
    }

    /// A frame for each chat of which more is shown than is confirmed as read.
    fn unconfirmed_reads(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        let unread = seen.chats.iter().filter(|(chat, shown)| shown.last_seq() > *seen.read.get(*chat).unwrap_or(&0));
        let unread = unread.filter(|_| self.reads).map(|(chat, shown)| (chat, shown.last_seq()));
        unread
            .map(
                |(chat, seq)| json!({"action": "readChat", "chatId": chat, "seq": seq, "ref": format!("{seq}/{chat}")}),
            )
            .collect()
    }

    /// Handles a frame; returns false if it ends the socket.
    async fn handle_frame(&mut self, frame: &Value) -> bool {
        match frame["type"].as_str().unwrap_or_default() {
            "notification" => self.receive(frame).await,
            "fetch" if frame["chatId"].is_string() => {
                self.close_gap(frame["chatId"].as_str().unwrap_or_default()).await
            }
            "fetch" => self.receive(frame).await,
            "message" => self.receive_message(&frame["message"]),
            "ok" => {
                if let Some((seq, chat)) = frame["ref"].as_str().and_then(|reference| reference.split_once('/')) {
                    let mut seen = self.seen.lock().unwrap();
                    let read = seen.read.entry(chat.to_owned()).or_default();
                    *read = seq.parse::<i64>().unwrap_or_default().max(*read);
                }
            }
            // The stream ends, and opens again where it was.
            "reconnect" => return self.transport == Transport::Socket,
            "presence" => {
                let told = frame["users"].as_array().into_iter().flatten();
                let told =
                    told.map(|user| (user["userId"].as_str().unwrap_or_default().to_owned(), user["online"] == true));
                self.seen.lock().unwrap().presence.extend(told);
            }
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
                // The cursor says nothing of chats.
                if first_part(&frame["etag"]) != self.seen.lock().unwrap().etag {
                    self.stale_since.get_or_insert_with(Instant::now);
                }
            }
            "error" => {
                return !["invalid_ticket", "token_expired"].contains(&frame["code"].as_str().unwrap_or_default());
            }
            _ => {}
        }
        true
    }

    fn receive_message(&mut self, message: &Value) {
        let (chat, id) = (message["chatId"].as_str().unwrap_or_default(), message["id"].as_str().unwrap_or_default());
        if message["seq"].is_null() {
            // It comes once more when it has its place.
            return;
        }
        let mut seen = self.seen.lock().unwrap();
        *seen.message_frames.entry(id.to_owned()).or_default() += 1;
        seen.chats.entry(chat.to_owned()).or_default().accept(message);
        let has_gap = seen.chats.values().any(ShownChat::has_gap);
        self.chat_gap_since = has_gap.then(|| self.chat_gap_since.unwrap_or_else(Instant::now));
    }

    /// Asks for what is missing in each chat that has a gap.
    async fn close_gaps(&mut self) {
        let gaps: Vec<String> = {
            let seen = self.seen.lock().unwrap();
            seen.chats.iter().filter(|(_, shown)| shown.has_gap()).map(|(chat, _)| chat.clone()).collect()
        };
        for chat in gaps {
            self.close_gap(&chat).await;
        }
        self.chat_gap_since = None;
    }

    /// Asks for the messages of a chat after those that are shown, until there are no more.
    async fn close_gap(&mut self, chat: &str) {
        loop {
            let after = self.seen.lock().unwrap().chats.entry(chat.to_owned()).or_default().last_seq();
            let path = format!("/api/chats/{chat}/messages?after={after}&limit=200");
            let Some(page) = self.request("GET", &path, 200).await else {
                tokio::time::sleep(BACKOFF).await;
                continue;
            };
            let mut seen = self.seen.lock().unwrap();
            let shown = seen.chats.entry(chat.to_owned()).or_default();
            page["items"].as_array().into_iter().flatten().for_each(|message| shown.accept(message));
            if page["complete"] == true {
                return;
            }
        }
    }

    /// Takes a notification; one that was accepted fast and has no cursor yet comes once more when it has.
    async fn receive(&mut self, frame: &Value) {
        if let Some(id) = frame["notification"]["id"].as_str() {
            let mut seen = self.seen.lock().unwrap();
            seen.first_frame_at.entry(id.to_owned()).or_insert_with(Instant::now);
            if frame["cursor"].is_string() {
                *seen.frames.entry(id.to_owned()).or_default() += 1;
            }
        }
        let Some(cursor) = Cursor::read(&frame["cursor"]) else { return };
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

    /// Syncs over HTTP until nothing after the cursor is missing, and then catches up with chats.
    async fn sync(&mut self) {
        let chats = loop {
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
            if sync["complete"] == true {
                seen.etag = first_part(&sync["etag"]).to_owned();
                break sync["chats"].clone();
            }
        };
        self.stale_since = None;
        self.apply_in_order();
        for chat in chats.as_array().into_iter().flatten() {
            let id = chat["chatId"].as_str().unwrap_or_default();
            let shown = self.seen.lock().unwrap().chats.entry(id.to_owned()).or_default().last_seq();
            if chat["lastSeq"].as_i64().is_some_and(|last| last > shown) {
                self.close_gap(id).await;
            }
        }
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

/// Reads and writes the line until it ends, is cut off or nobody hears it, so that a reply never waits for a sync.
async fn carry(
    mut line: Line,
    heard: mpsc::UnboundedSender<Value>,
    mut outgoing: mpsc::UnboundedReceiver<Value>,
    requests: &mut mpsc::UnboundedReceiver<Request>,
    hang_up: &Notify,
) {
    let mut unanswered = HashMap::<String, oneshot::Sender<Value>>::new();
    loop {
        let frame = tokio::select! {
            frame = line.next() => {
                let Some(frame) = frame else { return };
                if let Some(waiting) = frame["ref"].as_str().and_then(|reference| unanswered.remove(reference)) {
                    // No call waits for it any longer if it took too long.
                    let _ = waiting.send(frame.clone());
                }
                if heard.send(frame).is_err() {
                    return;
                }
                continue;
            }
            Some(Request { reference, frame, reply }) = requests.recv() => {
                // A request that was given up is sent again by its sender, if at all.
                if reply.is_closed() {
                    continue;
                }
                unanswered.insert(reference, reply);
                frame
            }
            Some(frame) = outgoing.recv() => frame,
            () = heard.closed() => return,
            // The line is dropped without a close frame.
            () = hang_up.notified() => return,
        };
        if line.send(&frame).await.is_none() {
            return;
        }
    }
}

/// The part of an `etag` that clients compare.
fn first_part(etag: &Value) -> &str {
    etag.as_str().unwrap_or_default().trim_matches('"').split('.').next().unwrap_or_default()
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
