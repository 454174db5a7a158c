//! Users who talk: each writes one message after the other in a chat, over the socket of a device or over HTTP, and repeats
//! each under its `clientId`, each time over the other way, until there is an answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::conversation::Said;
use serde_json::{Value, json};

use crate::device::{Device, REQUEST_TIMEOUT};
use crate::sender::{Attempt, Load};
use crate::testbed::Testbed;

/// The pause after a message.
const PAUSE: Duration = Duration::from_millis(150);
/// The pause before a repeat.
const BACKOFF: Duration = Duration::from_millis(100);
/// One in so many messages is said again although it was answered.
const REPEATED: usize = 7;
/// One in so many messages over HTTP is too large for a frame.
const LARGE: usize = 25;
/// How many quotes the client id of such a message begins with. A frame has two bytes for each.
const LONG: usize = 200;

/// The chats of a testbed, as places in its list: one of all users, and two without a common member.
pub(crate) const EVERYONE: usize = 0;
pub(crate) const PAIR: usize = 1;
pub(crate) const OTHERS: usize = 2;

/// A chat of the testbed.
#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) id: String,
    pub(crate) members: Vec<String>,
}

/// The answers to messages, and all calls and frames.
#[derive(Default)]
pub(crate) struct Talked {
    pub(crate) said: Mutex<Vec<Said>>,
    pub(crate) attempts: Mutex<Vec<Attempt>>,
    /// How many times users began to talk.
    rounds: AtomicUsize,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Socket,
    Http,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Self::Socket => Self::Http,
            Self::Http => Self::Socket,
        }
    }
}

/// A user who writes in a chat.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) chat: String,
    pub(crate) address: SocketAddr,
    pub(crate) authorization: String,
    /// A device of the user.
    pub(crate) device: Arc<Device>,
    pub(crate) talked: Arc<Talked>,
}

impl Writer {
    /// Says something over one way and then the other in turn, until there is an answer; `None` if it was refused.
    pub(crate) async fn says(&self, client_id: &str, first: Way) -> Option<Said> {
        self.says_over([first, first.other()], client_id).await
    }

    /// The same over HTTP alone.
    pub(crate) async fn says_over_http(&self, client_id: &str) -> Option<Said> {
        self.says_over([Way::Http; 2], client_id).await
    }

    async fn says_over(&self, ways: [Way; 2], client_id: &str) -> Option<Said> {
        let ways = if is_large(client_id) { [Way::Http; 2] } else { ways };
        let (message, asked_at) = (message(client_id), Instant::now());
        for n in 0.. {
            let (status, answer) = self.attempt(&message, ways[n % 2], n > 0).await;
            if (200..300).contains(&status) {
                let said = Said::read(&answer, asked_at);
                self.talked.said.lock().unwrap().push(said.clone());
                return Some(said);
            }
            if (400..500).contains(&status) && status != 429 {
                return None;
            }
            tokio::time::sleep(BACKOFF).await;
        }
        None
    }

    /// Says something once; returns the status, which is 0 without an answer, and the message. An error frame has the status
    /// of the same error over HTTP, as far as it matters: whether a repeat may help.
    pub(crate) async fn attempt(&self, message: &Value, way: Way, is_retry: bool) -> (u16, Value) {
        let at = Instant::now();
        let (status, code, answer) = match way {
            Way::Http => self.posts(message).await,
            Way::Socket => self.sends(message).await,
        };
        let attempt = Attempt { at, took: at.elapsed(), status, code, is_retry };
        self.talked.attempts.lock().unwrap().push(attempt);
        (status, answer)
    }

    async fn posts(&self, message: &Value) -> (u16, String, Value) {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        let path = format!("/api/chats/{}/messages", self.chat);
        let call = harness::http::call(self.address, "POST", &path, &headers, message.to_string());
        match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
            Ok(answer) => (answer.status, answer.code(), answer.json()),
            Err(_) => (0, String::new(), Value::Null),
        }
    }

    async fn sends(&self, message: &Value) -> (u16, String, Value) {
        let mut frame = message.clone();
        frame["action"] = "sendMessage".into();
        frame["chatId"] = self.chat.as_str().into();
        match self.device.asks(frame).await {
            Some(mut reply) if reply["type"] == "sent" => (200, String::new(), reply["message"].take()),
            Some(reply) => {
                let is_final = reply["retryable"] == false && reply["code"] != "invalid_ticket";
                let code = reply["code"].as_str().unwrap_or_default();
                (if is_final { 422 } else { 503 }, code.to_owned(), Value::Null)
            }
            None => (0, String::new(), Value::Null),
        }
    }

    /// Says one thing after the other until it is stopped.
    async fn talks(self, name: String, way: Way, running: Arc<AtomicBool>) {
        let mut n = 0;
        while running.load(Ordering::Relaxed) {
            let client_id = match way {
                Way::Http if n % LARGE == LARGE - 1 => format!("{}{name}/{n}", "\"".repeat(LONG)),
                _ => format!("{name}/{n}"),
            };
            let said = self.says(&client_id, way).await;
            n += 1;
            if let Some(said) = said.filter(|_| n % REPEATED == 0 && !is_large(&client_id)) {
                self.repeats(&said, way.other()).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Says again what was answered. If there is another answer, it is the same.
    pub(crate) async fn repeats(&self, said: &Said, way: Way) {
        let (status, answer) = self.attempt(&message(&said.client_id), way, true).await;
        if (200..300).contains(&status) {
            self.talked.said.lock().unwrap().push(Said::read(&answer, said.asked_at));
        }
    }
}

/// The message with this id, which is the same however often it is said.
pub(crate) fn message(client_id: &str) -> Value {
    if is_large(client_id) {
        // As large as may be, so that the frame that tells of it would be too large.
        return json!({"clientId": client_id, "body": "🔔".repeat(4_000), "data": {"rest": "x".repeat(16_300)}});
    }
    json!({"clientId": client_id, "body": client_id})
}

fn is_large(client_id: &str) -> bool {
    client_id.starts_with('"')
}

impl Load {
    /// Starts a writer for each chat and user in it that talk: over sockets and over HTTP, to the same chat at once.
    pub(crate) fn of_talk(testbed: &Testbed) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let round = testbed.talked.rounds.fetch_add(1, Ordering::Relaxed);
        let tasks = [
            (EVERYONE, 0, Way::Socket),
            (EVERYONE, 0, Way::Http),
            (EVERYONE, 3, Way::Http),
            (PAIR, 1, Way::Http),
            (PAIR, 2, Way::Socket),
            (OTHERS, 4, Way::Socket),
        ];
        let tasks = tasks.into_iter().map(|(chat, user, way)| {
            let (writer, name) = (testbed.writer(chat, user), format!("{round}/{chat}/{user}/{way:?}"));
            tokio::spawn(writer.talks(name, way, Arc::clone(&running)))
        });
        Self { tasks: tasks.collect(), running }
    }
}
