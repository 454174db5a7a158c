//! One call rings every open socket of a user.

use harness::World;
use serde_json::json;

#[tokio::test]
async fn one_call_rings_every_socket_of_the_user_and_nobody_elses() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let (mut phone, mut laptop, mut other) = (alice.connects().await, alice.connects().await, bob.connects().await);

    let id = world.service("shop").rings(&["alice"], "Your parcel is here").await;

    for device in [&mut phone, &mut laptop] {
        let frame = device.sees("Your parcel is here").await;
        assert_eq!(frame["notification"]["id"], id.as_str());
        assert_eq!(frame["unreadCount"], 1);
    }
    other.sees_nothing().await;
    for device in [&mut phone, &mut laptop] {
        device.sees_nothing().await;
    }
    world.stops().await;
}

#[tokio::test]
async fn a_notification_carries_all_that_was_said() {
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
        "cursor": frame["cursor"],
    });
    assert_eq!(*notification, expected);
    let got = alice.gets(&format!("/api/notifications/{}", notification["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(got, expected);
    world.stops().await;
}

#[tokio::test]
async fn a_repeat_rings_once_and_gets_the_first_answer_even_after_a_restart() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut phone = alice.connects().await;
    let body = r#"{"type":"paid","userIds":["alice","bob"],"title":"Paid","idempotencyKey":"invoice-7"}"#;
    let headers = [("content-type", "application/json")];

    let first = shop.calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, ""));
    phone.sees("Paid").await;

    let spaced = body.replace(',', " , ");
    let repeat = shop.calls("POST", "/api/notifications/send", &headers, &spaced).await;
    assert_eq!((repeat.status, repeat.header("idempotency-replayed")), (202, "true"));
    assert_eq!(repeat.text, first.text);
    phone.sees_nothing().await;

    let inbox = alice.inbox().await;
    let world = world.restarts().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let repeat = shop.calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!((repeat.text, repeat.headers["idempotency-replayed"].to_str().unwrap()), (first.text, "true"));
    assert_eq!(alice.inbox().await, inbox);

    let other = body.replace("Paid", "Not paid");
    let reused = shop.calls("POST", "/api/notifications/send", &headers, &other).await;
    assert_eq!((reused.status, reused.code().as_str()), (422, "idempotency_key_reused"));
    let anothers = world.service("bank").calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!(anothers.header("idempotency-replayed"), "");
    world.stops().await;
}

#[tokio::test]
async fn a_recipient_and_type_have_a_limit_that_refuses_and_never_drops() {
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
    // A repeat of what was accepted is answered, limit or not.
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
    world.turns(std::time::Duration::from_secs(30));
    // The refusal left the key free.
    send(&["alice"], "3").await.expect(202);
    world.stops().await;
}
