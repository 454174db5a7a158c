//! What queued work costs: bytes and commands in Redis.

use std::sync::Arc;
use std::time::Duration;

use harness::redis_server::RedisServer;
use shared::clock::{At, Clock};
use shared::delivery::queue::{CLAIM_MS, Entry, Queue, Resolution};
use shared::delivery::work::PushWork;
use shared::ids::{ConnectionId, UserId};
use shared::inbox::notification::Priority;
use shared::moment::redis::RedisMoment;

const ENTRIES: i64 = 1_000;

fn moment(redis: &RedisServer) -> Arc<RedisMoment> {
    let config = redis.config("carillon");
    Arc::new(RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap())
}

/// An entry as a send adds it when its only device did not take the frame.
fn entry(n: i64, wait_ms: i64) -> Entry {
    let work = PushWork {
        user: UserId::new(format!("user-{n}")).unwrap(),
        offset: 1_000 + n,
        fence_ms: 1_800_000_000_000 + n,
        priority: Priority::Normal,
        throttled: 0,
        left: vec![ConnectionId::new("PJqB0fHsqRcCHlw=")],
    };
    Entry { work: work.into(), wait_ms }
}

/// How much memory Redis uses for all keys of the queue, in bytes.
fn bytes(redis: &RedisServer) -> i64 {
    let ours = redis.keys().into_iter().filter(|key| key.contains(":{q"));
    ours.map(|key| redis.answers::<i64>(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]).unwrap()).sum()
}

/// How often a command was executed since the last call.
fn calls(redis: &RedisServer, command: &str) -> usize {
    let stats: String = redis.answers(&["INFO", "commandstats"]).unwrap();
    redis.does(&["CONFIG", "RESETSTAT"]);
    let line = format!("cmdstat_{command}:calls=");
    let calls = stats.lines().find_map(|stat| stat.strip_prefix(&line)?.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

#[tokio::test]
async fn an_entry_takes_few_bytes_whether_it_waits_or_is_claimed() {
    let redis = RedisServer::start();
    let queue = moment(&redis);
    for (wait_ms, most) in [(0, 160), (CLAIM_MS, 320)] {
        redis.does(&["FLUSHALL"]);
        let entries: Vec<Entry> = (0..ENTRIES).map(|n| entry(n, wait_ms)).collect();
        assert_eq!(queue.add(&entries, At::Server).await.refused, 0);
        let each = bytes(&redis) / ENTRIES;
        assert!((100..=most).contains(&each), "{each} bytes for an entry that waits {wait_ms} ms");
    }
    redis.does(&["FLUSHALL"]);
    let entries: Vec<Entry> = (0..ENTRIES).map(|n| entry(n, 0)).collect();
    queue.add(&entries, At::Server).await;
    let claims = queue.claim(ENTRIES as usize, At::Server).await.unwrap().claimed;
    assert_eq!(claims.len(), ENTRIES as usize);
    let each = bytes(&redis) / ENTRIES;
    assert!((100..=400).contains(&each), "{each} bytes for a claimed entry");
}

#[tokio::test]
async fn a_claim_costs_one_script_per_shard_and_a_heartbeat_costs_one() {
    let redis = RedisServer::start();
    let queue = moment(&redis);
    let all: Vec<Entry> = (0..64).map(|n| entry(n, 0)).collect();
    let (mut found, mut expected) = ([0; 5], [0; 5]);
    // The first round loads the scripts.
    for _ in 0..2 {
        queue.add(&all, At::Server).await;
        calls(&redis, "evalsha");
        let claims = queue.claim(64, At::Server).await.unwrap().claimed;
        let shards: std::collections::BTreeSet<usize> =
            claims.iter().map(|claimed| claimed.work.as_ref().unwrap().shard()).collect();
        let claiming = calls(&redis, "evalsha");
        let done: Vec<Resolution> = claims.into_iter().map(|claimed| Resolution::Done(claimed.id)).collect();
        queue.settle(&done, At::Server).await;
        let settling = calls(&redis, "evalsha");
        queue.heartbeat(At::Server).await;
        let heartbeat = calls(&redis, "evalsha");
        queue.add(&all[..1], At::Server).await;
        let adding = calls(&redis, "evalsha");
        queue.claim(64, At::Server).await;
        calls(&redis, "evalsha");
        queue.claim(64, At::Server).await;
        let idle = calls(&redis, "evalsha");
        found = [claiming, settling, heartbeat, adding, idle];
        expected = [1 + 16 + shards.len(), shards.len(), 1, 2, 1 + 16];
    }
    assert_eq!(found, expected, "claiming, settling, a heartbeat, adding, and claiming from an empty queue");
}
