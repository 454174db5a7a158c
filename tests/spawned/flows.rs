//! Flows through a whole system whose functions are spawned processes, on Postgres and Redis.

use std::time::Duration;

use harness::{Listener, World};
use serde_json::json;

use crate::function::in_time;

#[tokio::test]
async fn a_notification_rings_once_and_is_caught_up_after_a_restart() {
    let world = World::spawned().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut phone = alice.connects().await;
    let body = r#"{"type":"paid","userIds":["alice"],"title":"Paid","idempotencyKey":"invoice-7"}"#;
    let headers = [("content-type", "application/json")];
    let first = shop.calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!(first.status, 202, "{}", first.text);
    phone.sees("Paid").await;
    let repeat = shop.calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!((repeat.text, repeat.headers["idempotency-replayed"].to_str().unwrap()), (first.text, "true"));
    phone.sees_nothing().await;
    let since = alice.cursor().await;

    let world = world.restarts().await;
    world.service("shop").rings(&["alice"], "Shipped").await;
    let missed = world.user("alice").gets(&format!("/api/sync?since={since}")).await.expect(200);
    assert_eq!(missed["notifications"][0]["title"], "Shipped", "{missed}");
    let health = world.call("GET", "/health", &[], "").await.expect(200);
    assert_eq!((&health["status"], &health["dependencies"]["redis"]), (&json!("ok"), &json!("ok")), "{health}");
    world.stops().await;
}

#[tokio::test]
async fn two_users_talk_over_a_socket_and_an_event_stream() {
    let world = World::spawned().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let chat = alice.posts("/api/chats", json!({"kind": "direct", "participantIds": ["bob"]})).await.expect(201);
    let messages = format!("/api/chats/{}/messages", chat["id"].as_str().unwrap());
    let ticket = bob.ticket().await;
    let mut tab = Listener::open(world.address(), &format!("?ticket={ticket}"), &[]).await.unwrap();
    tab.hears("pong").await;
    let sent = alice.posts(&messages, json!({"clientId": "1", "body": "Hi"})).await.expect(201);
    let heard = in_time(async {
        loop {
            let event = tab.next().await.unwrap();
            if event["type"] == "message" {
                return event["message"].clone();
            }
        }
    });
    assert_eq!(heard.await, sent);
    let history = bob.gets(&messages).await.expect(200);
    assert_eq!(history["items"][0]["body"], "Hi", "{history}");
    world.stops().await;
}

/// Its own schedule runs the drain once a minute, and ran it before.
#[tokio::test]
async fn a_function_wakes_the_drain_for_what_it_leaves() {
    let world = World::spawned().await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let mut phone = alice.connects().await;
    world.drains().await;
    let users: Vec<String> = (0..250).map(|n| format!("user-{n}")).chain(["alice".to_owned()]).collect();
    let began = std::time::Instant::now();
    let body = json!({"type": "news", "userIds": users, "title": "To all"});
    shop.posts("/api/notifications/send", body).await.expect(202);
    // Only the first 200 are pushed to by the call itself.
    phone.sees("To all").await;
    let delayed = json!({"type": "news", "userIds": ["alice"], "title": "Later", "delayMs": 1_500});
    shop.posts("/api/notifications/send", delayed).await.expect(202);
    phone.sees("Later").await;
    assert!(began.elapsed() < Duration::from_secs(50), "the schedule may have run the drain");
    world.stops().await;
}

#[tokio::test]
async fn a_page_of_an_unknown_origin_gets_no_ticket() {
    let world = World::spawned().await;
    let alice = world.user("alice");
    let asks = async |origin: &str| alice.calls("POST", "/api/ws/ticket", &[("origin", origin)], "").await;
    let own = format!("http://localhost:{}", world.address().port());
    asks(&own).await.expect(201);
    assert_eq!(asks("https://evil.example.com").await.code(), "origin_not_allowed");
    world.stops().await;
}
