//! The events that other programs receive over Redis Pub/Sub, and a gateway with Redis switched off.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use shared::clock::Clock;

use crate::stores::{PREFIX, Stores, assert_health, health};

#[tokio::test]
async fn each_accepted_notification_is_published_once() {
    let stores = Stores::new().await;
    let world = stores.gateway_with(&[("RATE_LIMIT_SEND", "1/60s")], Clock::system()).await;
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", stores.redis.port())).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe(format!("{PREFIX}:notification-events")).await.unwrap();

    let shop = world.service("shop");
    let send = async |users: Value, key: &str| {
        let body = json!({"type": "REPORT_APPROVED", "userIds": users, "title": "Approved", "idempotencyKey": key});
        shop.posts("/api/notifications/send", body).await
    };
    let first = send(json!(["alice", "böb"]), "1").await.expect(202);
    assert_eq!(send(json!(["alice", "böb"]), "1").await.expect(202), first, "a repeat");
    send(json!([]), "2").await.expect(422);
    // The first has used up the only send to alice in a minute; the repeat has spent nothing of it.
    let last = send(json!(["alice", "carol"]), "3").await.expect(202);
    assert_eq!(last["notifications"][0]["status"], "rate_limited");

    let accepted = [&first["notifications"][0], &first["notifications"][1], &last["notifications"][1]];
    let mut messages = listener.on_message();
    for notification in accepted {
        let message = tokio::time::timeout(Duration::from_secs(5), messages.next()).await.unwrap().unwrap();
        let event: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
        let (user, id) = (&notification["userId"], &notification["id"]);
        assert_eq!(event, json!({"userId": user, "id": id, "type": "REPORT_APPROVED"}));
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), messages.next()).await.is_err(), "another event");
    world.stops().await;
}

#[tokio::test]
async fn a_gateway_with_redis_switched_off_does_not_connect_to_it() {
    let stores = Stores::new().await;
    let world = stores.gateway_with(&[("QUEUE_REDIS_ENABLED", "false")], Clock::system()).await;
    assert_health(health(&world).await, (200, "ok", "ok", "off"));
    let mut device = world.user("alice").connects().await;
    world.service("shop").rings(&["alice"], "without").await;
    device.sees("without").await;
    assert_health(health(&world).await, (200, "ok", "ok", "off"));
    assert_eq!(stores.redis.keys(), Vec::<String>::new());
    let clients: String = stores.redis.answers(&["CLIENT", "LIST"]).unwrap();
    assert_eq!(clients.lines().count(), 1, "only this test is connected: {clients}");
    world.stops().await;
}
