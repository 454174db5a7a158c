//! What calls cost at the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use harness::redis_server::RedisServer;
use harness::{TestApp, event, request, socket_event};
use serde_json::json;
use shared::clock::Clock;
use shared::redis::RedisMoment;

/// An app on a Redis of its own.
struct Measured {
    test: TestApp,
    redis: RedisServer,
}

impl Measured {
    async fn new() -> Self {
        let redis = RedisServer::start();
        let config = redis.config("carillon");
        let moment = Arc::new(RedisMoment::waiting(&config, Clock::system(), Duration::from_secs(30)).unwrap());
        let mut test = TestApp::new().await;
        test.app.limits = moment.clone();
        test.app.hints = moment;
        Self { test, redis }
    }

    async fn sends(&self, users: &[String]) {
        let mut sending = event("send");
        sending["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        sending["body"] = json!({"type": "like", "userIds": users, "title": "Hi"}).to_string().into();
        let answer = send::handle(&self.test.app, request(sending)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
    }

    /// How often each command was done, those of scripts too, since the last time; what this test asks is left out.
    fn taken(&self) -> BTreeMap<String, usize> {
        let stats: String = self.redis.answers(&["INFO", "commandstats"]).unwrap();
        self.redis.does(&["CONFIG", "RESETSTAT"]);
        let calls = stats.lines().filter_map(|line| {
            let (command, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((command.to_owned(), numbers.split(',').next()?.parse().ok()?))
        });
        let ours = ["config|resetstat", "info", "keys", "ping", "hello", "client|setinfo"];
        calls.filter(|(command, _)| !ours.contains(&command.as_str())).collect()
    }

    /// How many partitions have keys.
    fn partitions(&self) -> usize {
        let keys = self.redis.keys();
        let tags: BTreeSet<&str> = keys.iter().map(|key| key.split(['{', '}']).nth(1).unwrap()).collect();
        tags.len()
    }
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user {n}")).collect()
}

fn calls<const N: usize>(calls: [(&str, usize); N]) -> BTreeMap<String, usize> {
    calls.map(|(command, calls)| (command.to_owned(), calls)).into()
}

#[tokio::test]
async fn a_send_is_one_script_for_each_partition_and_one_hint_for_each_recipient() {
    let measured = Measured::new().await;
    for (count, partitions) in [(1, 1..=1), (5, 1..=5), (200, 150..=200)] {
        measured.sends(&users(count)).await;
        measured.taken();
        measured.sends(&users(count)).await;
        let found = measured.taken();
        let scripts = measured.partitions();
        assert!(partitions.contains(&scripts), "{scripts}");
        // Each budget is read and written once.
        assert_eq!(found, calls([("evalsha", scripts), ("get", count), ("publish", count), ("set", count)]));
    }
}

#[tokio::test]
async fn a_script_is_brought_along_once() {
    let measured = Measured::new().await;
    measured.sends(&users(40)).await;
    assert_eq!(measured.taken()["eval"], 1);
    measured.sends(&users(40)).await;
    assert_eq!(measured.taken().get("eval"), None);
}

#[tokio::test]
async fn a_frame_is_one_script() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["PJqB0fHsqRcCHlw="]).await;
    for _ in 0..2 {
        measured.taken();
        message::handle(&measured.test.app, socket_event(event("message"))).await;
    }
    assert_eq!(measured.taken(), calls([("evalsha", 1), ("get", 1), ("set", 1)]));
}

#[tokio::test]
async fn reads_and_changes_ask_nothing_of_the_moment() {
    let measured = Measured::new().await;
    measured.sends(&["alice".to_owned()]).await;
    measured.taken();
    for name in ["list", "sync", "read"] {
        let mut asking = event(name);
        asking["headers"]["authorization"] = measured.test.bearer("alice", "").into();
        inbox::handle(&measured.test.app, request(asking)).await;
    }
    assert_eq!(measured.taken(), calls([]));
}
