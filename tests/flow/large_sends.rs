//! One call to up to 1,000 users.

use std::collections::HashSet;
use std::time::Duration;

use harness::World;
use serde_json::json;

#[tokio::test]
async fn a_thousand_recipients_are_all_reached_once() {
    // A drain that came upon what another has pushed and not yet noted would wait, by a clock that stands.
    let world = World::with(&[("DRAIN_LINGER_MS", "0")]).await;
    let users: Vec<String> = (0..1_000).map(|n| format!("user-{n}")).collect();
    let (first, last) = (world.user("user-0"), world.user("user-999"));
    let (mut near, mut far) = (first.connects().await, last.connects().await);
    let body = json!({"type": "news", "userIds": users, "title": "For all", "idempotencyKey": "news-1"});
    let shop = world.service("shop");
    let sent = shop.posts("/api/notifications/send", body.clone()).await.expect(202);
    let ids: HashSet<&str> =
        sent["notifications"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1_000);

    // The first 200 are pushed by the call itself, the others by the drain that it wakes.
    near.sees("For all").await;
    far.sees("For all").await;
    world.drains().await;
    for n in [0, 199, 200, 201, 500, 999] {
        assert_eq!(world.user(&format!("user-{n}")).inbox().await.len(), 1, "user-{n}");
    }
    assert!(shop.posts("/api/notifications/send", body).await.header("idempotency-replayed") == "true");
    near.sees_nothing().await;
    far.sees_nothing().await;
    world.stops().await;
}

#[tokio::test]
async fn a_chunk_left_by_a_stopped_system_is_materialised_after_the_restart() {
    let world = World::new().await;
    let users: Vec<String> = (0..450).map(|n| format!("user-{n}")).collect();
    let body = json!({"type": "news", "userIds": users, "title": "For all"});
    world.service("shop").posts("/api/notifications/send", body).await.expect(202);
    let world = world.restarts().await;
    world.drains().await;
    for n in [0, 200, 399, 400, 449] {
        assert_eq!(world.user(&format!("user-{n}")).inbox().await.len(), 1, "user-{n}");
    }
    assert_eq!(world.drains().await, json!({"chunks": 0, "pushed": 0, "ended": 0, "failed": false}));
    world.turns(Duration::from_secs(3_600));
    world.stops().await;
}
