//! Ids to keys: whatever callers choose, two different things never share an id, a budget or a key in Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use harness::app::request;
use harness::{TestApp, event};
use serde_json::json;
use shared::clock::{At, Clock};
use shared::ids::{DeadLetterId, NotificationId, SendId, UserId};
use shared::limits::{Limits, Rate, Spend, Verdict};
use shared::moment::redis::RedisMoment;

use crate::fake_redis::FakeRedis;
use crate::target::{Target, runtime, signature};

/// Parts are separated by this byte, which no text of UTF-8 contains.
const SEPARATOR: u8 = 0xff;
/// The most names that are remembered.
const MAX_REMEMBERED: usize = 500_000;

pub(crate) fn target() -> Target {
    let seeds: [&[u8]; 4] =
        [b"a:b\xffc\xffd", b"a\xffb:c\xffd", b"like alice\xff{p0001}\xff", b"like\xffalice b\xffcarillon:"];
    let runtime = runtime();
    let mut state = runtime.block_on(State::new());
    Target {
        name: "keys",
        seeds: seeds.map(<[u8]>::to_vec).into(),
        words: &["send", "frames", "{p0000}", "limit:", "\u{1}", "push", "recipient"],
        attempt: Box::new(move |input| runtime.block_on(state.attempt(input))),
    }
}

struct State {
    test: TestApp,
    buckets: Arc<Buckets>,
    redis: FakeRedis,
    moment: RedisMoment,
    clock: Clock,
    /// What each name stands for.
    meanings: HashMap<String, Vec<String>>,
}

impl State {
    async fn new() -> Self {
        let mut test = TestApp::new().await;
        let buckets = Arc::new(Buckets::default());
        test.app.moment.limits = buckets.clone();
        let (redis, clock) = (FakeRedis::start().await, Clock::manual(harness::START_MS));
        let moment = RedisMoment::with_timeout(&redis.config(), clock.clone(), Duration::from_secs(5)).unwrap();
        Self { test, buckets, redis, moment, clock, meanings: HashMap::new() }
    }

    async fn attempt(&mut self, input: &[u8]) -> u64 {
        if self.meanings.len() > MAX_REMEMBERED {
            self.meanings.clear();
        }
        let parts: Vec<String> =
            input.split(|byte| *byte == SEPARATOR).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let part = |index: usize| parts.get(index).cloned().unwrap_or_default();
        let (first, second, third) = (part(0), part(1), part(2));
        // The same characters, divided in every other way.
        let joined = format!("{first}{second}");
        let splits = joined.char_indices().map(|(at, _)| at).chain([joined.len()]).take(40);
        let pairs: Vec<(String, String)> =
            splits.map(|at| (joined[..at].to_owned(), joined[at..].to_owned())).collect();
        for (left, right) in pairs.iter().chain([&(first.clone(), second.clone())]) {
            self.derive(left, right, &third);
        }
        let mut budgets = 0;
        for (kind, user) in pairs.iter().chain([&(first.clone(), second.clone())]).take(12) {
            budgets += usize::from(self.budget(kind, user).await);
        }
        signature((budgets.min(3), parts.len().min(4), UserId::new(first).is_ok()))
    }

    /// Ids that follow from two texts of callers.
    fn derive(&mut self, left: &str, right: &str, third: &str) {
        if let Ok(caller) = UserId::new(left) {
            let meaning = |what: &str| vec![what.to_owned(), left.to_owned(), right.to_owned(), third.to_owned()];
            let send = SendId::of_key(&caller, right, third);
            self.remember(send.to_string(), meaning("send"));
            let own = SendId::of_key(&caller, "", "");
            if let Ok(user) = UserId::new(right) {
                let meaning = vec!["notification".into(), left.into(), right.into()];
                self.remember(NotificationId::of(own, &user).to_string(), meaning);
            }
            let meaning = vec!["push".into(), left.into(), right.len().to_string()];
            self.remember(DeadLetterId::of_push(&caller, right.len().try_into().unwrap()).to_string(), meaning);
        }
        self.remember(DeadLetterId::of_payload(left).to_string(), vec!["payload".into(), left.into()]);
    }

    /// The budget of a type and a recipient, as a send spends it, and its key in Redis. False if there is no such send.
    async fn budget(&mut self, kind: &str, user: &str) -> bool {
        let mut send = event("send");
        send["headers"] =
            json!({"authorization": self.test.bearer("shop", "notify:send"), "content-type": "application/json"});
        send["body"] = json!({"type": kind, "userId": user, "title": "Hi"}).to_string().into();
        send::handle(&self.test.app, request(send)).await;
        let Some(spend) = self.buckets.0.lock().unwrap().pop() else {
            return false;
        };
        self.redis.taken_keys();
        self.moment.spend(std::slice::from_ref(&spend), self.clock.at()).await;
        let keys = self.redis.taken_keys();
        let key = keys.into_iter().find(|key| key.contains(":limit:")).expect("the limit is spent in Redis");
        assert_eq!(key.matches(['{', '}']).count(), 2, "{key}");
        assert!(key.is_ascii(), "{key}");
        self.remember(key, vec!["budget".into(), kind.into(), user.into()]);
        true
    }

    fn remember(&mut self, name: String, meaning: Vec<String>) {
        let known = self.meanings.entry(name).or_insert_with(|| meaning.clone());
        assert_eq!(*known, meaning, "two things have one name");
    }
}

/// Limits that remember what is spent, and refuse, so that nothing is stored.
#[derive(Default)]
struct Buckets(Mutex<Vec<Spend>>);

#[async_trait]
impl Limits for Buckets {
    async fn spend(&self, spends: &[Spend], _: At) -> Vec<Verdict> {
        let mut seen = self.0.lock().unwrap();
        seen.clear();
        seen.extend(spends.iter().cloned());
        debug_assert!(spends.iter().all(|spend| spend.rate == Rate { count: 30, window_ms: 60_000 }));
        spends.iter().map(|_| Verdict::Limited { retry_after_ms: 1_000 }).collect()
    }

    async fn give_back(&self, _: &[Spend], _: At) {}
}
