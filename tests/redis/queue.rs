//! The queue in Redis: its keys, foreign values in them, and the effect of faults.

use std::time::{Duration, Instant};

use harness::redis_server::RedisServer;
use shared::clock::At;
use shared::delivery::queue::{Added, Claimed, Depth, Entry, MAX_ATTEMPTS, Queue, Resolution};
use shared::delivery::work::{Malformed, PushWork, Work};
use shared::ids::UserId;
use shared::inbox::notification::Priority;
use shared::telemetry::health::Status;

use crate::moment::{MAX_IN_FLIGHT, Moment};

pub(crate) fn entry(name: &str, offset: i64, wait_ms: i64) -> Entry {
    let work = PushWork {
        user: UserId::new(name).unwrap(),
        offset,
        fence_ms: 1_800_000_005_000,
        priority: Priority::High,
        throttled: 0,
        left: Vec::new(),
    };
    Entry { work: work.into(), wait_ms }
}

pub(crate) async fn add(moment: &Moment, entries: &[Entry]) -> Added {
    moment.0.add(entries, At::Server).await
}

pub(crate) async fn claim(moment: &Moment) -> Vec<Claimed> {
    moment.0.claim(64, At::Server).await.expect("Redis is available").claimed
}

pub(crate) async fn depth(moment: &Moment) -> [u64; 3] {
    let Depth { waiting, processing, delayed, .. } = moment.0.depth(At::Server).await.expect("Redis is available");
    [waiting, processing, delayed]
}

/// What was claimed: the offsets of our entries, and the texts of foreign ones.
fn contents(claimed: &[Claimed]) -> Vec<Result<i64, String>> {
    claimed
        .iter()
        .map(|claimed| match &claimed.work {
            Ok(Work::Push(push)) => Ok(push.offset),
            Ok(
                work @ (Work::Presence(_) | Work::Receipt(..) | Work::Emit(_) | Work::Persist(_) | Work::Unknown(_)),
            ) => Err(work.text()),
            Err(Malformed(text)) => Err(text.clone()),
        })
        .collect()
}

fn done(claimed: &[Claimed]) -> Vec<Resolution> {
    claimed.iter().map(|claimed| Resolution::Done(claimed.id.clone())).collect()
}

/// A key of alice's shard.
fn key(name: &str) -> String {
    format!("carillon:{{q11}}:{name}")
}

#[tokio::test]
async fn entries_are_stored_in_the_shard_of_their_user_as_documented() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    add(&moment, &[entry("alice", 7, 0), entry("alice", 8, 60_000)]).await;
    let text = |offset| format!(r#"1 high {{"user":"alice","offset":{offset},"fence":1800000005000}}"#);
    let stream: Vec<(String, Vec<String>)> = server.answers(&["XRANGE", &key("high"), "-", "+"]).unwrap();
    assert_eq!(stream[0].1, ["w".to_owned(), text(7)]);
    let later: Vec<String> = server.answers(&["ZRANGE", &key("later"), "0", "-1"]).unwrap();
    assert_eq!(later, [text(8)]);
    let claimed = claim(&moment).await;
    let held: Vec<String> = server.answers(&["ZRANGE", &key("claimed"), "0", "-1"]).unwrap();
    assert_eq!(held, [format!("1 2 {} {}", stream[0].0, text(7))]);
    assert!(moment.0.settle(&done(&claimed), At::Server).await);
    let keys = server.keys();
    let ours: Vec<&String> = keys.iter().filter(|key| !key.contains(":{p")).collect();
    // An empty stream is kept, since it holds its last id.
    assert_eq!(ours, [&key("high"), &key("later"), "carillon:{queue}:awake", "carillon:{queue}:news"]);
    let ttl_ms: i64 = server.answers(&["PTTL", "carillon:{queue}:awake"]).unwrap();
    assert!((3_000..=6_000).contains(&ttl_ms), "{ttl_ms}");
}

#[tokio::test]
async fn foreign_entries_are_returned_verbatim_and_their_neighbours_are_claimed() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    add(&moment, &[entry("alice", 1, 0)]).await;
    let later_version = r#"2 high {"user":"alice","offset":9,"fence":1}"#;
    for fields in [
        ["w", "not ours"].as_slice(),
        &["w", later_version],
        &["w", ""],
        &["job", "{}"],
        &["w", "1 high {}", "x", "y"],
        &["w", "1 high {\"user\":\"alice\",\"offset\":1.5,\"fence\":1}"],
    ] {
        server.does(&[&["XADD", &key("high"), "*"], fields].concat());
    }
    server.does(&["ZADD", &key("later"), "1", "by hand"]);
    add(&moment, &[entry("alice", 2, 0)]).await;
    let claimed = claim(&moment).await;
    let expected = [
        Ok(1),
        // Readable, although this version does not know it.
        Err(later_version),
        Ok(2),
        Err("not ours"),
        Err(""),
        Err("job {}"),
        Err("w 1 high {} x y"),
        Err("1 high {\"user\":\"alice\",\"offset\":1.5,\"fence\":1}"),
        Err("by hand"),
    ];
    assert_eq!(contents(&claimed), expected.map(|contents| contents.map_err(str::to_owned)));
    assert_eq!(depth(&moment).await, [0, 9, 0]);
    // A drain that dead-letters them settles them like any others.
    assert!(moment.0.settle(&done(&claimed), At::Server).await);
    assert_eq!(depth(&moment).await, [0, 0, 0]);
    assert_eq!(moment.check().await, Status::Ok);
}

#[tokio::test]
async fn foreign_claims_come_back_as_unreadable() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    for (name, contents, attempts) in [
        ("by hand", "by hand", 2),
        ("", "", 2),
        ("7 2 1-1 more", "more", 8),
        ("99999999999999999999 2 1-1 x", "x", 1_000_000),
    ] {
        server.does(&["ZADD", &key("claimed"), "1", name]);
        let claimed = claim(&moment).await;
        assert_eq!(
            (claimed.len(), &claimed[0].work, claimed[0].attempts),
            (1, &Err(Malformed(contents.to_owned())), attempts)
        );
        assert_eq!(claimed[0].is_poisoned(), attempts > MAX_ATTEMPTS);
        assert!(moment.0.settle(&done(&claimed), At::Server).await);
        assert_eq!(depth(&moment).await, [0, 0, 0], "{name}");
    }
}

#[tokio::test]
async fn entries_that_are_not_utf8_are_returned_and_settled() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    server.does(&["EVAL", "return redis.call('XADD', KEYS[1], '*', 'w', '\\255\\0\\254')", "1", &key("low")]);
    let claimed = claim(&moment).await;
    assert_eq!(contents(&claimed), [Err("\u{fffd}\0\u{fffd}".to_owned())]);
    assert!(moment.0.settle(&done(&claimed), At::Server).await);
    assert_eq!(depth(&moment).await, [0, 0, 0]);
}

#[tokio::test]
async fn keys_of_another_type_count_as_absent() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    for name in ["critical", "high", "normal", "low", "later", "claimed"] {
        for command in
            [["SET", &key(name), "1"].as_slice(), &["SADD", &key(name), "1"], &["HSET", &key(name), "a", "b"]]
        {
            server.does(&["DEL", &key(name)]);
            server.does(command);
            assert_eq!(depth(&moment).await, [0, 0, 0], "{command:?}");
            let added = add(&moment, &[entry("alice", 1, 0), entry("alice", 2, 1)]).await;
            assert_eq!(added.refused, 0, "{command:?}");
            tokio::time::sleep(Duration::from_millis(3)).await;
            server.does(&["DEL", &key("claimed")]);
            server.does(&["SET", &key("claimed"), "1"]);
            let claimed = claim(&moment).await;
            assert_eq!(contents(&claimed), [Ok(1), Ok(2)], "{command:?}");
            assert!(moment.0.settle(&done(&claimed), At::Server).await);
            assert_eq!(depth(&moment).await, [0, 0, 0], "{command:?}");
        }
    }
    for name in ["news", "awake"] {
        let key = format!("carillon:{{queue}}:{name}");
        for command in [["SET", &key, "x"].as_slice(), &["SET", &key, "99999999999999999999"], &["LPUSH", &key, "1"]] {
            moment.0.sign_off(At::Server).await;
            server.does(&["DEL", &key]);
            server.does(command);
            assert_eq!(add(&moment, &[]).await.drain_is_awake, Some(false), "{command:?}");
            server.does(&["DEL", &key]);
            server.does(command);
            let generation = moment.0.heartbeat(At::Server).await.expect("Redis is available");
            let added = add(&moment, &[]).await;
            assert_eq!(added.drain_is_awake, Some(true), "{command:?}");
            assert_ne!(moment.0.sign_off(At::Server).await, Some(generation), "{command:?}");
        }
    }
    assert_eq!(moment.check().await, Status::Ok);
}

#[tokio::test]
async fn the_greatest_stream_id_does_not_block_the_queue() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    server.does(&["XADD", &key("high"), "18446744073709551615-18446744073709551615", "w", "by hand"]);
    assert_eq!(add(&moment, &[entry("alice", 1, 0)]).await.refused, 0);
    assert_eq!(contents(&claim(&moment).await), [Ok(1)]);
}

#[tokio::test]
async fn an_emptied_redis_keeps_working_and_old_claims_settle_nothing() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    add(&moment, &[entry("alice", 1, 0), entry("alice", 2, 60_000)]).await;
    let claimed = claim(&moment).await;
    server.does(&["FLUSHALL"]);
    server.does(&["SCRIPT", "FLUSH"]);
    let again = Resolution::Retry(claimed[0].id.clone(), entry("alice", 1, 1));
    assert!(moment.0.settle(&[again], At::Server).await);
    assert_eq!(depth(&moment).await, [0, 0, 0]);
    assert_eq!(claim(&moment).await, []);
    add(&moment, &[entry("alice", 3, 0)]).await;
    assert_eq!(contents(&claim(&moment).await), [Ok(3)]);
}

#[tokio::test]
async fn a_full_redis_refuses_entries_and_can_be_drained() {
    let server = RedisServer::start();
    let (producer, consumer) = (Moment::with_long_timeout(&server).await, Moment::with_long_timeout(&server).await);
    let entries: Vec<Entry> =
        (0..200).map(|n| entry(&format!("user {n}"), n, if n % 2 == 0 { 0 } else { 1 })).collect();
    assert_eq!(add(&producer, &entries).await.refused, 0);
    server.does(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(add(&producer, &entries[..1]).await, Added { refused: 1, drain_is_awake: None });
    // Adding fails for a drain as well, but it can still claim and settle.
    assert_eq!(add(&consumer, &[]).await, Added { refused: 0, drain_is_awake: None });
    let mut settled = 0;
    while let claimed = claim(&consumer).await
        && !claimed.is_empty()
    {
        let again = Resolution::Retry(claimed[0].id.clone(), entry("alice", 1_000 + settled, 60_000));
        assert!(consumer.0.settle(&[done(&claimed[1..]), vec![again]].concat(), At::Server).await);
        settled += claimed.len() as i64;
    }
    assert_eq!(settled, 200);
    server.does(&["CONFIG", "SET", "maxmemory", "0"]);
    producer.becomes_healthy_within(Duration::from_secs(2)).await;
    assert_eq!(depth(&producer).await, [0, 0, 4]);
}

#[tokio::test]
async fn everything_is_refused_without_waiting_while_redis_is_unavailable() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    add(&moment, &[entry("alice", 0, 0)]).await;
    let claimed = claim(&moment).await;
    assert_eq!(claimed.len(), 1);
    server.is_killed();
    let begun = Instant::now();
    let entries = [entry("alice", 1, 0), entry("bob", 2, 0)];
    assert_eq!(add(&moment, &entries).await, Added { refused: 2, drain_is_awake: None });
    assert_eq!(moment.0.claim(64, At::Server).await, None);
    assert!(!moment.0.settle(&done(&claimed), At::Server).await);
    assert_eq!((moment.0.heartbeat(At::Server).await, moment.0.sign_off(At::Server).await), (None, None));
    assert!(begun.elapsed() < 2 * MAX_IN_FLIGHT, "{:?}", begun.elapsed());
    assert_eq!(moment.0.depth(At::Server).await, None);
    server.is_back();
    moment.becomes_healthy_within(Duration::from_secs(1)).await;
    assert_eq!(add(&moment, &entries).await.refused, 0);
    // The drain's connection is used again within a second, too.
    let begun = Instant::now();
    while moment.0.claim(0, At::Server).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(contents(&claim(&moment).await).len(), 2);
}
