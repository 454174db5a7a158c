//! Participants, and pages of members.

use shared::chat::chats::{Change, MemberPage};
use shared::chat::{MAX_PARTICIPANTS, Role};
use shared::clock::Time;
use shared::ids::{ChatId, UserId};

use crate::record::{Record, START_MS, at, user, users};

on_each_record! {
    the_first_20_by_joining_are_named,
    a_later_member_is_named_among_the_participants_it_sees,
    participants_have_roles_and_read_marks,
    pages_of_members_are_in_the_order_of_joining,
    members_are_listed_with_roles_marks_and_times,
    a_stranger_sees_no_members,
}

/// The members by pages of two, and the owner among them.
pub(super) async fn all(record: &Record, chat: ChatId, name: &str) -> (Vec<String>, Option<String>) {
    let (mut names, mut owner, mut after) = (Vec::new(), None, None);
    loop {
        let page = MemberPage { after, limit: 2 };
        let (members, more) = record.chats().members(chat, &user(name), &page).await.unwrap().unwrap();
        assert!(members.len() == 2 || !more, "a page ends early");
        after = members.last().map(|member| member.number);
        for member in members {
            let name = member.participant.user_id.unwrap().to_string();
            if member.participant.role == Role::Owner {
                assert_eq!(owner.replace(name.clone()), None, "a chat has one owner");
            }
            names.push(name);
        }
        if !more {
            return (names, owner);
        }
    }
}

async fn participants(record: &Record, chat: ChatId, name: &str) -> Vec<String> {
    let chat = record.chat(chat, name).await.chat;
    chat.participants.iter().map(|one| one.user_id.as_ref().unwrap().to_string()).collect()
}

/// A group of alice and 24 others, whose names are not in the order of joining.
async fn large(record: &Record) -> (ChatId, Vec<String>) {
    let others: Vec<String> = (0..24).rev().map(|n| format!("member {n:02}")).collect();
    let chat = record.group(&others.iter().map(String::as_str).collect::<Vec<_>>()).await;
    (chat, [vec!["alice".to_owned()], others].concat())
}

async fn the_first_20_by_joining_are_named(record: Record) {
    let (chat, joined) = large(&record).await;
    assert_eq!(participants(&record, chat, "alice").await, joined[..MAX_PARTICIPANTS]);
    assert_eq!(participants(&record, chat, &joined[19]).await, joined[..MAX_PARTICIPANTS]);
    assert_eq!(record.chat(chat, "alice").await.chat.member_count, 25);
}

async fn a_later_member_is_named_among_the_participants_it_sees(record: Record) {
    let (chat, joined) = large(&record).await;
    for later in [&joined[20], &joined[24]] {
        let named = participants(&record, chat, later).await;
        assert_eq!(named[..19], joined[..19]);
        assert_eq!(named[19..], *std::slice::from_ref(later));
    }
}

async fn participants_have_roles_and_read_marks(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    record.say_all(chat, "bob", &["one", "two"]).await;
    record.read_through(chat, "carol", 1).await;
    let named = record.chat(chat, "alice").await.chat.participants;
    let named: Vec<_> = named.iter().map(|one| (one.role, one.read_seq)).collect();
    assert_eq!(named, [(Role::Owner, 0), (Role::Member, 2), (Role::Member, 1)]);
}

async fn pages_of_members_are_in_the_order_of_joining(record: Record) {
    let (chat, mut joined) = large(&record).await;
    record.changed(chat, "alice", Change::Remove(users(&["member 20", "member 03"]))).await;
    record.changed(chat, "alice", Change::Add(users(&["adam", "member 20"]))).await;
    joined.retain(|name| !["member 20", "member 03"].contains(&name.as_str()));
    joined.extend(["adam".to_owned(), "member 20".to_owned()]);
    assert_eq!(all(&record, chat, "adam").await.0, joined);
}

async fn members_are_listed_with_roles_marks_and_times(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.say_all(chat, "bob", &["one"]).await;
    let add = Change::Add(users(&["carol"]));
    record.chats().change(chat, &user("bob"), &add, at(7)).await.unwrap().unwrap();
    let page = MemberPage { after: None, limit: 200 };
    let (members, more) = record.chats().members(chat, &user("bob"), &page).await.unwrap().unwrap();
    assert!(!more);
    let listed: Vec<(Option<UserId>, Role, i64, Time)> = members
        .into_iter()
        .map(|member| {
            (member.participant.user_id, member.participant.role, member.participant.read_seq, member.joined_at)
        })
        .collect();
    assert_eq!(
        listed,
        [
            (Some(user("alice")), Role::Owner, 0, Time(START_MS)),
            (Some(user("bob")), Role::Member, 1, Time(START_MS)),
            (Some(user("carol")), Role::Member, 1, Time(START_MS + 7)),
        ]
    );
}

async fn a_stranger_sees_no_members(record: Record) {
    let chat = record.group(&["bob"]).await;
    let page = MemberPage { after: None, limit: 200 };
    assert!(record.chats().members(chat, &user("eve"), &page).await.unwrap().is_none());
    assert!(record.chats().members(ChatId::random(), &user("alice"), &page).await.unwrap().is_none());
    // An end that was reached is no stranger's answer.
    let beyond = MemberPage { after: Some(i64::MAX), limit: 200 };
    let (members, more) = record.chats().members(chat, &user("bob"), &beyond).await.unwrap().unwrap();
    assert!(members.is_empty() && !more);
}
