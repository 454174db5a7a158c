//! Functions without a gateway: an app on stores of its own, whose pushes are recorded and whose round trips are
//! counted.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use shared::app::App;
use shared::auth;
use shared::clock::{At, Clock};
use shared::config::{Config, Origins};
use shared::fast::FastRecord;
use shared::fast::log::Logs;
use shared::ids::{ConnectionId, UserId};
use shared::moment::memory::MemoryMoment;
use shared::moment::none::NoMoment;
use shared::moment::{Moment, MomentStore};
use shared::protocol::Frame;
use shared::record::sqlite::SqliteRecord;
use shared::record::{Record, RecordStore};
use shared::sockets::connections::{Opened, Opening, Ticket};
use shared::sockets::push::{Outcome, Push};
use tempfile::TempDir;

use crate::api;
use crate::world::START_MS;

/// An app whose clock, sockets and stores a test can inspect and set.
pub struct TestApp {
    /// The argument of handlers.
    pub app: App,
    /// The sockets.
    pub push: Arc<FakePush>,
    /// The record, which counts its calls.
    pub record: Arc<Counted>,
    /// Moves only when the test moves it.
    pub clock: Clock,
    /// The record, before which nothing is done.
    bare: Record,
    _data: TempDir,
}

impl TestApp {
    /// A new, empty app.
    pub async fn new() -> Self {
        Self::with(&[("JWT_SECRET", "a secret of at least thirty-two bytes")]).await
    }

    /// A new, empty app with these environment variables, which say how tokens are verified.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut variables: HashMap<&str, &str> = variables.iter().copied().collect();
        variables.insert("WS_URL", "ws://localhost/live");
        let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        let config = Config::read(variable, &[], Origins::Loopback).unwrap();
        let store = Arc::new(SqliteRecord::open(&data.path().join("carillon.db")).await.unwrap());
        let record = Arc::new(Counted { store: store.clone(), seen: AtomicUsize::new(0) });
        let push = Arc::new(FakePush::default());
        let (bare, moment) = (Record::new(store), Moment::new(Arc::new(MemoryMoment::default())));
        let clock = Clock::manual(START_MS);
        let app = App::with_clock(config, bare.clone(), moment, push.clone(), clock.clone());
        // As in a sandbox that has served before.
        app.revoked_users.refresh(&*app.record.revocations, START_MS).await;
        app.fast_use.may_have_logs(&*app.record.fast, &clock).await.unwrap();
        record.round_trips();
        Self { app, push, record, clock, bare, _data: data }
    }

    /// Replaces the record. Earlier connections are not in it.
    pub fn uses_record(&mut self, record: Arc<dyn RecordStore>) {
        self.bare = Record::new(record);
        self.assemble(self.app.moment.clone());
    }

    /// Replaces the moment.
    pub fn uses_moment(&mut self, moment: Arc<dyn MomentStore>) {
        self.assemble(Moment::new(moment));
    }

    /// Replaces what of the record concerns fast accepts.
    pub fn uses_fast_record(&mut self, record: Arc<dyn FastRecord>) {
        self.bare.fast = record;
        self.assemble(self.app.moment.clone());
    }

    /// Replaces the logs of fast accepts.
    pub fn uses_logs(&mut self, logs: Arc<dyn Logs>) {
        self.assemble(Moment { logs, ..self.app.moment.clone() });
    }

    /// Lets fast accepts be in use for long enough that each may be made.
    pub async fn accepts_fast(&mut self) {
        self.app.record.fast.use_fast(At::Fixed(self.clock.now_ms() - 60_000)).await.unwrap();
        self.assemble(self.app.moment.clone());
        self.app.fast_use.may_have_logs(&*self.app.record.fast, &self.clock).await.unwrap();
        self.record.round_trips();
    }

    /// The app on its stores as they are now, with what the test has replaced otherwise.
    fn assemble(&mut self, moment: Moment) {
        let App { config, push, clock, .. } = &self.app;
        let config = Config::clone(config);
        let app = App::with_clock(config, self.bare.clone(), moment, Arc::clone(push), clock.clone());
        let before = std::mem::replace(&mut self.app, app);
        (self.app.wake, self.app.revoked_users) = (before.wake, before.revoked_users);
    }

    /// Removes the queue, so that only the record finds what is left to push.
    pub fn loses_its_queue(&mut self) {
        self.app.moment.queue = Arc::new(NoMoment::default());
    }

    /// The `Authorization` header of a user whose token is valid for an hour.
    pub fn bearer(&self, sub: &str, scope: &str) -> String {
        let now_s = self.clock.now_ms() / 1_000;
        format!("Bearer {}", auth::sign(&self.app.config, sub, scope, now_s, now_s + 3_600).unwrap())
    }

    /// Registers connections of a user, as their `$connect` would.
    pub async fn connect(&self, user: &str, connections: &[&str]) {
        let user = UserId::new(user).unwrap();
        let token_expires_at_ms = self.clock.now_ms() + 3_600_000;
        for connection in connections {
            let (_, hash) = auth::new_ticket().unwrap();
            let expires_at_ms = token_expires_at_ms;
            let ticket = Ticket {
                hash,
                user: user.clone(),
                origin: None,
                token_issued_at_s: None,
                token_expires_at_ms,
                expires_at_ms,
            };
            self.app.record.connections.issue(&ticket, self.app.clock.at()).await.unwrap();
            let connection = ConnectionId::new(*connection);
            let opening = Opening { connection: &connection, ticket_hash: hash, origin: None };
            let opened = self.app.record.connections.open(&opening, self.app.clock.at()).await.unwrap();
            assert!(matches!(opened, Opened::Registered { .. }));
        }
        self.record.round_trips();
    }
}

/// A recorded event of `tests/events`.
pub fn event(name: &str) -> Value {
    let file = format!("{}/events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Sockets that only record what happens to them.
#[derive(Debug, Default)]
pub struct FakePush {
    frames: Mutex<Vec<(String, Value)>>,
    closed: Mutex<Vec<String>>,
    outcomes: Mutex<HashMap<String, Vec<Outcome>>>,
    most_at_once: AtomicUsize,
}

impl FakePush {
    /// The most frames that one push had so far.
    pub fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::Relaxed)
    }

    /// The frames pushed since the last call, each with its connection. Panics if one is not as described.
    pub fn taken(&self) -> Vec<(String, Value)> {
        let taken = std::mem::take(&mut *self.frames.lock().unwrap());
        taken.iter().for_each(|(_, frame)| api::check_frame(frame));
        taken
    }

    /// The connections that were closed so far.
    pub fn closed(&self) -> Vec<String> {
        self.closed.lock().unwrap().clone()
    }

    /// Sets the outcomes of the next pushes to a connection, in order; later pushes are accepted.
    pub fn will(&self, connection: &str, outcomes: &[Outcome]) {
        self.outcomes.lock().unwrap().insert(connection.to_owned(), outcomes.iter().rev().copied().collect());
    }
}

#[async_trait]
impl Push for FakePush {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        self.most_at_once.fetch_max(frames.len(), Ordering::Relaxed);
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

/// A record whose calls a test can count. A call of a trait counts once, however many statements it needs.
pub struct Counted {
    store: Arc<SqliteRecord>,
    seen: AtomicUsize,
}

impl Counted {
    /// The number of calls since the last time.
    pub fn round_trips(&self) -> usize {
        let accesses = self.store.accesses();
        accesses - self.seen.swap(accesses, Ordering::Relaxed)
    }

    /// Makes it unavailable.
    pub async fn goes_away(&self) {
        self.store.close().await;
    }
}

impl Deref for Counted {
    type Target = SqliteRecord;

    fn deref(&self) -> &SqliteRecord {
        &self.store
    }
}

/// What a function behind the HTTP API returned.
pub type HttpAnswer = lambda_http::Response<lambda_http::Body>;

/// An event of the HTTP API as a handler receives it, deserialised as in production.
pub fn request(event: Value) -> lambda_http::Request {
    let event: lambda_http::request::LambdaRequest = serde_json::from_value(event).unwrap();
    event.into()
}

/// An event of the WebSocket API, deserialised as in production.
pub fn socket_event(event: Value) -> aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest {
    serde_json::from_value(event).unwrap()
}

/// The body of a response as JSON; null if it has none.
pub fn body(answer: &HttpAnswer) -> Value {
    match answer.body() {
        lambda_http::Body::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Value::Null,
    }
}
