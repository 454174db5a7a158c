//! Who may open a socket, and how long it stays open.

use std::time::Duration;

use harness::{Device, World};
use serde_json::{Value, json};

#[tokio::test]
async fn a_ticket_opens_one_socket() {
    let world = World::new().await;
    let ticket = world.user("alice").ticket().await;
    let mut tries = Vec::new();
    for _ in 0..10 {
        tries.push(tokio::spawn({
            let (address, ticket) = (world.address(), ticket.clone());
            async move { Device::open(address, &ticket, None).await.map(drop) }
        }));
    }
    let mut opened = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(()) => opened += 1,
            Err(status) => assert_eq!(status, 401),
        }
    }
    assert_eq!(opened, 1);
    world.stops().await;
}

#[tokio::test]
async fn a_ticket_is_good_for_30_seconds() {
    let world = World::new().await;
    let alice = world.user("alice");
    let (young, old) = (alice.ticket().await, alice.ticket().await);
    world.turns(Duration::from_millis(29_999));
    assert!(Device::open(world.address(), &young, None).await.is_ok());
    world.turns(Duration::from_millis(1));
    assert_eq!(Device::open(world.address(), &old, None).await.err(), Some(401));
    assert_eq!(Device::open(world.address(), "", None).await.err(), Some(401));
    let bearer = alice.authorization().replace("Bearer ", "");
    assert_eq!(Device::open(world.address(), &bearer, None).await.err(), Some(401));
    let beside = format!("{}&token={bearer}", alice.ticket().await);
    assert_eq!(Device::open(world.address(), &beside, None).await.err(), Some(422));
    world.stops().await;
}

#[tokio::test]
async fn a_ticket_opens_sockets_only_for_the_origin_that_asked() {
    let world = World::with(&[("ALLOWED_ORIGINS", "https://app.example.com,https://b.example.com")]).await;
    let alice = world.user("alice");
    let ticket = |origin: &'static str| {
        let alice = alice.clone();
        async move { alice.calls("POST", "/api/ws/ticket", &[("origin", origin)], "").await }
    };
    let app = "https://app.example.com";
    let issued = |answer: Value| answer["ticket"].as_str().unwrap().to_owned();

    let good = issued(ticket(app).await.expect(201));
    assert!(Device::open(world.address(), &good, Some("https://APP.example.com")).await.is_ok());
    let stolen = issued(ticket(app).await.expect(201));
    assert_eq!(Device::open(world.address(), &stolen, Some("https://b.example.com")).await.err(), Some(403));
    assert_eq!(Device::open(world.address(), &stolen, Some(app)).await.err(), Some(401), "it is spent");
    let native = alice.ticket().await;
    assert_eq!(Device::open(world.address(), &native, Some(app)).await.err(), Some(403));

    let evil = ticket("https://evil.example.com").await;
    assert_eq!((evil.status, evil.code().as_str()), (403, "origin_not_allowed"));
    let named = alice.posts("/api/ws/ticket", json!({"origin": app})).await.expect(201);
    assert!(Device::open(world.address(), &issued(named), Some(app)).await.is_ok());
    let named = alice.posts("/api/ws/ticket", json!({"origin": "https://evil.example.com"})).await;
    assert_eq!(named.code(), "origin_not_allowed");
    world.stops().await;
}

#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let world = World::new().await;
    let alice = world.caller("alice", "", 300);
    let mut phone = alice.connects().await;
    world.turns(Duration::from_secs(300));
    world.service("shop").rings(&["alice"], "too late").await;
    world.drains().await;
    phone.is_closed_with("token_expired").await;
    assert_eq!(alice.gets("/api/sync").await.code(), "token_expired");
    world.stops().await;
}

#[tokio::test]
async fn a_socket_lives_on_with_a_ticket_of_a_newer_token() {
    let world = World::new().await;
    let mut phone = world.caller("alice", "", 300).connects().await;
    let ticket = world.caller("alice", "", 900).ticket().await;
    phone.says(json!({"action": "auth", "ticket": ticket, "ref": "a"})).await;
    assert_eq!(phone.next().await, json!({"type": "ok", "ref": "a", "expiresAt": "2027-01-15T08:15:00.000Z"}));
    world.turns(Duration::from_secs(300));
    world.service("shop").rings(&["alice"], "still here").await;
    phone.sees("still here").await;
    // Somebody else's ticket ends the socket instead.
    let ticket = world.caller("mallory", "", 900).ticket().await;
    phone.says(json!({"action": "auth", "ticket": ticket})).await;
    assert_eq!(phone.told("error").await["code"], "invalid_ticket");
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
        world.turns(Duration::from_millis(1));
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
async fn a_frame_that_cannot_be_acted_on_is_answered_and_the_socket_stays() {
    let world = World::new().await;
    let mut phone = world.user("alice").connects().await;
    for (frame, code) in [
        ("", "invalid_json"),
        ("nonsense", "invalid_json"),
        ("null", "invalid_json"),
        (r#"{"action":"ping","action":"ping"}"#, "invalid_json"),
        (r#"{"action":"fly"}"#, "validation_failed"),
        (r#"{"action":"$connect"}"#, "validation_failed"),
        (r#"{"action":7}"#, "validation_failed"),
        (r#"{"action":"ping","extra":1}"#, "validation_failed"),
        (r#"{"action":"sync","since":"NaN"}"#, "bad_request"),
        (r#"{"action":"sync","since":"0000000000000007.1"}"#, "cursor_expired"),
        (r#"{"action":"ack","cursor":"0000000000000007.1"}"#, "cursor_expired"),
        (r#"{"action":"read","ids":[]}"#, "validation_failed"),
    ] {
        phone.says_text(frame).await;
        assert_eq!(phone.told("error").await["code"], code, "{frame}");
    }
    phone.sees_nothing().await;
    world.stops().await;
}

#[tokio::test]
async fn who_floods_is_told_and_then_closed() {
    let world = World::with(&[("RATE_LIMIT_FRAMES", "3/60s")]).await;
    let mut phone = world.user("alice").connects().await;
    for _ in 0..3 {
        phone.sees_nothing().await;
    }
    for _ in 0..11 {
        phone.says(json!({"action": "ping", "ref": "r"})).await;
        let error = phone.told("error").await;
        assert_eq!((&error["code"], &error["ref"]), (&json!("rate_limited"), &json!("r")));
        assert_eq!(error["retryAfterMs"], 20_000);
    }
    phone.is_closed().await;
    world.stops().await;
}

#[tokio::test]
async fn a_vanished_client_is_forgotten_and_holds_nobody_up() {
    let world = World::new().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let gone = alice.connects().await;
    let mut phone = alice.connects().await;
    drop(gone);
    world.turns(Duration::from_secs(60));
    shop.rings(&["alice"], "hi").await;
    phone.sees("hi").await;
    // Offered to all that are left: nothing waits for the drain.
    assert_eq!(world.drains().await["pushed"], 0);
    world.stops().await;
}
