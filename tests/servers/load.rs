//! Services that send continuously, and the check that no notification was lost or duplicated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Caller, Device, World};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The number of concurrent senders, each of which sends to every user in turn, and the number of users with a socket.
pub(crate) const MAX_IN_FLIGHT: usize = 8;

/// Longer than any wait takes unless the test has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running load of sends.
pub(crate) struct Load {
    devices: Vec<Device>,
    is_running: Arc<AtomicBool>,
    counts: watch::Receiver<Counts>,
    senders: Vec<JoinHandle<Vec<Answered>>>,
}

/// The number of answers so far.
#[derive(Default)]
struct Counts {
    accepted: usize,
    refused: usize,
}

/// A send that was accepted, perhaps after several attempts.
struct Answered {
    user: usize,
    id: String,
    /// The time of the first attempt.
    asked_at: Instant,
    /// How long the first attempt took.
    took: Duration,
}

/// The ids of the users.
pub(crate) fn users() -> Vec<String> {
    (0..MAX_IN_FLIGHT).map(|n| format!("user-{n}")).collect()
}

impl Load {
    /// Opens a socket for every user and starts the services. Every answer must be 202 or, if `may_refuse`, the 503 of
    /// an unavailable store; any other answer fails the test.
    pub(crate) async fn on(world: &World, may_refuse: bool) -> Self {
        let mut devices = Vec::new();
        for user in users() {
            devices.push(world.user(&user).connects().await);
        }
        let is_running = Arc::new(AtomicBool::new(true));
        let (count, counts) = watch::channel(Counts::default());
        let senders = (0..MAX_IN_FLIGHT).map(|sender| {
            let (service, is_running, count) = (world.service("shop"), Arc::clone(&is_running), count.clone());
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while is_running.load(Ordering::Relaxed) {
                    let (user, key) = ((sender + sent.len()) % MAX_IN_FLIGHT, format!("{sender}/{}", sent.len()));
                    sent.push(send(&service, user, &key, may_refuse, &count).await);
                }
                sent
            })
        });
        let senders = senders.collect();
        Self { devices, is_running, counts, senders }
    }

    /// Waits until this many more sends are accepted.
    pub(crate) async fn continues_for(&mut self, sends: usize) {
        let enough = self.counts.borrow().accepted + sends;
        self.waits_for(|counts| counts.accepted >= enough).await;
    }

    /// Waits until this many attempts are refused in total.
    pub(crate) async fn is_refused(&mut self, sends: usize) {
        self.waits_for(|counts| counts.refused >= sends).await;
    }

    async fn waits_for(&mut self, enough: impl FnMut(&Counts) -> bool) {
        let waiting = tokio::time::timeout(TIMEOUT, self.counts.wait_for(enough)).await;
        waiting.expect("too few answers in time").expect("the services have ended");
    }

    /// Stops the services and waits for their last answers.
    pub(crate) async fn ends(self) -> Sent {
        self.is_running.store(false, Ordering::Relaxed);
        let mut answered = Vec::new();
        for sender in self.senders {
            answered.extend(sender.await.unwrap());
        }
        Sent { devices: self.devices, answered }
    }
}

/// Sends, and retries until the send is accepted.
async fn send(service: &Caller, user: usize, key: &str, may_refuse: bool, count: &watch::Sender<Counts>) -> Answered {
    let body = json!({"type": "order", "userIds": [format!("user-{user}")], "title": key, "idempotencyKey": key});
    let (asked_at, mut took) = (Instant::now(), None);
    loop {
        let answer = service.posts("/api/notifications/send", body.clone()).await;
        let took = *took.get_or_insert(asked_at.elapsed());
        if answer.status == 202 {
            let id = answer.json()["notifications"][0]["id"].as_str().unwrap().to_owned();
            count.send_modify(|counts| counts.accepted += 1);
            return Answered { user, id, asked_at, took };
        }
        let code = answer.code();
        let codes = ["overloaded", "store_unavailable", "outcome_unknown"];
        let refused = may_refuse && answer.status == 503 && codes.contains(&&*code);
        assert!(refused && answer.header("retry-after") == "1", "{} {}", answer.status, answer.text);
        count.send_modify(|counts| counts.refused += 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The accepted sends, and the sockets that were open during the load.
pub(crate) struct Sent {
    devices: Vec<Device>,
    answered: Vec<Answered>,
}

impl Sent {
    /// How long the first attempts of the sends took that began in this period, shortest first.
    pub(crate) fn took(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let asked = self.answered.iter().filter(|answered| (from..to).contains(&answered.asked_at));
        let mut took: Vec<Duration> = asked.map(|answered| answered.took).collect();
        took.sort_unstable();
        took
    }

    /// Asserts that every accepted notification, and nothing else, is in its inbox once, with offsets without a gap,
    /// and arrived at its socket once.
    pub(crate) async fn arrived(mut self, world: &World) {
        for (user, name) in users().into_iter().enumerate() {
            let accepted = self.accepted(user);
            assert_eq!(stored(&world.user(&name)).await, accepted, "the inbox of {name}");
            let mut received = Vec::new();
            for _ in &accepted {
                let frame = self.devices[user].receives("notification").await;
                received.push(frame["notification"]["id"].as_str().unwrap().to_owned());
            }
            self.devices[user].sees_nothing().await;
            received.sort_unstable();
            assert_eq!(received, accepted, "the socket of {name}");
        }
    }

    /// Asserts that every accepted notification, and nothing else, is in its inbox once, with offsets without a gap.
    pub(crate) async fn is_stored(&self, world: &World) {
        for (user, name) in users().into_iter().enumerate() {
            assert_eq!(stored(&world.user(&name)).await, self.accepted(user), "the inbox of {name}");
        }
    }

    fn accepted(&self, user: usize) -> Vec<String> {
        let sent = self.answered.iter().filter(|answered| answered.user == user);
        let mut accepted: Vec<String> = sent.map(|answered| answered.id.clone()).collect();
        accepted.sort_unstable();
        accepted
    }
}

/// The ids that a sync from the beginning finds, sorted. Asserts that no offset is missing.
pub(crate) async fn stored(user: &Caller) -> Vec<String> {
    let (mut ids, mut offset) = (Vec::new(), 0);
    let mut path = "/api/sync?limit=200".to_owned();
    loop {
        let sync = user.gets(&path).await.expect(200);
        for notification in sync["notifications"].as_array().unwrap() {
            offset += 1;
            assert_eq!(offset_of(&notification["cursor"]), offset, "of {}", user.id);
            ids.push(notification["id"].as_str().unwrap().to_owned());
        }
        if sync["complete"] == true {
            ids.sort_unstable();
            return ids;
        }
        path = format!("/api/sync?limit=200&since={}", sync["cursor"].as_str().unwrap());
    }
}

fn offset_of(cursor: &Value) -> u64 {
    cursor.as_str().and_then(|cursor| cursor.rsplit_once('.')).unwrap().1.parse().unwrap()
}
