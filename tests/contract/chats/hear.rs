//! Who hears of typing.

use shared::chat::chats::Change;
use shared::ids::ChatId;

use super::ids;
use crate::record::{Record, START_MS, at, user, users};

on_each_record! {
    the_other_hears_in_an_accepted_direct_chat,
    no_one_hears_before_it_is_accepted_or_once_it_is_declined,
    in_a_group_involved_members_hear_of_involved_members,
    no_one_hears_in_chats_of_more_than_100_members,
    a_stranger_has_no_audience,
}

/// Who hears of a member's typing.
async fn audience(record: &Record, chat: ChatId, name: &str) -> Vec<String> {
    let audience = record.chats().audience(chat, &user(name), at(0)).await.unwrap().expect("the user is a member");
    let hears = audience.members.contains(&user(name));
    assert!(audience.connections.iter().all(|connection| hears && audience.members.contains(&connection.user)));
    let others = audience.others(&user(name), START_MS).unwrap_or_default();
    ids(&others).into_iter().map(str::to_owned).collect()
}

async fn the_other_hears_in_an_accepted_direct_chat(record: Record) {
    let chat = record.accepted().await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("alice", "phone", at(0)).await;
    record.connect_until("alice", "ended", START_MS, at(-1)).await;
    record.connect("bob", "bob's", at(0)).await;
    assert_eq!(audience(&record, chat, "bob").await, ["desk", "phone"]);
    assert_eq!(audience(&record, chat, "alice").await, ["bob's"]);
}

async fn no_one_hears_before_it_is_accepted_or_once_it_is_declined(record: Record) {
    let chat = record.pending().await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    record.say_all(chat, "alice", &["one"]).await;
    record.read_through(chat, "bob", 1).await;
    for change in [None, Some(Change::Decline)] {
        if let Some(change) = change {
            record.changed(chat, "bob", change).await;
        }
        assert!(audience(&record, chat, "alice").await.is_empty());
        assert!(audience(&record, chat, "bob").await.is_empty());
    }
}

async fn in_a_group_involved_members_hear_of_involved_members(record: Record) {
    let names = ["bob", "carol", "dave", "eve"];
    let chat = record.group(&names).await;
    for name in names.iter().chain(&["alice"]) {
        record.connect(name, &format!("{name}'s"), at(0)).await;
    }
    assert!(audience(&record, chat, "alice").await.is_empty(), "no other member is involved");
    assert!(audience(&record, chat, "bob").await.is_empty(), "nor is bob");
    record.change_chat(chat, "bob", Change::Accept).await.unwrap();
    record.say_all(chat, "carol", &["one"]).await;
    record.read_through(chat, "dave", 1).await;
    assert_eq!(audience(&record, chat, "bob").await, ["alice's", "carol's", "dave's"]);
    assert_eq!(audience(&record, chat, "alice").await, ["bob's", "carol's", "dave's"]);
    assert!(audience(&record, chat, "eve").await.is_empty());
    // Being added is no act of one's own.
    record.connect("frank", "frank's", at(0)).await;
    record.changed(chat, "bob", Change::Add(users(&["frank"]))).await;
    assert_eq!(audience(&record, chat, "alice").await, ["bob's", "carol's", "dave's"]);
}

async fn no_one_hears_in_chats_of_more_than_100_members(record: Record) {
    let names: Vec<String> = (0..98).map(|n| format!("member {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["bob"]).collect();
    let chat = record.group(&names).await;
    record.connect("bob", "phone", at(0)).await;
    record.change_chat(chat, "bob", Change::Accept).await.unwrap();
    assert_eq!(audience(&record, chat, "alice").await, ["phone"], "of 100 members");
    record.changed(chat, "alice", Change::Add(users(&["the 101st"]))).await;
    assert!(audience(&record, chat, "alice").await.is_empty());
}

async fn a_stranger_has_no_audience(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.changed(chat, "bob", Change::Leave).await;
    for (chat, name) in [(chat, "eve"), (chat, "bob"), (ChatId::random(), "alice")] {
        assert!(record.chats().audience(chat, &user(name), at(0)).await.unwrap().is_none());
    }
}
