//! What calls cost in commands to the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use harness::app::request;
use harness::redis_server::RedisServer;
use harness::{TestApp, event, socket_event};
use serde_json::json;
use shared::clock::Clock;
use shared::moment::redis::RedisMoment;
use shared::sockets::push::Outcome;

/// An app on its own Redis server.
struct Measured {
    test: TestApp,
    redis: RedisServer,
}

impl Measured {
    async fn new() -> Self {
        let redis = RedisServer::start();
        let config = redis.config("carillon");
        let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap();
        let mut test = TestApp::new().await;
        test.uses_moment(Arc::new(moment));
        Self { test, redis }
    }

    async fn sends(&self, users: &[String]) {
        let mut send_event = event("send");
        send_event["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        send_event["body"] = json!({"type": "like", "userIds": users, "title": "Hi"}).to_string().into();
        let answer = send::handle(&self.test.app, request(send_event)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
    }

    fn taken(&self) -> BTreeMap<String, usize> {
        taken(&self.redis)
    }

    /// In how many partitions there are budgets.
    fn partitions(&self) -> usize {
        let keys = self.redis.keys();
        let budgets = keys.iter().filter(|key| key.contains("}:limit:"));
        let tags: BTreeSet<&str> = budgets.map(|key| key.split(['{', '}']).nth(1).unwrap()).collect();
        tags.len()
    }

    /// How often Redis has read from a connection; a pipeline that arrives in one piece is one read.
    fn reads(&self) -> usize {
        let stats: String = self.redis.answers(&["INFO", "stats"]).unwrap();
        let reads = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
        reads.unwrap().parse().unwrap()
    }
}

/// How often each command was executed since the last call, including those in scripts. The commands of these tests are left
/// out.
pub(crate) fn taken(redis: &RedisServer) -> BTreeMap<String, usize> {
    let stats: String = redis.answers(&["INFO", "commandstats"]).unwrap();
    redis.does(&["CONFIG", "RESETSTAT"]);
    let calls = stats.lines().filter_map(|line| {
        let (command, numbers) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((command.to_owned(), numbers.split(',').next()?.parse().ok()?))
    });
    let ignored = ["config|resetstat", "info", "keys", "ping", "hello", "client|setinfo", "flushdb"];
    calls.filter(|(command, _)| !ignored.contains(&command.as_str())).collect()
}

fn users(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user {n}")).collect()
}

pub(crate) fn calls<const N: usize>(calls: [(&str, usize); N]) -> BTreeMap<String, usize> {
    calls.map(|(command, calls)| (command.to_owned(), calls)).into()
}

#[tokio::test]
async fn a_send_costs_one_script_per_partition_one_hint_per_recipient_and_one_script_for_the_counts() {
    let measured = Measured::new().await;
    for (count, partitions) in [(1, 1..=1), (5, 1..=5), (200, 150..=200)] {
        measured.sends(&users(count)).await;
        measured.taken();
        measured.sends(&users(count)).await;
        let found = measured.taken();
        let scripts = measured.partitions();
        assert!(partitions.contains(&scripts), "{scripts}");
        // Each budget is read and written once. One script counts the send and how long it took.
        let limits = [("evalsha", scripts + 1), ("get", count), ("set", count)];
        let telemetry = [("publish", count), ("hincrby", 2), ("pexpire", 1)];
        assert_eq!(found, calls::<6>([limits, telemetry].concat().try_into().unwrap()));
    }
}

#[tokio::test]
async fn a_send_to_devices_reports_their_outcomes_with_one_script_per_notification() {
    let measured = Measured::new().await;
    measured.test.connect("user 0", &["phone", "laptop"]).await;
    measured.test.connect("user 1", &["tablet"]).await;
    for _ in 0..2 {
        measured.taken();
        measured.sends(&users(3)).await;
    }
    let limits = [("get", 3), ("set", 3)];
    let telemetry = [("evalsha", measured.partitions() + 1 + 2), ("publish", 3), ("hincrby", 4)];
    let outcomes = [("rpush", 2), ("ltrim", 2), ("pexpire", 1 + 2)];
    assert_eq!(measured.taken(), calls::<8>([&limits[..], &telemetry, &outcomes].concat().try_into().unwrap()));
}

#[tokio::test]
async fn a_send_to_a_socket_and_a_stream_costs_one_post_and_one_publication() {
    let measured = Measured::new().await;
    measured.test.connect("user 0", &["phone"]).await;
    let mut streaming = event("events");
    for headers in ["headers", "multiValueHeaders"] {
        let bearer = json!(measured.test.bearer("user 0", ""));
        streaming[headers]["authorization"] = if headers == "headers" { bearer } else { json!([bearer]) };
    }
    let stream = stream::handle(&measured.test.app, request(streaming)).await;
    assert_eq!(stream.status(), 200);
    for _ in 0..2 {
        measured.taken();
        measured.test.push.taken();
        measured.sends(&users(1)).await;
    }
    assert_eq!(measured.test.push.taken().len(), 1, "one POST to the socket");
    // The other publication is the hint for programs beside it.
    assert_eq!(measured.taken()["publish"], 2);
}

#[tokio::test]
async fn a_send_costs_one_pipeline_for_limits_and_one_for_telemetry() {
    const SENDS: usize = 10;
    let measured = Measured::new().await;
    measured.test.connect("user 0", &["phone", "laptop"]).await;
    measured.sends(&users(5)).await;
    let before = measured.reads();
    let measuring = measured.reads() - before;
    for _ in 0..SENDS {
        measured.sends(&users(5)).await;
    }
    assert_eq!(measured.reads() - before - 2 * measuring, 2 * SENDS);
}

#[tokio::test]
async fn a_script_is_loaded_once() {
    let measured = Measured::new().await;
    measured.sends(&users(40)).await;
    // The script of the limits, and that of the counts.
    assert_eq!(measured.taken()["eval"], 2);
    measured.sends(&users(40)).await;
    assert_eq!(measured.taken().get("eval"), None);
}

#[tokio::test]
async fn a_retry_is_added_claimed_settled_and_reported_once() {
    let measured = Measured::new().await;
    measured.test.connect("user 0", &["phone", "laptop"]).await;
    let send_undelivered = async || {
        measured.test.push.will("phone", &[Outcome::Failed]);
        measured.sends(&users(1)).await;
        measured.test.clock.advance(Duration::from_secs(1));
    };
    let drains = async || {
        let run = drain::handle(&measured.test.app, i64::MAX).await;
        assert!(!run.failed, "{run:?}");
        run.pushed
    };
    send_undelivered().await;
    assert_eq!(drains().await, 1);
    measured.taken();
    send_undelivered().await;
    // The limit, the counts, the outcomes, the new entry, and the new generation.
    assert_eq!(measured.taken()["evalsha"], 3 + 2);
    assert_eq!(drains().await, 1);
    let found = measured.taken()["evalsha"];
    assert_eq!(drains().await, 0);
    let idle = measured.taken()["evalsha"];
    // The retry adds a claim and a resolution in its shard, the counts and the outcomes.
    assert_eq!((found, idle), (idle + 2 + 2, 1 + 16 + 1));
}

#[tokio::test]
async fn a_ping_costs_a_script_for_its_rate_and_two_for_emitted_events() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["PJqB0fHsqRcCHlw="]).await;
    for _ in 0..2 {
        measured.taken();
        message::handle(&measured.test.app, socket_event(event("message"))).await;
    }
    assert_eq!(measured.taken(), calls([("evalsha", 1 + 2), ("get", 1), ("set", 1), ("zcard", 2)]));
}

#[tokio::test]
async fn reads_and_changes_do_not_use_the_moment_and_a_sync_asks_it_for_emitted_events() {
    let measured = Measured::new().await;
    measured.sends(&["alice".to_owned()]).await;
    let asks = async |name| {
        let mut asking = event(name);
        asking["headers"]["authorization"] = measured.test.bearer("alice", "").into();
        inbox::handle(&measured.test.app, request(asking)).await;
    };
    // The first one brings the script.
    asks("sync").await;
    measured.taken();
    asks("sync").await;
    assert_eq!(measured.taken(), calls([("evalsha", 2), ("zcard", 2)]));
    asks("list").await;
    asks("read").await;
    assert_eq!(measured.taken(), calls([]));
}
