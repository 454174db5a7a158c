//! Emitted events on real sockets, and over polling.

use harness::World;
use serde_json::json;

#[tokio::test]
async fn an_event_reaches_the_sockets_of_its_users_and_those_who_sync() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let (mut phone, mut tablet) = (alice.connects().await, bob.connects().await);
    let payload = json!({"type": "announcement", "name": "maintenance", "title": "At noon", "userIds": ["alice"]});
    let id = world.service("ops").posts("/api/events/emit", payload).await.expect(202)["eventId"].clone();
    let expected =
        json!({"type": "announcement", "id": id, "name": "maintenance", "title": "At noon", "body": null, "data": {}});
    assert_eq!(phone.receives("announcement").await, expected);
    assert_eq!(alice.gets("/api/sync").await.expect(200)["events"], json!([expected]));
    phone.sends(json!({"action": "sync", "ref": "s"})).await;
    assert_eq!(phone.receives("sync").await["events"], json!([expected]));
    tablet.sees_nothing().await;
    assert_eq!(bob.gets("/api/sync").await.expect(200)["events"], json!([]));
    world.stops().await;
}
