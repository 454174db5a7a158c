//! A change by one device reaches all devices of the user.

use harness::World;
use serde_json::{Value, json};

#[tokio::test]
async fn a_change_on_one_device_is_pushed_to_all() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let (mut phone, mut laptop) = (alice.connects().await, alice.connects().await);
    let id = shop.rings(&["alice"], "hi").await;
    let arrival = phone.sees("hi").await;
    laptop.sees("hi").await;

    phone.sends(json!({"action": "read", "ids": [id], "ref": "1"})).await;
    let changed = phone.receives("changed").await;
    assert_eq!(laptop.receives("changed").await, changed);
    assert_eq!(phone.next().await, json!({"type": "ok", "ref": "1"}));
    assert_eq!((&changed["change"], &changed["ids"]), (&json!("read"), &json!([id])));
    assert_eq!((&changed["prev"], &changed["unreadCount"]), (&arrival["cursor"], &json!(0)));

    // It is already read: nothing changes, so nothing is pushed.
    phone.sends(json!({"action": "read", "ids": [id]})).await;
    assert_eq!(phone.next().await, json!({"type": "ok"}));
    assert_eq!(laptop.sees_nothing().await["cursor"], changed["cursor"]);

    alice.posts(&format!("/api/notifications/{id}/unread"), json!({})).await.expect(204);
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.receives("changed").await["change"], "unread");
    }
    alice.deletes(&format!("/api/notifications/{id}")).await.expect(204);
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.receives("changed").await["change"], "deleted");
    }
    world.stops().await;
}

#[tokio::test]
async fn a_deleted_notification_is_gone_and_its_deletion_is_synced() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let id = shop.rings(&["alice"], "hi").await;
    let path = format!("/api/notifications/{id}");
    let cursor = alice.cursor().await;
    for _ in 0..2 {
        assert_eq!(alice.deletes(&path).await.status, 204);
    }
    assert_eq!(alice.gets(&path).await.code(), "not_found");
    assert_eq!(alice.posts(&format!("{path}/read"), json!({})).await.code(), "not_found");
    assert!(alice.inbox().await.is_empty());
    let sync = alice.gets(&format!("/api/sync?since={cursor}")).await.expect(200);
    assert_eq!((&sync["deleted"], &sync["notifications"]), (&json!([id]), &json!([])));
    assert_eq!(alice.gets("/api/sync").await.expect(200)["deleted"], json!([]));
    world.stops().await;
}

#[tokio::test]
async fn notifications_of_another_user_are_not_found() {
    let world = World::new().await;
    let (alice, mallory, shop) = (world.user("alice"), world.user("mallory"), world.service("shop"));
    let id = shop.rings(&["alice"], "hi").await;
    let path = format!("/api/notifications/{id}");
    for answer in [
        mallory.gets(&path).await,
        mallory.deletes(&path).await,
        mallory.posts(&format!("{path}/read"), json!({})).await,
        mallory.posts(&format!("{path}/unread"), json!({})).await,
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    }
    let mut device = mallory.connects().await;
    device.sends(json!({"action": "delete", "ids": [id]})).await;
    device.receives("ok").await;
    assert_eq!(alice.inbox().await, [id]);
    world.stops().await;
}

#[tokio::test]
async fn read_all_is_limited_to_its_type_and_cursor() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let send = |kind: &'static str| {
        let shop = shop.clone();
        async move {
            let body = json!({"type": kind, "userId": "alice", "title": kind});
            shop.posts("/api/notifications/send", body).await.expect(202);
        }
    };
    send("like").await;
    send("paid").await;
    let before = alice.cursor().await;
    send("like").await;

    let updated = |answer: Value| answer["updated"].as_u64().unwrap();
    let likes = json!({"type": "like", "before": before});
    assert_eq!(updated(alice.posts("/api/notifications/read-all", likes.clone()).await.expect(200)), 1);
    assert_eq!(updated(alice.posts("/api/notifications/read-all", likes).await.expect(200)), 0);
    let unread = alice.gets("/api/notifications?unread=true").await.expect(200);
    let kinds: Vec<&Value> = unread["items"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["like", "paid"]);
    // The body may be absent.
    assert_eq!(updated(alice.calls("POST", "/api/notifications/read-all", &[], "").await.expect(200)), 2);
    world.stops().await;
}

#[tokio::test]
async fn a_change_of_more_than_100_notifications_is_pushed_as_a_resync() {
    let world = World::with(&[("RATE_LIMIT_SEND", "1000/1s")]).await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    for n in 0..101 {
        shop.rings(&["alice"], &format!("n{n}")).await;
    }
    let mut phone = alice.connects().await;
    phone.sends(json!({"action": "readAll", "ref": "all"})).await;
    assert_eq!(phone.next().await, json!({"type": "resync"}));
    assert_eq!(phone.next().await, json!({"type": "ok", "ref": "all", "updated": 101}));
    world.stops().await;
}

#[tokio::test]
async fn pages_of_the_inbox_skip_nothing_while_more_arrives() {
    let world = World::with(&[("RATE_LIMIT_SEND", "1000/1s")]).await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.insert(0, shop.rings(&["alice"], &format!("n{n}")).await);
    }
    let (mut path, mut seen) = ("/api/notifications?limit=3".to_owned(), Vec::new());
    loop {
        let page = alice.gets(&path).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        path = format!("/api/notifications?limit=3&cursor={next}");
        shop.rings(&["alice"], "late").await;
    }
    assert_eq!(seen, sent);
    world.stops().await;
}
