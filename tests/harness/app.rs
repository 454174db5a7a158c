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
use shared::clock::Clock;
use shared::config::{Config, Origins};
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
        let store = Arc::new(SqliteRecord::open(&data.path().join("carillon.db")).await.unwrap());
        let record = Arc::new(Counted { store: store.clone(), seen: AtomicUsize::new(0) });
        let push = Arc::new(FakePush::default());
        let mut app =
            App::new(config, Record::new(store), Moment::new(Arc::new(MemoryMoment::default())), push.clone());
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
        self.record.round_trips();
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

/// A record whose accesses a test can count: a call of a promise is one, however many statements it has.
pub struct Counted {
    store: Arc<SqliteRecord>,
    seen: AtomicUsize,
}

impl Counted {
    /// How often it was accessed since the last time.
    pub fn round_trips(&self) -> usize {
        let accesses = self.store.accesses();
        accesses - self.seen.swap(accesses, Ordering::Relaxed)
    }

    /// Makes it unavailable from now on.
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
