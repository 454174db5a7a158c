//! The suite of `shared::emit::Emitted`: events are kept for five minutes, for those they were emitted to.

use std::sync::Arc;

use serde_json::value::RawValue;
use shared::emit::{Addressees, Emitted, KEPT_MS, Kept, MAX_KEPT, Newest};
use shared::ids::EventId;

use crate::record::{at, concurrently, user, users};

on_each_moment! {
    an_event_is_listed_for_those_it_was_emitted_to,
    an_event_to_all_is_listed_for_everyone,
    events_are_listed_oldest_first,
    an_event_is_listed_once_however_often_it_was_addressed,
    an_event_is_kept_for_five_minutes,
    a_repeat_is_recognised_as_long_as_the_event_is_kept,
    concurrent_repeats_are_kept_once,
    the_newest_hundred_are_listed,
    an_event_that_was_not_kept_is_not_listed,
    many_users_are_addressed_at_once,
    any_user_id_has_its_own_events,
}

type Store = Arc<dyn Emitted>;

fn id(name: &str) -> EventId {
    EventId::of_key(&user("ops"), "/api/events/emit", name)
}

fn event(name: &str) -> Box<RawValue> {
    RawValue::from_string(format!(r#"{{"type":"system","id":"{}","title":"{name} ü \" }} {{"}}"#, id(name))).unwrap()
}

async fn keep(store: &Store, name: &str, after_ms: i64) -> Kept {
    store.keep(id(name), &event(name), at(after_ms)).await.unwrap()
}

async fn emit(store: &Store, name: &str, to: &[&str], after_ms: i64) {
    keep(store, name, after_ms).await;
    store.address(id(name), Addressees::Users(&users(to)), at(after_ms)).await;
}

/// The titles of the events of a user.
async fn listed(store: &Store, name: &str, after_ms: i64) -> Vec<String> {
    let title = |event: Box<RawValue>| {
        let event: serde_json::Value = serde_json::from_str(event.get()).unwrap();
        event["title"].as_str().unwrap().split(' ').next().unwrap().to_owned()
    };
    store.list(&user(name), at(after_ms)).await.into_iter().map(title).collect()
}

async fn newest(store: &Store, name: &str, after_ms: i64) -> Newest {
    store.newest(&user(name), at(after_ms)).await.unwrap()
}

async fn an_event_is_listed_for_those_it_was_emitted_to(store: Store) {
    emit(&store, "first", &["alice", "bob"], 0).await;
    assert_eq!(listed(&store, "alice", 1).await, ["first"]);
    assert_eq!(listed(&store, "bob", 1).await, ["first"]);
    assert!(listed(&store, "carol", 1).await.is_empty());
    assert_eq!(newest(&store, "alice", 1).await, Newest::Event(id("first")));
    assert_eq!(newest(&store, "carol", 1).await, Newest::Nothing);
    assert_eq!(store.find(id("first"), at(1)).await.unwrap().get(), event("first").get());
    assert!(store.find(id("second"), at(1)).await.is_none());
}

async fn an_event_to_all_is_listed_for_everyone(store: Store) {
    emit(&store, "first", &["alice"], 0).await;
    keep(&store, "second", 10).await;
    store.address(id("second"), Addressees::All, at(10)).await;
    assert_eq!(listed(&store, "alice", 11).await, ["first", "second"]);
    assert_eq!(listed(&store, "carol", 11).await, ["second"]);
    assert_eq!(newest(&store, "alice", 11).await, Newest::Event(id("second")));
    assert_eq!(newest(&store, "carol", 11).await, Newest::Event(id("second")));
}

async fn events_are_listed_oldest_first(store: Store) {
    for (n, name) in ["c", "a", "d", "b"].into_iter().enumerate() {
        let after_ms = i64::try_from(n).unwrap();
        keep(&store, name, after_ms).await;
        let (alice, to_all) = (users(&["alice"]), n % 2 == 0);
        let audience = if to_all { Addressees::All } else { Addressees::Users(&alice) };
        store.address(id(name), audience, at(after_ms)).await;
        assert_eq!(newest(&store, "alice", after_ms).await, Newest::Event(id(name)));
    }
    assert_eq!(listed(&store, "alice", 9).await, ["c", "a", "d", "b"]);
    assert_eq!(listed(&store, "bob", 9).await, ["c", "d"]);
}

async fn an_event_is_listed_once_however_often_it_was_addressed(store: Store) {
    emit(&store, "first", &["alice"], 0).await;
    emit(&store, "second", &["alice"], 10).await;
    for after_ms in [20, 30] {
        store.address(id("first"), Addressees::Users(&users(&["alice", "bob"])), at(after_ms)).await;
        store.address(id("first"), Addressees::All, at(after_ms)).await;
    }
    assert_eq!(listed(&store, "bob", 40).await, ["first"]);
    let mut of_alice = listed(&store, "alice", 40).await;
    of_alice.sort();
    assert_eq!(of_alice, ["first", "second"]);
}

async fn an_event_is_kept_for_five_minutes(store: Store) {
    emit(&store, "first", &["alice"], 0).await;
    emit(&store, "second", &["alice"], 1_000).await;
    assert_eq!(listed(&store, "alice", KEPT_MS - 1).await, ["first", "second"]);
    assert_eq!(listed(&store, "alice", KEPT_MS).await, ["second"]);
    assert!(store.find(id("first"), at(KEPT_MS - 1)).await.is_some());
    assert!(store.find(id("first"), at(KEPT_MS)).await.is_none());
    assert_eq!(newest(&store, "alice", KEPT_MS + 999).await, Newest::Event(id("second")));
    assert_eq!(newest(&store, "alice", KEPT_MS + 1_000).await, Newest::Nothing);
    assert!(listed(&store, "alice", KEPT_MS + 1_000).await.is_empty());
}

async fn a_repeat_is_recognised_as_long_as_the_event_is_kept(store: Store) {
    assert_eq!(keep(&store, "first", 0).await, Kept::Now);
    let other = RawValue::from_string(r#"{"type":"system","title":"other"}"#.into()).unwrap();
    assert_eq!(store.keep(id("first"), &other, at(KEPT_MS - 1)).await, Some(Kept::Before));
    assert_eq!(store.find(id("first"), at(1)).await.unwrap().get(), event("first").get());
    assert_eq!(store.keep(id("first"), &other, at(KEPT_MS)).await, Some(Kept::Now));
    assert_eq!(store.find(id("first"), at(KEPT_MS)).await.unwrap().get(), other.get());
}

async fn concurrent_repeats_are_kept_once(store: Store) {
    let kept = concurrently(20, |_| {
        let store = Arc::clone(&store);
        async move { keep(&store, "first", 0).await }
    });
    assert_eq!(kept.await.into_iter().filter(|kept| *kept == Kept::Now).count(), 1);
}

async fn the_newest_hundred_are_listed(store: Store) {
    for n in 0..MAX_KEPT + 20 {
        let after_ms = i64::try_from(n).unwrap();
        emit(&store, &n.to_string(), &["alice"], after_ms).await;
    }
    let expected: Vec<String> = (20..MAX_KEPT + 20).map(|n| n.to_string()).collect();
    assert_eq!(listed(&store, "alice", 200).await, expected);
    keep(&store, "to-all", 300).await;
    store.address(id("to-all"), Addressees::All, at(300)).await;
    let found = listed(&store, "alice", 300).await;
    assert_eq!((found.len(), found[0].as_str(), found[99].as_str()), (MAX_KEPT, "21", "to-all"));
}

async fn an_event_that_was_not_kept_is_not_listed(store: Store) {
    emit(&store, "first", &["alice"], 0).await;
    store.address(id("lost"), Addressees::Users(&users(&["alice"])), at(1)).await;
    assert_eq!(listed(&store, "alice", 2).await, ["first"]);
}

async fn many_users_are_addressed_at_once(store: Store) {
    keep(&store, "first", 0).await;
    let names: Vec<String> = (0..200).map(|n| format!("user {n}")).collect();
    let all: Vec<_> = names.iter().map(|name| user(name)).collect();
    store.address(id("first"), Addressees::Users(&all), at(0)).await;
    for name in names {
        assert_eq!(listed(&store, &name, 1).await, ["first"], "{name}");
    }
}

async fn any_user_id_has_its_own_events(store: Store) {
    let names = ["alice", "alice ", "a:b", "{a}", "all", "*", "🔔", "ALICE"];
    for (n, name) in names.iter().enumerate() {
        emit(&store, &n.to_string(), &[name], 0).await;
    }
    for (n, name) in names.iter().enumerate() {
        assert_eq!(listed(&store, name, 1).await, [n.to_string()], "{name}");
    }
}
