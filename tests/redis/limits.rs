//! Limits in Redis: their keys and lifetimes, foreign values in them, and the script that spends.

use std::collections::HashSet;
use std::time::Duration;

use harness::redis_server::{RedisServer, own_prefix};
use shared::clock::{At, Clock};
use shared::limits::gcra::Buckets;
use shared::limits::{Limits, Rate, Spend, Verdict};
use shared::moment::redis::RedisMoment;
use shared::telemetry::health::Status;

use crate::moment::{Moment, ONE, PREFIX};

/// The keys of budgets, except that of the probe.
fn budgets(server: &RedisServer) -> Vec<String> {
    server.keys().into_iter().filter(|key| !key.contains(":limit:100000/1000:")).collect()
}

#[tokio::test]
async fn foreign_values_count_as_absent_and_are_counted() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    let [key] = &budgets(&server)[..] else { panic!("{:?}", server.keys()) };
    let far = format!("{} 0", 1_u64 << 60);
    let foreign: &[&[&str]] = &[
        &["SET", key, ""],
        &["SET", key, "1800000000000"],
        &["SET", key, "much"],
        &["SET", key, "-1 0"],
        &["SET", key, "1e300 0"],
        &["SET", key, "nan inf"],
        // With a count of one, the parts of a millisecond must be 0.
        &["SET", key, "1800000000000 1"],
        &["SET", key, &far],
        &["SET", key, "1800000000000 0\n"],
        &["SETRANGE", key, "0", "\u{1F514}"],
        &["LPUSH", key, "1800000000000 0"],
        &["HSET", key, "a", "b"],
        &["ZADD", key, "1", "a"],
        &["XADD", key, "*", "a", "b"],
        &["PFADD", key, "a"],
    ];
    for (n, command) in foreign.iter().enumerate() {
        server.does(&["DEL", key]);
        server.does(command);
        assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted, "{command:?}");
        assert_eq!(moment.0.foreign_values(), n as u64 + 1, "{command:?}");
        assert!(matches!(moment.spends("send A alice", ONE).await, Verdict::Limited { .. }), "{command:?}");
    }
    assert_eq!(moment.0.foreign_values(), foreign.len() as u64);
    assert_eq!(moment.check().await, Status::Ok);
}

#[tokio::test]
async fn a_key_has_the_prefix_and_no_caller_id_and_expires() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    for bucket in ["send A alice", "send A {bob}", "frames L0SM9cOFvHcCIhw=", "send A a\r\nb"] {
        assert_eq!(moment.spends(bucket, ONE).await, Verdict::Admitted);
    }
    let keys = budgets(&server);
    assert_eq!(keys.len(), 4);
    for key in &keys {
        assert!(key.starts_with("carillon:{p") && key.contains("}:limit:1/3600000:"), "{key}");
        assert!(!["alice", "bob", "L0SM9"].iter().any(|name| key.contains(name)), "{key}");
        // Twice the hour after which the budget is full again.
        let ttl_ms: u64 = server.answers(&["PTTL", key]).unwrap();
        assert!((7_190_000..=7_200_002).contains(&ttl_ms), "{ttl_ms}");
    }
    let frames = Rate { count: 50, window_ms: 1_000 };
    assert_eq!(moment.spends("frames L0SM9cOFvHcCIhw=", frames).await, Verdict::Admitted);
    let key = budgets(&server).into_iter().find(|key| key.contains(":limit:50/1000:")).unwrap();
    let ttl_ms: u64 = server.answers(&["PTTL", &key]).unwrap();
    assert!((50_000..=60_000).contains(&ttl_ms), "{ttl_ms}");
}

#[tokio::test]
async fn two_prefixes_share_nothing() {
    let server = RedisServer::start();
    let ours = Moment::on(&server).await;
    let theirs = Moment::new(&server.config("other"));
    assert!(!ours.shares_budgets_with(&theirs, "send A alice").await);
    assert!(server.keys().iter().any(|key| key.starts_with("other:{p")), "{:?}", server.keys());
    assert_eq!(ours.check().await, Status::Ok);
}

#[tokio::test]
async fn a_thousand_recipients_cost_one_script_call_per_partition() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    let spends: Vec<Spend> = (0..1_000).map(|n| Spend { bucket: format!("send A {n}"), rate: ONE }).collect();
    server.does(&["CONFIG", "RESETSTAT"]);
    let verdicts = moment.0.spend(&spends, At::Server).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Admitted));
    let stats: String = server.answers(&["INFO", "commandstats"]).unwrap();
    let calls = stats.split("cmdstat_evalsha:calls=").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let tag = |key: &String| key[..key.find('}').unwrap()].to_owned();
    let keys = budgets(&server);
    let partitions: HashSet<String> = keys.iter().map(tag).collect();
    assert_eq!((keys.len(), calls.parse()), (1_000, Ok(partitions.len())), "{PREFIX}: {stats}");
    assert!(!stats.contains("cmdstat_eval:"), "a loaded script was sent again: {stats}");
    let again = moment.0.spend(&spends, At::Server).await;
    assert!(again.iter().all(|verdict| matches!(verdict, Verdict::Limited { .. })));
}

#[tokio::test]
async fn the_time_is_that_of_redis_if_none_is_given() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    let five = Rate { count: 5, window_ms: 60_000 };
    let spends = vec![Spend { bucket: "send A alice".into(), rate: five }; 6];
    let verdicts = moment.0.spend(&spends, At::Server).await;
    assert_eq!(verdicts[..5], [Verdict::Admitted; 5]);
    assert_eq!(verdicts[5], Verdict::Limited { retry_after_ms: 12_000 });
    let [key] = &budgets(&server)[..] else { panic!("{:?}", server.keys()) };
    let kept: String = server.answers(&["GET", key]).unwrap();
    let (full_at_ms, parts) = kept.split_once(' ').unwrap();
    let (seconds, _): (i64, i64) = server.answers(&["TIME"]).unwrap();
    let full_in_ms = full_at_ms.parse::<i64>().unwrap() - seconds * 1_000;
    assert!((50_000..=61_000).contains(&full_in_ms) && parts == "0", "{kept}");
}

/// A linear congruential generator (Knuth's MMIX), so that every run has the same trace.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[tokio::test]
async fn the_script_and_this_process_agree_whatever_the_clock_does() {
    let moment = RedisMoment::with_timeout(&own_prefix(), Clock::system(), Duration::from_secs(30)).unwrap();
    let (buckets, mut dice) = (Buckets::default(), Dice(0x5eed));
    // Numbers up to the largest that a script computes exactly, and windows that the count does not divide.
    let rates = [(1, 1), (3, 1_000), (7, 997), (10, 3), (99_991, 86_399_999), (100_000, 1_000), (1, 86_400_000)]
        .map(|(count, window_ms)| Rate { count, window_ms });
    let mut now_ms = 1_800_000_000_000_i64;
    let mut counts = [0_u32; 2];
    for _ in 0..800 {
        now_ms += match dice.below(10) {
            0..=3 => 0,
            4..=6 => i64::try_from(dice.below(40)).unwrap(),
            7 => i64::try_from(dice.below(5_000)).unwrap(),
            // Backwards, since the clocks of several machines differ.
            8 => -i64::try_from(dice.below(2_000)).unwrap(),
            _ => i64::try_from(dice.below(20_000_000)).unwrap() - 10_000_000,
        };
        let mut spends = Vec::new();
        for _ in 0..=dice.below(4) {
            let n = dice.below(rates.len() as u64) as usize;
            let times = if dice.below(100) == 0 { 20_000 } else { 1 + dice.below(3) as usize };
            let spend = Spend { bucket: format!("bucket {}", dice.below(3)), rate: rates[n] };
            spends.extend(std::iter::repeat_n(spend, times));
        }
        let (expected, found) = (buckets.spend(&spends, now_ms), moment.spend(&spends, At::Fixed(now_ms)).await);
        assert_eq!(found, expected, "at {now_ms} ms: {:?}", spends.first());
        for verdict in found {
            counts[usize::from(verdict == Verdict::Admitted)] += 1;
        }
    }
    assert_eq!(moment.foreign_values(), 0);
    assert!(counts.iter().all(|count| *count > 1_000), "the trace is one-sided: {counts:?}");
}
