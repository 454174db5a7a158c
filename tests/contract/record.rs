//! The vocabulary of the suites: users who connect, sends that ring, inboxes that change.

use std::sync::Arc;

use serde_json::value::RawValue;
use shared::auth::Revocations;
use shared::chat::chats::Chats;
use shared::chat::messages::Messages;
use shared::clock::{At, Time};
use shared::cursor::Cursor;
use shared::delivery::Delivery;
use shared::delivery::dead_letters::DeadLetters;
use shared::delivery::deliveries::{Deliveries, Materialised};
use shared::error::StoreError;
use shared::ids::{ConnectionId, NotificationId, SendId, UserId, sha256};
use shared::inbox::bounds::Bounds;
use shared::inbox::epochs::Epochs;
use shared::inbox::history::History;
use shared::inbox::notification::{Channels, Content, Notification, Priority};
use shared::inbox::retention::Retention;
use shared::inbox::send::Due;
use shared::inbox::sends::{Append, Appended, Sends};
use shared::inbox::snooze::Snoozes;
use shared::inbox::{Change, Changed, Changes, CurrentState, Inbox, Page, Position};
use shared::preferences::AllPreferences;
use shared::presence::acquaintances::Acquaintances;
use shared::sockets::connections::{Connections, Opened, Opening, Ticket};
use shared::telemetry::trace::TraceParent;
use shared::users::erasures::Erasures;
use shared::web_push::pushes::WebPushes;
use shared::web_push::subscriptions::Subscriptions;
use tokio::sync::Barrier;

/// The time at which every test begins.
pub(crate) const START_MS: i64 = 1_800_000_000_000;
/// Later than anything that happens in a test, in milliseconds after the beginning.
pub(crate) const LATE_MS: i64 = 1_000_000_000;
/// How long sends are kept.
pub(crate) const RETENTION_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// This many milliseconds after the beginning.
pub(crate) fn at(after_ms: i64) -> At {
    At::Fixed(START_MS + after_ms)
}

/// A span of a caller.
pub(crate) fn trace() -> TraceParent {
    TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

/// The notification that the send with this key puts into this user's inbox.
pub(crate) fn id(key: &str, name: &str) -> NotificationId {
    NotificationId::of(Send::new(key).id, &user(name))
}

/// The notifications of the sends with these keys in this user's inbox.
pub(crate) fn ids(keys: &[&str], name: &str) -> Vec<NotificationId> {
    keys.iter().map(|key| id(key, name)).collect()
}

/// A send, identified by its key.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) id: SendId,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) answer: String,
    pub(crate) content: Arc<Content>,
    pub(crate) due: Due,
}

impl Send {
    pub(crate) fn new(key: &str) -> Self {
        Self {
            id: SendId::of_key(&user("billing"), "/api/notifications/send", key),
            fingerprint: sha256(key.as_bytes()),
            answer: format!("{{\"sendId\": \"{key}\",  \"ü\":\"\\u00fc\"}}"),
            content: Arc::new(Content {
                kind: "REPORT_APPROVED".into(),
                title: key.into(),
                body: Some("It is ready".into()),
                data: RawValue::from_string("{}".into()).unwrap(),
                action_url: None,
                priority: Priority::Normal,
                expires_at: None,
                collapse_key: None,
                channels: Channels::All,
                digest_ms: None,
                trace: None,
            }),
            due: Due::Now,
        }
    }

    pub(crate) fn due(key: &str, due: Due) -> Self {
        Self { due, ..Self::new(key) }
    }

    /// Lets it expire this many milliseconds after the beginning.
    pub(crate) fn expiring_at(self, after_ms: i64) -> Self {
        let content = Content { expires_at: Some(Time(START_MS + after_ms)), ..Content::clone(&self.content) };
        Self { content: Arc::new(content), ..self }
    }

    /// Gives it a collapse key: a newer send with the same one replaces it.
    pub(crate) fn collapsing(self, key: &str) -> Self {
        let content = Content { collapse_key: Some(key.into()), ..Content::clone(&self.content) };
        Self { content: Arc::new(content), ..self }
    }

    /// Lets it come with a trace.
    pub(crate) fn traced(self) -> Self {
        let content = Content { trace: Some(trace()), ..Content::clone(&self.content) };
        Self { content: Arc::new(content), ..self }
    }

    pub(crate) fn of_kind(key: &str, kind: &str) -> Self {
        let send = Self::new(key);
        let content = Content { kind: kind.into(), ..Content::clone(&send.content) };
        Self { content: Arc::new(content), ..send }
    }
}

/// A store of the record. Clones share the store.
#[derive(Clone)]
pub(crate) struct Record(Arc<dyn shared::record::RecordStore>);

impl Record {
    pub(crate) fn new(store: impl shared::record::RecordStore + 'static) -> Self {
        Self(Arc::new(store))
    }

    /// The store itself, for an app.
    pub(crate) fn store(&self) -> Arc<dyn shared::record::RecordStore> {
        Arc::clone(&self.0)
    }

    pub(crate) fn sends(&self) -> &dyn Sends {
        &*self.0
    }

    pub(crate) fn revocations(&self) -> &dyn Revocations {
        &*self.0
    }

    pub(crate) fn inbox(&self) -> &dyn Inbox {
        &*self.0
    }

    pub(crate) fn epochs(&self) -> &dyn Epochs {
        &*self.0
    }

    pub(crate) fn snoozes(&self) -> &dyn Snoozes {
        &*self.0
    }

    pub(crate) fn deliveries(&self) -> &dyn Deliveries {
        &*self.0
    }

    /// Materialises one due chunk; `None` if there is none.
    pub(crate) async fn materialise_next(&self, at: At) -> Result<Option<Vec<Delivery>>, StoreError> {
        let Materialised { chunks, deliveries, .. } = self.deliveries().materialise(1, at).await?;
        Ok((chunks > 0).then_some(deliveries))
    }

    /// When the next of anything falls due, in milliseconds since 1970.
    pub(crate) async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.0.next_due().await?.first())
    }

    pub(crate) fn dead_letters(&self) -> &dyn DeadLetters {
        &*self.0
    }

    pub(crate) fn retention(&self) -> &dyn Retention {
        &*self.0
    }

    pub(crate) fn send_history(&self) -> &dyn History {
        &*self.0
    }

    pub(crate) fn acquaintances(&self) -> &dyn Acquaintances {
        &*self.0
    }

    pub(crate) fn connections(&self) -> &dyn Connections {
        &*self.0
    }

    pub(crate) fn preferences(&self) -> &dyn AllPreferences {
        &*self.0
    }

    pub(crate) fn subscriptions(&self) -> &dyn Subscriptions {
        &*self.0
    }

    pub(crate) fn web_pushes(&self) -> &dyn WebPushes {
        &*self.0
    }

    pub(crate) fn erasures(&self) -> &dyn Erasures {
        &*self.0
    }

    pub(crate) fn chats(&self) -> &dyn Chats {
        &*self.0
    }

    pub(crate) fn messages(&self) -> &dyn Messages {
        &*self.0
    }

    pub(crate) async fn append(&self, send: &Send, to: &[UserId], at: At) -> Appended {
        self.append_from("billing", send, to, at).await
    }

    pub(crate) async fn append_from(&self, sender: &str, send: &Send, to: &[UserId], at: At) -> Appended {
        let append = Append {
            id: send.id,
            sender: &user(sender),
            fingerprint: send.fingerprint,
            content: Arc::clone(&send.content),
            recipients: to,
            answer: &send.answer,
            due: send.due,
            retention_ms: RETENTION_MS,
        };
        self.sends().append(&append, at).await.unwrap()
    }

    /// Appends a send that must be new.
    pub(crate) async fn send(&self, send: &Send, to: &[UserId], at: At) -> Vec<Delivery> {
        match self.append(send, to, at).await {
            Appended::Stored(stored) => stored.deliveries,
            Appended::Known(first) => panic!("a new send was treated as a repeat: {first:?}"),
        }
    }

    /// Sends one new notification to the user for each key.
    pub(crate) async fn ring(&self, keys: &[&str], name: &str, at: At) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for key in keys {
            deliveries.extend(self.send(&Send::new(key), &[user(name)], at).await);
        }
        deliveries
    }

    /// Opens a connection whose token outlives the test.
    pub(crate) async fn connect(&self, name: &str, connection: &str, at: At) {
        self.connect_until(name, connection, START_MS + LATE_MS, at).await;
    }

    /// Opens a connection whose token ends at `ends_ms`.
    pub(crate) async fn connect_until(&self, name: &str, connection: &str, ends_ms: i64, at: At) {
        let hash = sha256(format!("ticket of {connection}").as_bytes());
        let ticket = Ticket {
            hash,
            user: user(name),
            origin: None,
            token_issued_at_s: None,
            token_expires_at_ms: ends_ms,
            expires_at_ms: START_MS + LATE_MS,
        };
        self.connections().issue(&ticket, at).await.unwrap();
        let opening = Opening { connection: &ConnectionId::new(connection), ticket_hash: hash, origin: None };
        let opened = self.connections().open(&opening, at).await.unwrap();
        assert!(matches!(opened, Opened::Registered { .. }), "{opened:?}");
    }

    pub(crate) async fn position(&self, name: &str) -> Position {
        self.inbox().position(&user(name), at(LATE_MS)).await.unwrap()
    }

    /// All notifications in an inbox, newest first.
    pub(crate) async fn listed(&self, name: &str) -> Vec<Notification> {
        let page = Page::default();
        let listed = self.inbox().list(&user(name), &page, at(LATE_MS)).await.unwrap();
        assert!(!listed.more);
        listed.notifications
    }

    pub(crate) async fn change(&self, name: &str, change: Change, at: At) -> Changed {
        let changed = self.inbox().change(&user(name), &change, at).await;
        changed.unwrap().expect("the cursor is in the inbox's history")
    }

    pub(crate) async fn changes(&self, name: &str, since: Option<Cursor>, limit: usize) -> Option<Changes> {
        self.inbox().changes(&user(name), since, Bounds::items(limit), at(LATE_MS)).await.unwrap()
    }

    /// Everything that was ever in an inbox, including tombstones, in order of change.
    pub(crate) async fn history(&self, name: &str) -> Vec<CurrentState> {
        let beginning = self.position(name).await.cursor_at(0);
        let changes = self.changes(name, Some(beginning), usize::MAX).await;
        changes.unwrap().changes
    }
}

/// Runs `act` with the numbers below `times`, all at once. The results are in the order of the numbers.
pub(crate) async fn concurrently<T, F>(times: usize, act: impl Fn(usize) -> F) -> Vec<T>
where
    T: std::marker::Send + 'static,
    F: Future<Output = T> + std::marker::Send + 'static,
{
    let start = Arc::new(Barrier::new(times));
    let tasks: Vec<_> = (0..times)
        .map(|n| {
            let (start, act) = (Arc::clone(&start), act(n));
            tokio::spawn(async move {
                start.wait().await;
                act.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(times);
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}
