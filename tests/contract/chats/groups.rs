//! Changing a group: who may, who hears of it, and what moves its version.

use shared::chat::chats::Change;
use shared::chat::{MAX_MEMBERS, Refusal};
use shared::ids::ChatId;

use super::ids;
use crate::record::{Record, START_MS, at, user, users};

on_each_record! {
    any_member_renames,
    the_same_title_is_no_change,
    any_member_adds_others_who_hear_of_it,
    those_who_are_there_are_not_added_again,
    joining_shows_the_whole_history_with_nothing_unread,
    a_group_has_at_most_1000_members,
    the_owner_removes_others_who_hear_of_it,
    removing_those_who_are_not_there_changes_nothing,
    only_the_owner_removes,
    the_owner_does_not_remove_itself,
    a_removed_member_may_be_added_again_as_a_new_one,
    who_leaves_is_gone_and_hears_of_it,
    the_longest_member_owns_a_group_whose_owner_left,
    another_members_leaving_does_not_change_the_owner,
    the_last_ones_leaving_ends_the_chat,
    a_stranger_changes_nothing,
    the_version_stays_at_what_is_no_change_of_the_chat,
}

async fn any_member_renames(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    let renamed = record.changed(chat, "bob", Change::Rename("bouldering".into())).await;
    assert_eq!(ids(&renamed.connections), ["desk", "phone"]);
    assert_eq!(renamed.chat.unwrap().chat.title.as_deref(), Some("bouldering"));
    assert_eq!(record.chat(chat, "alice").await.chat.title.as_deref(), Some("bouldering"));
}

async fn the_same_title_is_no_change(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.connect("alice", "desk", at(0)).await;
    record.unchanged(chat, "bob", Change::Rename("climbing".into())).await;
}

async fn any_member_adds_others_who_hear_of_it(record: Record) {
    let chat = record.group(&["bob"]).await;
    for (name, connection) in [("alice", "desk"), ("carol", "phone"), ("dave", "tab"), ("eve", "other")] {
        record.connect(name, connection, at(0)).await;
    }
    record.connect_until("carol", "ended", START_MS, at(-1)).await;
    let added = record.changed(chat, "bob", Change::Add(users(&["dave", "carol"]))).await;
    assert_eq!(ids(&added.connections), ["desk", "phone", "tab"]);
    assert!(added.removed.is_empty());
    assert_eq!(added.chat.unwrap().chat.member_count, 4);
    let (members, owner) = record.members(chat, "carol").await;
    assert_eq!(members, ["alice", "bob", "dave", "carol"]);
    assert_eq!(owner.as_deref(), Some("alice"));
}

async fn those_who_are_there_are_not_added_again(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.connect("alice", "desk", at(0)).await;
    record.say_all(chat, "bob", &["hi"]).await;
    record.unchanged(chat, "bob", Change::Add(users(&["alice", "bob"]))).await;
    record.changed(chat, "bob", Change::Add(users(&["alice", "carol"]))).await;
    assert_eq!(record.members(chat, "alice").await.0, ["alice", "bob", "carol"]);
    assert_eq!(record.chat(chat, "alice").await.unread, 1, "its read mark stays where it was");
}

async fn joining_shows_the_whole_history_with_nothing_unread(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    record.changed(chat, "bob", Change::Add(users(&["carol"]))).await;
    let own = record.chat(chat, "carol").await;
    assert_eq!((own.unread, own.read_seq, own.hidden), (0, 2, false));
    assert_eq!(own.last_message.unwrap().body, "two");
    assert_eq!(record.texts(chat, "carol").await, ["one", "two"]);
    record.say(chat, "alice", "three", at(0)).await;
    assert_eq!(record.chat(chat, "carol").await.unread, 1);
}

async fn a_group_has_at_most_1000_members(record: Record) {
    let chat = record.group(&["bob"]).await;
    let names: Vec<String> = (2..MAX_MEMBERS - 1).map(|n| format!("member {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    record.changed(chat, "bob", Change::Add(users(&names))).await;
    let refusal = record.refusal(chat, "bob", Change::Add(users(&["carol", "dave"]))).await;
    assert_eq!(refusal, Refusal::FULL);
    // Those who are there already need no room.
    record.changed(chat, "bob", Change::Add(users(&["member 5", "carol"]))).await;
    assert_eq!(record.chat(chat, "alice").await.chat.member_count, 1_000);
    assert_eq!(record.refusal(chat, "bob", Change::Add(users(&["dave"]))).await, Refusal::FULL);
    record.unchanged(chat, "bob", Change::Add(users(&["member 5"]))).await;
}

async fn the_owner_removes_others_who_hear_of_it(record: Record) {
    let chat = record.group(&["bob", "carol", "dave"]).await;
    for (name, connection) in [("alice", "desk"), ("bob", "phone"), ("carol", "tab"), ("dave", "watch")] {
        record.connect(name, connection, at(0)).await;
    }
    let removed = record.changed(chat, "alice", Change::Remove(users(&["carol", "bob", "eve"]))).await;
    assert_eq!(ids(&removed.connections), ["desk", "watch"]);
    assert_eq!(ids(&removed.removed), ["phone", "tab"]);
    assert_eq!(removed.chat.unwrap().chat.member_count, 2);
    assert_eq!(record.members(chat, "alice").await.0, ["alice", "dave"]);
    assert!(record.chats().find(chat, &user("bob")).await.unwrap().is_none());
}

async fn removing_those_who_are_not_there_changes_nothing(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.connect("alice", "desk", at(0)).await;
    record.unchanged(chat, "alice", Change::Remove(users(&["eve"]))).await;
}

async fn only_the_owner_removes(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    for name in ["carol", "alice", "bob"] {
        let refusal = record.refusal(chat, "bob", Change::Remove(users(&[name]))).await;
        assert_eq!(refusal, Refusal::NotAllowed("only the owner removes members"));
    }
    assert_eq!(record.members(chat, "bob").await.0, ["alice", "bob", "carol"]);
}

async fn the_owner_does_not_remove_itself(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    let refusal = record.refusal(chat, "alice", Change::Remove(users(&["bob", "alice"]))).await;
    assert_eq!(refusal, Refusal::Conflict("leave the group instead"));
    assert_eq!(record.members(chat, "alice").await.0, ["alice", "bob", "carol"]);
}

async fn a_removed_member_may_be_added_again_as_a_new_one(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    record.say_all(chat, "bob", &["one"]).await;
    record.changed(chat, "alice", Change::Remove(users(&["bob"]))).await;
    record.say_all(chat, "carol", &["two"]).await;
    record.changed(chat, "alice", Change::Add(users(&["bob"]))).await;
    assert_eq!(record.members(chat, "bob").await.0, ["alice", "carol", "bob"]);
    assert_eq!(record.chat(chat, "bob").await.unread, 0);
    assert_eq!(record.texts(chat, "bob").await, ["one", "two"]);
}

async fn who_leaves_is_gone_and_hears_of_it(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    for (name, connection) in [("alice", "desk"), ("bob", "phone"), ("carol", "tab")] {
        record.connect(name, connection, at(0)).await;
    }
    let left = record.changed(chat, "bob", Change::Leave).await;
    assert!(left.chat.is_none());
    assert_eq!(ids(&left.connections), ["desk", "tab"]);
    assert_eq!(ids(&left.removed), ["phone"]);
    let seen = record.chat(chat, "alice").await.chat;
    assert_eq!((seen.member_count, seen.version), (2, 2));
    assert_eq!(record.change_chat(chat, "bob", Change::Leave).await.unwrap_err(), Refusal::NotAMember);
}

async fn the_longest_member_owns_a_group_whose_owner_left(record: Record) {
    // In the order of joining, and neither of names nor of times.
    let chat = record.group(&["zoe", "bob"]).await;
    record.changed(chat, "alice", Change::Add(users(&["adam"]))).await;
    record.changed(chat, "alice", Change::Leave).await;
    assert_eq!(
        record.members(chat, "bob").await,
        (vec!["zoe".into(), "bob".into(), "adam".into()], Some("zoe".into()))
    );
    let refusal = record.refusal(chat, "bob", Change::Remove(users(&["adam"]))).await;
    assert_eq!(refusal, Refusal::NotAllowed("only the owner removes members"));
    record.changed(chat, "zoe", Change::Remove(users(&["adam"]))).await;
    // One who comes back is the last to have joined.
    record.changed(chat, "zoe", Change::Add(users(&["alice"]))).await;
    record.changed(chat, "zoe", Change::Leave).await;
    assert_eq!(record.members(chat, "bob").await.1.as_deref(), Some("bob"));
}

async fn another_members_leaving_does_not_change_the_owner(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    record.changed(chat, "bob", Change::Leave).await;
    assert_eq!(record.members(chat, "carol").await.1.as_deref(), Some("alice"));
}

async fn the_last_ones_leaving_ends_the_chat(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.connect("bob", "phone", at(0)).await;
    record.say_all(chat, "alice", &["hi"]).await;
    record.changed(chat, "alice", Change::Leave).await;
    let left = record.changed(chat, "bob", Change::Leave).await;
    assert!(left.chat.is_none() && left.connections.is_empty());
    assert_eq!(ids(&left.removed), ["phone"]);
    assert!(record.chats().summaries(&user("bob"), 9).await.unwrap().is_empty());
    // Its messages went with it, and its client id is free.
    assert_eq!(record.next_due().await.unwrap(), None);
    let again = record.group(&["bob"]).await;
    assert_eq!(again, chat);
    assert!(record.texts(again, "alice").await.is_empty());
}

async fn a_stranger_changes_nothing(record: Record) {
    let chat = record.group(&["bob"]).await;
    let changes =
        [Change::Rename("ours".into()), Change::Add(users(&["eve"])), Change::Remove(users(&["bob"])), Change::Leave];
    for change in changes {
        assert_eq!(record.refusal(chat, "eve", change.clone()).await, Refusal::NotAMember);
        assert_eq!(record.refusal(ChatId::random(), "alice", change).await, Refusal::NotAMember);
    }
}

async fn the_version_stays_at_what_is_no_change_of_the_chat(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    record.read_through(chat, "bob", 1).await;
    record.hide(chat, "bob", true).await;
    record.hide(chat, "bob", false).await;
    record.change_chat(chat, "bob", Change::Accept).await.unwrap();
    assert_eq!(record.chat(chat, "alice").await.chat.version, 1);
}
