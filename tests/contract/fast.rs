//! The suite of `shared::fast::FastRecord`: what decides on fast accepts, and writing what logs have.

use serde_json::value::RawValue;
use shared::chat::Refusal;
use shared::chat::chats::Change;
use shared::chat::messages::{Appended, NewMessage, Range};
use shared::clock::Time;
use shared::fast::CheckedMessage;
use shared::fast::logged::{LoggedMessage, LoggedSend};
use shared::ids::{ChatId, MessageId, NotificationId};
use shared::inbox::bounds::Bounds;
use shared::inbox::sends;

use crate::record::{RETENTION_MS, Record, START_MS, Send, at, concurrently, trace, user, users};

on_each_record! {
    fast_accepts_are_in_use_from_the_first_note,
    a_send_is_checked_with_its_first_answer_and_the_recipients_connections,
    a_message_is_checked_as_its_append_would_decide,
    a_message_of_a_pending_or_large_chat_is_undecided,
    sends_are_written_in_order_and_are_due_at_once,
    a_written_send_is_kept_from_its_accept,
    writing_sends_again_changes_nothing,
    a_send_of_another_request_is_told,
    an_expired_send_is_written_and_not_due,
    messages_are_written_in_order_behind_those_that_are_stored,
    writing_messages_again_changes_nothing,
    a_message_of_another_request_is_told,
    a_message_is_written_after_its_sender_left,
    messages_of_a_chat_that_has_ended_are_dropped,
    a_written_message_marks_as_read_for_its_sender_and_is_due_at_once,
    concurrent_writers_of_the_same_entries_write_them_once_and_in_order,
}

impl Record {
    pub(crate) fn fast(&self) -> std::sync::Arc<dyn shared::record::RecordStore> {
        self.store()
    }

    async fn writes(&self, sends: &[LoggedSend], after_ms: i64) -> Vec<shared::ids::SendId> {
        self.fast().write_sends(sends, at(after_ms)).await.unwrap()
    }

    async fn writes_messages(&self, messages: &[LoggedMessage]) {
        assert!(self.fast().write_messages(messages, at(100)).await.unwrap().is_empty());
    }
}

/// A send that was accepted fast, this many milliseconds after the beginning.
fn logged(key: &str, name: &str, after_ms: i64) -> LoggedSend {
    let Send { id, fingerprint, answer, content, .. } = Send::new(key).traced();
    LoggedSend {
        id,
        sender: user("billing"),
        fingerprint,
        answer,
        recipient: user(name),
        content,
        silent: false,
        retention_ms: RETENTION_MS,
        accepted_at: Time(START_MS + after_ms),
    }
}

/// A message that was accepted fast, with the text as its client id.
fn said(chat: ChatId, name: &str, text: &str) -> LoggedMessage {
    let sender = user(name);
    LoggedMessage {
        id: MessageId::of(chat, &sender, text),
        chat,
        sender,
        client_id: text.into(),
        body: text.into(),
        data: RawValue::from_string("{}".into()).unwrap(),
        accepted_at: Time(START_MS + 50),
        trace: Some(trace()),
    }
}

async fn check(record: &Record, message: &LoggedMessage, body: &str) -> CheckedMessage {
    let new = NewMessage {
        id: message.id,
        chat: message.chat,
        sender: &message.sender,
        client_id: &message.client_id,
        body,
        data: "{}",
        trace: None,
    };
    record.fast().check_message(&new, at(0)).await.unwrap()
}

async fn places(record: &Record, chat: ChatId, name: &str) -> Vec<(i64, String)> {
    let history = record.messages_in(chat, name, Range::Last, Bounds::default()).await;
    history.messages.into_iter().map(|message| (message.seq, message.body)).collect()
}

async fn fast_accepts_are_in_use_from_the_first_note(record: Record) {
    assert_eq!(record.fast().fast_since().await.unwrap(), None);
    record.fast().use_fast(at(5)).await.unwrap();
    record.fast().use_fast(at(9)).await.unwrap();
    assert_eq!(record.fast().fast_since().await.unwrap(), Some(START_MS + 5));
}

async fn a_send_is_checked_with_its_first_answer_and_the_recipients_connections(record: Record) {
    let send = Send::new("a");
    let checked = record.fast().check_send(send.id, &user("alice"), "REPORT_APPROVED", at(0)).await.unwrap();
    assert!(checked.first.is_none() && checked.connections.is_empty());
    record.connect("alice", "phone", at(0)).await;
    record.connect("alice", "laptop", at(1)).await;
    record.connect("bob", "tablet", at(1)).await;
    record.connect_until("alice", "ended", START_MS + 2, at(1)).await;
    record.send(&send, &users(&["alice"]), at(1)).await;
    let checked = record.fast().check_send(send.id, &user("alice"), "REPORT_APPROVED", at(3)).await.unwrap();
    let first = checked.first.unwrap();
    assert_eq!((first.fingerprint, first.answer), (send.fingerprint, send.answer));
    let mut connections: Vec<&str> = checked.connections.iter().map(|connection| connection.id.as_str()).collect();
    connections.sort_unstable();
    assert_eq!(connections, ["laptop", "phone"]);
    let checked = record.fast().check_send(Send::new("b").id, &user("alice"), "REPORT_APPROVED", at(3)).await.unwrap();
    assert!(checked.first.is_none() && checked.connections.len() == 2);
}

async fn a_message_is_checked_as_its_append_would_decide(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "tablet", at(0)).await;
    let message = said(chat, "alice", "hi");
    match check(&record, &message, "hi").await {
        CheckedMessage::Admitted(connections) => assert_eq!(connections[0].id.as_str(), "tablet"),
        other => panic!("{other:?}"),
    }
    let stranger = check(&record, &said(chat, "mallory", "hi"), "hi").await;
    assert!(matches!(stranger, CheckedMessage::Decided(Appended::Refused(Refusal::NotAMember))), "{stranger:?}");
    record.say(chat, "alice", "hi", at(0)).await;
    let repeat = check(&record, &message, "hi").await;
    assert!(matches!(&repeat, CheckedMessage::Decided(Appended::Known(first)) if first.seq == 1), "{repeat:?}");
    let reused = check(&record, &message, "other").await;
    assert!(matches!(reused, CheckedMessage::Decided(Appended::Reused)), "{reused:?}");
}

async fn a_message_of_a_pending_or_large_chat_is_undecided(record: Record) {
    let pending = record.pending().await;
    assert!(matches!(check(&record, &said(pending, "alice", "hi"), "hi").await, CheckedMessage::Undecided));
    record.changed(pending, "bob", Change::Decline).await;
    let declined = check(&record, &said(pending, "alice", "hi"), "hi").await;
    assert!(matches!(declined, CheckedMessage::Decided(Appended::Refused(Refusal::Conflict(_)))), "{declined:?}");
    let others: Vec<String> = (0..100).map(|n| format!("member-{n}")).collect();
    let large = record.group(&others.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(matches!(check(&record, &said(large, "alice", "hi"), "hi").await, CheckedMessage::Undecided));
}

async fn sends_are_written_in_order_and_are_due_at_once(record: Record) {
    record.connect("alice", "phone", at(0)).await;
    record.ring(&["before"], "alice", at(0)).await;
    let sends = [logged("a", "alice", 10), logged("b", "bob", 11), logged("c", "alice", 12)];
    assert!(record.writes(&sends, 100).await.is_empty());
    let titles = |listed: &[shared::inbox::notification::Notification]| -> Vec<(i64, String, i64)> {
        let row = |row: &shared::inbox::notification::Notification| {
            (row.cursor.offset, row.content.title.clone(), row.created_at.0 - START_MS)
        };
        listed.iter().map(row).collect()
    };
    let alice = record.listed("alice").await;
    assert_eq!(titles(&alice), [(3, "c".into(), 12), (2, "a".into(), 10), (1, "before".into(), 0)]);
    assert_eq!(titles(&record.listed("bob").await), [(1, "b".into(), 11)]);
    let position = record.position("alice").await;
    assert_eq!((position.head, position.unread), (3, 3));
    // Bob has no connection. What was appended before is in its grace period.
    let due = record.deliveries().take_due(10, at(100)).await.unwrap().deliveries;
    assert!(due.iter().all(|row| row.notification.content.trace == Some(trace())), "{due:?}");
    let due: Vec<(&str, i64)> = due.iter().map(|row| (row.user.as_str(), row.notification.cursor.offset)).collect();
    assert_eq!(due, [("alice", 2), ("alice", 3)]);
    record.ring(&["after"], "alice", at(200)).await;
    assert_eq!(record.position("alice").await.head, 4);
}

async fn a_written_send_is_kept_from_its_accept(record: Record) {
    record.writes(&[logged("a", "alice", 10)], 5_000).await;
    let first = record.sends().first_answer(Send::new("a").id).await.unwrap().unwrap();
    assert_eq!((first.fingerprint, first.answer), (Send::new("a").fingerprint, Send::new("a").answer));
    let alice = user("alice");
    let found = record.inbox().find(&alice, NotificationId::of(Send::new("a").id, &alice), at(6_000));
    assert_eq!(found.await.unwrap().unwrap().created_at, Time(START_MS + 10));
}

async fn writing_sends_again_changes_nothing(record: Record) {
    let sends = [logged("a", "alice", 10), logged("b", "alice", 11)];
    record.writes(&sends[..1], 100).await;
    assert!(record.writes(&sends, 200).await.is_empty());
    assert!(record.writes(&sends, 300).await.is_empty());
    let position = record.position("alice").await;
    assert_eq!((position.head, position.unread), (2, 2));
    // A repeat that is stored durably finds it.
    let repeated = record.append(&Send::new("a"), &users(&["alice"]), at(400)).await;
    assert!(matches!(repeated, sends::Appended::Known(_)), "{repeated:?}");
    // And the other way round.
    record.send(&Send::new("c"), &users(&["alice"]), at(500)).await;
    assert!(record.writes(&[logged("c", "alice", 450)], 600).await.is_empty());
    assert_eq!(record.position("alice").await.head, 3);
}

async fn a_send_of_another_request_is_told(record: Record) {
    record.send(&Send::new("a"), &users(&["bob"]), at(0)).await;
    let other = LoggedSend { fingerprint: [9; 32], ..logged("a", "alice", 10) };
    assert_eq!(record.writes(&[other, logged("b", "alice", 11)], 100).await, [Send::new("a").id]);
    assert_eq!(record.listed("alice").await.len(), 1);
}

async fn an_expired_send_is_written_and_not_due(record: Record) {
    record.connect("alice", "phone", at(0)).await;
    let content = Send::new("a").expiring_at(50).content;
    record.writes(&[LoggedSend { content, ..logged("a", "alice", 10) }], 100).await;
    assert!(record.deliveries().take_due(10, at(100)).await.unwrap().is_empty());
    assert!(record.listed("alice").await.is_empty());
    assert_eq!(record.position("alice").await.head, 1);
}

async fn messages_are_written_in_order_behind_those_that_are_stored(record: Record) {
    let (pair, group) = (record.accepted().await, record.group(&["bob"]).await);
    record.say(pair, "bob", "before", at(0)).await;
    let messages = [said(pair, "alice", "one"), said(group, "alice", "other"), said(pair, "bob", "two")];
    record.writes_messages(&messages).await;
    let expected = [(1, "before"), (2, "one"), (3, "two")].map(|(seq, body)| (seq, body.to_owned()));
    assert_eq!(places(&record, pair, "alice").await, expected);
    assert_eq!(places(&record, group, "bob").await, [(1, "other".to_owned())]);
    let (message, _) = record.say(pair, "alice", "after", at(200)).await;
    assert_eq!(message.seq, 4);
}

async fn writing_messages_again_changes_nothing(record: Record) {
    let chat = record.accepted().await;
    let messages = [said(chat, "alice", "one"), said(chat, "bob", "two")];
    record.writes_messages(&messages[..1]).await;
    record.writes_messages(&messages).await;
    record.writes_messages(&messages).await;
    assert_eq!(places(&record, chat, "alice").await, [(1, "one".to_owned()), (2, "two".to_owned())]);
    // One that was stored durably under the same id.
    record.say(chat, "alice", "three", at(0)).await;
    record.writes_messages(&[said(chat, "alice", "three"), said(chat, "alice", "four")]).await;
    assert_eq!(places(&record, chat, "alice").await[2..], [(3, "three".to_owned()), (4, "four".to_owned())]);
}

async fn a_message_of_another_request_is_told(record: Record) {
    let chat = record.accepted().await;
    record.say(chat, "alice", "one", at(0)).await;
    let other = LoggedMessage { body: "other".into(), ..said(chat, "alice", "one") };
    let conflicts = record.fast().write_messages(&[other.clone(), said(chat, "alice", "two")], at(0)).await.unwrap();
    assert_eq!(conflicts, [other.id]);
    assert_eq!(places(&record, chat, "alice").await, [(1, "one".to_owned()), (2, "two".to_owned())]);
}

async fn a_message_is_written_after_its_sender_left(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.changed(chat, "bob", Change::Leave).await;
    record.writes_messages(&[said(chat, "bob", "bye")]).await;
    assert_eq!(places(&record, chat, "alice").await, [(1, "bye".to_owned())]);
}

async fn messages_of_a_chat_that_has_ended_are_dropped(record: Record) {
    let (ended, chat) = (record.group(&[]).await, record.accepted().await);
    record.changed(ended, "alice", Change::Leave).await;
    record.writes_messages(&[said(ended, "alice", "lost"), said(chat, "alice", "kept")]).await;
    assert_eq!(places(&record, chat, "alice").await, [(1, "kept".to_owned())]);
}

async fn a_written_message_marks_as_read_for_its_sender_and_is_due_at_once(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "tablet", at(0)).await;
    record.writes_messages(&[said(chat, "alice", "one")]).await;
    let own = |name: &'static str| {
        let record = record.clone();
        async move { record.chats().find(chat, &user(name)).await.unwrap().unwrap() }
    };
    assert_eq!((own("alice").await.unread, own("bob").await.unread), (0, 1));
    let due = record.messages().take_due_messages(10, at(100)).await.unwrap();
    assert_eq!(due[0].trace, Some(trace()));
    let due: Vec<(i64, &str)> =
        due.iter().map(|due| (due.message.seq, due.recipients.connections[0].id.as_str())).collect();
    assert_eq!(due, [(1, "tablet")]);
    // Nobody hears of this one.
    let silent = record.group(&["carol"]).await;
    record.writes_messages(&[said(silent, "carol", "psst")]).await;
    assert!(record.messages().take_due_messages(10, at(100)).await.unwrap().is_empty());
}

async fn concurrent_writers_of_the_same_entries_write_them_once_and_in_order(record: Record) {
    let chat = record.accepted().await;
    let texts: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let sends: Vec<LoggedSend> = texts.iter().map(|text| logged(text, "alice", 10)).collect();
    let by = |n: usize| if n.is_multiple_of(3) { "bob" } else { "alice" };
    let messages: Vec<LoggedMessage> = texts.iter().enumerate().map(|(n, text)| said(chat, by(n), text)).collect();
    concurrently(8, |n| {
        // Each has read another prefix.
        let (record, sends, messages) = (record.clone(), sends[..9 + 3 * n].to_vec(), messages[..9 + 3 * n].to_vec());
        async move {
            assert!(record.writes(&sends, 100).await.is_empty());
            record.writes_messages(&messages).await;
        }
    })
    .await;
    let mut listed: Vec<(i64, String)> =
        record.listed("alice").await.into_iter().map(|row| (row.cursor.offset, row.content.title.clone())).collect();
    listed.reverse();
    let expected: Vec<(i64, String)> = (1..).zip(texts).collect();
    assert_eq!(listed, expected);
    assert_eq!(places(&record, chat, "bob").await, expected);
}
