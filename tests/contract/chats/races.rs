//! Concurrent acts in one chat.

use shared::chat::chats::Change;
use shared::chat::messages::Appended;
use shared::chat::{Refusal, Status};
use shared::ids::ChatId;

use crate::record::{Record, at, concurrently, user, users};

on_each_record! {
    an_append_is_before_the_senders_removal_or_refused,
    an_append_is_before_the_decline_or_refused,
    accepting_races_declining,
    concurrent_adds_do_not_exceed_1000_members,
    concurrent_changes_each_raise_the_version_once,
    all_leave_at_once,
    hiding_races_appends,
}

/// How often each race is repeated.
const ROUNDS: usize = 20;

/// A group of alice's for one round.
async fn group(record: &Record, round: usize, others: &[&str]) -> ChatId {
    let client_id = format!("round {round}");
    record.create_group(&client_id, "alice", others, at(0)).await;
    ChatId::of_group(&user("alice"), &client_id)
}

async fn an_append_is_before_the_senders_removal_or_refused(record: Record) {
    let mut refusals = 0;
    for round in 0..ROUNDS {
        let chat = group(&record, round, &["bob"]).await;
        let outcomes = concurrently(4, |n| {
            let record = record.clone();
            async move {
                if n > 0 {
                    return (None, Some(record.write(chat, "bob", &n.to_string(), "hi", at(0)).await));
                }
                record.changed(chat, "alice", Change::Remove(users(&["bob"]))).await;
                // What has a place later than this was stored after the removal.
                (Some(record.chat(chat, "alice").await.chat.last_seq), None)
            }
        })
        .await;
        let last_seq = outcomes.iter().find_map(|(last_seq, _)| *last_seq).unwrap();
        let mut stored = 0;
        for (_, appended) in outcomes {
            match appended {
                None => {}
                Some(Appended::Stored { message, .. }) => {
                    assert!(message.seq <= last_seq, "it was stored after the removal");
                    stored += 1;
                }
                Some(Appended::Refused(Refusal::NotAMember)) => refusals += 1,
                Some(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(stored, last_seq);
        assert_eq!(record.chat(chat, "alice").await.chat.last_seq, last_seq);
        let late = record.write(chat, "bob", "late", "hi", at(0)).await;
        assert!(matches!(late, Appended::Refused(Refusal::NotAMember)), "{late:?}");
    }
    assert!(refusals <= 3 * ROUNDS);
}

async fn an_append_is_before_the_decline_or_refused(record: Record) {
    let chat = record.accepted().await;
    for round in 0..ROUNDS {
        let outcomes = concurrently(4, |n| {
            let record = record.clone();
            async move {
                if n > 0 {
                    return (None, Some(record.write(chat, "bob", &format!("{round} {n}"), "hi", at(0)).await));
                }
                let declined = record.change_chat(chat, "alice", Change::Decline).await.unwrap();
                (declined.chat.map(|own| own.chat.last_seq), None)
            }
        })
        .await;
        let last_seq = outcomes.iter().find_map(|(last_seq, _)| *last_seq).unwrap();
        for (_, appended) in outcomes {
            match appended {
                None | Some(Appended::Refused(Refusal::Conflict(_))) => {}
                Some(Appended::Stored { message, .. }) => assert!(message.seq <= last_seq),
                Some(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(record.chat(chat, "alice").await.chat.last_seq, last_seq);
        record.changed(chat, "alice", Change::Accept).await;
    }
}

async fn accepting_races_declining(record: Record) {
    for round in 0..ROUNDS {
        let other = format!("bob {round}");
        record.ask("alice", &other, at(0)).await;
        let chat = super::pair("alice", &other);
        let outcomes = concurrently(2, |n| {
            let (record, other) = (record.clone(), other.clone());
            async move {
                if n == 0 {
                    record.change_chat(chat, "alice", Change::Decline).await.is_ok()
                } else {
                    record.change_chat(chat, &other, Change::Accept).await.is_ok()
                }
            }
        })
        .await;
        assert!(outcomes[0], "either declines at any time");
        // Had it been declined first, only alice could have accepted it: it ends as declined in both orders.
        let seen = record.chat(chat, "alice").await.chat;
        assert_eq!(seen.status, Status::Declined);
        assert_eq!(seen.version, if outcomes[1] { 3 } else { 2 });
    }
}

async fn concurrent_adds_do_not_exceed_1000_members(record: Record) {
    let names: Vec<String> = (0..899).map(|n| format!("member {n}")).collect();
    let chat = record.group(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let added = concurrently(4, |n| {
        let record = record.clone();
        async move {
            let names: Vec<String> = (0..40).map(|m| format!("added {n} {m}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            record.change_chat(chat, "alice", Change::Add(users(&names))).await.map(|changed| changed.has_effect)
        }
    })
    .await;
    assert_eq!(added.iter().filter(|added| **added == Ok(true)).count(), 2, "{added:?}");
    assert_eq!(added.iter().filter(|added| **added == Err(Refusal::FULL)).count(), 2, "{added:?}");
    assert_eq!(record.chat(chat, "alice").await.chat.member_count, 980);
}

async fn concurrent_changes_each_raise_the_version_once(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    let versions = concurrently(8, |n| {
        let record = record.clone();
        async move {
            let mut versions = Vec::new();
            for m in 0..6 {
                let change = if m % 2 == 0 {
                    Change::Rename(format!("title {n} {m}"))
                } else {
                    Change::Add(users(&[&format!("added {n} {m}")]))
                };
                let changed = record.change_chat(chat, ["alice", "bob", "carol"][n % 3], change).await.unwrap();
                assert!(changed.has_effect);
                versions.push(changed.chat.unwrap().chat.version);
            }
            versions
        }
    })
    .await;
    let mut versions = versions.concat();
    versions.sort_unstable();
    assert_eq!(versions, (2..=49).collect::<Vec<_>>());
    assert_eq!(record.chat(chat, "alice").await.chat.member_count, 3 + 24);
}

async fn all_leave_at_once(record: Record) {
    for round in 0..ROUNDS {
        let chat = group(&record, round, &["bob", "carol", "dave"]).await;
        let left = concurrently(4, |n| {
            let record = record.clone();
            async move { record.change_chat(chat, ["alice", "bob", "carol", "dave"][n], Change::Leave).await }
        })
        .await;
        assert!(left.iter().all(|left| left.as_ref().is_ok_and(|left| left.has_effect)), "{left:?}");
        for name in ["alice", "bob", "carol", "dave"] {
            assert!(record.chats().find(chat, &user(name)).await.unwrap().is_none());
        }
        // It has ended: its id is free.
        let again = record.create_group(&format!("round {round}"), "alice", &["bob"], at(0)).await;
        assert!(matches!(again, shared::chat::chats::Created::New(_)), "{again:?}");
    }
}

async fn hiding_races_appends(record: Record) {
    let chat = record.accepted().await;
    for round in 0..ROUNDS {
        concurrently(4, |n| {
            let record = record.clone();
            async move {
                if n == 0 {
                    record.hide(chat, "bob", true).await;
                } else {
                    record.say(chat, "alice", &format!("{round} {n}"), at(0)).await;
                }
            }
        })
        .await;
        let own = record.chat(chat, "bob").await;
        let seen = record.texts(chat, "bob").await.len();
        assert_eq!(own.unread, i64::try_from(seen).unwrap(), "what is left to see is what is unread");
        assert_eq!(own.hidden, seen == 0);
        assert_eq!(own.last_message.is_none(), seen == 0);
    }
}
