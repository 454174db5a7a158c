//! Accepting and declining.

use shared::chat::chats::Change;
use shared::chat::{Refusal, Status};
use shared::ids::ChatId;

use super::{DIRECT, ids, pair};
use crate::record::{Record, at, users};

on_each_record! {
    the_other_accepts_and_its_creator_does_not,
    accepting_twice_is_harmless,
    either_declines_at_any_time,
    only_the_decliner_accepts_then,
    a_declined_chat_is_not_declined_again,
    a_direct_chat_has_no_title_and_no_other_members,
    a_stranger_responds_to_nothing,
    accepting_a_group_changes_nothing_for_others,
    a_group_is_not_declined,
}

const CREATOR: Refusal = Refusal::Conflict("the other member has to accept it");
const DECLINED: Refusal = Refusal::Conflict("only the member who declined can accept it");

async fn the_other_accepts_and_its_creator_does_not(record: Record) {
    let chat = record.pending().await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    assert_eq!(record.refusal(chat, "alice", Change::Accept).await, CREATOR);
    let accepted = record.changed(chat, "bob", Change::Accept).await;
    assert_eq!(accepted.chat.unwrap().chat.status, Status::Accepted);
    assert_eq!(ids(&accepted.connections), ["desk", "phone"]);
    assert!(accepted.removed.is_empty());
}

async fn accepting_twice_is_harmless(record: Record) {
    let chat = record.accepted().await;
    record.connect("alice", "desk", at(0)).await;
    record.unchanged(chat, "bob", Change::Accept).await;
    record.unchanged(chat, "alice", Change::Accept).await;
}

async fn either_declines_at_any_time(record: Record) {
    for (round, decliner) in ["alice", "bob"].into_iter().enumerate() {
        for accepted_before in [false, true] {
            // A pair of its own for each: the other's name differs.
            let other = format!("bob {round} {accepted_before}");
            let decliner = if decliner == "bob" { other.as_str() } else { decliner };
            record.ask("alice", &other, at(0)).await;
            let chat = pair("alice", &other);
            if accepted_before {
                record.changed(chat, &other, Change::Accept).await;
            }
            let declined = record.changed(chat, decliner, Change::Decline).await;
            assert_eq!(declined.chat.unwrap().chat.status, Status::Declined);
        }
    }
}

async fn only_the_decliner_accepts_then(record: Record) {
    let chat = record.accepted().await;
    for (decliner, other) in [("alice", "bob"), ("bob", "alice")] {
        record.changed(chat, decliner, Change::Decline).await;
        assert_eq!(record.refusal(chat, other, Change::Accept).await, DECLINED);
        record.changed(chat, decliner, Change::Accept).await;
        assert_eq!(record.chat(chat, other).await.chat.status, Status::Accepted);
    }
}

async fn a_declined_chat_is_not_declined_again(record: Record) {
    let chat = record.accepted().await;
    record.changed(chat, "bob", Change::Decline).await;
    record.unchanged(chat, "bob", Change::Decline).await;
    record.unchanged(chat, "alice", Change::Decline).await;
    // The first one to decline still is the one who may accept.
    assert_eq!(record.refusal(chat, "alice", Change::Accept).await, DECLINED);
    record.changed(chat, "bob", Change::Accept).await;
}

async fn a_direct_chat_has_no_title_and_no_other_members(record: Record) {
    let chat = record.accepted().await;
    let changes =
        [Change::Rename("us".into()), Change::Add(users(&["carol"])), Change::Remove(users(&["bob"])), Change::Leave];
    for change in changes {
        assert_eq!(record.refusal(chat, "alice", change).await, DIRECT);
    }
    assert_eq!(record.members(chat, "alice").await.0, ["alice", "bob"]);
}

async fn a_stranger_responds_to_nothing(record: Record) {
    let chat = record.pending().await;
    for change in [Change::Accept, Change::Decline, Change::Rename("ours".into()), Change::Leave] {
        assert_eq!(record.refusal(chat, "carol", change.clone()).await, Refusal::NotAMember);
        assert_eq!(record.refusal(ChatId::random(), "carol", change).await, Refusal::NotAMember);
    }
}

async fn accepting_a_group_changes_nothing_for_others(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.connect("alice", "desk", at(0)).await;
    record.unchanged(chat, "bob", Change::Accept).await;
}

async fn a_group_is_not_declined(record: Record) {
    let chat = record.group(&["bob"]).await;
    let refusal = record.refusal(chat, "bob", Change::Decline).await;
    assert_eq!(refusal, Refusal::Conflict("leave a group instead of declining it"));
}
