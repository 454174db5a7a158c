//! A snoozed notification is gone everywhere, and rings again at its time.

use std::time::Duration;

use harness::{Caller, Device, World};
use serde_json::{Value, json};

/// Snoozes a notification until a time of the day on which the world begins, at 08:00.
async fn snoozes(caller: &Caller, id: &str, time: &str) {
    let until = format!("2027-01-15T{time}Z");
    caller.posts(&format!("/api/notifications/{id}/snooze"), json!({"until": until})).await.expect(204);
}

/// The next frame of each device, which is the same.
async fn heard(devices: &mut [Device], kind: &str) -> Value {
    let mut frames = Vec::new();
    for device in devices {
        frames.push(device.receives(kind).await);
    }
    frames.dedup();
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames.remove(0)
}

#[tokio::test]
async fn a_snoozed_notification_comes_back_on_every_device_and_in_sync() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let id = shop.rings(&["alice"], "Later").await;
    let other = shop.rings(&["alice"], "Other").await;
    let mut devices = [alice.connects().await, alice.connects().await];
    let before = alice.cursor().await;

    snoozes(&alice, &id, "08:00:30").await;
    let changed = heard(&mut devices, "changed").await;
    assert_eq!((&changed["change"], &changed["ids"]), (&json!("snoozed"), &json!([id])));
    assert_eq!((&changed["prev"], &changed["unreadCount"]), (&json!(before), &json!(1)));
    let path = format!("/api/notifications/{id}");
    assert_eq!(alice.gets(&path).await.code(), "not_found");
    assert_eq!(alice.posts(&format!("{path}/read"), json!({})).await.code(), "not_found");
    alice.gets(&format!("{path}/trace")).await.expect(200);
    assert_eq!(alice.inbox().await, std::slice::from_ref(&other));
    let sync = alice.gets(&format!("/api/sync?since={before}")).await.expect(200);
    assert_eq!(
        (&sync["deleted"], &sync["notifications"], &sync["cursor"]),
        (&json!([id]), &json!([]), &changed["cursor"])
    );

    // The snooze woke the drain, which waits.
    world.advances(Duration::from_millis(29_999));
    devices[0].sees_nothing().await;
    devices[1].sees_nothing().await;
    world.advances(Duration::from_millis(1));
    let frame = heard(&mut devices, "notification").await;
    let notification = &frame["notification"];
    assert_eq!(
        (&notification["id"], &notification["readAt"], &notification["title"]),
        (&json!(id), &Value::Null, &json!("Later"))
    );
    assert_eq!((&frame["prev"], &frame["unreadCount"]), (&changed["cursor"], &json!(2)));
    assert_eq!(
        (&notification["cursor"], &notification["createdAt"]),
        (&frame["cursor"], &json!("2027-01-15T08:00:00.000Z"))
    );
    assert_eq!(alice.inbox().await, [id.clone(), other]);
    // A device that missed both changes, and one that missed the second.
    for (since, deleted) in [(&before, json!([])), (&changed["cursor"].as_str().unwrap().to_owned(), json!([]))] {
        let sync = alice.gets(&format!("/api/sync?since={since}")).await.expect(200);
        assert_eq!((&sync["deleted"], &sync["notifications"]), (&deleted, &json!([notification])), "{since}");
    }
    alice.posts(&format!("{path}/read"), json!({})).await.expect(204);
    assert_eq!(heard(&mut devices, "changed").await["prev"], frame["cursor"]);
    world.stops().await;
}

#[tokio::test]
async fn a_snooze_can_be_moved_ended_and_deleted() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let [moved, ended, deleted] = [
        shop.rings(&["alice"], "Moved").await,
        shop.rings(&["alice"], "Ended").await,
        shop.rings(&["alice"], "Deleted").await,
    ];
    let mut devices = [alice.connects().await];
    for id in [&moved, &ended, &deleted] {
        snoozes(&alice, id, "08:05:00").await;
        assert_eq!(heard(&mut devices, "changed").await["ids"], json!([id]));
    }
    snoozes(&alice, &moved, "08:00:40").await;
    alice.deletes(&format!("/api/notifications/{deleted}")).await.expect(204);
    // A past time ends the snooze.
    snoozes(&alice, &ended, "00:00:00").await;
    assert_eq!(heard(&mut devices, "notification").await["notification"]["id"], json!(ended));
    world.advances(Duration::from_secs(40));
    assert_eq!(heard(&mut devices, "notification").await["notification"]["id"], json!(moved));
    world.advances(Duration::from_secs(300));
    devices[0].sees_nothing().await;
    assert_eq!(alice.inbox().await, [moved, ended]);
    let gone =
        alice.posts(&format!("/api/notifications/{deleted}/snooze"), json!({"until": "2027-01-15T12:00:00Z"})).await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "not_found"));
    world.stops().await;
}

#[tokio::test]
async fn a_snooze_survives_a_restart() {
    let world = World::new().await;
    let id = world.service("shop").rings(&["alice"], "Later").await;
    snoozes(&world.user("alice"), &id, "08:05:00").await;
    let world = world.restarts().await;
    let alice = world.user("alice");
    assert!(alice.inbox().await.is_empty());
    let mut devices = [alice.connects().await];
    world.advances(Duration::from_secs(300));
    // Found by the drain's schedule.
    let frame = heard(&mut devices, "notification").await;
    assert_eq!((&frame["notification"]["id"], &frame["unreadCount"]), (&json!(id), &json!(1)));
    assert_eq!(alice.inbox().await, [id]);
    world.stops().await;
}
