//! Appending: places without gaps, repeats, and who may write.

use shared::chat::chats::Change;
use shared::chat::messages::{Appended, NewMessage, Range};
use shared::chat::{Refusal, Status};
use shared::clock::Time;
use shared::ids::{ChatId, MessageId};
use shared::inbox::bounds::Bounds;

use crate::record::{Record, START_MS, at, concurrently, user, users};

on_each_record! {
    a_message_is_stored_as_it_was_given,
    seqs_have_no_gaps_under_concurrent_senders,
    a_repeat_gets_the_first_message_and_takes_no_seq,
    concurrent_repeats_are_one_message,
    another_body_or_data_is_no_repeat,
    a_client_id_of_another_sender_or_chat_is_another_message,
    in_a_pending_chat_only_its_creator_writes_three_messages,
    concurrent_messages_do_not_exceed_the_three,
    in_a_declined_chat_no_one_writes,
    a_repeat_is_answered_in_any_state_of_the_chat,
    only_members_write,
    a_repeat_is_looked_up_without_writing,
    the_sender_has_read_what_it_wrote,
    a_message_moves_the_chats_activity_but_never_back,
}

const NOT_ACCEPTED: Refusal = Refusal::NotAllowed("until the chat is accepted, its creator may write three messages");

/// The outcome of saying something under this client id.
async fn refused(record: &Record, chat: ChatId, name: &str, client_id: &str) -> Refusal {
    let before = record.chats().find(chat, &user("alice")).await.unwrap();
    let refusal = match record.write(chat, name, client_id, client_id, at(1)).await {
        Appended::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    };
    let after = record.chats().find(chat, &user("alice")).await.unwrap();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    refusal
}

/// The `seq` of the first message, of which this is a repeat.
async fn repeated(record: &Record, chat: ChatId, name: &str, client_id: &str) -> i64 {
    match record.write(chat, name, client_id, client_id, at(99)).await {
        Appended::Known(first) => {
            assert_eq!((first.body.as_str(), first.created_at), (client_id, Time(START_MS)));
            first.seq
        }
        other => panic!("not a repeat: {other:?}"),
    }
}

async fn a_message_is_stored_as_it_was_given(record: Record) {
    let chat = record.accepted().await;
    let (sender, body) = (user("bob"), "a line\nand 🔔 \"quotes\"");
    // Its members stay in this order, and its numbers as they are written.
    let data = r#"{"b":1e100000,"a":[null,"\u00fc"],"b2":{}}"#;
    let new = NewMessage {
        id: MessageId::of(chat, &sender, "1"),
        chat,
        sender: &sender,
        client_id: "1",
        body,
        data,
        trace: None,
    };
    let appended = record.messages().append(&new, at(5)).await.unwrap();
    let Appended::Stored { message, .. } = appended else { panic!("{appended:?}") };
    let stored = record.messages_in(chat, "alice", Range::Last, Bounds::default()).await.messages;
    let last = record.chat(chat, "alice").await.last_message.unwrap();
    for message in [&message, &stored[0], &last] {
        assert_eq!((message.id, message.chat, message.seq), (new.id, chat, 1));
        assert_eq!((message.sender.as_ref(), message.client_id.as_deref()), (Some(&sender), Some("1")));
        assert_eq!((message.body.as_str(), message.data.get()), (body, data));
        assert_eq!((message.created_at, message.is_erased), (Time(START_MS + 5), false));
    }
}

async fn seqs_have_no_gaps_under_concurrent_senders(record: Record) {
    const EACH: i64 = 20;
    let names: Vec<String> = (0..8).map(|n| format!("member {n}")).collect();
    let chat = record.group(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let seqs = concurrently(names.len(), |n| {
        let (record, name) = (record.clone(), names[n].clone());
        async move {
            let mut seqs = Vec::new();
            for m in 0..EACH {
                seqs.push(record.say(chat, &name, &m.to_string(), at(m)).await.0.seq);
            }
            seqs
        }
    })
    .await;
    for of_one in &seqs {
        assert!(of_one.is_sorted(), "a later message has an earlier seq: {of_one:?}");
    }
    let mut all = seqs.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=8 * EACH).collect::<Vec<_>>());
    assert_eq!(record.chat(chat, "alice").await.chat.last_seq, 8 * EACH);
    let stored = record.messages_in(chat, "alice", Range::After(0), Bounds::default()).await.messages;
    assert_eq!(stored.iter().map(|message| message.seq).collect::<Vec<_>>(), all);
}

async fn a_repeat_gets_the_first_message_and_takes_no_seq(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    assert_eq!(repeated(&record, chat, "alice", "one").await, 1);
    assert_eq!(record.chat(chat, "bob").await.chat.last_seq, 2);
    assert_eq!(record.say(chat, "alice", "three", at(1)).await.0.seq, 3);
    assert_eq!(record.texts(chat, "bob").await, ["one", "two", "three"]);
}

async fn concurrent_repeats_are_one_message(record: Record) {
    let chat = record.accepted().await;
    for round in 1..=20 {
        let client_id = round.to_string();
        let appended = concurrently(6, |_| {
            let (record, client_id) = (record.clone(), client_id.clone());
            async move { record.write(chat, "alice", &client_id, "hi", at(0)).await }
        })
        .await;
        let mut stored = 0;
        for appended in appended {
            let (is_new, message) = match appended {
                Appended::Stored { message, .. } => (1, message),
                Appended::Known(message) => (0, message),
                other => panic!("{other:?}"),
            };
            stored += is_new;
            assert_eq!(message.seq, round);
        }
        assert_eq!(stored, 1);
    }
    assert_eq!(record.chat(chat, "bob").await.chat.last_seq, 20);
}

async fn another_body_or_data_is_no_repeat(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one"]).await;
    let another_body = record.write(chat, "alice", "one", "two", at(1)).await;
    assert!(matches!(another_body, Appended::Reused), "{another_body:?}");
    let sender = user("alice");
    let (id, data) = (MessageId::of(chat, &sender, "one"), r#"{"a":1}"#);
    let new = NewMessage { id, chat, sender: &sender, client_id: "one", body: "one", data, trace: None };
    let another_data = record.messages().append(&new, at(1)).await.unwrap();
    assert!(matches!(another_data, Appended::Reused), "{another_data:?}");
    assert_eq!(record.texts(chat, "bob").await, ["one"]);
}

async fn a_client_id_of_another_sender_or_chat_is_another_message(record: Record) {
    let chat = record.accepted().await;
    let group = record.group(&["bob"]).await;
    assert_eq!(record.say(chat, "alice", "1", at(0)).await.0.seq, 1);
    assert_eq!(record.say(chat, "bob", "1", at(0)).await.0.seq, 2);
    assert_eq!(record.say(group, "alice", "1", at(0)).await.0.seq, 1);
    assert_eq!(record.say(group, "bob", "1", at(0)).await.0.seq, 2);
}

async fn in_a_pending_chat_only_its_creator_writes_three_messages(record: Record) {
    let chat = record.pending().await;
    assert_eq!(refused(&record, chat, "bob", "hi").await, NOT_ACCEPTED);
    record.say_all(chat, "alice", &["one", "two", "three"]).await;
    assert_eq!(refused(&record, chat, "alice", "four").await, NOT_ACCEPTED);
    assert_eq!(record.texts(chat, "bob").await, ["one", "two", "three"], "the other reads");
    record.changed(chat, "bob", Change::Accept).await;
    assert_eq!(record.say(chat, "bob", "hi", at(1)).await.0.seq, 4);
    assert_eq!(record.say(chat, "alice", "four", at(1)).await.0.seq, 5);
}

async fn concurrent_messages_do_not_exceed_the_three(record: Record) {
    let chat = record.pending().await;
    let appended = concurrently(8, |n| {
        let record = record.clone();
        async move { record.write(chat, "alice", &n.to_string(), "hi", at(0)).await }
    })
    .await;
    let stored = appended.iter().filter(|appended| matches!(appended, Appended::Stored { .. })).count();
    let refused = appended.iter().filter(|appended| matches!(appended, Appended::Refused(NOT_ACCEPTED))).count();
    assert_eq!((stored, refused), (3, 5), "{appended:?}");
    assert_eq!(record.chat(chat, "bob").await.chat.last_seq, 3);
}

async fn in_a_declined_chat_no_one_writes(record: Record) {
    for decliner in ["alice", "bob"] {
        record.ask("alice", "bob", at(0)).await;
        let chat = super::pair("alice", "bob");
        if record.chat(chat, "bob").await.chat.status == Status::Pending {
            record.changed(chat, "bob", Change::Accept).await;
        }
        record.changed(chat, decliner, Change::Decline).await;
        for name in ["alice", "bob"] {
            let refusal = refused(&record, chat, name, decliner).await;
            assert_eq!(refusal, Refusal::Conflict("the chat was declined"));
        }
        record.changed(chat, decliner, Change::Accept).await;
    }
    record.say_all(super::pair("alice", "bob"), "bob", &["hi again"]).await;
}

async fn a_repeat_is_answered_in_any_state_of_the_chat(record: Record) {
    let chat = record.pending().await;
    record.say_all(chat, "alice", &["one", "two", "three"]).await;
    assert_eq!(repeated(&record, chat, "alice", "three").await, 3);
    record.changed(chat, "bob", Change::Decline).await;
    assert_eq!(repeated(&record, chat, "alice", "one").await, 1);
    let reused = record.write(chat, "alice", "one", "another", at(1)).await;
    assert!(matches!(reused, Appended::Reused), "{reused:?}");
    // One who hid the chat repeats all the same, and it stays hidden.
    record.hide(chat, "alice", true).await;
    assert_eq!(repeated(&record, chat, "alice", "two").await, 2);
    assert!(record.chat(chat, "alice").await.hidden);
}

async fn only_members_write(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.say_all(chat, "bob", &["one"]).await;
    assert_eq!(refused(&record, chat, "eve", "hi").await, Refusal::NotAMember);
    assert_eq!(refused(&record, ChatId::random(), "alice", "hi").await, Refusal::NotAMember);
    record.changed(chat, "alice", Change::Remove(users(&["bob"]))).await;
    // Not even a repeat is answered then: what is in the chat no longer is for this user.
    assert_eq!(refused(&record, chat, "bob", "one").await, Refusal::NotAMember);
    assert_eq!(refused(&record, chat, "bob", "two").await, Refusal::NotAMember);
}

async fn a_repeat_is_looked_up_without_writing(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.say_all(chat, "bob", &["one"]).await;
    let sender = user("bob");
    let first = async |client_id: &str, body: &str| {
        let id = MessageId::of(chat, &sender, client_id);
        let new = NewMessage { id, chat, sender: &sender, client_id, body, data: "{}", trace: None };
        record.messages().first(&new).await.unwrap()
    };
    let found = first("one", "one").await;
    assert!(matches!(&found, Some(Appended::Known(message)) if message.seq == 1), "{found:?}");
    let reused = first("one", "another").await;
    assert!(matches!(reused, Some(Appended::Reused)), "{reused:?}");
    assert!(first("two", "two").await.is_none());
    assert_eq!(record.chat(chat, "alice").await.chat.last_seq, 1);
    record.changed(chat, "bob", Change::Leave).await;
    assert!(first("one", "one").await.is_none());
}

async fn the_sender_has_read_what_it_wrote(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    let own = record.chat(chat, "alice").await;
    assert_eq!((own.read_seq, own.unread), (2, 0));
    let other = record.chat(chat, "bob").await;
    assert_eq!((other.read_seq, other.unread), (0, 2));
    record.say_all(chat, "bob", &["three"]).await;
    assert_eq!(record.chat(chat, "bob").await.unread, 0, "who answers has read what came before");
    assert_eq!(record.chat(chat, "alice").await.unread, 1);
}

async fn a_message_moves_the_chats_activity_but_never_back(record: Record) {
    let chat = record.accepted().await;
    record.say(chat, "alice", "one", at(50)).await;
    assert_eq!(record.chat(chat, "bob").await.active_at, Time(START_MS + 50));
    record.say(chat, "alice", "two", at(40)).await;
    assert_eq!(record.chat(chat, "bob").await.active_at, Time(START_MS + 50));
    record.write(chat, "alice", "two", "two", at(90)).await;
    assert_eq!(record.chat(chat, "bob").await.active_at, Time(START_MS + 50), "a repeat is no activity");
}
