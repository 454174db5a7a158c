//! Flows that need the functions inside the gateway process, because the test advances the clock or because a drain is
//! woken.

mod chats;
mod emitting;
mod fast;
mod presence;
mod pushing;
mod snoozing;

use std::collections::HashSet;
use std::time::Duration;

use harness::{Device, World};
use serde_json::json;

#[tokio::test]
async fn a_notification_carries_everything_that_was_sent() {
    let world = World::new().await;
    let alice = world.user("alice");
    let mut phone = alice.connects().await;
    let sent = world
        .service("reports")
        .posts(
            "/api/notifications/send",
            json!({"type": "REPORT_APPROVED", "userId": "alice", "priority": "high", "idempotencyKey": "r-1",
                "data": {"title": "Approved", "body": "Zeile 1\nДва\t🔔", "actionUrl": "/r/1", "n": 0.1, "deep": [{"x": null}]}}),
        )
        .await
        .expect(202);
    let frame = phone.sees("Approved").await;
    let notification = &frame["notification"];
    let expected = json!({
        "id": sent["notifications"][0]["id"], "type": "REPORT_APPROVED", "title": "Approved",
        "body": "Zeile 1\nДва\t🔔", "data": {"n": 0.1, "deep": [{"x": null}]}, "actionUrl": "/r/1", "priority": "high",
        "createdAt": "2027-01-15T08:00:00.000Z", "readAt": null, "expiresAt": null, "collapseKey": null,
        "silent": false, "cursor": frame["cursor"],
    });
    assert_eq!(*notification, expected);
    let got = alice.gets(&format!("/api/notifications/{}", notification["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(got, expected);
    world.stops().await;
}

#[tokio::test]
async fn the_limit_of_a_recipient_and_type_refuses_and_never_drops() {
    let world = World::with(&[("RATE_LIMIT_SEND", "2/60s"), ("RATE_LIMIT_SEND_TYPES", "alarm=off")]).await;
    let shop = world.service("shop");
    let send = |users: &[&str], key: &str| {
        let body = json!({"type": "like", "userIds": users, "title": "Liked", "idempotencyKey": key});
        let shop = shop.clone();
        async move { shop.posts("/api/notifications/send", body).await }
    };
    send(&["alice"], "1").await.expect(202);
    let first = send(&["alice"], "2").await;
    let refused = send(&["alice"], "3").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), "30");
    assert_eq!(refused.json()["error"]["retryAfterMs"], 30_000);
    // A repeat of an accepted send is answered in spite of the limit.
    assert_eq!(send(&["alice"], "2").await.text, first.text);

    let some = send(&["alice", "bob"], "4").await.expect(202);
    let by_user = &some["notifications"];
    assert_eq!(by_user[0], json!({"userId": "alice", "id": null, "status": "rate_limited", "retryAfterMs": 30_000}));
    assert_eq!((&by_user[1]["userId"], &by_user[1]["status"]), (&json!("bob"), &json!("accepted")));

    for _ in 0..5 {
        let body = json!({"type": "alarm", "userIds": ["alice"], "title": "Fire"});
        shop.posts("/api/notifications/send", body).await.expect(202);
    }
    assert_eq!(world.user("alice").inbox().await.len(), 7);
    world.advances(Duration::from_secs(30));
    // The refusal did not use up the key.
    send(&["alice"], "3").await.expect(202);
    world.stops().await;
}

#[tokio::test]
async fn a_ticket_is_valid_for_30_seconds() {
    let world = World::new().await;
    let alice = world.user("alice");
    let (young, old) = (alice.ticket().await, alice.ticket().await);
    world.advances(Duration::from_millis(29_999));
    assert!(Device::open(world.address(), &young, None).await.is_ok());
    world.advances(Duration::from_millis(1));
    assert_eq!(Device::open(world.address(), &old, None).await.err(), Some(401));
    assert_eq!(Device::open(world.address(), "", None).await.err(), Some(401));
    let bearer = alice.authorization().replace("Bearer ", "");
    assert_eq!(Device::open(world.address(), &bearer, None).await.err(), Some(401));
    let with_token = format!("{}&token={bearer}", alice.ticket().await);
    assert_eq!(Device::open(world.address(), &with_token, None).await.err(), Some(422));
    world.stops().await;
}

#[tokio::test]
async fn a_socket_closes_when_its_token_expires() {
    let world = World::new().await;
    let alice = world.caller("alice", "", 300);
    let mut phone = alice.connects().await;
    world.advances(Duration::from_secs(300));
    world.service("shop").rings(&["alice"], "too late").await;
    // The drain stays for the grace after which alice is offline.
    {
        let mut draining = std::pin::pin!(world.drains());
        while tokio::time::timeout(Duration::from_millis(50), &mut draining).await.is_err() {
            world.advances(Duration::from_secs(10));
        }
    }
    phone.is_closed_with("token_expired").await;
    assert_eq!(alice.gets("/api/sync").await.code(), "token_expired");
    world.stops().await;
}

#[tokio::test]
async fn a_revoked_user_is_out_at_once_and_comes_back_with_a_new_token() {
    let world = World::new().await;
    let (alice, ops) = (world.user("alice"), world.caller("ops", "notify:admin", 900));
    let (mut phone, mut tab) = (alice.connects().await, alice.connects().await);
    let ticket = alice.ticket().await;
    ops.posts("/api/users/revoke", json!({"userId": "alice"})).await.expect(204);
    phone.is_closed_with("token_expired").await;
    tab.is_closed_with("token_expired").await;
    assert_eq!(alice.gets("/api/sync").await.code(), "invalid_token");
    assert_eq!(Device::open(world.address(), &ticket, None).await.err(), Some(401));
    assert_eq!(alice.posts("/api/users/revoke", json!({"userId": "ops"})).await.status, 401);
    world.advances(Duration::from_secs(1));
    let mut phone = world.user("alice").connects().await;
    world.service("shop").rings(&["alice"], "hi again").await;
    phone.sees("hi again").await;
    world.stops().await;
}

#[tokio::test]
async fn a_ticket_of_a_newer_token_extends_a_socket() {
    let world = World::new().await;
    let mut phone = world.caller("alice", "", 300).connects().await;
    let ticket = world.caller("alice", "", 900).ticket().await;
    phone.sends(json!({"action": "auth", "ticket": ticket, "ref": "a"})).await;
    assert_eq!(phone.next().await, json!({"type": "ok", "ref": "a", "expiresAt": "2027-01-15T08:15:00.000Z"}));
    world.advances(Duration::from_secs(300));
    world.service("shop").rings(&["alice"], "still here").await;
    phone.sees("still here").await;
    // A ticket of another user closes the socket instead.
    let ticket = world.caller("mallory", "", 900).ticket().await;
    phone.sends(json!({"action": "auth", "ticket": ticket})).await;
    assert_eq!(phone.receives("error").await["code"], "invalid_ticket");
    phone.is_closed().await;
    world.stops().await;
}

#[tokio::test]
async fn the_21st_socket_of_a_user_closes_the_oldest() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut devices = Vec::new();
    for _ in 0..21 {
        devices.push(alice.connects().await);
        world.advances(Duration::from_millis(1));
    }
    let mut oldest = devices.remove(0);
    oldest.is_closed().await;
    shop.rings(&["alice"], "hi").await;
    for device in &mut devices {
        device.sees("hi").await;
    }
    world.stops().await;
}

#[tokio::test]
async fn a_flooding_client_is_told_so_and_then_closed() {
    let world = World::with(&[("RATE_LIMIT_FRAMES", "3/60s")]).await;
    let mut phone = world.user("alice").connects().await;
    for _ in 0..3 {
        phone.sees_nothing().await;
    }
    for n in 0..5 {
        phone.sends(json!({"action": "ping", "ref": "r"})).await;
        let error = phone.receives("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("rate_limited"), &json!("r")));
        assert_eq!(error["retryAfterMs"], 20_000 - n * 1_000);
        world.advances(Duration::from_secs(1));
    }
    phone.sends(json!({"action": "ping"})).await;
    assert_eq!(phone.receives("error").await["code"], "rate_limited");
    phone.is_closed().await;
    world.stops().await;
}

#[tokio::test]
async fn a_vanished_client_is_forgotten_and_delays_no_other() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let gone = alice.connects().await;
    let mut phone = alice.connects().await;
    drop(gone);
    world.advances(Duration::from_secs(60));
    shop.rings(&["alice"], "hi").await;
    phone.sees("hi").await;
    // It was offered to every remaining connection, so the drain has nothing to push.
    assert_eq!(world.drains().await["pushed"], 0);
    world.stops().await;
}

#[tokio::test]
async fn a_send_reaches_each_of_a_thousand_recipients_once() {
    // A drain waits for rows that another drain has pushed and not yet marked, and this clock never advances.
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

    // The call itself pushes to the first 200 recipients, the drain that it wakes to the others.
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
async fn a_delayed_notification_arrives_when_it_is_due_and_not_before() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut phone = alice.connects().await;
    let reminder = |title: &str| json!({"type": "reminder", "userId": "alice", "title": title});
    let mut soon = reminder("soon");
    soon["delayMs"] = 30_000.into();
    let mut later = reminder("later");
    later["deliverAt"] = "2027-01-15T09:05:00+01:00".into();
    for body in [soon, later] {
        let sent = shop.posts("/api/notifications/send", body).await.expect(202);
        assert_eq!(sent["status"], "scheduled");
    }
    world.advances(Duration::from_millis(29_999));
    phone.sees_nothing().await;
    assert!(alice.inbox().await.is_empty());
    // The send woke the drain, which waits.
    world.advances(Duration::from_millis(1));
    phone.sees("soon").await;
    world.advances(Duration::from_millis(269_999));
    phone.sees_nothing().await;
    // This one is found by the drain's schedule.
    world.advances(Duration::from_millis(1));
    let frame = phone.sees("later").await;
    assert_eq!(frame["notification"]["createdAt"], "2027-01-15T08:05:00.000Z");
    assert_eq!(alice.inbox().await.len(), 2);
    world.stops().await;
}

#[tokio::test]
async fn a_scheduled_send_can_be_cancelled_until_it_is_due() {
    let world = World::new().await;
    let (shop, alice) = (world.service("shop"), world.user("alice"));
    let mut phone = alice.connects().await;
    let mut paths = Vec::new();
    for title in ["Cancelled", "Due"] {
        let body = json!({"type": "greeting", "userId": "alice", "title": title, "delayMs": 60_000});
        let sent = shop.posts("/api/notifications/send", body).await.expect(202);
        paths.push(format!("/api/notifications/scheduled/{}", sent["sendId"].as_str().unwrap()));
    }
    let refused = alice.deletes(&paths[0]).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
    assert_eq!(world.service("bank").deletes(&paths[0]).await.code(), "not_found");
    for _ in 0..2 {
        shop.deletes(&paths[0]).await.expect(204);
    }
    // The sends woke the drain, which waits.
    world.advances(Duration::from_secs(60));
    phone.sees("Due").await;
    assert_eq!(alice.inbox().await.len(), 1);
    let late = shop.deletes(&paths[1]).await;
    assert_eq!((late.status, late.code().as_str()), (409, "conflict"));
    assert_eq!(shop.gets(&paths[1]).await.header("allow"), "DELETE");
    world.stops().await;
}

#[tokio::test]
async fn an_expired_notification_is_gone_at_once_and_devices_learn_of_it_from_the_drain() {
    let world = World::new().await;
    let (shop, alice) = (world.service("shop"), world.user("alice"));
    let mut phone = alice.connects().await;
    let body = json!({"type": "offer", "userId": "alice", "title": "Today only", "expiresAt": "2027-01-15T08:00:10Z"});
    let sent = shop.posts("/api/notifications/send", body).await.expect(202);
    let frame = phone.sees("Today only").await;
    assert_eq!(frame["notification"]["expiresAt"], "2027-01-15T08:00:10.000Z");
    world.advances(Duration::from_millis(9_999));
    assert_eq!(alice.inbox().await.len(), 1);
    world.advances(Duration::from_millis(1));
    assert!(alice.inbox().await.is_empty());
    assert_eq!(alice.gets("/api/notifications/unread-count").await.expect(200), json!({"count": 0}));
    let id = &sent["notifications"][0]["id"];
    assert_eq!(alice.gets(&format!("/api/notifications/{}", id.as_str().unwrap())).await.code(), "not_found");

    world.drains().await;
    let changed = phone.receives("changed").await;
    assert_eq!(
        (&changed["change"], &changed["ids"], &changed["unreadCount"]),
        (&json!("expired"), &json!([id]), &json!(0))
    );
    let history = shop.gets("/api/notifications/history").await.expect(200);
    assert_eq!(history["items"][0]["states"]["expired"], 1);
    let missed = alice.gets(&format!("/api/sync?since={}", frame["cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((&missed["deleted"], &missed["cursor"]), (&json!([id]), &changed["cursor"]));
    world.stops().await;
}

#[tokio::test]
async fn a_newer_notification_replaces_an_older_one_with_the_same_collapse_key() {
    let world = World::new().await;
    let (shop, alice) = (world.service("shop"), world.user("alice"));
    let mut phone = alice.connects().await;
    let parcel = |title: &str| json!({"type": "parcel", "userId": "alice", "title": title, "collapseKey": "parcel-7"});
    let mut delayed = parcel("Packed");
    delayed["delayMs"] = 60_000.into();
    shop.posts("/api/notifications/send", delayed).await.expect(202);
    let old = shop.posts("/api/notifications/send", parcel("Ordered")).await.expect(202);
    let ordered = phone.sees("Ordered").await;
    world.advances(Duration::from_secs(30));
    shop.posts("/api/notifications/send", parcel("Paid")).await.expect(202);
    let paid = phone.sees("Paid").await;
    assert_eq!((&paid["replaces"], &paid["prev"]), (&json!([old["notifications"][0]["id"]]), &ordered["cursor"]));
    let missed = alice.gets(&format!("/api/sync?since={}", ordered["cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!(
        (&missed["deleted"], &missed["notifications"][0]["id"]),
        (&paid["replaces"], &paid["notification"]["id"])
    );
    // The delayed one is due now and is the newest; the drain has been waiting for it.
    world.advances(Duration::from_secs(30));
    let packed = phone.sees("Packed").await;
    assert_eq!(packed["unreadCount"], 1);
    assert_eq!(alice.inbox().await, [packed["notification"]["id"].as_str().unwrap()]);
    world.stops().await;
}
