//! Redis goes away under load: nothing that was accepted is lost, everything rings, and all returns by itself.

use std::time::{Duration, Instant};

use harness::World;
use shared::clock::Clock;

use crate::load::{Load, MAX_IN_FLIGHT};
use crate::stores::{Stores, health, is, is_well_within};

const SECOND: Duration = Duration::from_secs(1);
const SECONDS: Duration = Duration::from_secs(5);
/// What a call waits for a Redis that says nothing.
const BOUND: Duration = Duration::from_millis(150);

/// The next send rings, within a second.
async fn rings(world: &World, user: &str) {
    let mut device = world.user(user).connects().await;
    let begun = Instant::now();
    world.service("bank").rings(&[user], "next").await;
    device.sees("next").await;
    assert!(begun.elapsed() < SECOND, "it rang after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_under_load_costs_nothing_and_the_next_send_rings_within_a_second() {
    let mut stores = Stores::new().await;
    let world = stores.gateway().await;
    is_well_within(&world, SECONDS).await;
    let mut load = Load::on(&world, false).await;
    load.goes_on_for(100).await;

    stores.redis.is_killed();
    rings(&world, "alice").await;
    is(health(&world).await, (200, "degraded", "ok", "down"));
    load.goes_on_for(100).await;
    is(health(&world).await, (200, "degraded", "ok", "down"));

    stores.redis.is_back();
    is_well_within(&world, SECONDS).await;
    rings(&world, "bob").await;
    load.goes_on_for(100).await;
    is(health(&world).await, (200, "ok", "ok", "ok"));
    load.ends().await.arrived(&world).await;
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_under_load_slows_hardly_anybody() {
    let stores = Stores::new().await;
    let world = stores.gateway().await;
    is_well_within(&world, SECONDS).await;
    let mut load = Load::on(&world, false).await;
    let calm = Instant::now();
    load.goes_on_for(150).await;

    let hung = Instant::now();
    stores.redis.hangs();
    rings(&world, "alice").await;
    load.goes_on_for(150).await;
    is(health(&world).await, (200, "degraded", "ok", "down"));
    let goes_on = Instant::now();
    stores.redis.goes_on();
    is_well_within(&world, SECONDS).await;
    rings(&world, "bob").await;
    load.goes_on_for(50).await;

    let sent = load.ends().await;
    let (calm, hung) = (sent.took(calm, hung), sent.took(hung, goes_on));
    // Were every call to wait, all would be slow. Which two are, the moment's own tests count: here a disk that stalls
    // slows everybody who sends, before and after alike.
    let (usual, median) = (calm[calm.len() / 2], hung[hung.len() / 2]);
    assert!(median < usual + BOUND / 3, "the median went from {usual:?} to {median:?}");
    let slow = calm[calm.len() - 1].max(usual + BOUND / 3) + BOUND / 3;
    let slowed: Vec<&Duration> = hung.iter().filter(|took| **took > slow).collect();
    assert!(slowed.len() <= 2 + MAX_IN_FLIGHT, "of {} sends {slowed:?}, where {usual:?} is usual", hung.len());
    sent.arrived(&world).await;
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_under_load_is_missed_by_nobody() {
    let stores = Stores::new().await;
    let world = stores.gateway().await;
    is_well_within(&world, SECONDS).await;
    let mut load = Load::on(&world, false).await;
    for _ in 0..5 {
        load.goes_on_for(40).await;
        stores.redis.does(&["FLUSHALL"]);
        stores.redis.does(&["SCRIPT", "FLUSH"]);
        is(health(&world).await, (200, "ok", "ok", "ok"));
    }
    load.goes_on_for(40).await;
    assert!(!stores.redis.keys().is_empty(), "the limits are not in Redis");
    load.ends().await.arrived(&world).await;
    world.stops().await;
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_finds_it_when_it_comes() {
    let mut stores = Stores::new().await;
    stores.redis.is_killed();
    let world = stores.gateway_with(&[("RATE_LIMIT_SEND", "1/60s")], Clock::system()).await;
    is(health(&world).await, (200, "degraded", "ok", "down"));
    rings(&world, "alice").await;
    let sending = serde_json::json!({"type": "greeting", "userIds": ["alice"], "title": "too much"});
    let refused = world.service("bank").posts("/api/notifications/send", sending).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "limits are kept in this process");
    stores.redis.is_back();
    is_well_within(&world, SECONDS).await;
    world.stops().await;
}
