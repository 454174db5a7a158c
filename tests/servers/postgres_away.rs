//! Postgres goes away: sends are refused before anything is stored, sockets stay, and all returns by itself.

use std::time::{Duration, Instant};

use harness::World;
use harness::postgres_server::PostgresServer;
use harness::redis_server::RedisServer;
use serde_json::json;

use crate::load::Load;
use crate::stores::{Stores, health, is, is_well_within};

/// What a call waits for a connection, and what a busy machine adds.
const REFUSED_WITHIN: Duration = Duration::from_secs(3);
/// What a call waits for an answer on a connection that it has.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(10);
const SECONDS: Duration = Duration::from_secs(5);

async fn begun() -> (PostgresServer, Stores, World) {
    let server = PostgresServer::start();
    let stores = Stores { database: server.database().await, redis: RedisServer::start() };
    let world = stores.gateway().await;
    is_well_within(&world, SECONDS).await;
    (server, stores, world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgres_calls_are_refused_soon_and_sockets_stay() {
    let (mut server, _stores, world) = begun().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut device = alice.connects().await;
    shop.rings(&["alice"], "before").await;
    device.sees("before").await;
    let parcel = json!({"type": "order", "userIds": ["alice"], "title": "meanwhile", "idempotencyKey": "order-7"});
    let send = async || shop.posts("/api/notifications/send", parcel.clone()).await;

    server.is_killed();
    for _ in 0..2 {
        let asked_at = Instant::now();
        let (sent, read) = tokio::join!(send(), alice.gets("/api/notifications"));
        assert!(asked_at.elapsed() < REFUSED_WITHIN, "refused after {:?}", asked_at.elapsed());
        // A write that found its connection dead does not know how far it came; a repeat tells, either way.
        let codes = [&["store_unavailable", "outcome_unknown"][..], &["store_unavailable"]];
        for (refused, codes) in [sent, read].iter().zip(codes) {
            assert!(refused.status == 503 && codes.contains(&refused.code().as_str()), "{}", refused.text);
            assert_eq!(refused.header("retry-after"), "1");
        }
    }
    is(health(&world).await, (503, "down", "down", "ok"));
    for reference in ["1", "2"] {
        device.sends(json!({"action": "sync", "ref": reference})).await;
        let error = device.receives("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("store_unavailable"), &json!(reference)), "{error}");
    }

    server.is_back();
    is_well_within(&world, SECONDS).await;
    let answer = send().await;
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (202, ""), "{}", answer.text);
    let repeat = send().await;
    assert_eq!((repeat.header("idempotency-replayed"), &repeat.text), ("true", &answer.text));
    device.sees("meanwhile").await;
    device.sees_nothing().await;
    assert_eq!(alice.inbox().await.len(), 2);
    device.closes().await;
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_hangs_is_not_waited_for_without_end() {
    let (server, _stores, world) = begun().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    shop.rings(&["alice"], "before").await;
    let parcel = json!({"type": "order", "userIds": ["alice"], "title": "meanwhile", "idempotencyKey": "order-7"});
    let send = async || shop.posts("/api/notifications/send", parcel.clone()).await;

    server.hangs();
    let asked_at = Instant::now();
    let (sent, read) = tokio::join!(send(), alice.gets("/api/notifications"));
    assert!(asked_at.elapsed() < GIVEN_UP_WITHIN, "refused after {:?}", asked_at.elapsed());
    for refused in [sent, read] {
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text);
    }

    server.goes_on();
    is_well_within(&world, GIVEN_UP_WITHIN).await;
    let answer = send().await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(send().await.text, answer.text);
    assert_eq!(alice.inbox().await.len(), 2, "what was given up may have been stored, and only once");
    world.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_under_load_loses_and_doubles_nothing() {
    let (mut server, _stores, world) = begun().await;
    let mut load = Load::on(&world, true).await;
    load.goes_on_for(100).await;
    server.is_killed();
    load.is_refused(8).await;
    server.is_back();
    is_well_within(&world, SECONDS).await;
    load.goes_on_for(100).await;
    let sent = load.ends().await;
    sent.is_stored(&world).await;
    world.stops().await;
}
