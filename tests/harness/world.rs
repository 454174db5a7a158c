//! A whole system on a free port, with stores of its own and a clock that stands.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::forward::LambdaUrl;
use gateway::local::{Local, Settings};
use serde_json::{Value, json};
use shared::clock::Clock;
use tempfile::TempDir;

use crate::device::Device;
use crate::http::{self, Answer};
use crate::watch::Watch;
use crate::{postgres_server, redis_server};

/// Where the clock of a world stands at first: 2027-01-15T08:00:00Z.
pub const START_MS: i64 = 1_800_000_000_000;

/// What names the stores and the place of functions: `servers`, or `watched` for servers and `cargo lambda watch`.
const STORES: &str = "CARILLON_STORES";

/// The drain's schedule, as the template names it.
const DRAIN_SCHEDULE: &str = "drainEveryMinute";

/// A running system.
pub struct World {
    local: Local,
    data: TempDir,
    variables: HashMap<String, String>,
    /// The clock of functions, sockets and schedules.
    pub clock: Clock,
    /// Where functions run, if not in the gateway.
    watched: Option<Watched>,
}

/// Functions that are processes of their own, which outlive their gateway.
struct Watched {
    lambda: LambdaUrl,
    _functions: Watch,
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
        match std::env::var(STORES).as_deref() {
            Ok("watched") => Self::watched(variables).await,
            Ok("servers") => {
                on_servers(&mut variables).await;
                Self::begin(variables, Clock::standing(START_MS)).await
            }
            _ => Self::begin(variables, Clock::standing(START_MS)).await,
        }
    }

    /// A new one with exactly these variables in its environment, by this clock: on stores that a test shares or ends.
    pub async fn on(variables: &[(&str, &str)], clock: Clock) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::begin(variables, clock).await
    }

    async fn begin(variables: HashMap<String, String>, clock: Clock) -> Self {
        let data = tempfile::tempdir().unwrap();
        let local = start(data.path(), &variables, &clock, 0, None).await;
        Self { local, data, variables, clock, watched: None }
    }

    /// A gateway before functions under `cargo lambda watch`, all by the machine's clock.
    async fn watched(mut variables: HashMap<String, String>) -> Self {
        on_servers(&mut variables).await;
        variables.insert("JWT_SECRET".into(), "what gateway and functions of a test both know".into());
        let (data, clock, lambda) = (tempfile::tempdir().unwrap(), Clock::system(), free_port());
        let url: LambdaUrl = format!("http://127.0.0.1:{lambda}").parse().unwrap();
        let local = start(data.path(), &variables, &clock, 0, Some(&url)).await;
        let (endpoint, sockets) =
            (format!("http://{}/live", local.address()), format!("ws://{}/live", local.address()));
        let own = [("WS_ENDPOINT", endpoint.as_str()), ("WS_URL", sockets.as_str())];
        let others = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let functions = Watch::start(lambda, own.into_iter().chain(others)).await;
        let watched = Some(Watched { lambda: url, _functions: functions });
        Self { local, data, variables, clock, watched }
    }

    /// Stops it and starts it again on the same data.
    pub async fn restarts(self) -> Self {
        let Self { local, data, variables, clock, watched } = self;
        let lambda = watched.as_ref().map(|watched| &watched.lambda);
        // Functions that live on know where it was.
        let port = if lambda.is_some() { local.address().port() } else { 0 };
        local.stop().await;
        let local = start(data.path(), &variables, &clock, port, lambda).await;
        Self { local, data, variables, clock, watched }
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
        assert!(
            self.watched.is_none(),
            "functions elsewhere go by the machine's clock: this flow belongs into `in_process`"
        );
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

async fn start(
    data: &Path,
    variables: &HashMap<String, String>,
    clock: &Clock,
    port: u16,
    lambda: Option<&LambdaUrl>,
) -> Local {
    let settings = Settings {
        host: "127.0.0.1".into(),
        port,
        data: data.into(),
        template: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")),
        variables: variables.clone(),
        clock: clock.clone(),
        lambda: lambda.cloned(),
    };
    Local::start(settings).await.unwrap()
}

/// A database and a prefix of its own on the servers that all tests share.
async fn on_servers(variables: &mut HashMap<String, String>) {
    let database = postgres_server::database().await;
    variables.insert("DATABASE_URL".into(), database.reveal().to_owned());
    let redis = redis_server::own_prefix();
    variables.insert("REDIS_URL".into(), redis.url.reveal().to_owned());
    variables.insert("REDIS_KEY_PREFIX".into(), redis.prefix);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
