//! A client that was offline misses nothing.

use harness::World;
use serde_json::{Value, json};

fn titles(sync: &Value) -> Vec<&str> {
    let notifications = sync["notifications"].as_array().unwrap();
    notifications.iter().map(|notification| notification["title"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_returning_client_gets_what_arrived_while_it_was_offline() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut phone = alice.connects().await;
    shop.rings(&["alice"], "one").await;
    let cursor = phone.sees("one").await["cursor"].clone();
    phone.closes().await;
    for title in ["two", "three"] {
        shop.rings(&["alice"], title).await;
    }

    let mut phone = alice.connects().await;
    phone.sends(json!({"action": "sync", "since": cursor, "ref": "back"})).await;
    let sync = phone.receives("sync").await;
    assert_eq!(titles(&sync), ["two", "three"]);
    assert_eq!((&sync["ref"], &sync["complete"], &sync["unreadCount"]), (&json!("back"), &json!(true), &json!(3)));
    assert_eq!((&sync["chats"], &sync["chatsComplete"], &sync["events"]), (&json!([]), &json!(true), &json!([])));
    assert_eq!(phone.sees_nothing().await["cursor"], sync["cursor"]);
    world.stops().await;
}

#[tokio::test]
async fn an_inbox_and_its_cursors_survive_a_restart() {
    let world = World::new().await;
    world.service("shop").rings(&["alice"], "kept").await;
    let before = world.user("alice").gets("/api/sync").await;
    let world = world.restarts().await;
    let after = world.user("alice").gets("/api/sync").await;
    assert_eq!(after.text, before.text);
    world.stops().await;
}

#[tokio::test]
async fn a_poll_with_nothing_new_is_not_modified() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    shop.rings(&["alice"], "one").await;
    let sync = alice.gets("/api/sync").await;
    let etag = sync.header("etag").to_owned();
    let cursor = sync.json()["cursor"].as_str().unwrap().to_owned();
    assert_eq!(sync.json()["etag"], etag.as_str());
    let poll = |path: String, tag: String| {
        let alice = alice.clone();
        async move { alice.calls("GET", &path, &[("if-none-match", &tag)], "").await }
    };
    let unchanged = poll(format!("/api/sync?since={cursor}"), etag.clone()).await;
    assert_eq!((unchanged.status, unchanged.text.as_str(), unchanged.header("etag")), (304, "", etag.as_str()));
    assert_eq!(poll("/api/sync".into(), etag.clone()).await.status, 304);
    assert_eq!(poll("/api/sync".into(), "\"other\"".into()).await.status, 200);
    let zero = format!("{}.0", cursor.split('.').next().unwrap());
    assert_eq!(poll(format!("/api/sync?since={zero}"), etag.clone()).await.status, 200);
    shop.rings(&["alice"], "two").await;
    let changed = poll(format!("/api/sync?since={cursor}"), etag).await;
    assert_eq!(titles(&changed.expect(200)), ["two"]);
    world.stops().await;
}

#[tokio::test]
async fn a_sync_in_parts_leaves_nothing_out() {
    let world = World::with(&[("RATE_LIMIT_SEND", "1000/1s")]).await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let zero = alice.cursor().await;
    for n in 0..25 {
        shop.rings(&["alice"], &format!("n{n}")).await;
    }
    let (mut since, mut seen) = (zero, Vec::new());
    loop {
        let sync = alice.gets(&format!("/api/sync?limit=10&since={since}")).await.expect(200);
        seen.extend(titles(&sync).into_iter().map(str::to_owned));
        since = sync["cursor"].as_str().unwrap().to_owned();
        assert_eq!(sync["complete"] == true, sync.get("chats").is_some(), "{sync}");
        if sync["complete"] == true {
            break;
        }
    }
    assert_eq!(seen, (0..25).map(|n| format!("n{n}")).collect::<Vec<_>>());
    world.stops().await;
}

#[tokio::test]
async fn a_sync_over_a_socket_stays_below_96_kb_and_can_be_continued() {
    let world = World::with(&[("RATE_LIMIT_SEND", "1000/1s")]).await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let padding = "x".repeat(15_000);
    for n in 0..10 {
        let body = json!({"type": "big", "userId": "alice", "title": format!("n{n}"), "data": {"padding": padding}});
        shop.posts("/api/notifications/send", body).await.expect(202);
    }
    let mut phone = alice.connects().await;
    phone.sends(json!({"action": "sync"})).await;
    let first = phone.receives("sync").await;
    assert!(first.to_string().len() <= 97 * 1_024);
    assert_eq!((titles(&first).len(), &first["complete"]), (6, &json!(false)));
    phone.sends(json!({"action": "sync", "since": first["cursor"]})).await;
    let rest = phone.receives("sync").await;
    assert_eq!((titles(&rest).len(), &rest["complete"]), (4, &json!(true)));
    world.stops().await;
}

#[tokio::test]
async fn a_cursor_of_another_epoch_or_ahead_of_the_head_is_expired_and_settles_nothing() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    shop.rings(&["alice"], "one").await;
    let cursor = alice.cursor().await;
    let ahead = cursor.replace(".1", ".2");
    let other = format!("{:016x}.1", 7);
    for foreign in [&ahead, &other] {
        let sync = alice.gets(&format!("/api/sync?since={foreign}")).await;
        assert_eq!((sync.status, sync.code().as_str()), (410, "cursor_expired"));
        let ack = alice.posts("/api/ack", json!({"cursor": foreign})).await;
        assert_eq!((ack.status, ack.code().as_str()), (410, "cursor_expired"));
        let read = alice.posts("/api/notifications/read-all", json!({"before": foreign})).await;
        assert_eq!((read.status, read.code().as_str()), (410, "cursor_expired"));
    }
    alice.posts("/api/ack", json!({"cursor": cursor})).await.expect(204);
    assert_eq!(alice.gets("/api/notifications/unread-count").await.expect(200), json!({"count": 1}));
    assert_eq!(alice.gets("/api/notifications/unread-count?type=x").await.expect(200), json!({"count": 0}));
    let refused = alice.gets("/api/notifications/unread-count?type=").await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "validation_failed"));
    world.stops().await;
}

#[tokio::test]
async fn a_notification_too_large_for_a_frame_is_fetched() {
    let world = World::new().await;
    let alice = world.user("alice");
    let mut phone = alice.connects().await;
    let data = json!({"padding": "ü".repeat(8_000)});
    let body = json!({"type": "big", "userId": "alice", "title": "🔔".repeat(200),
        "body": "🔔".repeat(4_000), "data": data});
    let sent = world.service("shop").posts("/api/notifications/send", body).await.expect(202);
    let fetch = phone.receives("fetch").await;
    assert_eq!(fetch["id"], sent["notifications"][0]["id"]);
    let fetched = alice.gets(&format!("/api/notifications/{}", fetch["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&fetched["body"], &fetched["data"]), (&json!("🔔".repeat(4_000)), &data));
    assert_eq!(phone.sees_nothing().await["cursor"], fetch["cursor"]);
    world.stops().await;
}
