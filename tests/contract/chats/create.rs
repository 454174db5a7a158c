//! Creating chats: one a pair, and one for a client id.

use shared::chat::chats::{Change, Created};
use shared::chat::{Kind, OwnChat, Role, Status};
use shared::clock::Time;
use shared::ids::ChatId;

use super::{ids, pair};
use crate::record::{Record, START_MS, at, concurrently, user};

on_each_record! {
    a_direct_chat_is_pending_and_tells_both,
    two_who_ask_have_one_chat,
    two_who_ask_at_once_have_one_chat,
    one_who_asks_many_times_at_once_creates_one_chat,
    asking_back_accepts,
    asking_again_for_an_accepted_chat_changes_nothing,
    the_decliner_accepts_by_asking,
    the_declined_one_changes_nothing_by_asking,
    a_group_is_accepted_and_owned_by_its_creator,
    a_group_is_created_once_for_a_client_id,
    a_group_is_created_once_by_concurrent_calls,
    a_client_id_that_was_used_for_another_group_is_refused,
    client_ids_of_different_creators_are_different_groups,
    a_creator_who_left_does_not_come_back_by_repeating,
}

fn known(created: Created) -> OwnChat {
    match created {
        Created::Known(chat) => chat,
        other => panic!("the chat is not known: {other:?}"),
    }
}

async fn a_direct_chat_is_pending_and_tells_both(record: Record) {
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    record.connect_until("bob", "ended", START_MS + 5, at(0)).await;
    record.connect("carol", "other", at(0)).await;
    let created = record.ask("alice", "bob", at(5)).await;
    let Created::New(changed) = created else { panic!("{created:?}") };
    assert!(changed.has_effect);
    assert_eq!(ids(&changed.connections), ["desk", "phone"]);
    assert!(changed.removed.is_empty());
    let own = changed.chat.unwrap();
    assert_eq!((own.read_seq, own.unread, own.hidden, own.active_at), (0, 0, false, Time(START_MS + 5)));
    assert!(own.last_message.is_none());
    let chat = own.chat;
    assert_eq!((chat.id, chat.kind, chat.status), (pair("bob", "alice"), Kind::Direct, Status::Pending));
    assert_eq!((chat.created_by, chat.created_at), (Some(user("alice")), Time(START_MS + 5)));
    assert_eq!((chat.title, chat.member_count, chat.version, chat.last_seq), (None, 2, 1, 0));
    let participants: Vec<_> = chat.participants.iter().map(|one| (one.user_id.clone().unwrap(), one.role)).collect();
    assert_eq!(participants, [(user("alice"), Role::Member), (user("bob"), Role::Member)]);
    assert!(record.chats().find(chat.id, &user("carol")).await.unwrap().is_none());
}

async fn two_who_ask_have_one_chat(record: Record) {
    let chat = record.pending().await;
    record.ask("bob", "alice", at(1)).await;
    for name in ["alice", "bob"] {
        assert_eq!(record.chats().summaries(&user(name), 9).await.unwrap().len(), 1);
        assert_eq!(record.chat(chat, name).await.chat.member_count, 2);
    }
}

async fn two_who_ask_at_once_have_one_chat(record: Record) {
    for round in 0..20 {
        let (one, other) = (format!("alice {round}"), format!("bob {round}"));
        let created =
            concurrently(2, |n| {
                let (record, one, other) = (record.clone(), one.clone(), other.clone());
                async move {
                    if n == 0 { record.ask(&one, &other, at(0)).await } else { record.ask(&other, &one, at(0)).await }
                }
            })
            .await;
        let new = created.iter().filter(|created| matches!(created, Created::New(_))).count();
        let accepted = created.iter().filter(|created| matches!(created, Created::Accepted(_))).count();
        assert_eq!((new, accepted), (1, 1), "{created:?}");
        let chat = record.chat(pair(&one, &other), &one).await.chat;
        assert_eq!((chat.status, chat.member_count, chat.version), (Status::Accepted, 2, 2));
    }
}

async fn one_who_asks_many_times_at_once_creates_one_chat(record: Record) {
    let created = concurrently(8, |_| {
        let record = record.clone();
        async move { record.ask("alice", "bob", at(0)).await }
    })
    .await;
    let new = created.iter().filter(|created| matches!(created, Created::New(_))).count();
    let known = created.iter().filter(|created| matches!(created, Created::Known(_))).count();
    assert_eq!((new, known), (1, 7), "{created:?}");
    let chat = record.chat(pair("alice", "bob"), "bob").await.chat;
    assert_eq!((chat.status, chat.member_count, chat.version), (Status::Pending, 2, 1));
}

async fn asking_back_accepts(record: Record) {
    let chat = record.pending().await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    let created = record.ask("bob", "alice", at(1)).await;
    let Created::Accepted(changed) = created else { panic!("{created:?}") };
    assert_eq!(ids(&changed.connections), ["desk", "phone"]);
    let own = changed.chat.unwrap().chat;
    assert_eq!((own.id, own.status, own.version), (chat, Status::Accepted, 2));
    assert_eq!((own.created_by, own.created_at), (Some(user("alice")), Time(START_MS)));
}

async fn asking_again_for_an_accepted_chat_changes_nothing(record: Record) {
    record.accepted().await;
    for (name, other) in [("alice", "bob"), ("bob", "alice")] {
        let chat = known(record.ask(name, other, at(1)).await).chat;
        assert_eq!((chat.status, chat.version), (Status::Accepted, 2));
    }
}

async fn the_decliner_accepts_by_asking(record: Record) {
    let chat = record.accepted().await;
    record.changed(chat, "alice", Change::Decline).await;
    let created = record.ask("alice", "bob", at(1)).await;
    assert!(matches!(created, Created::Accepted(_)), "{created:?}");
    assert_eq!(record.chat(chat, "bob").await.chat.status, Status::Accepted);
}

async fn the_declined_one_changes_nothing_by_asking(record: Record) {
    let chat = record.pending().await;
    record.changed(chat, "bob", Change::Decline).await;
    let own = known(record.ask("alice", "bob", at(1)).await);
    assert_eq!((own.chat.status, own.chat.version), (Status::Declined, 2));
    assert_eq!(record.chat(chat, "bob").await.chat.status, Status::Declined);
}

async fn a_group_is_accepted_and_owned_by_its_creator(record: Record) {
    record.connect("carol", "phone", at(0)).await;
    let created = record.create_group("climbing", "alice", &["carol", "bob"], at(5)).await;
    let Created::New(changed) = created else { panic!("{created:?}") };
    assert_eq!(ids(&changed.connections), ["phone"]);
    let chat = changed.chat.unwrap().chat;
    assert_eq!((chat.kind, chat.status), (Kind::Group, Status::Accepted));
    assert_eq!((chat.title.as_deref(), chat.created_by), (Some("climbing"), Some(user("alice"))));
    assert_eq!((chat.member_count, chat.version), (3, 1));
    let (members, owner) = record.members(chat.id, "bob").await;
    assert_eq!(members, ["alice", "carol", "bob"], "in the order in which they were named");
    assert_eq!(owner.as_deref(), Some("alice"));
}

async fn a_group_is_created_once_for_a_client_id(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.changed(chat, "bob", Change::Rename("bouldering".into())).await;
    let own = known(record.create_group("climbing", "alice", &["bob"], at(1)).await);
    // What has become of it since, and not what was asked for.
    assert_eq!((own.chat.id, own.chat.title.as_deref()), (chat, Some("bouldering")));
    assert_eq!((own.chat.member_count, own.chat.version), (2, 2));
}

async fn a_group_is_created_once_by_concurrent_calls(record: Record) {
    let created = concurrently(8, |_| {
        let record = record.clone();
        async move { record.create_group("climbing", "alice", &["bob", "carol"], at(0)).await }
    })
    .await;
    let new = created.iter().filter(|created| matches!(created, Created::New(_))).count();
    let known = created.iter().filter(|created| matches!(created, Created::Known(_))).count();
    assert_eq!((new, known), (1, 7), "{created:?}");
    let chat = ChatId::of_group(&user("alice"), "climbing");
    assert_eq!(record.members(chat, "alice").await.0, ["alice", "bob", "carol"]);
}

async fn a_client_id_that_was_used_for_another_group_is_refused(record: Record) {
    let chat = record.group(&["bob"]).await;
    let created = record.create_group("climbing", "alice", &["carol"], at(1)).await;
    assert!(matches!(created, Created::Reused), "{created:?}");
    assert_eq!(record.members(chat, "alice").await.0, ["alice", "bob"]);
}

async fn client_ids_of_different_creators_are_different_groups(record: Record) {
    let chat = record.group(&["bob"]).await;
    let created = record.create_group("climbing", "bob", &["alice"], at(1)).await;
    let Created::New(changed) = created else { panic!("{created:?}") };
    assert_ne!(changed.chat.unwrap().chat.id, chat);
    assert_eq!(record.chats().summaries(&user("alice"), 9).await.unwrap().len(), 2);
}

async fn a_creator_who_left_does_not_come_back_by_repeating(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.changed(chat, "alice", Change::Leave).await;
    let created = record.create_group("climbing", "alice", &["bob"], at(1)).await;
    assert!(matches!(created, Created::Left), "{created:?}");
    assert_eq!(record.members(chat, "bob").await.0, ["bob"]);
}
