//! The environment of a scenario: real servers behind proxies, the gateway, functions as processes, services and
//! devices, and the operations that inject faults and record results.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use gateway::{Function, Gateway, Options, Template, listen, serve};
use harness::redis_server::RedisServer;
use harness::sandbox::{Variables, required_variables};
use harness::{Answer, event};
use serde_json::{Value, json};
use shared::app::App;
use shared::auth;
use shared::clock::{At, Clock};
use shared::config::{Config, Origins, RedisConfig};
use shared::fast::log::Logs;
use shared::moment::Moment;
use shared::moment::redis::RedisMoment;
use shared::record::Record;
use shared::record::postgres::PostgresRecord;
use shared::sockets::api_gateway::ApiGatewayPush;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool};
use tokio::task::JoinHandle;

use crate::device::{Device, Transport};
use crate::lambda::Lambda;
use crate::management_api::{Behaviour, ManagementApi};
use crate::proxy::{Mode, Proxy};
use crate::report;
use crate::scenarios::{PAUSE_AFTER_SEND, SERVICES};
use crate::sender::{Attempt, Load, Log, Sent, Service};
use crate::servers::Servers;
use crate::talk::{Chat, PAIR, Talked, Writer};

/// The number of users. The first one has two devices more, of which one listens to an event stream.
const USERS: usize = 6;
/// How often the drain is called. In production it is every minute; the test runs faster.
const DRAIN_INTERVAL: Duration = Duration::from_millis(700);
/// How often an event stream says where the inbox stands. By default it does once a minute; the test runs faster.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long a user counts as online after its last frame: the shortest time that can be configured.
pub(crate) const PRESENCE_LEASE: Duration = Duration::from_secs(60);
/// The window of each rate limit, of which no scenario reaches the count.
pub(crate) const LIMIT_WINDOW: Duration = Duration::from_secs(1);
/// The maximum time until no work is left after a scenario.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Which frames may come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duplicates {
    Allowed,
    /// Those of messages: if a push to one member fails, it is repeated to a whole group of them.
    OfMessages,
    Forbidden,
}

/// The environment of one scenario. Scenarios inject faults, and `end_fault` ends those in proxies and the management
/// API.
pub(crate) struct Testbed {
    pub(crate) servers: Servers,
    /// The proxy between the functions and Postgres.
    pub(crate) postgres: Proxy,
    /// The proxy between the functions and Redis.
    pub(crate) redis: Proxy,
    /// The management API through which functions push.
    pub(crate) management: ManagementApi,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) gateway: Gateway,
    /// The name of the database, which is also the key prefix in Redis.
    pub(crate) name: String,
    /// Connections that bypass the proxy.
    pub(crate) database: PgPool,
    pub(crate) devices: Vec<Arc<Device>>,
    pub(crate) chats: Vec<Chat>,
    pub(crate) talked: Arc<Talked>,
    pub(crate) service: Service,
    pub(crate) users: Vec<String>,
    /// The seed of all random numbers.
    pub(crate) seed: u64,
    config: Config,
    pub(crate) load: Vec<Load>,
    pub(crate) schedule: JoinHandle<()>,
    pub(crate) fault_ended: Option<Instant>,
    pub(crate) notes: Vec<String>,
    pub(crate) failures: Vec<String>,
    pub(crate) duplicates: Duplicates,
    /// The queue, as the functions see it.
    pub(crate) queue: RedisMoment,
    pub(crate) baseline: Option<[usize; 2]>,
    /// Whether Redis has what can be accepted fast before the database.
    pub(crate) accepts_fast: bool,
    /// The most entries that were seen to wait in logs at once.
    pub(crate) most_logged: Arc<AtomicU64>,
    /// How many times a Redis server lost its memory, at most.
    pub(crate) losses: AtomicU64,
    pub(crate) started_at: Instant,
}

impl Testbed {
    /// Starts an environment on these servers, with a new database. Devices are connected, and no service sends.
    pub(crate) async fn start(servers: Servers, seed: u64, accepts_fast: bool) -> Self {
        let started_at = Instant::now();
        servers.empty_redis();
        let url = servers.postgres.database().await.reveal().to_owned();
        let database = PgPoolOptions::new().max_connections(2).after_connect(|connection, _| {
            // The role has the timeouts of a function, which some statements of scenarios exceed.
            Box::pin(async move { connection.execute("SET statement_timeout = 0").await.map(drop) })
        });
        let database = database.connect(&url).await.unwrap();
        let postgres = Proxy::in_front_of(servers.postgres.port(), seed + 1).await;
        let redis = Proxy::in_front_of(servers.redis.port(), seed + 2).await;
        let management = ManagementApi::new(seed + 3).await;
        let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");
        let template = Template::read(Path::new(template)).unwrap();
        let listener = listen("127.0.0.1", 0).await.unwrap();
        let name = url.rsplit_once('/').map(|(_, name)| name).unwrap_or_default();
        let is_cluster = servers.is_cluster;
        let more_redis: Vec<u16> = match is_cluster {
            // The first one knows the others.
            true => Vec::new(),
            false => servers.more_redis.iter().map(RedisServer::port).collect(),
        };
        let variables = |postgres: u16, redis: u16| {
            let ports = std::iter::once(&redis).chain(&more_redis);
            let urls = ports.map(|port| format!("redis://127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
            let limit = format!("100000/{}s", LIMIT_WINDOW.as_secs());
            // An empty variable counts as unset.
            let (one, several) = if more_redis.is_empty() { (urls, String::new()) } else { (String::new(), urls) };
            variables_with(&[
                ("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{postgres}/{name}")),
                ("REDIS_URL", one),
                ("REDIS_URLS", several),
                ("REDIS_CLUSTER", is_cluster.to_string()),
                ("REDIS_KEY_PREFIX", name.to_owned()),
                ("WS_ENDPOINT", format!("http://{}/live", management.address)),
                ("WS_URL", format!("ws://{}/live", listener.address())),
                ("ACCEPT", accept(accepts_fast).to_owned()),
                ("RATE_LIMIT_SEND", limit.clone()),
                ("RATE_LIMIT_CHAT", limit.clone()),
                ("RATE_LIMIT_FRAMES", limit),
                ("PRESENCE_LEASE_MS", PRESENCE_LEASE.as_millis().to_string()),
                ("DRAIN_LINGER_MS", "500".to_owned()),
                ("RUST_LOG", "warn".to_owned()),
            ])
        };
        let config = {
            let variables = variables(postgres.port, redis.port);
            let value = |name: &str| variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
            Config::read(value, &[], Origins::Loopback).unwrap()
        };
        let queue = RedisMoment::new(config.redis.as_ref().expect("REDIS_URL is set"), Clock::system()).unwrap();
        let lambda = Lambda::new(&template, |function| match function {
            "send" | "chats" | "drain" => variables(postgres.watched_port, redis.watched_port),
            _ => variables(postgres.port, redis.port),
        });
        let lambda = Arc::new(lambda.await);
        let mut functions = lambda.functions(&template);
        functions.insert("stream", streams(&config));
        let mut options = Options::new(template, functions, Clock::system());
        options.fire_at_start = false;
        let gateway = serve(listener, options).unwrap();
        management.forward_to(gateway.address());
        let authorization = bearer(&config, "shop", "notify:send");
        let service = Service { address: gateway.address(), authorization, log: Arc::<Log>::default() };
        let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
        let schedule = tokio::spawn(call_drain_on_schedule(Arc::clone(&lambda)));
        let mut testbed = Self {
            servers,
            postgres,
            redis,
            management,
            lambda,
            gateway,
            name: name.to_owned(),
            database,
            devices: Vec::new(),
            chats: Vec::new(),
            talked: Arc::default(),
            service,
            users,
            seed,
            config,
            load: Vec::new(),
            schedule,
            fault_ended: None,
            notes: Vec::new(),
            failures: Vec::new(),
            duplicates: Duplicates::Allowed,
            queue,
            baseline: None,
            accepts_fast,
            most_logged: Arc::default(),
            losses: AtomicU64::default(),
            started_at,
        };
        if accepts_fast {
            // For so long that every process knows.
            let note = "INSERT INTO fast_accepts (only_row, since) VALUES (1, 0)";
            sqlx::query(note).execute(&testbed.database).await.unwrap();
            testbed.watch_logs(testbed.redis_config());
        }
        testbed.create_chats().await;
        let users = testbed.users.clone();
        for user in users.iter().chain(&users[..1]) {
            testbed.connect_device(user, Transport::Socket);
        }
        testbed.connect_device(&users[0], Transport::Stream);
        let open = async {
            while !testbed.devices.iter().all(|device| device.is_open()) {
                pause(20).await;
            }
        };
        tokio::time::timeout(IDLE_TIMEOUT, open).await.expect("devices connect before the first fault");
        testbed
    }

    /// Keeps in mind how much waits in the logs of this Redis, at most.
    pub(crate) fn watch_logs(&self, redis: &RedisConfig) {
        let (logs, most) = (RedisMoment::new(redis, Clock::system()).unwrap(), Arc::downgrade(&self.most_logged));
        tokio::spawn(async move {
            while let Some(most) = most.upgrade() {
                let entries = logs.unwritten_total(At::Server).await.map_or(0, |unwritten| unwritten.entries);
                most.fetch_max(entries, Ordering::Relaxed);
                drop(most);
                pause(25).await;
            }
        });
    }

    /// The value of `ACCEPT`.
    pub(crate) fn accept(&self) -> &'static str {
        accept(self.accepts_fast)
    }

    /// Counts that a Redis server loses its memory now, so many times, and with it what waits in its logs.
    pub(crate) async fn expect_losses(&self, times: u64) {
        self.losses.fetch_add(times, Ordering::Relaxed);
        if self.accepts_fast {
            self.most_logged.fetch_max(self.logged().await, Ordering::Relaxed);
        }
    }

    /// Connects another device of a user. Every second user reads what it shows.
    pub(crate) fn connect_device(&mut self, user: &str, transport: Transport) {
        let reads = self.users.iter().step_by(2).any(|reader| reader == user);
        let device = Device::new(user, transport, self.gateway.address(), self.authorization_of(user), reads);
        self.devices.push(Arc::new(device));
    }

    /// So many users that a send to them costs what any does: two, or the one to whom it can be accepted fast.
    pub(crate) fn few_users(&self) -> &[String] {
        &self.users[..if self.accepts_fast { 1 } else { 2 }]
    }

    pub(crate) fn authorization_of(&self, user: &str) -> String {
        bearer(&self.config, user, "")
    }

    /// Redis as the functions have it.
    pub(crate) fn redis_config(&self) -> &RedisConfig {
        self.config.redis.as_ref().expect("REDIS_URL is set")
    }

    /// The URLs of the Redis instances, as the functions have them.
    pub(crate) fn redis_urls(&self) -> Vec<String> {
        self.redis_config().instances.iter().map(|instance| instance.url.reveal().to_owned()).collect()
    }

    /// Creates the chats in which users talk.
    async fn create_chats(&mut self) {
        for members in [0..USERS, 1..3, 3..USERS] {
            let members = &self.users[members];
            let kind = if members.len() == 2 { "direct" } else { "group" };
            let chat = json!({"kind": kind, "participantIds": members[1..]});
            let chat = self.calls(&members[0], "POST", "/api/chats", &chat).await.expect(201);
            let id = chat["id"].as_str().unwrap().to_owned();
            self.chats.push(Chat { id, members: members.to_vec() });
        }
        let Chat { id, members } = &self.chats[PAIR];
        self.calls(&members[1], "POST", &format!("/api/chats/{id}/accept"), &json!({})).await.expect(200);
    }

    /// Calls the API as a user.
    pub(crate) async fn calls(&self, user: &str, method: &str, path: &str, body: &Value) -> Answer {
        let authorization = self.authorization_of(user);
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        harness::http::call(self.gateway.address(), method, path, &headers, body).await
    }

    /// A user, by its number, as a writer in one of the chats, on the user's first device.
    pub(crate) fn writer(&self, chat: usize, user: usize) -> Writer {
        Writer {
            chat: self.chats[chat].id.clone(),
            address: self.gateway.address(),
            authorization: self.authorization_of(&self.users[user]),
            device: Arc::clone(&self.devices[user]),
            talked: Arc::clone(&self.talked),
        }
    }

    /// Starts the users who talk.
    pub(crate) fn start_talk(&mut self) {
        let load = Load::of_talk(self);
        self.load.push(load);
    }

    /// Starts services that send, each with a pause after every send.
    pub(crate) fn start_senders(&mut self, name: &str, services: usize, pause: Duration) {
        self.load.push(Load::start(name, services, pause, &self.service, &self.users));
    }

    /// Starts services and users again after they were stopped.
    pub(crate) fn resume_load(&mut self) {
        self.start_senders("later", SERVICES, PAUSE_AFTER_SEND);
        self.start_talk();
    }

    /// Stops all services; returns when all started sends are answered.
    pub(crate) async fn stop_senders(&mut self) {
        for load in self.load.drain(..) {
            load.stop().await;
        }
    }

    /// Stops the services that were started last.
    pub(crate) async fn stop_last_senders(&mut self) {
        if let Some(load) = self.load.pop() {
            load.stop().await;
        }
    }

    /// How many duplicate frames came to users with one device. If a user has two devices and one refuses a frame, the
    /// frame may legitimately come to both again.
    pub(crate) fn duplicate_frames(&self, with_messages: bool) -> usize {
        let alone = |device: &&Arc<Device>| self.devices.iter().filter(|other| other.user == device.user).count() == 1;
        let duplicates = |device: &Arc<Device>| {
            let seen = device.seen.lock().unwrap();
            let messages = seen.message_frames.values().filter(|_| with_messages);
            seen.frames.values().chain(messages).map(|count| count - 1).sum::<usize>()
        };
        self.devices.iter().filter(alone).map(duplicates).sum()
    }

    /// Lets everything run for this long.
    pub(crate) async fn run_for(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// Calls the drain this many times concurrently; returns the results, `None` for a drain that died.
    pub(crate) async fn run_drains(&self, at_once: usize) -> Vec<Option<serde_json::Value>> {
        let schedule = event("schedule");
        let calls = (0..at_once).map(|_| self.lambda.call("drain", &schedule));
        futures_util::future::join_all(calls).await
    }

    /// Stops the calls of the drain by the schedule.
    pub(crate) fn stop_schedule(&self) {
        self.schedule.abort();
    }

    /// Restarts the calls of the drain by the schedule.
    pub(crate) fn start_schedule(&mut self) {
        self.schedule.abort();
        self.schedule = tokio::spawn(call_drain_on_schedule(Arc::clone(&self.lambda)));
    }

    /// Makes all work due that waits for its next attempt.
    pub(crate) async fn make_due(&self) {
        // A worker may hold some of these rows; the next call finds them.
        let now = "UPDATE notifications SET push_at = 0 WHERE (user_id, \"offset\") IN
                   (SELECT user_id, \"offset\" FROM notifications WHERE push_at > 0 FOR UPDATE SKIP LOCKED)";
        sqlx::query(now).execute(&self.database).await.unwrap();
        let now = "UPDATE messages SET push_at = 0 WHERE (chat_id, seq) IN
                   (SELECT chat_id, seq FROM messages WHERE push_at > 0 FOR UPDATE SKIP LOCKED)";
        sqlx::query(now).execute(&self.database).await.unwrap();
    }

    /// The result of a query for one number.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.database).await.unwrap()
    }

    /// Terminates the Postgres backends of the functions; returns how many.
    pub(crate) async fn terminate_backends(&self) -> i64 {
        self.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'carillon'")
            .await
    }

    /// Ends the fault: all traffic passes again. Recovery is measured from here.
    pub(crate) fn end_fault(&mut self) {
        self.postgres.set_mode(Mode::Pass);
        self.redis.set_mode(Mode::Pass);
        self.management.set_behaviour(Behaviour::Normal);
        self.fault_ended = Some(Instant::now());
    }

    /// Adds a line to the report.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Records a violation unless the condition holds.
    pub(crate) fn require(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.failures.push(what.into());
        }
    }

    /// Records the result of another design. It must have lost something, or the harness could not detect loss.
    pub(crate) fn set_baseline(&mut self, accepted: usize, lost: usize) {
        self.baseline = Some([accepted, lost]);
    }

    /// The p50 and p99 accept latency in milliseconds between two instants.
    pub(crate) fn accept_ms(&self, from: Instant, to: Instant) -> [f64; 2] {
        let attempts = self.service.log.attempts.lock().unwrap();
        report::accept_ms(attempts.iter().filter(|call| (from..to).contains(&call.at)))
    }

    /// How many messages to these chats were accepted between two instants.
    pub(crate) fn messages_elsewhere(&self, chats: &[usize], from: Instant, to: Instant) -> usize {
        let said = self.talked.said.lock().unwrap();
        let is_there = |chat: &str| chats.iter().any(|place| self.chats[*place].id == chat);
        said.iter().filter(|said| (from..to).contains(&said.answered_at) && is_there(&said.chat)).count()
    }

    /// How many sends and messages between two instants have a matching status; 0 means no answer.
    pub(crate) fn calls_with_status(&self, from: Instant, to: Instant, status: impl Fn(u16) -> bool) -> usize {
        let (sends, messages) = (self.service.log.attempts.lock().unwrap(), self.talked.attempts.lock().unwrap());
        let calls = sends.iter().chain(messages.iter());
        calls.filter(|call| (from..to).contains(&call.at) && status(call.status)).count()
    }

    /// The sends and messages between two instants that were not answered with 2xx, as far as they match, in their order.
    /// Each says what was answered, how long that took, and how long after the first instant it was asked for.
    pub(crate) fn refusals(&self, from: Instant, to: Instant, matches: impl Fn(&str, &Attempt) -> bool) -> Vec<String> {
        let (sends, messages) = (self.service.log.attempts.lock().unwrap(), self.talked.attempts.lock().unwrap());
        let calls = sends.iter().map(|call| ("send", call)).chain(messages.iter().map(|call| ("message", call)));
        let refused = calls.filter(|(_, call)| (from..to).contains(&call.at) && !(200..300).contains(&call.status));
        let mut refused: Vec<(&str, &Attempt)> = refused.filter(|(kind, call)| matches(kind, call)).collect();
        refused.sort_by_key(|(_, call)| call.at);
        let text = |(kind, call): (&str, &Attempt)| {
            let Attempt { at, took, status, code, .. } = call;
            let answer = if *status == 0 { "not answered".to_owned() } else { format!("{status} {code}") };
            format!("{kind} {answer} after {took:.1?}, asked for at {:.1} s", (*at - from).as_secs_f64())
        };
        refused.into_iter().map(text).collect()
    }

    /// The same for all since then.
    pub(crate) fn refusals_since(&self, from: Instant) -> Vec<String> {
        self.refusals(from, Instant::now(), |_, _| true)
    }

    /// How soon the first send that was begun after a fault was accepted and shown, and how long all of them took.
    pub(crate) fn went_on_after(&self, fault_began: Instant) -> String {
        let attempts = self.service.log.attempts.lock().unwrap();
        let begun: Vec<&Attempt> = attempts.iter().filter(|call| call.at >= fault_began).collect();
        let accepted = begun.iter().filter(|call| (200..300).contains(&call.status)).map(|call| call.at + call.took);
        let first_accepted = accepted.min();
        let sent = self.service.log.accepted.lock().unwrap();
        let sent = sent.iter().filter(|sent| first_accepted.is_some_and(|first| sent.accepted_at >= first));
        let ids: HashSet<String> = sent.flat_map(Sent::promised).map(|(_, id)| id).collect();
        let shown = self.devices.iter().filter_map(|device| {
            let seen = device.seen.lock().unwrap();
            seen.first_frame_at.iter().filter(|(id, _)| ids.contains(*id)).map(|(_, at)| *at).min()
        });
        let after = |at: Option<Instant>| {
            at.map_or_else(|| "never".to_owned(), |at| format!("{} ms", (at - fault_began).as_millis()))
        };
        let slow = begun.iter().filter(|call| call.took > report::SLOW).count();
        format!(
            "after the fault began, the first send was accepted after {} and shown after {}; {:.2} % of calls took longer than {} \
             ms, the slowest {} ms",
            after(first_accepted),
            after(shown.min()),
            slow as f64 / begun.len().max(1) as f64 * 100.0,
            report::SLOW.as_millis(),
            begun.iter().map(|call| call.took).max().unwrap_or_default().as_millis()
        )
    }

    /// Records a violation that lists these refusals, unless there are none.
    pub(crate) fn require_no_refusal(&mut self, refused: &[String], why: &str) {
        const MAX_LISTED: usize = 10;
        let listed = refused[..refused.len().min(MAX_LISTED)].join("; ");
        let more = if refused.len() > MAX_LISTED { "; …" } else { "" };
        self.require(refused.is_empty(), format!("{} calls were refused {why}: {listed}{more}", refused.len()));
    }
}

/// The function that holds event streams open. It runs in this process, because a sandbox serves one call at a time and a
/// stream lasts; its stores and sockets are those of the others.
fn streams(config: &Config) -> Arc<dyn Function> {
    // Shorter than can be configured, so that a test need not wait for a minute until a lost push is noticed.
    let config = Config { ping_every_ms: PING_EVERY.as_millis() as u64, ..config.clone() };
    let (database, redis) = (config.database_url.as_ref(), config.redis.as_ref());
    let record = PostgresRecord::new(database.expect("DATABASE_URL is set"), 5).unwrap();
    let moment = RedisMoment::new(redis.expect("REDIS_URL is set"), Clock::system()).unwrap();
    let credentials = Credentials::new("local", "local", None, None, "local");
    let push =
        ApiGatewayPush::new(config.ws_endpoint.as_deref().expect("it is set"), config.region.clone(), credentials);
    let app = App::new(config, Record::new(Arc::new(record)), Moment::new(Arc::new(moment)), Arc::new(push));
    gateway::streaming_function(move |request| {
        let app = app.clone();
        async move { Ok(stream::handle(&app, request).await) }
    })
}

/// Calls the drain at a fixed interval, whether or not the previous call has ended.
async fn call_drain_on_schedule(lambda: Arc<Lambda>) {
    let mut each = tokio::time::interval(DRAIN_INTERVAL);
    let schedule = event("schedule");
    loop {
        each.tick().await;
        let (lambda, schedule) = (Arc::clone(&lambda), schedule.clone());
        tokio::spawn(async move { lambda.call("drain", &schedule).await });
    }
}

pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// The variables that every function needs, with these values.
fn variables_with(values: &[(&str, String)]) -> Variables {
    let mut variables = required_variables();
    variables.retain(|(name, _)| !values.iter().any(|(replaced, _)| replaced == name));
    variables.extend(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    variables
}

/// An `Authorization` header whose token is valid for a day, which is longer than any run.
fn bearer(config: &Config, sub: &str, scope: &str) -> String {
    let now_s = Clock::system().now_ms() / 1_000;
    format!("Bearer {}", auth::sign(config, sub, scope, now_s, now_s + 24 * 3_600).unwrap())
}

fn accept(is_fast: bool) -> &'static str {
    if is_fast { "fast" } else { "durable" }
}
