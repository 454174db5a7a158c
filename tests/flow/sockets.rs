//! Opening a socket with a ticket, and invalid frames on an open one.

use harness::{Device, World};
use serde_json::{Value, json};

#[tokio::test]
async fn a_ticket_opens_only_one_socket() {
    let world = World::new().await;
    let ticket = world.user("alice").ticket().await;
    let mut attempts = Vec::new();
    for _ in 0..10 {
        attempts.push(tokio::spawn({
            let (address, ticket) = (world.address(), ticket.clone());
            async move { Device::open(address, &ticket, None).await.map(drop) }
        }));
    }
    let mut opened = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(()) => opened += 1,
            Err(status) => assert_eq!(status, 401),
        }
    }
    assert_eq!(opened, 1);
    world.stops().await;
}

#[tokio::test]
async fn a_ticket_is_valid_only_for_the_origin_that_requested_it() {
    let world = World::with(&[
        ("ALLOWED_ORIGINS", "https://app.example.com,https://b.example.com"),
        ("PING_EVERY_MS", "90000"),
    ])
    .await;
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
    assert_eq!(Device::open(world.address(), &stolen, Some(app)).await.err(), Some(401), "the ticket is used up");
    let native = alice.ticket().await;
    assert_eq!(Device::open(world.address(), &native, Some(app)).await.err(), Some(403));

    let evil = ticket("https://evil.example.com").await;
    assert_eq!((evil.status, evil.code().as_str()), (403, "origin_not_allowed"));
    let named = alice.posts("/api/ws/ticket", json!({"origin": app})).await.expect(201);
    assert_eq!(named["pingEveryMs"], 90_000);
    assert!(Device::open(world.address(), &issued(named), Some(app)).await.is_ok());
    let named = alice.posts("/api/ws/ticket", json!({"origin": "https://evil.example.com"})).await;
    assert_eq!(named.code(), "origin_not_allowed");
    world.stops().await;
}

#[tokio::test]
async fn an_invalid_frame_gets_an_error_and_the_socket_stays_open() {
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
        phone.sends_text(frame).await;
        assert_eq!(phone.receives("error").await["code"], code, "{frame}");
    }
    phone.sees_nothing().await;
    world.stops().await;
}
