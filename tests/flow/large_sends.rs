//! One call to up to 1,000 users.

use harness::World;
use serde_json::json;

#[tokio::test]
async fn chunks_of_a_stopped_system_are_materialised_after_the_restart() {
    let world = World::new().await;
    let users: Vec<String> = (0..450).map(|n| format!("user-{n}")).collect();
    let body = json!({"type": "news", "userIds": users, "title": "For all"});
    world.service("shop").posts("/api/notifications/send", body).await.expect(202);
    let world = world.restarts().await;
    world.drains().await;
    for n in [0, 200, 399, 400, 449] {
        assert_eq!(world.user(&format!("user-{n}")).inbox().await.len(), 1, "user-{n}");
    }
    assert_eq!(
        world.drains().await,
        json!({
            "chunks": 0, "pushed": 0, "messages": 0, "persisted": 0, "webPushed": 0, "resynced": 0, "unsnoozed": 0,
            "expired": 0, "deadLettered": 0, "returned": 0, "closed": 0, "purged": 0, "failed": false
        })
    );
    world.stops().await;
}
