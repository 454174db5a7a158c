//! The suite of `shared::preferences::AllPreferences`, and of what arrivals make of preferences.

use serde_json::{Value, json};
use shared::clock::Time;
use shared::inbox::notification::{Channels, Content, Priority};
use shared::inbox::send::Due;
use shared::preferences::Preferences;

use crate::record::{LATE_MS, Record, START_MS, Send, at, id, user, users};

on_each_record! {
    preferences_are_kept_whole,
    a_type_that_is_off_arrives_in_silence,
    what_arrives_stays_as_it_was,
    critical_notifications_ring_in_any_case,
    a_send_for_web_push_only_is_silent,
    chunks_and_collapse_keys_follow_preferences_too,
}

fn preferences(body: Value) -> Preferences {
    let Value::Object(body) = body else { panic!("not an object") };
    Preferences::read(body).unwrap()
}

async fn prefers(record: &Record, name: &str, body: Value) {
    record.preferences().set_preferences(&user(name), &preferences(body)).await.unwrap();
}

fn of_priority(key: &str, priority: Priority) -> Send {
    with(Send::new(key), |content| content.priority = priority)
}

fn with(send: Send, change: impl FnOnce(&mut Content)) -> Send {
    let mut content = Content::clone(&send.content);
    change(&mut content);
    Send { content: content.into(), ..send }
}

/// Which of the notifications in an inbox are silent, newest first.
async fn silent(record: &Record, name: &str) -> Vec<bool> {
    record.listed(name).await.iter().map(|notification| notification.silent).collect()
}

async fn preferences_are_kept_whole(record: Record) {
    let alice = user("alice");
    assert_eq!(record.preferences().preferences(&alice).await, Ok(Preferences::default()));
    let chat = "00000000-0000-4000-8000-000000000001";
    let first = json!({
        "types": {"*": {"push": false}, "like": {"realtime": true}},
        "quietHours": {"from": "22:00", "to": "07:00", "timeZone": "Europe/Berlin", "days": [5, 6]},
        "mutedChats": {chat: null},
    });
    prefers(&record, "alice", first.clone()).await;
    assert_eq!(record.preferences().preferences(&alice).await, Ok(preferences(first)));
    let until = Time(START_MS).to_string();
    let second = json!({"mutedChats": {chat: until}});
    prefers(&record, "alice", second.clone()).await;
    assert_eq!(record.preferences().preferences(&alice).await, Ok(preferences(second)));
    assert_eq!(record.preferences().preferences(&user("bob")).await, Ok(Preferences::default()));
}

async fn a_type_that_is_off_arrives_in_silence(record: Record) {
    prefers(&record, "alice", json!({"types": {"REPORT_APPROVED": {"realtime": false}, "*": {"realtime": true}}}))
        .await;
    prefers(&record, "bob", json!({"types": {"*": {"realtime": false}, "like": {"realtime": true}}})).await;
    for name in ["alice", "bob", "cem"] {
        record.connect(name, name, at(0)).await;
    }
    let to = users(&["alice", "bob", "cem"]);
    let mut deliveries = record.send(&Send::new("a"), &to, at(1)).await;
    deliveries.extend(record.send(&Send::of_kind("b", "like"), &to, at(2)).await);
    let told: Vec<(String, bool)> =
        deliveries.iter().map(|delivery| (delivery.user.to_string(), delivery.notification.silent)).collect();
    let expected = [("alice", true), ("bob", true), ("cem", false), ("alice", false), ("bob", false), ("cem", false)];
    assert_eq!(told, expected.map(|(name, silent)| (name.to_owned(), silent)));
    assert_eq!(silent(&record, "alice").await, [false, true]);
    assert_eq!(silent(&record, "bob").await, [false, true]);
    assert_eq!(record.position("alice").await.unread, 2, "silent ones count as unread");
    let found = record.inbox().find(&user("alice"), id("a", "alice"), at(3)).await.unwrap().unwrap();
    assert!(found.silent);
    // Also when the drain pushes it.
    let taken = record.deliveries().take_due(10, at(LATE_MS / 2)).await.unwrap();
    let again: Vec<bool> = taken.deliveries.iter().map(|delivery| delivery.notification.silent).collect();
    assert_eq!(again.iter().filter(|silent| **silent).count(), 2, "{again:?}");
}

async fn what_arrives_stays_as_it_was(record: Record) {
    record.ring(&["a"], "alice", at(0)).await;
    prefers(&record, "alice", json!({"types": {"*": {"realtime": false}}})).await;
    record.ring(&["b"], "alice", at(1)).await;
    prefers(&record, "alice", json!({})).await;
    assert_eq!(silent(&record, "alice").await, [true, false]);
}

async fn critical_notifications_ring_in_any_case(record: Record) {
    prefers(&record, "alice", json!({"types": {"*": {"realtime": false}}})).await;
    for (key, priority) in [("a", Priority::High), ("b", Priority::Critical)] {
        record.send(&of_priority(key, priority), &users(&["alice"]), at(1)).await;
    }
    assert_eq!(silent(&record, "alice").await, [false, true]);
}

async fn a_send_for_web_push_only_is_silent(record: Record) {
    for (key, channels) in [("a", Channels::Push), ("b", Channels::Realtime), ("c", Channels::All)] {
        let send = with(of_priority(key, Priority::Critical), |content| content.channels = channels);
        record.send(&send, &users(&["alice"]), at(1)).await;
    }
    assert_eq!(silent(&record, "alice").await, [false, false, true]);
}

async fn chunks_and_collapse_keys_follow_preferences_too(record: Record) {
    prefers(&record, "alice", json!({"types": {"REPORT_APPROVED": {"realtime": false}}})).await;
    for key in ["a", "b"] {
        record.send(&Send::due(key, Due::After(10)), &users(&["alice", "bob"]), at(0)).await;
    }
    record.deliveries().materialise(10, at(10)).await.unwrap();
    record.send(&Send::due("c", Due::After(10)).collapsing("k"), &users(&["alice"]), at(0)).await;
    record.deliveries().materialise(10, at(10)).await.unwrap();
    record.send(&Send::new("d").collapsing("l"), &users(&["alice"]), at(11)).await;
    assert_eq!(silent(&record, "alice").await, [true; 4]);
    assert_eq!(silent(&record, "bob").await, [false; 2]);
}
