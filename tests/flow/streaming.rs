//! Event streams over real connections.

use harness::{Caller, Listener, World};
use serde_json::json;

use crate::chats::chat_of;

async fn listens(user: &Caller, world: &World, headers: &[(&str, &str)]) -> Listener {
    let authorization = user.authorization().to_owned();
    let mut headers = headers.to_vec();
    headers.push(("authorization", &authorization));
    Listener::open(world.address(), "", &headers).await.unwrap()
}

#[tokio::test]
async fn a_stream_hears_what_a_socket_hears() {
    let world = World::new().await;
    let (alice, bob, shop) = (world.user("alice"), world.user("bob"), world.service("shop"));
    let mut phone = alice.connects().await;
    let ticket = alice.ticket().await;
    let mut tab = Listener::open(world.address(), &format!("?ticket={ticket}"), &[]).await.unwrap();
    assert_eq!(Listener::open(world.address(), &format!("?ticket={ticket}"), &[]).await.err(), Some(401));
    tab.hears("pong").await;
    shop.rings(&["alice"], "Zeile 1 🔔").await;
    assert_eq!(tab.hears_of("Zeile 1 🔔").await, phone.sees("Zeile 1 🔔").await);
    assert_eq!(alice.cursor().await, tab.last_id().unwrap());

    let chat = chat_of(&alice, &bob).await;
    let sent =
        bob.posts(&format!("/api/chats/{chat}/messages"), json!({"clientId": "1", "body": "Hi"})).await.expect(201);
    loop {
        let event = tab.next().await.unwrap();
        if event["type"] == "message" {
            assert_eq!(event["message"], sent);
            break;
        }
    }
    shop.posts("/api/events/emit", json!({"type": "dashboard", "userIds": ["alice"]})).await.expect(202);
    loop {
        if tab.next().await.unwrap()["type"] == "dashboard" {
            break;
        }
    }
    world.stops().await;
}

#[tokio::test]
async fn a_stream_that_comes_back_after_a_restart_hears_all_of_it_once() {
    let world = World::new().await;
    let alice = world.user("alice");
    let mut tab = listens(&alice, &world, &[]).await;
    tab.hears("pong").await;
    world.service("shop").rings(&["alice"], "before").await;
    tab.hears_of("before").await;
    let last = tab.last_id().unwrap().to_owned();
    let world = world.restarts().await;
    // It may say goodbye, and ends.
    while let Some(event) = tab.next().await {
        assert!(["pong", "reconnect", "presence"].contains(&event["type"].as_str().unwrap()), "{event}");
    }
    let shop = world.service("shop");
    shop.rings(&["alice"], "meanwhile").await;
    let mut tab = listens(&world.user("alice"), &world, &[("last-event-id", &last)]).await;
    assert_eq!(tab.next().await.unwrap()["notification"]["title"], "meanwhile");
    assert_eq!(tab.next().await.unwrap()["type"], "pong");
    shop.rings(&["alice"], "after").await;
    tab.hears_of("after").await;
    world.stops().await;
}

#[tokio::test]
async fn a_bad_stream_is_refused() {
    let world = World::new().await;
    let alice = world.user("alice");
    let bearer = alice.authorization().to_owned();
    let opens =
        async |query: &str, headers: &[(&str, &str)]| Listener::open(world.address(), query, headers).await.err();
    assert_eq!(opens("", &[]).await, Some(401));
    assert_eq!(opens("?ticket=x", &[]).await, Some(401));
    assert_eq!(opens("?since=x", &[("authorization", &bearer)]).await, Some(400));
    assert_eq!(opens("", &[("authorization", &bearer), ("last-event-id", "x")]).await, Some(400));
    assert_eq!(opens(&format!("?token={}", bearer.replace("Bearer ", "")), &[]).await, Some(422));
    let posted = alice.posts("/api/events", json!({})).await;
    assert_eq!((posted.status, posted.code().as_str()), (405, "method_not_allowed"));
    world.stops().await;
}
