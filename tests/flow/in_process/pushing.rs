//! Web Push through a whole system: encrypted, to a push service over HTTP.

use std::time::Duration;

use harness::push_service::{Browser, PushService, Reply};
use harness::{Caller, World};
use serde_json::{Value, json};

/// A system that may push to this service, and whose drains wait for nothing that is due later.
async fn world(service: &PushService) -> World {
    World::with(&[("WEB_PUSH_HOSTS", &service.host()), ("DRAIN_LINGER_MS", "0")]).await
}

async fn subscribes(user: &Caller, service: &PushService) -> Browser {
    let browser = Browser::new();
    let subscribed = user.posts("/api/push/subscriptions", browser.subscription(&service.endpoint("/browser"))).await;
    assert_eq!(subscribed.status, 201, "{}", subscribed.text);
    browser
}

/// The next push to the browser, decrypted. Another drain may be sending it still.
async fn gets(service: &PushService, browser: &Browser) -> Value {
    let got = async {
        loop {
            match &service.taken()[..] {
                [] => tokio::time::sleep(Duration::from_millis(5)).await,
                [pushed] => return serde_json::from_slice(&browser.decrypted(pushed)).unwrap(),
                more => panic!("{} pushes instead of one", more.len()),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), got).await.expect("nothing was pushed")
}

fn gets_nothing(service: &PushService) {
    assert_eq!(service.taken().len(), 0);
}

async fn puts(user: &Caller, path: &str, body: Value) {
    let headers = [("content-type", "application/json")];
    let put = user.calls("PUT", path, &headers, &body.to_string()).await;
    assert_eq!(put.status, 200, "{}", put.text);
}

#[tokio::test]
async fn a_send_reaches_the_browser_of_an_absent_user_and_reading_it_elsewhere_closes_it() {
    let service = PushService::start().await;
    let world = world(&service).await;
    let alice = world.user("alice");
    let browser = subscribes(&alice, &service).await;
    let key = alice.gets("/api/push/key").await.json()["key"].clone();

    let id = world.service("shop").rings(&["alice"], "Your parcel is here").await;
    let only = loop {
        match service.taken().pop() {
            Some(pushed) => break pushed,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let payload: Value = serde_json::from_slice(&browser.decrypted(&only)).unwrap();
    assert_eq!((&payload["id"], &payload["title"]), (&json!(id), &json!("Your parcel is here")));
    assert_eq!(payload["tag"], only.header("topic"));
    let (claims, signed_with) = only.sender();
    assert_eq!((json!(signed_with), &claims["aud"]), (key, &json!(format!("http://{}", service.host()))));
    // It is settled shortly after the push service has answered.
    loop {
        let trace = alice.gets(&format!("/api/notifications/{id}/trace")).await.json();
        let mut steps = trace["steps"].as_array().unwrap().iter();
        if steps.any(|step| step["step"] == "pushed" && step["status"] == "web_push") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    alice.posts(&format!("/api/notifications/{id}/read"), json!({})).await;
    assert_eq!(gets(&service, &browser).await, json!({"kind": "close", "tag": payload["tag"]}));
    world.stops().await;
}

#[tokio::test]
async fn what_was_not_pushed_survives_a_restart_and_is_pushed_once() {
    let service = PushService::start().await;
    let world = world(&service).await;
    let alice = world.user("alice");
    let browser = subscribes(&alice, &service).await;
    service.replies(&[Reply::RetryAfter(429, "20".into()), Reply::Status(201)]);
    world.service("shop").rings(&["alice"], "Your parcel is here").await;
    assert_eq!(gets(&service, &browser).await["title"], "Your parcel is here", "refused for now");

    let world = world.restarts().await;
    world.advances(Duration::from_secs(19));
    world.drains().await;
    gets_nothing(&service);
    world.advances(Duration::from_secs(1));
    world.drains().await;
    assert_eq!(gets(&service, &browser).await["title"], "Your parcel is here");
    world.advances(Duration::from_secs(3_600));
    world.drains().await;
    gets_nothing(&service);
    world.stops().await;
}

#[tokio::test]
async fn quiet_hours_and_digests_hold_pushes_and_tell_them_together() {
    let service = PushService::start().await;
    let world = world(&service).await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    let browser = subscribes(&alice, &service).await;
    let like = json!({"type": "like", "userId": "alice", "title": "Bob likes it", "digest": {"windowMs": 60_000}});
    for _ in 0..3 {
        shop.posts("/api/notifications/send", like.clone()).await;
        world.drains().await;
    }
    gets_nothing(&service);
    world.advances(Duration::from_secs(60));
    world.drains().await;
    assert_eq!(gets(&service, &browser).await["title"], "3 new notifications");

    // The clock of the tests shows 08:01 UTC.
    let quiet = json!({"from": "08:00", "to": "09:00", "timeZone": "UTC"});
    puts(&alice, "/api/preferences", json!({"quietHours": quiet})).await;
    for title in ["one", "two"] {
        shop.rings(&["alice"], title).await;
        world.drains().await;
    }
    assert_eq!(alice.inbox().await.len(), 5, "the inbox does not wait");
    gets_nothing(&service);
    world.advances(Duration::from_secs(3_600));
    world.drains().await;
    assert_eq!(gets(&service, &browser).await["title"], "2 new notifications");
    world.stops().await;
}

#[tokio::test]
async fn an_absent_member_hears_of_a_chat_unless_it_is_muted() {
    let service = PushService::start().await;
    let world = world(&service).await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let browser = subscribes(&bob, &service).await;
    let asked = alice.posts("/api/chats", json!({"participantIds": ["bob"], "kind": "direct"})).await;
    let chat = asked.json()["id"].as_str().unwrap().to_owned();
    bob.posts(&format!("/api/chats/{chat}/accept"), json!({})).await;
    let says = async |text: &str| {
        alice.posts(&format!("/api/chats/{chat}/messages"), json!({"clientId": text, "body": text})).await;
    };
    says("one").await;
    says("two").await;
    world.advances(Duration::from_secs(30));
    world.drains().await;
    let payload = gets(&service, &browser).await;
    assert_eq!((&payload["title"], &payload["body"]), (&json!("2 new messages from alice"), &json!("two")));
    assert_eq!(payload["chatId"], json!(chat));

    puts(&bob, "/api/preferences", json!({"mutedChats": {&chat: null}})).await;
    says("three").await;
    world.advances(Duration::from_secs(60));
    world.drains().await;
    gets_nothing(&service);
    world.stops().await;
}
