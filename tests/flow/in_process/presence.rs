//! Presence over real sockets: who is told that a user came online or went offline, and when.

use std::time::Duration;

use harness::device::Device;
use harness::world::{Caller, World};
use serde_json::{Value, json};

use crate::chats::chat_of;

/// How long a user stays online after its last socket has closed, in seconds.
const GRACE_S: u64 = 30;
const LEASE_S: u64 = 300;
/// Time passes in steps, between which the functions have time to act.
const STEP_S: u64 = 5;
const TIME_TO_ACT: Duration = Duration::from_millis(60);

/// Lets so many seconds pass.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds / STEP_S {
        tokio::time::sleep(TIME_TO_ACT).await;
        world.advances(Duration::from_secs(STEP_S));
    }
    tokio::time::sleep(TIME_TO_ACT).await;
}

/// Lets time pass until a device is told of someone's presence; returns that, and how many seconds it took.
async fn told_after(world: &World, device: &mut Device) -> (Value, u64) {
    let mut passed_s = 0;
    loop {
        if let Ok(frame) = tokio::time::timeout(TIME_TO_ACT, device.receives("presence")).await {
            return (frame["users"].clone(), passed_s);
        }
        world.advances(Duration::from_secs(STEP_S));
        passed_s += STEP_S;
        assert!(passed_s <= LEASE_S, "it was never told");
    }
}

async fn asks(caller: &Caller, about: &str) -> Value {
    caller.gets(&format!("/api/presence?userIds={about}")).await.expect(200)["users"].clone()
}

fn online(user: &str) -> (Value, Value) {
    (json!(user), json!(true))
}

/// The user that a frame or an answer is about, and whether that user is online.
fn told(users: &Value) -> (Value, Value) {
    assert_eq!(users.as_array().map(Vec::len), Some(1), "{users}");
    (users[0]["userId"].clone(), users[0]["online"].clone())
}

#[tokio::test]
async fn a_user_with_two_devices_goes_offline_once_after_the_last_has_closed() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    chat_of(&alice, &bob).await;
    let mut tablet = bob.connects().await;
    assert_eq!(told(&asks(&bob, "alice").await), (json!("alice"), json!(false)));
    let phone = alice.connects().await;
    assert_eq!(told(&tablet.receives("presence").await["users"]), online("alice"));
    let mut tab = alice.connects().await;
    tablet.sees_nothing().await;

    phone.closes().await;
    pass(&world, 2 * GRACE_S).await;
    tablet.sees_nothing().await;
    tab.sees_nothing().await;
    assert_eq!(told(&asks(&bob, "alice").await), online("alice"));

    let left_at = shared::clock::Time(world.clock.now_ms()).to_string();
    tab.closes().await;
    let (users, passed_s) = told_after(&world, &mut tablet).await;
    assert!((GRACE_S..=GRACE_S + 2 * STEP_S).contains(&passed_s), "told after {passed_s} s");
    assert_eq!(told(&users), (json!("alice"), json!(false)));
    let seen_at = users[0]["lastSeenAt"].as_str().unwrap();
    assert!(
        seen_at >= left_at.as_str() && seen_at < &*shared::clock::Time(world.clock.now_ms()).to_string(),
        "{users}"
    );
    assert_eq!(asks(&bob, "alice").await, users);
    pass(&world, GRACE_S).await;
    tablet.sees_nothing().await;

    let _phone = alice.connects().await;
    assert_eq!(told(&tablet.receives("presence").await["users"]), online("alice"));
    world.stops().await;
}

#[tokio::test]
async fn a_reload_within_the_grace_is_told_to_no_one() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    chat_of(&alice, &bob).await;
    let mut tablet = bob.connects().await;
    let mut tab = alice.connects().await;
    tablet.receives("presence").await;
    for _ in 0..4 {
        tab.closes().await;
        pass(&world, GRACE_S / 2).await;
        tab = alice.connects().await;
        pass(&world, GRACE_S / 2).await;
        tablet.sees_nothing().await;
    }
    assert_eq!(told(&asks(&bob, "alice").await), online("alice"));
    world.stops().await;
}

#[tokio::test]
async fn silence_for_longer_than_the_lease_counts_as_offline_and_the_next_frame_as_online() {
    let world = World::new().await;
    let (alice, bob) = (world.user("alice"), world.user("bob"));
    chat_of(&alice, &bob).await;
    let mut tablet = bob.connects().await;
    // Its socket stays open, as one that broke without the gateway noticing.
    let mut phone = alice.connects().await;
    tablet.receives("presence").await;
    world.advances(Duration::from_secs(LEASE_S - 1));
    tablet.sees_nothing().await;
    assert_eq!(told(&asks(&bob, "alice").await), online("alice"));
    world.advances(Duration::from_secs(1));
    assert_eq!(told(&asks(&bob, "alice").await), (json!("alice"), json!(false)));
    tablet.sees_nothing().await;
    phone.sees_nothing().await;
    assert_eq!(told(&tablet.receives("presence").await["users"]), online("alice"));
    assert_eq!(told(&asks(&bob, "alice").await), online("alice"));
    world.stops().await;
}

#[tokio::test]
async fn a_stranger_in_a_group_learns_of_presence_only_after_taking_part() {
    let world = World::new().await;
    let [alice, bob, mallory] = ["alice", "bob", "mallory"].map(|name| world.user(name));
    let made = json!({"kind": "group", "participantIds": ["bob", "mallory"], "title": "Lunch"});
    let group = alice.posts("/api/chats", made).await.expect(201)["id"].as_str().unwrap().to_owned();
    let messages = format!("/api/chats/{group}/messages");
    for caller in [&alice, &bob] {
        caller.posts(&messages, json!({"clientId": "1", "body": "Hi"})).await.expect(201);
    }
    let (mut tablet, mut desk) = (bob.connects().await, mallory.connects().await);
    // Mallory's presence is none of theirs either.
    tablet.sees_nothing().await;
    let phone = alice.connects().await;
    assert_eq!(told(&tablet.receives("presence").await["users"]), online("alice"));
    desk.sees_nothing().await;
    assert_eq!(asks(&mallory, "alice,bob").await, json!([]));
    assert_eq!(asks(&bob, "mallory").await, json!([]));
    desk.sends(json!({"action": "presence", "userIds": ["alice", "bob"]})).await;
    assert_eq!(desk.receives("presence").await["users"], json!([]));

    mallory.posts(&format!("/api/chats/{group}/read"), json!({"seq": 1})).await.expect(200);
    desk.receives("receipt").await;
    tablet.receives("receipt").await;
    assert_eq!(told(&asks(&mallory, "alice").await), online("alice"));
    phone.closes().await;
    let (users, _) = told_after(&world, &mut desk).await;
    assert_eq!(told(&users), (json!("alice"), json!(false)));
    assert_eq!(tablet.receives("presence").await["users"], users);
    world.stops().await;
}
