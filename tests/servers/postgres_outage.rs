//! Outages of Postgres: sends are refused before anything is stored, sockets stay open, and the system recovers on its
//! own.

use std::time::{Duration, Instant};

use harness::World;
use harness::postgres_server::PostgresServer;
use harness::redis_server::RedisServer;
use serde_json::json;

use crate::load::Load;
use crate::stores::{Stores, assert_health, health, is_healthy_within};

/// The time that a call waits for a connection, plus a margin for a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);
/// Longer than a call waits for an answer on an open connection.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(10);
const RECOVERY: Duration = Duration::from_secs(5);

async fn start() -> (PostgresServer, Stores, World) {
    let server = PostgresServer::start();
    let stores = Stores { database: server.database().await, redis: RedisServer::start() };
    let world = stores.gateway().await;
    is_healthy_within(&world, RECOVERY).await;
    (server, stores, world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_calls_are_refused_quickly_and_sockets_stay_open() {
    let (mut server, _stores, world) = start().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut device = alice.connects().await;
    shop.rings(&["alice"], "before").await;
    device.sees("before").await;
    let parcel = json!({"type": "order", "userIds": ["alice"], "title": "during", "idempotencyKey": "order-7"});
    let send = async || shop.posts("/api/notifications/send", parcel.clone()).await;

    server.is_killed();
    for _ in 0..2 {
        let asked_at = Instant::now();
        let (sent, read) = tokio::join!(send(), alice.gets("/api/notifications"));
        assert!(asked_at.elapsed() < REFUSED_WITHIN, "refused after {:?}", asked_at.elapsed());
        // A write on a dead connection may or may not be committed; a repeat gets the right answer in both cases.
        let codes = [&["store_unavailable", "outcome_unknown"][..], &["store_unavailable"]];
        for (refused, codes) in [sent, read].iter().zip(codes) {
            assert!(refused.status == 503 && codes.contains(&refused.code().as_str()), "{}", refused.text);
            assert_eq!(refused.header("retry-after"), "1");
        }
    }
    assert_health(health(&world).await, (503, "down", "down", "ok"));
    for reference in ["1", "2"] {
        device.sends(json!({"action": "sync", "ref": reference})).await;
        let error = device.receives("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("store_unavailable"), &json!(reference)), "{error}");
    }

    server.is_back();
    is_healthy_within(&world, RECOVERY).await;
    let answer = send().await;
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (202, ""), "{}", answer.text);
    let repeat = send().await;
    assert_eq!((repeat.header("idempotency-replayed"), &repeat.text), ("true", &answer.text));
    device.sees("during").await;
    device.sees_nothing().await;
    assert_eq!(alice.inbox().await.len(), 2);
    device.closes().await;
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_give_up_on_a_postgres_that_hangs() {
    let (server, _stores, world) = start().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    shop.rings(&["alice"], "before").await;
    let parcel = json!({"type": "order", "userIds": ["alice"], "title": "during", "idempotencyKey": "order-7"});
    let send = async || shop.posts("/api/notifications/send", parcel.clone()).await;

    server.hangs();
    let asked_at = Instant::now();
    let (sent, read) = tokio::join!(send(), alice.gets("/api/notifications"));
    assert!(asked_at.elapsed() < GIVEN_UP_WITHIN, "refused after {:?}", asked_at.elapsed());
    for refused in [sent, read] {
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text);
    }

    server.goes_on();
    is_healthy_within(&world, GIVEN_UP_WITHIN).await;
    let answer = send().await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(send().await.text, answer.text);
    assert_eq!(alice.inbox().await.len(), 2, "the send that timed out may be stored, but only once");
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_postgres_under_load_loses_and_duplicates_nothing() {
    let (mut server, _stores, world) = start().await;
    let mut load = Load::on(&world, true).await;
    load.continues_for(100).await;
    server.is_killed();
    load.is_refused(8).await;
    server.is_back();
    is_healthy_within(&world, RECOVERY).await;
    load.continues_for(100).await;
    let sent = load.ends().await;
    sent.is_stored(&world).await;
    world.stops().await;
}
