//! The suite of `shared::presence::acquaintances::Acquaintances`: who may know about which users, and when users were last seen.

use shared::chat::chats::{Change, Created, NewChat};
use shared::chat::{Kind, MAX_SMALL};
use shared::clock::Time;
use shared::ids::{ChatId, ConnectionId, UserId};
use shared::presence::acquaintances::{MAX_NEIGHBOURS, SEEN_EVERY_MS};

use crate::record::{Record, START_MS, at, concurrently, user, users};

on_each_record! {
    a_direct_chat_lets_both_know_once_it_was_accepted,
    in_a_group_only_those_who_were_active_know_of_each_other,
    who_left_a_group_knows_no_one_of_it,
    an_administrator_sees_all_in_the_order_asked,
    neighbours_are_told_on_all_their_live_connections,
    a_large_chat_makes_no_neighbours_but_is_visible,
    neighbours_are_limited_by_users_who_are_connected,
    last_seen_is_written_at_most_once_a_minute,
    last_seen_never_goes_back,
    concurrent_writes_of_last_seen_leave_one,
}

async fn direct(record: &Record, creator: &str, other: &str, after_ms: i64) -> ChatId {
    let (creator, other) = (user(creator), user(other));
    create(record, ChatId::of_pair(&creator, &other), Kind::Direct, &creator, &[other], after_ms).await
}

async fn group(record: &Record, creator: &str, others: &[UserId], after_ms: i64) -> ChatId {
    create(record, ChatId::random(), Kind::Group, &user(creator), others, after_ms).await
}

async fn create(record: &Record, id: ChatId, kind: Kind, creator: &UserId, others: &[UserId], after_ms: i64) -> ChatId {
    let new = NewChat { id, kind, title: None, creator, others, fingerprint: [7; 32] };
    let created = record.chats().create(&new, at(after_ms)).await.unwrap();
    assert!(matches!(created, Created::New(_)), "{created:?}");
    id
}

async fn change(record: &Record, chat: ChatId, member: &str, change: Change) {
    record.chats().change(chat, &user(member), &change, at(0)).await.unwrap().unwrap();
}

/// Whom of these a user knows.
async fn known(record: &Record, viewer: &str, among: &[&str]) -> Vec<String> {
    let visible = record.acquaintances().visible(Some(&user(viewer)), &users(among)).await.unwrap();
    visible.into_iter().map(|acquaintance| acquaintance.user.to_string()).collect()
}

/// The connections on which others hear of a user.
async fn told(record: &Record, name: &str, limit: usize) -> Vec<String> {
    let neighbours = record.acquaintances().neighbours(&user(name), limit, at(0)).await.unwrap();
    neighbours.into_iter().map(|connection| format!("{}: {}", connection.user, connection.id)).collect()
}

async fn seen(record: &Record, name: &str) -> Option<i64> {
    let visible = record.acquaintances().visible(None, &[user(name)]).await.unwrap();
    visible[0].last_seen_at.map(|Time(at_ms)| at_ms - START_MS)
}

async fn saw(record: &Record, name: &str, after_ms: i64) {
    record.acquaintances().saw(&user(name), Time(START_MS + after_ms)).await.unwrap();
}

async fn a_direct_chat_lets_both_know_once_it_was_accepted(record: Record) {
    for name in ["alice", "bob", "carol"] {
        record.connect(name, &format!("{name}'s phone"), at(0)).await;
    }
    let chat = direct(&record, "alice", "bob", 0).await;
    for (viewer, other) in [("alice", "bob"), ("bob", "alice")] {
        assert!(known(&record, viewer, &[other]).await.is_empty() && told(&record, viewer, 9).await.is_empty());
    }
    change(&record, chat, "bob", Change::Accept).await;
    assert_eq!(known(&record, "alice", &["carol", "bob", "alice", "no one"]).await, ["bob"]);
    assert_eq!(known(&record, "bob", &["alice", "bob"]).await, ["alice"]);
    assert!(known(&record, "carol", &["alice", "bob"]).await.is_empty());
    assert_eq!(told(&record, "alice", 9).await, ["bob: bob's phone"]);
    assert_eq!(told(&record, "bob", 9).await, ["alice: alice's phone"]);
    assert!(told(&record, "carol", 9).await.is_empty());
    change(&record, chat, "alice", Change::Decline).await;
    assert!(known(&record, "bob", &["alice"]).await.is_empty() && told(&record, "alice", 9).await.is_empty());
}

async fn in_a_group_only_those_who_were_active_know_of_each_other(record: Record) {
    for name in ["alice", "bob", "carol"] {
        record.connect(name, &format!("{name}'s phone"), at(0)).await;
    }
    let chat = group(&record, "alice", &users(&["bob", "carol"]), 0).await;
    assert!(known(&record, "alice", &["bob", "carol"]).await.is_empty());
    assert!(known(&record, "bob", &["alice"]).await.is_empty() && told(&record, "alice", 9).await.is_empty());
    change(&record, chat, "bob", Change::Accept).await;
    assert_eq!(known(&record, "alice", &["bob", "carol"]).await, ["bob"]);
    assert_eq!(told(&record, "alice", 9).await, ["bob: bob's phone"]);
    assert_eq!(told(&record, "bob", 9).await, ["alice: alice's phone"]);
    assert!(known(&record, "carol", &["alice", "bob"]).await.is_empty() && told(&record, "carol", 9).await.is_empty());
}

async fn who_left_a_group_knows_no_one_of_it(record: Record) {
    record.connect("alice", "phone", at(0)).await;
    let chat = group(&record, "alice", &users(&["bob"]), 0).await;
    change(&record, chat, "bob", Change::Accept).await;
    assert_eq!(told(&record, "bob", 9).await, ["alice: phone"]);
    change(&record, chat, "bob", Change::Leave).await;
    assert!(known(&record, "bob", &["alice"]).await.is_empty() && known(&record, "alice", &["bob"]).await.is_empty());
    assert!(told(&record, "bob", 9).await.is_empty());
}

async fn an_administrator_sees_all_in_the_order_asked(record: Record) {
    saw(&record, "bob", 5).await;
    let among = users(&["zoe", "bob", "alice", "🔔", "a,b\"'{}"]);
    let visible = record.acquaintances().visible(None, &among).await.unwrap();
    let found: Vec<UserId> = visible.iter().map(|acquaintance| acquaintance.user.clone()).collect();
    assert_eq!(found, among);
    let seen: Vec<Option<Time>> = visible.iter().map(|acquaintance| acquaintance.last_seen_at).collect();
    assert_eq!(seen, [None, Some(Time(START_MS + 5)), None, None, None]);
    assert!(record.acquaintances().visible(None, &[]).await.unwrap().is_empty());
}

async fn neighbours_are_told_on_all_their_live_connections(record: Record) {
    record.connect("bob", "phone", at(0)).await;
    record.connect("bob", "tab", at(1)).await;
    record.connect_until("bob", "expired", START_MS + 1, at(-5)).await;
    record.connect("carol", "desk", at(0)).await;
    record.connect("alice", "own", at(0)).await;
    for (other, after_ms) in [("bob", 0), ("carol", 10)] {
        let chat = direct(&record, "alice", other, after_ms).await;
        change(&record, chat, other, Change::Accept).await;
    }
    // Two who share several chats hear of it once.
    let chat = group(&record, "alice", &users(&["bob", "carol"]), 5).await;
    change(&record, chat, "bob", Change::Accept).await;
    let neighbours = record.acquaintances().neighbours(&user("alice"), 9, at(2)).await.unwrap();
    let told: Vec<&ConnectionId> = neighbours.iter().map(|connection| &connection.id).collect();
    // The newest activity first.
    assert_eq!(told, [&ConnectionId::new("desk"), &ConnectionId::new("phone"), &ConnectionId::new("tab")]);
}

async fn a_large_chat_makes_no_neighbours_but_is_visible(record: Record) {
    record.connect("member 0", "phone", at(0)).await;
    let count = usize::try_from(MAX_SMALL).unwrap();
    let others: Vec<UserId> = (0..count - 1).map(|n| user(&format!("member {n}"))).collect();
    let chat = group(&record, "alice", &others, 0).await;
    change(&record, chat, "member 0", Change::Accept).await;
    assert_eq!(told(&record, "alice", 9).await, ["member 0: phone"]);
    change(&record, chat, "alice", Change::Add(users(&["one more"]))).await;
    assert!(told(&record, "alice", 9).await.is_empty());
    assert_eq!(known(&record, "alice", &["member 0"]).await, ["member 0"]);
}

async fn neighbours_are_limited_by_users_who_are_connected(record: Record) {
    for n in 0..6 {
        let other = format!("user {n}");
        let chat = direct(&record, "alice", &other, n).await;
        change(&record, chat, &other, Change::Accept).await;
        if n < 4 {
            record.connect(&other, &format!("phone {n}"), at(0)).await;
        }
    }
    record.connect("user 2", "tab 2", at(1)).await;
    // The two with the newest activity are not connected.
    assert_eq!(told(&record, "alice", 2).await, ["user 3: phone 3", "user 2: phone 2", "user 2: tab 2"]);
    assert_eq!(told(&record, "alice", MAX_NEIGHBOURS).await.len(), 5);
}

async fn last_seen_is_written_at_most_once_a_minute(record: Record) {
    assert_eq!(seen(&record, "alice").await, None);
    saw(&record, "alice", 0).await;
    assert_eq!(seen(&record, "alice").await, Some(0));
    saw(&record, "alice", SEEN_EVERY_MS - 1).await;
    assert_eq!(seen(&record, "alice").await, Some(0));
    saw(&record, "alice", SEEN_EVERY_MS).await;
    assert_eq!(seen(&record, "alice").await, Some(SEEN_EVERY_MS));
    assert_eq!(seen(&record, "bob").await, None);
}

async fn last_seen_never_goes_back(record: Record) {
    saw(&record, "alice", 10 * SEEN_EVERY_MS).await;
    saw(&record, "alice", 0).await;
    assert_eq!(seen(&record, "alice").await, Some(10 * SEEN_EVERY_MS));
}

async fn concurrent_writes_of_last_seen_leave_one(record: Record) {
    concurrently(10, |n| {
        let record = record.clone();
        async move { saw(&record, "alice", SEEN_EVERY_MS * i64::try_from(n).unwrap()).await }
    })
    .await;
    assert_eq!(seen(&record, "alice").await.map(|seen_ms| seen_ms % SEEN_EVERY_MS), Some(0));
    assert_eq!(seen(&record, "alice").await, Some(9 * SEEN_EVERY_MS));
}
