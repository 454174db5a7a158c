//! What a row plays on: real servers behind proxies, the gateway, functions as processes, services and devices; and the
//! words in which a row tells what breaks.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::{Gateway, Options, Template, listen, serve};
use harness::event;
use harness::sandbox::{Variables, nobody};
use shared::auth;
use shared::clock::Clock;
use shared::config::{Config, Origins};
use shared::moment::redis::RedisMoment;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;

use crate::device::Device;
use crate::lambda::Lambda;
use crate::management::{Day, Management};
use crate::proxy::{Mode, Proxy};
use crate::report;
use crate::sender::{Load, Log, Service};
use crate::servers::Servers;

/// The users; the first has two devices.
const USERS: usize = 6;
/// How often the drain is called: the schedule's minute, quickened.
const DRAIN_EVERY: Duration = Duration::from_millis(700);
/// How long what is under way may take until everything is where it belongs.
pub(crate) const QUIESCENCE: Duration = Duration::from_secs(45);

/// Everything on it. Rows break it, `heals` mends it.
pub(crate) struct Stage {
    pub(crate) servers: Servers,
    /// The way from the functions to Postgres.
    pub(crate) postgres: Proxy,
    /// The way from the functions to Redis.
    pub(crate) redis: Proxy,
    /// The way from the functions to the sockets.
    pub(crate) management: Management,
    pub(crate) lambda: Arc<Lambda>,
    pub(crate) gateway: Gateway,
    /// The database's name.
    pub(crate) name: String,
    /// The database itself, not by the proxy.
    pub(crate) database: PgPool,
    pub(crate) devices: Vec<Device>,
    pub(crate) service: Service,
    pub(crate) users: Vec<String>,
    /// Where chance begins.
    pub(crate) seed: u64,
    config: Config,
    pub(crate) load: Vec<Load>,
    pub(crate) schedule: JoinHandle<()>,
    pub(crate) healed: Option<Instant>,
    pub(crate) remarks: Vec<String>,
    pub(crate) broken: Vec<String>,
    /// Whether a frame that came twice breaks the row.
    pub(crate) doubles_nothing: bool,
    /// The queue, asked as functions ask it.
    pub(crate) queue: RedisMoment,
    pub(crate) baseline: Option<[usize; 2]>,
    pub(crate) begun: Instant,
}

impl Stage {
    /// A new one on these servers, with a database of its own: everybody is connected, nobody sends.
    pub(crate) async fn set(servers: Servers, seed: u64) -> Self {
        let begun = Instant::now();
        servers.redis.does(&["FLUSHALL"]);
        let url = servers.postgres.database().await.reveal().to_owned();
        let database = PgPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
        let postgres = Proxy::before(servers.postgres.port(), seed + 1).await;
        let redis = Proxy::before(servers.redis.port(), seed + 2).await;
        let management = Management::new(seed + 3).await;
        let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../template.yaml");
        let template = Template::read(Path::new(template)).unwrap();
        let listener = listen("127.0.0.1", 0).await.unwrap();
        let name = url.rsplit_once('/').map(|(_, name)| name).unwrap_or_default();
        let variables = |postgres: u16, redis: u16| {
            with(&[
                ("DATABASE_URL", format!("postgres://postgres@127.0.0.1:{postgres}/{name}")),
                ("REDIS_URL", format!("redis://127.0.0.1:{redis}")),
                ("REDIS_KEY_PREFIX", name.to_owned()),
                ("WS_ENDPOINT", format!("http://{}/live", management.address)),
                ("WS_URL", format!("ws://{}/live", listener.address())),
                ("RATE_LIMIT_SEND", "100000/1s".to_owned()),
                ("RATE_LIMIT_FRAMES", "100000/1s".to_owned()),
                ("DRAIN_LINGER_MS", "500".to_owned()),
                ("RUST_LOG", "warn".to_owned()),
            ])
        };
        let config = {
            let variables = variables(postgres.port, redis.port);
            let value = |name: &str| variables.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
            Config::read(value, &[], Origins::Loopback).unwrap()
        };
        let queue = RedisMoment::new(config.redis.as_ref().expect("REDIS_URL is set"), Clock::system()).unwrap();
        let lambda = Arc::new(Lambda::new(&template, |function| match function {
            "send" | "drain" => variables(postgres.watched_port, redis.watched_port),
            _ => variables(postgres.port, redis.port),
        }));
        let functions = lambda.functions(&template);
        let mut options = Options::new(template, functions, Clock::system());
        options.fire_at_start = false;
        let gateway = serve(listener, options).unwrap();
        management.stands_before(gateway.address());
        let authorization = bearer(&config, "shop", "notify:send");
        let service = Service { address: gateway.address(), authorization, log: Arc::<Log>::default() };
        let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
        let schedule = tokio::spawn(drains(Arc::clone(&lambda)));
        let mut stage = Self {
            servers,
            postgres,
            redis,
            management,
            lambda,
            gateway,
            name: name.to_owned(),
            database,
            devices: Vec::new(),
            service,
            users,
            seed,
            config,
            load: Vec::new(),
            schedule,
            healed: None,
            remarks: Vec::new(),
            broken: Vec::new(),
            doubles_nothing: false,
            queue,
            baseline: None,
            begun,
        };
        for user in stage.users.clone().iter().chain(&stage.users[..1].to_vec()) {
            stage.connects(user);
        }
        let open = async {
            while !stage.devices.iter().all(Device::is_open) {
                pause(20).await;
            }
        };
        tokio::time::timeout(QUIESCENCE, open).await.expect("devices connect while nothing is broken");
        stage
    }

    /// Another device of a user.
    pub(crate) fn connects(&mut self, user: &str) {
        self.devices.push(Device::new(user, self.gateway.address(), bearer(&self.config, user, "")));
    }

    /// So many services begin to send, each with a rest after every send.
    pub(crate) fn sends(&mut self, name: &str, services: usize, rest: Duration) {
        self.load.push(Load::begins(name, services, rest, &self.service, &self.users));
    }

    /// Nobody sends any more; returns when all that was begun is answered.
    pub(crate) async fn sends_no_more(&mut self) {
        for load in self.load.drain(..) {
            load.ends().await;
        }
    }

    /// Whoever began last sends no more.
    pub(crate) async fn the_last_leave(&mut self) {
        if let Some(load) = self.load.pop() {
            load.ends().await;
        }
    }

    /// How many frames came more than once to the only device of a user. One of two devices that refuses a frame lets it
    /// come to both again.
    pub(crate) fn doubled_frames(&self) -> usize {
        let alone = |device: &&Device| self.devices.iter().filter(|other| other.user == device.user).count() == 1;
        let doubled =
            |device: &Device| device.seen.lock().unwrap().frames.values().map(|count| count - 1).sum::<usize>();
        self.devices.iter().filter(alone).map(doubled).sum()
    }

    /// Lets everything work for so long.
    pub(crate) async fn works_for(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// Calls the drain so many times at once; returns what each did, `None` for one that died.
    pub(crate) async fn drains(&self, at_once: usize) -> Vec<Option<serde_json::Value>> {
        let schedule = event("schedule");
        let calls = (0..at_once).map(|_| self.lambda.calls("drain", &schedule));
        futures_util::future::join_all(calls).await
    }

    /// The schedule calls no more drains.
    pub(crate) fn has_no_schedule(&self) {
        self.schedule.abort();
    }

    /// The schedule calls drains again.
    pub(crate) fn starts_the_schedule(&mut self) {
        self.schedule.abort();
        self.schedule = tokio::spawn(drains(Arc::clone(&self.lambda)));
    }

    /// Whatever waits for its next try is due now.
    pub(crate) async fn is_due(&self) {
        // Whoever works on these rows may hold them; the next round finds them.
        let now = "UPDATE notifications SET push_at = 0 WHERE (user_id, \"offset\") IN
                   (SELECT user_id, \"offset\" FROM notifications WHERE push_at > 0 FOR UPDATE SKIP LOCKED)";
        sqlx::query(now).execute(&self.database).await.unwrap();
    }

    /// One number out of the database.
    pub(crate) async fn counts(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.database).await.unwrap()
    }

    /// Ends the backends that work for functions; returns how many.
    pub(crate) async fn ends_backends(&self) -> i64 {
        self.counts("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'carillon'")
            .await
    }

    /// The fault is over: everything passes again, and from here recovery is measured.
    pub(crate) fn heals(&mut self) {
        self.postgres.does(Mode::Pass);
        self.redis.does(Mode::Pass);
        self.management.has(Day::Good);
        self.healed = Some(Instant::now());
    }

    /// Something that the row wants to be read with its figures.
    pub(crate) fn remarks(&mut self, remark: String) {
        self.remarks.push(remark);
    }

    /// An invariant of the row's own.
    pub(crate) fn requires(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.broken.push(what.into());
        }
    }

    /// Another design than Carillon's was played: so many were accepted and so many lost, of which there must be some, or
    /// the harness could not see loss.
    pub(crate) fn is_baseline(&mut self, accepted: usize, lost: usize) {
        self.baseline = Some([accepted, lost]);
    }

    /// p50 and p99 in milliseconds of what was accepted between two instants.
    pub(crate) fn accept_ms(&self, from: Instant, to: Instant) -> [f64; 2] {
        let tries = self.service.log.tries.lock().unwrap();
        report::accept_ms(tries.iter().filter(|call| (from..to).contains(&call.at)))
    }

    /// How many calls between two instants got such a status; 0 stands for no answer.
    pub(crate) fn answered(&self, from: Instant, to: Instant, status: impl Fn(u16) -> bool) -> usize {
        let tries = self.service.log.tries.lock().unwrap();
        tries.iter().filter(|call| (from..to).contains(&call.at) && status(call.status)).count()
    }
}

/// The schedule: a drain each time, whether or not the one before has ended.
async fn drains(lambda: Arc<Lambda>) {
    let mut each = tokio::time::interval(DRAIN_EVERY);
    let schedule = event("schedule");
    loop {
        each.tick().await;
        let (lambda, schedule) = (Arc::clone(&lambda), schedule.clone());
        tokio::spawn(async move { lambda.calls("drain", &schedule).await });
    }
}

/// Milliseconds of nothing.
pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// The variables that every function needs, with these values.
fn with(values: &[(&str, String)]) -> Variables {
    let mut variables = nobody();
    variables.retain(|(name, _)| !values.iter().any(|(own, _)| own == name));
    variables.extend(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    variables
}

/// The `Authorization` of somebody whose token is good for an hour.
fn bearer(config: &Config, sub: &str, scope: &str) -> String {
    let exp_s = Clock::system().now_ms() / 1_000 + 3_600;
    format!("Bearer {}", auth::sign(config, sub, scope, exp_s).unwrap())
}
