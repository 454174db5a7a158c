//! Emitted events that the woken drain pushes.

use harness::World;
use serde_json::json;

#[tokio::test]
async fn an_event_for_all_reaches_all_who_are_there() {
    let world = World::new().await;
    let mut devices = Vec::new();
    for name in ["alice", "alice", "bob", "carol"] {
        devices.push(world.user(name).connects().await);
    }
    let admin = world.caller("ops", "notify:admin", 900);
    let id = admin.posts("/api/events/emit", json!({"type": "system", "name": "reload"})).await.expect(202)["eventId"]
        .clone();
    for device in &mut devices {
        assert_eq!(device.receives("system").await["id"], id);
    }
    assert_eq!(world.user("dave").gets("/api/sync").await.expect(200)["events"][0]["id"], id);
    world.stops().await;
}
