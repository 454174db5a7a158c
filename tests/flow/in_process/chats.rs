//! What chats leave to the drain, and what depends on the clock.

use std::time::Duration;

use harness::device::Device;
use harness::world::World;
use serde_json::json;

use crate::chats::chat_of;

#[tokio::test]
async fn a_message_reaches_more_members_than_the_call_pushes_to() {
    let world = World::new().await;
    let (path, mut devices) = connected_group(&world, 30).await;
    let message = json!({"clientId": "1", "body": "Welcome"});
    let sent = world.user("alice").posts(&path, message).await.expect(201);
    // Those that the call did not push to are the drain's, which was woken for them.
    for device in &mut devices {
        assert_eq!(device.receives("message").await["message"], sent);
    }
    world.stops().await;
}

#[tokio::test]
async fn over_the_rate_nothing_is_stored_and_repeats_are_answered() {
    let world = World::with(&[("RATE_LIMIT_CHAT", "3/10s")]).await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    // Creating the chat has spent one.
    let path = format!("/api/chats/{}/messages", chat_of(&alice, &bob).await);
    let say = |n: usize| json!({"clientId": n.to_string(), "body": "Hi"});
    for n in 1..=2 {
        alice.posts(&path, say(n)).await.expect(201);
        alice.posts(&path, say(n)).await.expect(200);
    }
    let refused = alice.posts(&path, say(3)).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("retry-after"), "4");
    alice.posts(&path, say(2)).await.expect(200);
    assert_eq!(alice.posts(&path, json!({"clientId": "2", "body": "Ho"})).await.code(), "idempotency_key_reused");
    assert_eq!(bob.gets(&path).await.expect(200)["items"].as_array().unwrap().len(), 2);
    world.stops().await;
}

#[tokio::test]
async fn others_hear_of_the_first_and_the_last_of_many_reads() {
    let world = World::with(&[("RATE_LIMIT_CHAT", "100/1s")]).await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    let id = chat_of(&alice, &bob).await;
    for n in 1..=9 {
        let message = json!({"clientId": n.to_string(), "body": "Hi"});
        bob.posts(&format!("/api/chats/{id}/messages"), message).await.expect(201);
    }
    let mut tablet = bob.connects().await;
    let mut phone = alice.connects().await;
    tablet.receives("presence").await;
    for seq in 1..=9 {
        alice.posts(&format!("/api/chats/{id}/read"), json!({"seq": seq})).await.expect(200);
        assert_eq!(phone.receives("receipt").await["seq"], seq);
    }
    assert_eq!(tablet.receives("receipt").await["seq"], 1);
    tablet.sees_nothing().await;
    world.advances(Duration::from_secs(1));
    assert_eq!(tablet.receives("receipt").await["seq"], 9);
    tablet.sees_nothing().await;
    world.stops().await;
}

/// A group of alice and so many others, each with an open socket; returns its path and the sockets.
async fn connected_group(world: &World, others: usize) -> (String, Vec<Device>) {
    let names: Vec<String> = (0..others).map(|n| format!("member {n}")).collect();
    let made = json!({"kind": "group", "participantIds": names, "title": "All hands"});
    let id = world.user("alice").posts("/api/chats", made).await.expect(201)["id"].as_str().unwrap().to_owned();
    let mut devices = Vec::new();
    for name in &names {
        devices.push(world.user(name).connects().await);
    }
    (format!("/api/chats/{id}/messages"), devices)
}

#[tokio::test]
async fn a_group_of_150_gets_the_first_and_the_last_of_many_messages_and_reads_those_in_between() {
    let world = World::new().await;
    let alice = world.user("alice");
    let (path, mut devices) = connected_group(&world, 149).await;
    let say = |n: i64| json!({"clientId": n.to_string(), "body": format!("Message {n}")});
    alice.posts(&path, say(1)).await.expect(201);
    for device in &mut devices {
        assert_eq!(device.receives("message").await["seq"], 1);
    }
    for n in 2..=6 {
        alice.posts(&path, say(n)).await.expect(201);
    }
    world.advances(Duration::from_millis(999));
    for device in &mut devices {
        device.sees_nothing().await;
    }
    world.advances(Duration::from_millis(1));
    for device in &mut devices {
        let frame = device.receives("message").await;
        assert_eq!((&frame["seq"], &frame["message"]["body"]), (&json!(6), &json!("Message 6")));
    }
    // The gap between the two is what a client fetches.
    let missed = world.user("member 148").gets(&format!("{path}?after=1")).await.expect(200);
    let seqs: Vec<i64> = missed["items"].as_array().unwrap().iter().map(|item| item["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, [2, 3, 4, 5, 6]);
    // Nothing is left to push, however long one waits.
    world.advances(Duration::from_secs(60));
    assert_eq!(world.drains().await["messages"], 0);
    for device in &mut devices {
        device.sees_nothing().await;
    }
    world.stops().await;
}

#[tokio::test]
async fn a_connection_of_a_large_group_gets_at_most_one_message_a_second_and_the_last_one_in_the_end() {
    const SECONDS: usize = 4;
    let world = World::with(&[("RATE_LIMIT_CHAT", "1000/1s")]).await;
    let alice = world.user("alice");
    let (path, mut devices) = connected_group(&world, 119).await;
    let mut last = 0;
    for n in 0..SECONDS * 10 {
        let message = json!({"clientId": n.to_string(), "body": "Hi"});
        last = alice.posts(&path, message).await.expect(201)["seq"].as_i64().unwrap();
        world.advances(Duration::from_millis(100));
    }
    for device in &mut devices {
        let mut seqs = Vec::new();
        while seqs.last() != Some(&last) {
            match tokio::time::timeout(Duration::from_millis(50), device.receives("message")).await {
                Ok(frame) => seqs.push(frame["seq"].as_i64().unwrap()),
                Err(_) => world.advances(Duration::from_secs(1)),
            }
        }
        assert!(seqs.is_sorted_by(|one, next| one < next), "{seqs:?}");
        // One at the beginning, one for each second, and the last.
        assert!((2..=SECONDS + 2).contains(&seqs.len()), "{seqs:?}");
        device.sees_nothing().await;
    }
    world.stops().await;
}
