//! Outages of Redis under load: nothing that was accepted is lost, every notification reaches its socket, and the
//! system recovers on its own.

use std::time::{Duration, Instant};

use harness::World;
use shared::clock::Clock;

use crate::load::{Load, MAX_IN_FLIGHT};
use crate::stores::{Stores, assert_health, health, is_healthy_within};

const SECOND: Duration = Duration::from_secs(1);
const RECOVERY: Duration = Duration::from_secs(5);
/// The time that a call waits for a Redis that does not answer.
const BOUND: Duration = Duration::from_millis(150);

/// Asserts that a send reaches an open socket within a second.
async fn arrives_within_a_second(world: &World, user: &str) {
    let mut device = world.user(user).connects().await;
    let began = Instant::now();
    world.service("bank").rings(&[user], "next").await;
    device.sees("next").await;
    assert!(began.elapsed() < SECOND, "it arrived after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_redis_under_load_loses_nothing_and_the_next_send_arrives_within_a_second() {
    let mut stores = Stores::new().await;
    let world = stores.gateway().await;
    is_healthy_within(&world, RECOVERY).await;
    let mut load = Load::on(&world, false).await;
    load.continues_for(100).await;

    stores.redis.is_killed();
    arrives_within_a_second(&world, "alice").await;
    assert_health(health(&world).await, (200, "degraded", "ok", "down"));
    load.continues_for(100).await;
    assert_health(health(&world).await, (200, "degraded", "ok", "down"));

    stores.redis.is_back();
    is_healthy_within(&world, RECOVERY).await;
    arrives_within_a_second(&world, "bob").await;
    load.continues_for(100).await;
    assert_health(health(&world).await, (200, "ok", "ok", "ok"));
    load.ends().await.arrived(&world).await;
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_under_load_slows_only_a_few_sends() {
    let stores = Stores::new().await;
    let world = stores.gateway().await;
    is_healthy_within(&world, RECOVERY).await;
    let mut load = Load::on(&world, false).await;
    let calm = Instant::now();
    load.continues_for(150).await;

    let hung = Instant::now();
    stores.redis.hangs();
    arrives_within_a_second(&world, "alice").await;
    load.continues_for(150).await;
    assert_health(health(&world).await, (200, "degraded", "ok", "down"));
    let resumed = Instant::now();
    stores.redis.goes_on();
    is_healthy_within(&world, RECOVERY).await;
    arrives_within_a_second(&world, "bob").await;
    load.continues_for(50).await;

    let sent = load.ends().await;
    let (calm, hung) = (sent.took(calm, hung), sent.took(hung, resumed));
    // If every call waited for Redis, all of them would be slow. The tests of the moment count the slow calls exactly;
    // here a stalling disk slows all sends, before and after the hang alike.
    let (usual, median) = (calm[calm.len() / 2], hung[hung.len() / 2]);
    assert!(median < usual + BOUND / 3, "the median went from {usual:?} to {median:?}");
    let slow = calm[calm.len() - 1].max(usual + BOUND / 3) + BOUND / 3;
    let slowed: Vec<&Duration> = hung.iter().filter(|took| **took > slow).collect();
    assert!(slowed.len() <= 2 + MAX_IN_FLIGHT, "of {} sends {slowed:?}, usual is {usual:?}", hung.len());
    sent.arrived(&world).await;
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptying_redis_under_load_loses_nothing() {
    let stores = Stores::new().await;
    let world = stores.gateway().await;
    is_healthy_within(&world, RECOVERY).await;
    let mut load = Load::on(&world, false).await;
    for _ in 0..5 {
        load.continues_for(40).await;
        stores.redis.does(&["FLUSHALL"]);
        stores.redis.does(&["SCRIPT", "FLUSH"]);
        assert_health(health(&world).await, (200, "ok", "ok", "ok"));
    }
    load.continues_for(40).await;
    assert!(!stores.redis.keys().is_empty(), "the limits are not stored in Redis");
    load.ends().await.arrived(&world).await;
    world.stops().await;
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_uses_it_once_it_is_available() {
    let mut stores = Stores::new().await;
    stores.redis.is_killed();
    let world = stores.gateway_with(&[("RATE_LIMIT_SEND", "1/60s")], Clock::system()).await;
    assert_health(health(&world).await, (200, "degraded", "ok", "down"));
    arrives_within_a_second(&world, "alice").await;
    let sending = serde_json::json!({"type": "greeting", "userIds": ["alice"], "title": "too much"});
    let refused = world.service("bank").posts("/api/notifications/send", sending).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "the process keeps the limits");
    stores.redis.is_back();
    is_healthy_within(&world, RECOVERY).await;
    world.stops().await;
}
