//! Services that send: each one after the other, every key again until it is answered with 2xx or 4xx, and a log of
//! what was accepted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::Answer;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long a service waits for an answer until it asks again.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long it waits before it asks again.
const BACKOFF: Duration = Duration::from_millis(100);

/// Whoever sends: where to, and with what right.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) authorization: String,
    pub(crate) log: Arc<Log>,
}

/// What was sent, and what became of the calls.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) accepted: Mutex<Vec<Sent>>,
    pub(crate) tries: Mutex<Vec<Try>>,
}

/// A send that got a 2xx.
#[derive(Clone)]
pub(crate) struct Sent {
    /// The body of the call.
    pub(crate) asked: Value,
    /// The body of the answer.
    pub(crate) answer: String,
    pub(crate) accepted_at: Instant,
}

/// One call.
pub(crate) struct Try {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
    /// 0 where there was no answer.
    pub(crate) status: u16,
    /// Of a refusal.
    pub(crate) code: String,
    /// Whether it repeats a key that was not answered with 2xx.
    pub(crate) is_retry: bool,
}

impl Sent {
    /// The ids that were promised, by user.
    pub(crate) fn promised(&self) -> Vec<(String, String)> {
        let answer: Value = serde_json::from_str(&self.answer).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let each = answer["notifications"].as_array().into_iter().flatten();
        each.map(|one| (text(&one["userId"]), text(&one["id"]))).collect()
    }
}

impl Service {
    /// Sends until it is answered with 2xx or 4xx; a 429 is no such answer.
    pub(crate) async fn sends(&self, asked: Value) -> Option<Sent> {
        let mut is_retry = false;
        loop {
            let answer = self.tries(&asked, is_retry).await;
            if let Some(answer) = answer {
                if (200..300).contains(&answer.status) {
                    let sent = Sent { asked, answer: answer.text, accepted_at: Instant::now() };
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

    /// One call, of which the log tells.
    pub(crate) async fn tries(&self, asked: &Value, is_retry: bool) -> Option<Answer> {
        let at = Instant::now();
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        let call = harness::http::call(self.address, "POST", "/api/notifications/send", &headers, asked.to_string());
        let answer = tokio::time::timeout(PATIENCE, call).await.ok();
        let (status, code) = answer.as_ref().map_or((0, String::new()), |answer| (answer.status, answer.code()));
        self.log.tries.lock().unwrap().push(Try { at, took: at.elapsed(), status, code, is_retry });
        answer
    }
}

/// What a service says to these users: its key says who sends it and which of its sends it is, and so does its title.
pub(crate) fn message(sender: &str, n: usize, users: &[String]) -> Value {
    let key = format!("{sender}/{n}");
    json!({"type": "order", "userIds": users, "title": key, "idempotencyKey": key})
}

/// Services at work, until they are stopped.
pub(crate) struct Load {
    goes_on: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many services, each of which rests so long after every send, write to everybody in turn; every tenth send
    /// goes to three at once.
    pub(crate) fn begins(name: &str, count: usize, rest: Duration, service: &Service, users: &[String]) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let tasks = (0..count).map(|sender| {
            let (service, users, goes_on) = (service.clone(), users.to_vec(), Arc::clone(&goes_on));
            let name = format!("{name}{sender}");
            tokio::spawn(async move {
                let mut n = 0;
                while goes_on.load(Ordering::Relaxed) {
                    let recipients = if n % 10 == 9 { 3.min(users.len()) } else { 1 };
                    let to: Vec<String> =
                        users.iter().cycle().skip((sender + n) % users.len()).take(recipients).cloned().collect();
                    service.sends(message(&name, n, &to)).await;
                    n += 1;
                    tokio::time::sleep(rest).await;
                }
            })
        });
        Self { tasks: tasks.collect(), goes_on }
    }

    /// No further sends; returns when what was begun is answered. Whoever is not answered then is given up.
    pub(crate) async fn ends(self) {
        self.goes_on.store(false, Ordering::Relaxed);
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
