//! A whole system on a free port, with its own stores and a clock that only the test advances.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway::forward::LambdaUrl;
use gateway::local::{Lambda, Local, Settings};
use gateway::sandboxes;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Secret;
use tempfile::TempDir;

use crate::binaries::{self, Profile};
use crate::device::Device;
use crate::http::{self, Answer};
use crate::watch::Watch;
use crate::{pgbouncer, postgres_server, redis_server};

/// The initial time of a world: 2027-01-15T08:00:00Z.
pub const START_MS: i64 = 1_800_000_000_000;

/// The variable that selects stores and functions: `servers` for Postgres and Redis, `pooled` for these servers with
/// PgBouncer in front of Postgres, `spawned` for the servers and functions in processes that the gateway starts, `watched`
/// for the servers and functions under `cargo lambda watch`; otherwise SQLite, memory and functions in the gateway.
const STORES: &str = "CARILLON_STORES";

/// How many processes of one function the gateway starts. Each has two connections to the database, which all tests share.
const MAX_SANDBOXES: usize = 4;

/// The drain's schedule, as the template names it.
const DRAIN_SCHEDULE: &str = "drainEveryMinute";

/// Whether the stores of the tests are Postgres behind PgBouncer, and Redis.
pub fn is_pooled() -> bool {
    std::env::var(STORES).as_deref() == Ok("pooled")
}

/// A running system.
pub struct World {
    local: Local,
    data: TempDir,
    variables: HashMap<String, String>,
    /// The clock of functions, sockets and schedules.
    pub clock: Clock,
    /// Where the functions run; `None` if in the gateway.
    lambda: Option<Lambda>,
    /// Functions that outlive the gateway.
    watch: Option<Watch>,
}

impl World {
    /// An empty system.
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// An empty system with these environment variables.
    pub async fn with(variables: &[(&str, &str)]) -> Self {
        let mut variables: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match std::env::var(STORES).as_deref() {
            Ok("watched") => Self::watched(variables).await,
            Ok("spawned") => Self::spawned_with(variables).await,
            Ok(stores @ ("servers" | "pooled")) => {
                on_servers(&mut variables).await;
                if stores == "pooled" {
                    let database = Secret::new(variables["DATABASE_URL"].as_str());
                    variables.insert("DATABASE_URL".into(), pgbouncer::pooled(&database).reveal().to_owned());
                    variables.insert("DATABASE_POOLER".into(), "transaction".into());
                }
                Self::begin(variables, Clock::manual(START_MS)).await
            }
            _ => Self::begin(variables, Clock::manual(START_MS)).await,
        }
    }

    /// A system with exactly these environment variables and this clock. For tests that share or stop the stores.
    pub async fn on(variables: &[(&str, &str)], clock: Clock) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::begin(variables, clock).await
    }

    /// An empty system on servers whose functions are processes that the gateway starts. They use the machine's clock.
    pub async fn spawned() -> Self {
        Self::spawned_with(HashMap::new()).await
    }

    async fn begin(variables: HashMap<String, String>, clock: Clock) -> Self {
        Self::begin_with(variables, clock, None).await
    }

    async fn begin_with(variables: HashMap<String, String>, clock: Clock, lambda: Option<Lambda>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let local = start(data.path(), &variables, &clock, 0, lambda.clone()).await;
        Self { local, data, variables, clock, lambda, watch: None }
    }

    async fn spawned_with(mut variables: HashMap<String, String>) -> Self {
        on_servers(&mut variables).await;
        // What functions log goes to standard error.
        variables.entry("RUST_LOG".into()).or_insert("error".into());
        let settings = sandboxes::Settings {
            folder: binaries::folder(Profile::Dev),
            max_sandboxes: MAX_SANDBOXES,
            max_idle: Duration::from_secs(60),
        };
        Self::begin_with(variables, Clock::system(), Some(Lambda::Spawn(settings))).await
    }

    /// A gateway in front of functions under `cargo lambda watch`, all on the machine's clock.
    async fn watched(mut variables: HashMap<String, String>) -> Self {
        on_servers(&mut variables).await;
        if !variables.contains_key("JWT_JWKS_URL") {
            variables.insert("JWT_SECRET".into(), "a secret that gateway and functions share".into());
        }
        let port = free_port();
        let url: LambdaUrl = format!("http://127.0.0.1:{port}").parse().unwrap();
        let mut world = Self::begin_with(variables, Clock::system(), Some(Lambda::At(url))).await;
        let (endpoint, sockets) =
            (format!("http://{}/live", world.address()), format!("ws://{}/live", world.address()));
        let own = [("WS_ENDPOINT", endpoint.as_str()), ("WS_URL", sockets.as_str())];
        let others = world.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        world.watch = Some(Watch::start(port, own.into_iter().chain(others)).await);
        world
    }

    /// Restarts the system on the same data.
    pub async fn restarts(self) -> Self {
        let Self { local, data, variables, clock, lambda, watch } = self;
        // Functions that outlive the gateway keep its address, so it must not change.
        let port = if watch.is_some() { local.address().port() } else { 0 };
        local.stop().await;
        let local = start(data.path(), &variables, &clock, port, lambda.clone()).await;
        Self { local, data, variables, clock, lambda, watch }
    }

    /// Shuts the system down cleanly.
    pub async fn stops(self) {
        self.local.stop().await;
    }

    /// The address that the gateway listens on.
    pub fn address(&self) -> SocketAddr {
        self.local.address()
    }

    /// Advances the clock of the system.
    pub fn advances(&self, by: Duration) {
        assert!(
            self.lambda.is_none(),
            "functions outside the gateway use the machine's clock: this flow belongs in `in_process`"
        );
        self.clock.advance(by);
    }

    /// Runs the drain as its schedule does, waits for it and returns its report.
    pub async fn drains(&self) -> Value {
        serde_json::from_slice(&self.local.gateway.fire(DRAIN_SCHEDULE).await.unwrap()).unwrap()
    }

    /// A user without scopes, whose token is valid for a day.
    pub fn user(&self, id: &str) -> Caller {
        self.caller(id, "", 86_400)
    }

    /// A service with the scope `notify:send`, whose token is valid for a day.
    pub fn service(&self, id: &str) -> Caller {
        self.caller(id, "notify:send", 86_400)
    }

    /// A caller with these scopes and a token that is valid for `ttl_s` seconds.
    pub fn caller(&self, id: &str, scope: &str, ttl_s: u64) -> Caller {
        self.bearer(id, &self.local.token(id, scope, ttl_s).unwrap().token)
    }

    /// A caller with this token, which an identity provider signed.
    pub fn bearer(&self, id: &str, token: &str) -> Caller {
        Caller { id: id.to_owned(), address: self.address(), authorization: format!("Bearer {token}") }
    }

    /// Makes a call without a token.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        http::described_call(self.address(), method, path, headers, body).await
    }
}

async fn start(
    data: &Path,
    variables: &HashMap<String, String>,
    clock: &Clock,
    port: u16,
    lambda: Option<Lambda>,
) -> Local {
    let settings = Settings {
        host: "127.0.0.1".into(),
        port,
        data: data.into(),
        template: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml")),
        variables: variables.clone(),
        clock: clock.clone(),
        lambda,
        cancel_on_disconnect: false,
    };
    Local::start(settings).await.unwrap()
}

/// Adds the variables of a new database and a new key prefix on the servers that all tests share.
async fn on_servers(variables: &mut HashMap<String, String>) {
    let database = postgres_server::database().await;
    variables.insert("DATABASE_URL".into(), database.reveal().to_owned());
    // Elsewhere there is one, so that both are covered.
    let has_several = std::env::var(STORES).as_deref() == Ok("servers");
    let redis = if has_several { redis_server::own_prefix_on_several() } else { redis_server::own_prefix() };
    let urls: Vec<&str> = redis.instances.iter().map(|instance| instance.url.reveal()).collect();
    let name = if urls.len() > 1 { "REDIS_URLS" } else { "REDIS_URL" };
    variables.insert(name.into(), urls.join(","));
    variables.insert("REDIS_KEY_PREFIX".into(), redis.prefix);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A user or service with a token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The `sub` of the token.
    pub id: String,
    address: SocketAddr,
    authorization: String,
}

impl Caller {
    /// The `Authorization` header.
    pub fn authorization(&self) -> &str {
        &self.authorization
    }

    /// Makes a GET call.
    pub async fn gets(&self, path: &str) -> Answer {
        self.calls("GET", path, &[], "").await
    }

    /// Makes a POST call with a JSON body.
    pub async fn posts(&self, path: &str, body: Value) -> Answer {
        self.calls("POST", path, &[("content-type", "application/json")], &body.to_string()).await
    }

    /// Makes a DELETE call.
    pub async fn deletes(&self, path: &str) -> Answer {
        self.calls("DELETE", path, &[], "").await
    }

    /// Makes a call with additional headers.
    pub async fn calls(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("authorization", self.authorization.as_str())];
        all.extend_from_slice(headers);
        http::described_call(self.address, method, path, &all, body).await
    }

    /// Sends a plain notification to these users; returns the id of the first recipient's notification.
    pub async fn rings(&self, users: &[&str], title: &str) -> String {
        let body = json!({"type": "greeting", "userIds": users, "title": title});
        let sent = self.posts("/api/notifications/send", body).await.expect(202);
        sent["notifications"][0]["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Requests a ticket for a socket.
    pub async fn ticket(&self) -> String {
        let issued = self.calls("POST", "/api/ws/ticket", &[], "").await.expect(201);
        issued["ticket"].as_str().unwrap().to_owned()
    }

    /// Opens a socket with a new ticket.
    pub async fn connects(&self) -> Device {
        Device::open(self.address, &self.ticket().await, None).await.unwrap()
    }

    /// The ids of the newest 200 notifications in the inbox, newest first.
    pub async fn inbox(&self) -> Vec<String> {
        let list = self.gets("/api/notifications?limit=200").await.expect(200);
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The current cursor of the inbox.
    pub async fn cursor(&self) -> String {
        self.gets("/api/sync").await.expect(200)["cursor"].as_str().unwrap().to_owned()
    }
}
