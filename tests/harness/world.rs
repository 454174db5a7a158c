//! A whole system on a free port, with stores of its own and a clock that stands.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::local::{Local, Settings};
use serde_json::{Value, json};
use shared::clock::Clock;
use tempfile::TempDir;

use crate::device::Device;
use crate::http::{self, Answer};
use crate::{postgres_server, redis_server};

/// Where the clock of a world stands at first: 2027-01-15T08:00:00Z.
pub const START_MS: i64 = 1_800_000_000_000;

/// The drain's schedule, as the template names it.
const DRAIN_SCHEDULE: &str = "drainEveryMinute";

/// A running system.
pub struct World {
    local: Local,
    data: TempDir,
    variables: HashMap<String, String>,
    /// The clock of functions, sockets and schedules.
    pub clock: Clock,
}

impl World {
    /// A new one, with nothing in it.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A new one with these variables in its environment.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let mut variables: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if std::env::var("CARILLON_STORES").is_ok_and(|stores| stores == "servers") {
            let database = postgres_server::database().await;
            variables.insert("DATABASE_URL".into(), database.reveal().to_owned());
            let redis = redis_server::own_prefix();
            variables.insert("REDIS_URL".into(), redis.url.reveal().to_owned());
            variables.insert("REDIS_KEY_PREFIX".into(), redis.prefix);
        }
        Self::begin(variables, Clock::standing(START_MS)).await
    }

    /// A new one with exactly these variables in its environment, by this clock: on stores that a test shares or ends.
    pub async fn on(variables: &[(&str, &str)], clock: Clock) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::begin(variables, clock).await
    }

    async fn begin(variables: HashMap<String, String>, clock: Clock) -> Self {
        let data = tempfile::tempdir().unwrap();
        let local = start(data.path(), &variables, &clock).await;
        Self { local, data, variables, clock }
    }

    /// Only a gateway, by the machine's clock, before functions that run and keep stores of their own at this URL.
    pub async fn calling(lambda: &str) -> Self {
        let (data, clock, variables) = (tempfile::tempdir().unwrap(), Clock::system(), HashMap::new());
        let lambda = Some(lambda.parse().unwrap());
        let local = Local::start(Settings { lambda, ..settings(data.path(), &variables, &clock) }).await.unwrap();
        Self { local, data, variables, clock }
    }

    /// What tokens are signed with.
    pub fn secret(&self) -> String {
        self.local.config.jwt_secret.as_ref().unwrap().reveal().to_owned()
    }

    /// Stops it and starts it again on the same data.
    pub async fn restarts(self) -> Self {
        let Self { local, data, variables, clock } = self;
        local.stop().await;
        let local = start(data.path(), &variables, &clock).await;
        Self { local, data, variables, clock }
    }

    /// Ends it, cleanly.
    pub async fn stops(self) {
        self.local.stop().await;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.local.address()
    }

    /// Time passes.
    pub fn turns(&self, by: Duration) {
        self.clock.turn(by);
    }

    /// Runs the drain as its schedule would, and waits for it.
    pub async fn drains(&self) -> Value {
        serde_json::from_slice(&self.local.gateway.fire(DRAIN_SCHEDULE).await.unwrap()).unwrap()
    }

    /// A user without scopes, whose token is good for a day.
    pub fn user(&self, id: &str) -> Caller {
        self.caller(id, "", 86_400)
    }

    /// A service that may send.
    pub fn service(&self, id: &str) -> Caller {
        self.caller(id, "notify:send", 86_400)
    }

    /// Somebody with these scopes and a token that is good for so many seconds.
    pub fn caller(&self, id: &str, scope: &str, ttl_s: u64) -> Caller {
        let token = self.local.token(id, scope, ttl_s).unwrap().token;
        Caller { id: id.to_owned(), address: self.address(), authorization: format!("Bearer {token}") }
    }

    /// A call by nobody.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        http::call(self.address(), method, path, headers, body.to_owned()).await
    }
}

async fn start(data: &Path, variables: &HashMap<String, String>, clock: &Clock) -> Local {
    Local::start(settings(data, variables, clock)).await.unwrap()
}

fn settings(data: &Path, variables: &HashMap<String, String>, clock: &Clock) -> Settings {
    Settings {
        host: "127.0.0.1".into(),
        port: 0,
        data: data.into(),
        template: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")),
        variables: variables.clone(),
        clock: clock.clone(),
        lambda: None,
    }
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `sub` of the token.
    pub id: String,
    address: SocketAddr,
    authorization: String,
}

impl Caller {
    /// The `Authorization` header.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// Asks for something.
    pub async fn gets(&self, path: &str) -> Answer {
        self.calls("GET", path, &[], "").await
    }

    /// Posts JSON.
    pub async fn posts(&self, path: &str, body: Value) -> Answer {
        self.calls("POST", path, &[("content-type", "application/json")], &body.to_string()).await
    }

    /// Deletes something.
    pub async fn deletes(&self, path: &str) -> Answer {
        self.calls("DELETE", path, &[], "").await
    }

    /// Calls with headers of its own.
    pub async fn calls(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("authorization", self.authorization.as_str())];
        all.extend_from_slice(headers);
        http::call(self.address, method, path, &all, body.to_owned()).await
    }

    /// Sends a plain notification; returns its id for the first recipient.
    pub async fn rings(&self, users: &[&str], title: &str) -> String {
        let body = json!({"type": "greeting", "userIds": users, "title": title});
        let sent = self.posts("/api/notifications/send", body).await.expect(202);
        sent["notifications"][0]["id"].as_str().unwrap_or_default().to_owned()
    }

    /// A ticket to a socket.
    pub async fn ticket(&self) -> String {
        let issued = self.calls("POST", "/api/ws/ticket", &[], "").await.expect(201);
        issued["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens a socket.
    pub async fn connects(&self) -> Device {
        Device::open(self.address, &self.ticket().await, None).await.unwrap()
    }

    /// The ids in the inbox, newest first.
    pub async fn inbox(&self) -> Vec<String> {
        let list = self.gets("/api/notifications?limit=200").await.expect(200);
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The cursor of the inbox.
    pub async fn cursor(&self) -> String {
        self.gets("/api/sync").await.expect(200)["cursor"].as_str().unwrap().to_owned()
    }
}
