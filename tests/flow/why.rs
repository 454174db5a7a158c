//! `carillon why` tells what became of a notification, as a gateway knows it.

use gateway::why::{Question, tell};
use harness::World;
use shared::ids::NotificationId;

/// The story as a token of a local gateway tells it.
async fn story(world: &World, id: &str, user: Option<&str>) -> Result<String, String> {
    let question = Question {
        id: NotificationId::parse(id).unwrap(),
        url: format!("http://{}", world.address()),
        token: None,
        user: user.map(str::to_owned),
        now_ms: world.clock.now_ms(),
    };
    tell(&question).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_notification_waits_for_a_device_is_shown_and_is_read() {
    let world = World::new().await;
    let shop = world.service("shop");
    let waiting = shop.rings(&["alice"], "waits").await;
    let told = story(&world, &waiting, Some("alice")).await.unwrap();
    assert!(told.contains("It was accepted") && told.contains("no device of the user is connected"), "{told}");
    let told = story(&world, &waiting, None).await.unwrap();
    assert!(told.contains("--user"), "{told}");

    let mut device = world.user("alice").connects().await;
    let id = shop.rings(&["alice"], "rings").await;
    device.sees("rings").await;
    let told = story(&world, &id, None).await.unwrap();
    assert!(told.contains("which took it") && told.contains("every device that was connected took it"), "{told}");
    world.user("alice").calls("POST", &format!("/api/notifications/{id}/read"), &[], "").await.expect(204);
    let told = story(&world, &id, Some("alice")).await.unwrap();
    assert!(told.contains("It arrived and was read.\nThere is nothing to do."), "{told}");
    world.stops().await;
}

#[tokio::test]
async fn an_unknown_notification_has_a_story_too() {
    let world = World::new().await;
    let told = story(&world, "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1", None).await.unwrap_err();
    assert!(told.contains("There is no notification") && told.contains("cancelled"), "{told}");
    let question = Question {
        id: NotificationId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap(),
        url: format!("http://{}/", world.address()),
        token: Some("hunter2".into()),
        user: None,
        now_ms: world.clock.now_ms(),
    };
    let refused = tell(&question).await.unwrap_err().to_string();
    assert!(refused.contains("401") && !refused.contains("hunter2"), "{refused}");
    world.stops().await;
}
