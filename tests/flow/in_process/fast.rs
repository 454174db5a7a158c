//! Fast accepts over real sockets: shown at once, and once more with their place.

use std::time::Duration;

use harness::World;
use serde_json::{Value, json};

/// A system in which fast accepts are made where the call does not say otherwise.
async fn fast_world() -> World {
    let world = World::with(&[("ACCEPT", "fast")]).await;
    let first = send(&world, "First").await;
    assert_eq!(first["durability"], "durable");
    world.advances(Duration::from_secs(30));
    world
}

async fn send(world: &World, title: &str) -> Value {
    let body = json!({"type": "greeting", "userId": "alice", "title": title, "idempotencyKey": title});
    world.service("shop").posts("/api/notifications/send", body).await.expect(202)
}

#[tokio::test]
async fn a_send_is_shown_at_once_and_gets_its_place_from_the_drain() {
    let world = fast_world().await;
    let alice = world.user("alice");
    let mut phone = alice.connects().await;
    let sent = send(&world, "Second").await;
    assert_eq!(sent["durability"], "redis");
    let unplaced = phone.receives("notification").await;
    assert_eq!((&unplaced["cursor"], &unplaced["notification"]["title"]), (&Value::Null, &json!("Second")));
    let placed = phone.receives("notification").await;
    assert_eq!(placed["notification"]["id"], unplaced["notification"]["id"]);
    assert_eq!(placed["unreadCount"], 2);
    let sync = alice.gets("/api/sync").await.expect(200);
    assert_eq!((&sync["cursor"], sync["notifications"].as_array().unwrap().len()), (&placed["cursor"], 2));
    assert_eq!(send(&world, "Second").await, sent);
    world.stops().await;
}

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart() {
    let world = fast_world().await;
    for title in ["Second", "Third"] {
        assert_eq!(send(&world, title).await["durability"], "redis");
    }
    let world = world.restarts().await;
    assert_eq!(world.user("alice").inbox().await.len(), 3);
    world.stops().await;
}

#[tokio::test]
async fn a_message_is_shown_at_once_and_gets_its_place() {
    let world = fast_world().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let asked = json!({"kind": "group", "participantIds": ["bob"]});
    let chat = alice.posts("/api/chats", asked).await.expect(201)["id"].as_str().unwrap().to_owned();
    let (mut phone, mut tablet) = (alice.connects().await, bob.connects().await);
    phone.sends(json!({"action": "sendMessage", "ref": "m", "chatId": chat, "clientId": "1", "body": "Hi"})).await;
    // All devices are told, the one that wrote it too.
    let told = phone.receives("message").await;
    let sent = phone.receives("sent").await["message"].clone();
    assert_eq!(told["message"], sent);
    assert_eq!((&sent["seq"], &sent["durability"]), (&Value::Null, &json!("redis")));
    assert_eq!(tablet.receives("message").await["message"], sent);
    let placed = tablet.receives("message").await;
    assert_eq!((&placed["seq"], &placed["message"]["id"]), (&json!(1), &sent["id"]));
    let unread = bob.gets("/api/chats/unread").await.expect(200);
    assert_eq!(unread["total"], 1);
    world.stops().await;
}
