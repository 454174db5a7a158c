//! Functions without a gateway: an app on stores of its own, whose pushes are recorded and whose round trips are
//! counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use shared::app::App;
use shared::auth;
use shared::clock::{At, Clock};
use shared::config::{Config, Origins};
use shared::cursor::Cursor;
use shared::delivery::dead_letters::{Dead, DeadLetterKey, DeadLetterPage, DeadLetters, Reason};
use shared::delivery::deliveries::{Backlog, Deliveries, Materialised, RowKey, Taken};
use shared::error::StoreError;
use shared::ids::{ConnectionId, DeadLetterId, NotificationId, SendId, UserId};
use shared::inbox::history::{History, SendPage, SendQuery, Trace};
use shared::inbox::notification::Notification;
use shared::inbox::retention::{Purged, Retention};
use shared::inbox::{
    Append, Appended, Cancelled, Change, Changed, Changes, Delivery, FirstAnswer, Inbox, Listed, Page, Position,
};
use shared::moment::memory::MemoryMoment;
use shared::moment::none::NoMoment;
use shared::moment::{Moment, MomentStore};
use shared::protocol::Frame;
use shared::record::sqlite::SqliteRecord;
use shared::record::{Record, RecordStore};
use shared::sockets::connections::{Connection, Connections, Extended, Online, Opened, Opening, Ticket};
use shared::sockets::push::{Outcome, Push};
use tempfile::TempDir;

use crate::world::START_MS;

/// An app whose surroundings a test can see and set.
pub struct TestApp {
    /// What handlers are given.
    pub app: App,
    /// The sockets.
    pub push: Arc<FakePush>,
    /// The record, counting.
    pub record: Arc<Counted>,
    /// Turned by hand.
    pub clock: Clock,
    _data: TempDir,
}

impl TestApp {
    /// A new one, with nothing in it.
    pub async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let variables = [("JWT_SECRET", "a secret of at least thirty-two bytes"), ("WS_URL", "ws://localhost/live")];
        let variables: HashMap<&str, &str> = variables.into();
        let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let config = Config::read(variable, &[], Origins::Loopback).unwrap();
        let store = SqliteRecord::open(&data.path().join("carillon.db")).await.unwrap();
        let record = Arc::new(Counted { store, round_trips: AtomicUsize::new(0) });
        let push = Arc::new(FakePush::default());
        let mut app =
            App::new(config, Record::new(record.clone()), Moment::new(Arc::new(MemoryMoment::default())), push.clone());
        let clock = Clock::standing(START_MS);
        app.clock = clock.clone();
        Self { app, push, record, clock, _data: data }
    }

    /// From now on this is its record; what was connected before is not.
    pub fn uses_record(&mut self, record: Arc<dyn RecordStore>) {
        self.app.record = Record::new(record);
    }

    /// From now on this is its moment.
    pub fn uses_moment(&mut self, moment: Arc<dyn MomentStore>) {
        self.app.moment = Moment::new(moment);
    }

    /// From now on nothing waits in a queue: what is left comes back from the record alone.
    pub fn loses_its_queue(&mut self) {
        self.app.moment.queue = Arc::new(NoMoment::default());
    }

    /// The `Authorization` of somebody whose token is good for an hour.
    pub fn bearer(&self, sub: &str, scope: &str) -> String {
        let exp_s = self.clock.now_ms() / 1_000 + 3_600;
        format!("Bearer {}", auth::sign(&self.app.config, sub, scope, exp_s).unwrap())
    }

    /// Registers connections of a user, as their `$connect` would.
    pub async fn connect(&self, user: &str, connections: &[&str]) {
        let user = UserId::new(user).unwrap();
        let token_expires_at_ms = self.clock.now_ms() + 3_600_000;
        for connection in connections {
            let (_, hash) = auth::new_ticket().unwrap();
            let expires_at_ms = token_expires_at_ms;
            let ticket = Ticket { hash, user: user.clone(), origin: None, token_expires_at_ms, expires_at_ms };
            self.app.record.connections.issue(&ticket, self.app.clock.at()).await.unwrap();
            let connection = ConnectionId::new(*connection);
            let opening = Opening { connection: &connection, ticket_hash: hash, origin: None };
            let opened = self.app.record.connections.open(&opening, self.app.clock.at()).await.unwrap();
            assert!(matches!(opened, Opened::Registered { .. }));
        }
        self.record.round_trips.store(0, Ordering::Relaxed);
    }
}

/// A recorded event of `tests/events`.
pub fn event(name: &str) -> Value {
    let file = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Sockets that only remember.
#[derive(Debug, Default)]
pub struct FakePush {
    frames: Mutex<Vec<(String, Value)>>,
    closed: Mutex<Vec<String>>,
    outcomes: Mutex<HashMap<String, Vec<Outcome>>>,
}

impl FakePush {
    /// What was pushed since the last time, by connection.
    pub fn taken(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.frames.lock().unwrap())
    }

    /// What was closed so far.
    pub fn closed(&self) -> Vec<String> {
        self.closed.lock().unwrap().clone()
    }

    /// How the next pushes to a connection end, one after the other; afterwards they are taken.
    pub fn will(&self, connection: &str, outcomes: &[Outcome]) {
        self.outcomes.lock().unwrap().insert(connection.to_owned(), outcomes.iter().rev().copied().collect());
    }
}

#[async_trait]
impl Push for FakePush {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        let mut outcomes = self.outcomes.lock().unwrap();
        let mut taken = self.frames.lock().unwrap();
        frames
            .iter()
            .map(|(connection, frame)| {
                taken.push((connection.to_string(), serde_json::from_str(frame).unwrap()));
                outcomes.get_mut(connection.as_str()).and_then(Vec::pop).unwrap_or(Outcome::Offered)
            })
            .collect()
    }

    async fn close(&self, connections: &[ConnectionId]) {
        self.closed.lock().unwrap().extend(connections.iter().map(ToString::to_string));
    }
}

/// A record that counts how often it is asked: each of a promise's methods is one round trip.
pub struct Counted {
    store: SqliteRecord,
    round_trips: AtomicUsize,
}

impl Counted {
    /// How often it was asked since the last time.
    pub fn round_trips(&self) -> usize {
        self.round_trips.swap(0, Ordering::Relaxed)
    }

    /// From now on it does not answer.
    pub async fn goes_away(&self) {
        self.store.close().await;
    }

    fn asked(&self) -> &SqliteRecord {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        &self.store
    }
}

#[async_trait]
impl Inbox for Counted {
    async fn append(&self, append: &Append<'_>, at: At) -> Result<Appended, StoreError> {
        self.asked().append(append, at).await
    }
    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError> {
        self.asked().first_answer(send).await
    }
    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError> {
        self.asked().cancel(send, sender).await
    }
    async fn position(&self, user: &UserId, at: At) -> Result<Position, StoreError> {
        self.asked().position(user, at).await
    }
    async fn list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, StoreError> {
        self.asked().list(user, page, at).await
    }
    async fn find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, StoreError> {
        Inbox::find(self.asked(), user, id, at).await
    }
    async fn changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        limit: usize,
        at: At,
    ) -> Result<Option<Changes>, StoreError> {
        self.asked().changes(user, since, limit, at).await
    }
    async fn change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, StoreError> {
        self.asked().change(user, change, at).await
    }
    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError> {
        self.asked().acknowledge(user, cursor, at).await
    }
}

#[async_trait]
impl Deliveries for Counted {
    async fn materialise(&self, limit: usize, at: At) -> Result<Materialised, StoreError> {
        self.asked().materialise(limit, at).await
    }
    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        self.asked().take_due(limit, at).await
    }
    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.asked().mark_resynced(users, at).await
    }
    async fn take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        self.asked().take(keys, at).await
    }
    async fn postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError> {
        self.asked().postpone(rows, at).await
    }
    async fn mark_offered(&self, rows: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.asked().mark_offered(rows, at).await
    }
    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError> {
        self.asked().expire(limit, at).await
    }
    async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        self.asked().next_due().await
    }
    async fn backlog(&self, at: At) -> Result<Backlog, StoreError> {
        self.asked().backlog(at).await
    }
}

#[async_trait]
impl DeadLetters for Counted {
    async fn dead_letter(&self, dead: &Dead<'_>, why: Reason, at: At) -> Result<(), StoreError> {
        self.asked().dead_letter(dead, why, at).await
    }
    async fn page(&self, after: Option<DeadLetterKey>, limit: usize) -> Result<DeadLetterPage, StoreError> {
        self.asked().page(after, limit).await
    }
    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<bool, StoreError> {
        self.asked().redrive(id, at).await
    }
    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        self.asked().discard(id).await
    }
}

#[async_trait]
impl Retention for Counted {
    async fn purge(&self, retention_ms: i64, at: At) -> Result<Purged, StoreError> {
        self.asked().purge(retention_ms, at).await
    }
}

#[async_trait]
impl History for Counted {
    async fn sends(&self, query: &SendQuery, at: At) -> Result<SendPage, StoreError> {
        self.asked().sends(query, at).await
    }
    async fn trace(&self, id: NotificationId, of: Option<&UserId>, at: At) -> Result<Option<Trace>, StoreError> {
        self.asked().trace(id, of, at).await
    }
}

#[async_trait]
impl Connections for Counted {
    async fn issue(&self, ticket: &Ticket, at: At) -> Result<(), StoreError> {
        self.asked().issue(ticket, at).await
    }
    async fn open(&self, opening: &Opening<'_>, at: At) -> Result<Opened, StoreError> {
        self.asked().open(opening, at).await
    }
    async fn extend(&self, connection: &ConnectionId, hash: &[u8; 32], at: At) -> Result<Extended, StoreError> {
        self.asked().extend(connection, hash, at).await
    }
    async fn find(&self, connection: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        Connections::find(self.asked(), connection).await
    }
    async fn forget(&self, connections: &[ConnectionId]) -> Result<(), StoreError> {
        self.asked().forget(connections).await
    }
    async fn sweep(&self, at: At) -> Result<Vec<Connection>, StoreError> {
        self.asked().sweep(at).await
    }
    async fn count(&self, at: At) -> Result<Online, StoreError> {
        self.asked().count(at).await
    }
}

/// What a function behind the HTTP API returned.
pub type HttpAnswer = lambda_http::Response<lambda_http::Body>;

/// Hands an event of the HTTP API to a handler, by the serialisation that production uses.
pub fn request(event: Value) -> lambda_http::Request {
    let event: lambda_http::request::LambdaRequest = serde_json::from_value(event).unwrap();
    event.into()
}

/// An event of the WebSocket API, by the serialisation that production uses.
pub fn socket_event(event: Value) -> aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest {
    serde_json::from_value(event).unwrap()
}

/// The body of an answer as JSON; null where it is none.
pub fn body(answer: &HttpAnswer) -> Value {
    match answer.body() {
        lambda_http::Body::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Value::Null,
    }
}
