//! What one gateway is asked to do: services send, at once, later and to many; users read; the drain runs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use shared::auth;
use shared::clock::Clock;
use shared::config::{Config, Origins};
use tokio::task::JoinHandle;

use crate::sender::{self, Load, Service};

/// The pause of a service after each send.
const PAUSE_AFTER_SEND: Duration = Duration::from_millis(40);
/// The pause of a user after each call, and of the schedule after each drain.
const PAUSE: Duration = Duration::from_millis(100);
/// More than the recipients that a send materialises itself, so that the drain materialises the others.
const AUDIENCE: usize = 450;

/// `Authorization` headers that are valid for an hour.
pub(crate) struct Tokens {
    service: String,
    users: Vec<(String, String)>,
}

impl Tokens {
    pub(crate) fn new(secret: &str, users: &[String]) -> Self {
        let config = Config::read(|name| (name == "JWT_SECRET").then(|| secret.to_owned()), &[], Origins::Loopback);
        let (config, now_s) = (config.unwrap(), Clock::system().now_ms() / 1_000);
        let sign = |sub: &str, scope: &str| {
            format!("Bearer {}", auth::sign(&config, sub, scope, now_s, now_s + 3_600).unwrap())
        };
        Self {
            service: sign("shop", "notify:send"),
            users: users.iter().map(|user| (user.clone(), sign(user, ""))).collect(),
        }
    }

    /// The header of a user.
    pub(crate) fn of(&self, user: &str) -> String {
        self.users.iter().find(|(name, _)| name == user).map(|(_, token)| token.clone()).unwrap()
    }
}

/// What was asked and answered, over all gateways.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) sends: Arc<sender::Log>,
    reads: AtomicUsize,
    drains: AtomicUsize,
    /// Calls other than sends that were not answered with 2xx.
    failed: Mutex<Vec<String>>,
}

impl Log {
    pub(crate) fn counts(&self) -> String {
        let (sends, reads) = (self.sends.attempts.lock().unwrap().len(), self.reads.load(Ordering::Relaxed));
        format!("{sends} sends, {reads} reads, {} drains", self.drains.load(Ordering::Relaxed))
    }

    /// The calls that were not answered as they must be, with how often each happened.
    pub(crate) fn bad(&self) -> Vec<String> {
        let mut bad: HashMap<String, usize> = HashMap::new();
        let attempts = self.sends.attempts.lock().unwrap();
        for call in attempts.iter().filter(|call| !(200..300).contains(&call.status)) {
            *bad.entry(format!("a send was answered with {} {}", call.status, call.code)).or_default() += 1;
        }
        for call in self.failed.lock().unwrap().iter() {
            *bad.entry(call.clone()).or_default() += 1;
        }
        bad.into_iter().map(|(call, times)| format!("{call} ({times} ×)")).collect()
    }
}

/// Traffic to one gateway until it is stopped.
pub(crate) struct Traffic {
    load: Load,
    running: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Starts services, readers and a schedule for the gateway at this address.
    pub(crate) fn start(name: &str, address: SocketAddr, tokens: &Tokens, log: &Arc<Log>) -> Self {
        let service = Service { address, authorization: tokens.service.clone(), log: Arc::clone(&log.sends) };
        let users: Vec<String> = tokens.users.iter().map(|(user, _)| user.clone()).collect();
        let load = Load::start(name, 3, PAUSE_AFTER_SEND, &service, &users);
        let running = Arc::new(AtomicBool::new(true));
        let mut tasks = Vec::new();
        for (_, token) in tokens.users.clone() {
            tasks.push(tokio::spawn(read(address, token, Arc::clone(log), Arc::clone(&running))));
        }
        tasks.push(tokio::spawn(drain(address, Arc::clone(log), Arc::clone(&running))));
        tasks.push(tokio::spawn(send_for_the_drain(name.to_owned(), service, users, Arc::clone(&running))));
        Self { load, running, tasks }
    }

    /// Stops asking; returns when everything is answered.
    pub(crate) async fn stop(self) {
        self.load.stop().await;
        self.running.store(false, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Reads an inbox in every way.
async fn read(address: SocketAddr, token: String, log: Arc<Log>, running: Arc<AtomicBool>) {
    while running.load(Ordering::Relaxed) {
        for path in ["/api/notifications", "/api/notifications/unread-count", "/api/sync?limit=100", "/health"] {
            let answer = harness::http::call(address, "GET", path, &[("authorization", token.as_str())], "").await;
            log.reads.fetch_add(1, Ordering::Relaxed);
            if answer.status != 200 {
                log.failed.lock().unwrap().push(format!("{path} was answered with {}", answer.status));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Runs the drain much more often than its schedule does.
async fn drain(address: SocketAddr, log: Arc<Log>, running: Arc<AtomicBool>) {
    while running.load(Ordering::Relaxed) {
        let path = "/_gateway/schedules/drainEveryMinute/fire";
        let answer = harness::http::call(address, "POST", path, &[], "").await;
        log.drains.fetch_add(1, Ordering::Relaxed);
        if answer.status != 200 {
            log.failed.lock().unwrap().push(format!("the drain was answered with {} {}", answer.status, answer.text));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends what the drain has to materialise: delayed, and to many. Whichever drain is first does it.
async fn send_for_the_drain(name: String, service: Service, users: Vec<String>, running: Arc<AtomicBool>) {
    let audience: Vec<String> =
        users.iter().cloned().chain((users.len()..AUDIENCE).map(|n| format!("many-{n}"))).collect();
    let mut n = 0;
    while running.load(Ordering::Relaxed) {
        // Titles of different senders, because delayed sends may overtake one another.
        let key = format!("{name}-later-{n}/0");
        let to = if n % 20 == 0 { &audience } else { &users };
        let request = json!({"type": "order", "userIds": to, "title": key, "idempotencyKey": key, "delayMs": 300});
        service.send(request).await;
        n += 1;
        tokio::time::sleep(PAUSE * 4).await;
    }
}
