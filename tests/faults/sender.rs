//! Services that send one notification after the other and retry each key until the answer is 2xx or 4xx, with a log of
//! accepted sends and of all calls.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::Answer;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long a service waits for an answer before it retries.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);
/// The pause before a retry.
const BACKOFF: Duration = Duration::from_millis(100);

/// A sender: its target and its credentials.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) authorization: String,
    pub(crate) log: Arc<Log>,
}

/// The accepted sends, and all calls.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) accepted: Mutex<Vec<Sent>>,
    pub(crate) attempts: Mutex<Vec<Attempt>>,
}

/// A send that was answered with 2xx.
#[derive(Clone)]
pub(crate) struct Sent {
    /// The body of the call.
    pub(crate) request: Value,
    /// The body of the answer.
    pub(crate) answer: String,
    pub(crate) accepted_at: Instant,
}

/// One call of a send.
pub(crate) struct Attempt {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    /// 0 if there was no answer.
    pub(crate) status: u16,
    /// The error code of a refusal.
    pub(crate) code: String,
    /// Whether an earlier call with the same key was not answered with 2xx.
    pub(crate) is_retry: bool,
}

impl Sent {
    /// Whether Redis had it before the database.
    pub(crate) fn is_fast(&self) -> bool {
        self.answer.contains(r#""durability":"redis""#)
    }

    /// The promised notifications, as pairs of user and notification id.
    pub(crate) fn promised(&self) -> Vec<(String, String)> {
        let answer: Value = serde_json::from_str(&self.answer).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let each = answer["notifications"].as_array().into_iter().flatten();
        each.filter(|one| one["status"] == "accepted").map(|one| (text(&one["userId"]), text(&one["id"]))).collect()
    }
}

impl Service {
    /// Retries until the answer is 2xx or 4xx other than 429; `None` if the send was refused.
    pub(crate) async fn send(&self, request: Value) -> Option<Sent> {
        let mut is_retry = false;
        loop {
            let answer = self.attempt(&request, is_retry).await;
            if let Some(answer) = answer {
                if (200..300).contains(&answer.status) {
                    let sent = Sent { request, answer: answer.text, accepted_at: Instant::now() };
                    self.log.accepted.lock().unwrap().push(sent.clone());
                    return Some(sent);
                }
                if (400..500).contains(&answer.status) && answer.status != 429 {
                    return None;
                }
            }
            is_retry = true;
            tokio::time::sleep(BACKOFF).await;
        }
    }

    /// Makes one call and logs it; `None` if there was no answer in time.
    pub(crate) async fn attempt(&self, request: &Value, is_retry: bool) -> Option<Answer> {
        let at = Instant::now();
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        let call = harness::http::call(self.address, "POST", "/api/notifications/send", &headers, request.to_string());
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, call).await.ok();
        let (status, code) = answer.as_ref().map_or((0, String::new()), |answer| (answer.status, answer.code()));
        self.log.attempts.lock().unwrap().push(Attempt { at, took: at.elapsed(), status, code, is_retry });
        answer
    }
}

/// The body of the n-th send of a sender. Key and title are the same and name the sender and n.
pub(crate) fn send_body(sender: &str, n: usize, users: &[String]) -> Value {
    let key = format!("{sender}/{n}");
    json!({"type": "order", "userIds": users, "title": key, "idempotencyKey": key})
}

/// Services that send, or users who talk, until they are stopped.
pub(crate) struct Load {
    pub(crate) running: Arc<AtomicBool>,
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `count` services that send to the users in turn and pause after every send. Every tenth send has three
    /// recipients.
    pub(crate) fn start(name: &str, count: usize, pause: Duration, service: &Service, users: &[String]) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let tasks = (0..count).map(|sender| {
            let (service, users, running) = (service.clone(), users.to_vec(), Arc::clone(&running));
            let name = format!("{name}{sender}");
            tokio::spawn(async move {
                let mut n = 0;
                while running.load(Ordering::Relaxed) {
                    let recipients = if n % 10 == 9 { 3.min(users.len()) } else { 1 };
                    let to: Vec<String> =
                        users.iter().cycle().skip((sender + n) % users.len()).take(recipients).cloned().collect();
                    service.send(send_body(&name, n, &to)).await;
                    n += 1;
                    tokio::time::sleep(pause).await;
                }
            })
        });
        Self { tasks: tasks.collect(), running }
    }

    /// Stops sending; returns when all started sends are answered. Sends that take too long are abandoned.
    pub(crate) async fn stop(self) {
        self.running.store(false, Ordering::Relaxed);
        let mut tasks = self.tasks;
        let all = async {
            for task in &mut tasks {
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(30), all).await;
        tasks.iter().for_each(JoinHandle::abort);
    }
}
