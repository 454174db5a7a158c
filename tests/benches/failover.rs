//! A Redis that fails, in each mode: how long calls take meanwhile, how many of them are slowed, and after how long processes
//! agree again. And what several instances can do together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::redis_cluster::RedisCluster;
use harness::redis_server::{RedisServer, several};
use shared::clock::{At, Clock};
use shared::config::RedisConfig;
use shared::limits::{Limits, Rate, Spend, Verdict};
use shared::moment::redis::RedisMoment;
use shared::telemetry::health::{Health, Status};

use crate::report::{figure, in_ms, number, percentile};

/// What no bucket runs out of.
const PLENTY: Rate = Rate { count: 100_000, window_ms: 3_600_000 };
const ONE: Rate = Rate { count: 1, window_ms: 3_600_000 };
/// The budgets, which are in as many partitions.
const BUDGETS: usize = 200;
/// Calls at once.
const CALLERS: usize = 8;
/// How long calls are timed, before and after the failure.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(8);
/// A call that takes longer counts as slowed.
const SLOWED_MS: f64 = 20.0;
/// How long a caller waits after each call that is timed. Without Redis a call takes a microsecond, and the callers would keep
/// everything else from running.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the throughput of so many instances is measured.
const THROUGHPUT: Duration = Duration::from_secs(3);

/// Measures all of this.
pub(crate) async fn measure() {
    let mut one = RedisServer::start();
    let config = one.config("bench");
    fail("one Redis", &config, || one.is_killed()).await;

    let mut three = [(); 3].map(|()| RedisServer::start());
    let config = several(&three.each_ref().map(RedisServer::port), "bench");
    fail("three Redis, one killed", &config, || three[0].is_killed()).await;

    let three = [(); 3].map(|()| RedisServer::start());
    let config = several(&three.each_ref().map(RedisServer::port), "bench");
    fail("three Redis, one hung", &config, || three[0].hangs()).await;

    let mut cluster = RedisCluster::start(3, 1);
    let config = cluster.config("bench");
    fail("cluster, primary killed", &config, || cluster.servers[1].is_killed()).await;

    let servers: Vec<RedisServer> = (0..4).map(|_| RedisServer::start()).collect();
    for count in 1..=servers.len() {
        let ports: Vec<u16> = servers[..count].iter().map(RedisServer::port).collect();
        throughput(count, &several(&ports, "bench")).await;
    }
}

/// Times calls while an instance fails.
async fn fail(mode: &str, config: &RedisConfig, fails: impl FnOnce()) {
    let [moment, other] = [started(config).await, started(config).await];
    let before = call_for(&moment, BEFORE, PAUSE).await;
    fails();
    let failed_at = Instant::now();
    let (after, agreed) = tokio::join!(call_for(&moment, AFTER, PAUSE), agrees(&moment, &other, failed_at));
    let (before, after) = (in_ms(&before), in_ms(&after));
    let slowed = after.iter().filter(|ms| **ms > SLOWED_MS).count();
    let named = |what: &str| format!("{mode}: {what}");
    let how = format!("{} calls before, {} in the {} s after", before.len(), after.len(), AFTER.as_secs());
    figure(&named("call p99 before"), number(percentile(&before, 0.99), 2), "ms", &how);
    figure(&named("call p99 after"), number(percentile(&after, 0.99), 2), "ms", "none of them is refused");
    figure(&named("slowest call"), number(percentile(&after, 1.0), 0), "ms", "after the failure");
    let share = slowed as f64 / after.len() as f64 * 100.0;
    figure(&named("slowed calls"), number(share, 3), "%", &format!("that take longer than {SLOWED_MS} ms"));
    let agreed = agreed.map_or_else(|| "never".to_owned(), |after| number(after.as_secs_f64() * 1_000.0, 0));
    figure(&named("limits shared again"), agreed, "ms", "two processes agree about 50 budgets");
}

/// The rate at which calls are answered.
async fn throughput(instances: usize, config: &RedisConfig) {
    let moment = started(config).await;
    let calls = call_for(&moment, THROUGHPUT, Duration::ZERO).await;
    let rate = calls.len() as f64 / THROUGHPUT.as_secs_f64();
    figure(&format!("calls, {instances} Redis"), number(rate, 0), "/s", &format!("one budget each, {CALLERS} at once"));
    let shares: Vec<f64> = moment.instances().await.instances.iter().map(|instance| instance.share * 100.0).collect();
    let (least, most) = (percentile(&shares, 0.0), percentile(&shares, 1.0));
    let moved = format!("{} to {}", number(least, 1), number(most, 1));
    figure(&format!("partitions of each, {instances} Redis"), moved, "%", "which is what moves when it leaves");
}

async fn started(config: &RedisConfig) -> Arc<RedisMoment> {
    let moment = Arc::new(RedisMoment::new(config, Clock::system()).unwrap());
    while moment.check().await != Status::Ok {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    moment
}

/// Spends from the budgets in turn for so long; returns how long each call took.
async fn call_for(moment: &Arc<RedisMoment>, duration: Duration, pause: Duration) -> Vec<Duration> {
    let began = Instant::now();
    let callers = (0..CALLERS).map(|caller| async move {
        let mut took = Vec::new();
        let mut n = caller;
        while began.elapsed() < duration {
            let spend = Spend { bucket: format!("send A user-{}", n % BUDGETS), rate: PLENTY };
            let begun = Instant::now();
            assert_eq!(moment.spend(&[spend], At::Server).await, [Verdict::Admitted], "WRONG: a call was refused");
            took.push(begun.elapsed());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            n += CALLERS;
        }
        took
    });
    join_all(callers).await.concat()
}

/// After how long two processes agree about all budgets; `None` if they do not while calls are timed.
async fn agrees(one: &Arc<RedisMoment>, other: &Arc<RedisMoment>, failed_at: Instant) -> Option<Duration> {
    for round in 0.. {
        let began = failed_at.elapsed();
        if began > AFTER {
            return None;
        }
        let mut is_shared = true;
        for n in 0..50 {
            let spends = [Spend { bucket: format!("shared {round} {n}"), rate: ONE }];
            one.spend(&spends, At::Server).await;
            is_shared &= other.spend(&spends, At::Server).await != [Verdict::Admitted];
        }
        if is_shared {
            return Some(began);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}
