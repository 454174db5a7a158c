//! What programs beside a gateway hear over Redis, and a gateway that is told to do without.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use shared::clock::Clock;

use crate::stores::{PREFIX, Stores, health, is};

#[tokio::test]
async fn what_is_accepted_over_http_is_heard_over_pub_sub_once() {
    let stores = Stores::new().await;
    let world = stores.gateway_with(&[("RATE_LIMIT_SEND", "2/60s")], Clock::system()).await;
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
    // The repeat has spent alice's second one.
    let last = send(json!(["alice", "carol"]), "3").await.expect(202);
    assert_eq!(last["notifications"][0]["status"], "rate_limited");

    let accepted = [&first["notifications"][0], &first["notifications"][1], &last["notifications"][1]];
    let mut messages = listener.on_message();
    for notification in accepted {
        let message = tokio::time::timeout(Duration::from_secs(5), messages.next()).await.unwrap().unwrap();
        let heard: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
        let (user, id) = (&notification["userId"], &notification["id"]);
        assert_eq!(heard, json!({"userId": user, "id": id, "type": "REPORT_APPROVED"}));
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), messages.next()).await.is_err(), "something else");
    world.stops().await;
}

#[tokio::test]
async fn a_gateway_that_must_not_use_redis_does_not() {
    let stores = Stores::new().await;
    let world = stores.gateway_with(&[("QUEUE_REDIS_ENABLED", "false")], Clock::system()).await;
    is(health(&world).await, (200, "ok", "ok", "off"));
    let mut device = world.user("alice").connects().await;
    world.service("shop").rings(&["alice"], "without").await;
    device.sees("without").await;
    is(health(&world).await, (200, "ok", "ok", "off"));
    assert_eq!(stores.redis.keys(), Vec::<String>::new());
    let clients: String = stores.redis.answers(&["CLIENT", "LIST"]).unwrap();
    assert_eq!(clients.lines().count(), 1, "only this test is connected: {clients}");
    world.stops().await;
}
