//! Whom a message is pushed to, and when it is due.

use std::collections::HashSet;

use shared::chat::chats::Change;
use shared::chat::messages::{DueMessage, MAX_PUSHED_MEMBERS, NewMessage, Recipients};
use shared::ids::{ChatId, ConnectionId, MessageId};

use super::ids;
use crate::record::{Record, START_MS, at, concurrently, trace, user, users};

on_each_record! {
    a_message_goes_to_the_sender_and_the_connected_members,
    a_message_goes_to_at_most_20_members_at_once_and_the_sender_is_one,
    exactly_20_connected_members_leave_no_rest,
    a_message_of_a_chat_without_connections_is_never_due,
    a_message_is_due_after_the_grace_period,
    what_was_marked_is_no_longer_due,
    what_is_taken_comes_back_after_twice_the_time,
    what_has_no_connected_member_left_is_settled,
    a_partly_pushed_message_is_due_at_once_for_the_others,
    what_was_settled_is_not_due_again_by_a_late_mark,
    no_more_than_the_limit_is_taken_and_the_longest_due_first,
    messages_of_a_chat_are_taken_in_its_order,
    two_takers_never_get_the_same,
    a_removed_member_is_not_pushed_to,
    the_trace_of_a_message_comes_with_each_push,
}

pub(super) async fn take(record: &Record, now_ms: i64) -> Vec<DueMessage> {
    record.messages().take_due_messages(99, at(now_ms)).await.unwrap()
}

/// The seqs of what is due.
pub(super) async fn due(record: &Record, now_ms: i64) -> Vec<i64> {
    take(record, now_ms).await.iter().map(|due| due.message.seq).collect()
}

pub(super) async fn next_due(record: &Record) -> Option<i64> {
    record.next_due().await.unwrap().map(|due_ms| due_ms - START_MS)
}

/// A group of alice and so many others, each with a connection; named in the order of joining.
async fn connected_group(record: &Record, others: usize) -> (ChatId, Vec<String>) {
    let names: Vec<String> = (1..=others).map(|n| format!("member {n:02}")).collect();
    let chat = record.group(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in &names {
        record.connect(name, name, at(0)).await;
    }
    (chat, names)
}

pub(super) fn pushed_to(recipients: &Recipients) -> Vec<String> {
    ids(&recipients.connections).into_iter().map(str::to_owned).collect()
}

async fn a_message_goes_to_the_sender_and_the_connected_members(record: Record) {
    let chat = record.group(&["bob", "carol", "dave"]).await;
    for (name, connection) in [("alice", "desk"), ("alice", "phone"), ("carol", "tab"), ("eve", "other")] {
        record.connect(name, connection, at(0)).await;
    }
    record.connect_until("dave", "ended", START_MS, at(-1)).await;
    let (_, recipients) = record.say(chat, "alice", "one", at(0)).await;
    assert_eq!(pushed_to(&recipients), ["desk", "phone", "tab"]);
    assert_eq!(recipients.continues_after, None);
    let (_, recipients) = record.say(chat, "bob", "two", at(0)).await;
    assert_eq!(pushed_to(&recipients), ["desk", "phone", "tab"]);
}

async fn a_message_goes_to_at_most_20_members_at_once_and_the_sender_is_one(record: Record) {
    let (chat, names) = connected_group(&record, 25).await;
    record.connect(&names[1], "second device", at(0)).await;
    let (_, recipients) = record.say(chat, "alice", "one", at(0)).await;
    let mut first = names[..MAX_PUSHED_MEMBERS].to_vec();
    first.push("second device".into());
    assert_eq!(pushed_to(&recipients), first, "the first by joining, with all devices");
    assert!(recipients.continues_after.is_some());
    let (_, recipients) = record.say(chat, &names[24], "two", at(0)).await;
    let mut first = names[..MAX_PUSHED_MEMBERS - 1].to_vec();
    first.extend([names[24].clone(), "second device".into()]);
    assert_eq!(pushed_to(&recipients), first, "the sender's devices are told at once");
    let continued = recipients.continues_after.unwrap();
    record.messages().mark_partly_pushed(chat, 2, continued, at(1)).await.unwrap();
    let rest = take(&record, 1).await;
    assert_eq!(pushed_to(&rest[0].recipients), names[MAX_PUSHED_MEMBERS - 1..]);
}

async fn exactly_20_connected_members_leave_no_rest(record: Record) {
    let (chat, names) = connected_group(&record, MAX_PUSHED_MEMBERS).await;
    let (_, recipients) = record.say(chat, "alice", "one", at(0)).await;
    assert_eq!((pushed_to(&recipients), recipients.continues_after), (names, None));
}

async fn a_message_of_a_chat_without_connections_is_never_due(record: Record) {
    let chat = record.accepted().await;
    record.connect_until("bob", "ended", START_MS, at(-1)).await;
    record.connect("eve", "other", at(0)).await;
    let (_, recipients) = record.say(chat, "alice", "one", at(0)).await;
    assert!(recipients.connections.is_empty());
    assert_eq!(next_due(&record).await, None);
    // Who connects later reads it in the history.
    record.connect("bob", "phone", at(1)).await;
    assert!(due(&record, 1_000_000).await.is_empty());
}

async fn a_message_is_due_after_the_grace_period(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "phone", at(0)).await;
    let (message, _) = record.say(chat, "alice", "one", at(100)).await;
    record.say(chat, "alice", "two", at(200)).await;
    assert_eq!(next_due(&record).await, Some(5_100));
    assert!(due(&record, 5_099).await.is_empty());
    let taken = take(&record, 5_100).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(format!("{:?}", taken[0].message), format!("{message:?}"));
    assert_eq!(pushed_to(&taken[0].recipients), ["phone"]);
    assert_eq!(taken[0].recipients.continues_after, None);
    assert_eq!(next_due(&record).await, Some(5_200));
}

async fn what_was_marked_is_no_longer_due(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "phone", at(0)).await;
    record.say_all(chat, "alice", &["one", "two", "three"]).await;
    record.messages().mark_pushed(&[(chat, 1), (chat, 3), (chat, 9), (ChatId::random(), 2)]).await.unwrap();
    record.messages().mark_pushed(&[]).await.unwrap();
    assert_eq!(due(&record, 5_000).await, [2]);
    record.messages().mark_pushed(&[(chat, 2)]).await.unwrap();
    assert_eq!(next_due(&record).await, None);
    assert!(due(&record, 1_000_000).await.is_empty());
}

async fn what_is_taken_comes_back_after_twice_the_time(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "phone", at(0)).await;
    record.say_all(chat, "alice", &["one"]).await;
    let mut now_ms = 5_000;
    for delay_ms in [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
        assert_eq!(due(&record, now_ms).await, [1]);
        assert!(due(&record, now_ms).await.is_empty());
        assert_eq!(next_due(&record).await, Some(now_ms + delay_ms));
        assert!(due(&record, now_ms + delay_ms - 1).await.is_empty());
        now_ms += delay_ms;
    }
}

async fn what_has_no_connected_member_left_is_settled(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "phone", at(0)).await;
    record.connect_until("alice", "desk", START_MS + 4_999, at(0)).await;
    record.say_all(chat, "alice", &["one"]).await;
    record.connections().forget(&[ConnectionId::new("phone")]).await.unwrap();
    assert!(due(&record, 5_000).await.is_empty());
    assert_eq!(next_due(&record).await, None);
    record.connect("bob", "tab", at(0)).await;
    assert!(due(&record, 1_000_000).await.is_empty());
}

async fn a_partly_pushed_message_is_due_at_once_for_the_others(record: Record) {
    let (chat, names) = connected_group(&record, 45).await;
    let (_, recipients) = record.say(chat, "alice", "one", at(0)).await;
    let (mut continued, mut reached) = (recipients.continues_after.unwrap(), MAX_PUSHED_MEMBERS);
    for now_ms in [10, 20] {
        assert!(due(&record, now_ms).await.is_empty());
        record.messages().mark_partly_pushed(chat, 1, continued, at(now_ms)).await.unwrap();
        assert_eq!(next_due(&record).await, Some(now_ms));
        let taken = take(&record, now_ms).await;
        let end = (reached + MAX_PUSHED_MEMBERS).min(names.len());
        assert_eq!(pushed_to(&taken[0].recipients), names[reached..end]);
        assert_eq!(taken[0].recipients.continues_after.is_some(), end < names.len());
        continued = taken[0].recipients.continues_after.unwrap_or(0);
        reached = end;
    }
    assert_eq!(reached, names.len());
    // A mark that is late does not push again to those who were pushed to since.
    record.messages().mark_partly_pushed(chat, 1, recipients.continues_after.unwrap(), at(30)).await.unwrap();
    let taken = take(&record, 30).await;
    assert_eq!(pushed_to(&taken[0].recipients), names[40..]);
}

async fn what_was_settled_is_not_due_again_by_a_late_mark(record: Record) {
    let (chat, _) = connected_group(&record, 25).await;
    let (_, recipients) = record.say(chat, "alice", "one", at(0)).await;
    record.messages().mark_pushed(&[(chat, 1)]).await.unwrap();
    record.messages().mark_partly_pushed(chat, 1, recipients.continues_after.unwrap(), at(1)).await.unwrap();
    record.messages().mark_partly_pushed(chat, 2, 1, at(1)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
}

async fn no_more_than_the_limit_is_taken_and_the_longest_due_first(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "phone", at(0)).await;
    for (text, at_ms) in [("one", 30), ("two", 10), ("three", 20)] {
        record.say(chat, "alice", text, at(at_ms)).await;
    }
    let take = async |limit| {
        let taken = record.messages().take_due_messages(limit, at(5_030)).await.unwrap();
        taken.into_iter().map(|due| due.message.body).collect::<Vec<_>>()
    };
    assert!(take(0).await.is_empty());
    assert_eq!(take(1).await, ["two"]);
    assert_eq!(take(1).await, ["three"]);
    assert_eq!(take(2).await, ["one"]);
}

async fn messages_of_a_chat_are_taken_in_its_order(record: Record) {
    let (first, second) = (record.accepted().await, record.group(&["bob"]).await);
    record.connect("bob", "phone", at(0)).await;
    for n in 0..6 {
        for chat in [first, second] {
            // The later ones are due earlier, as after a clock was set back.
            record.say(chat, "alice", &n.to_string(), at(10 - n)).await;
        }
    }
    let taken = take(&record, 5_010).await;
    for chat in [first, second] {
        let of_chat = taken.iter().filter(|due| due.message.chat == chat).map(|due| due.message.seq);
        assert_eq!(of_chat.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }
}

async fn two_takers_never_get_the_same(record: Record) {
    const COUNT: usize = 60;
    let chat = record.accepted().await;
    record.connect("bob", "phone", at(0)).await;
    for n in 0..COUNT {
        record.say(chat, "alice", &n.to_string(), at(0)).await;
    }
    let taken = concurrently(6, |_| {
        let record = record.clone();
        async move {
            let mut taken = Vec::new();
            // A taker that finds nothing may have met rows that another is about to take.
            for _ in 0..COUNT {
                let due = record.messages().take_due_messages(3, at(5_000)).await.unwrap();
                taken.extend(due.iter().map(|due| due.message.seq));
            }
            taken
        }
    })
    .await
    .concat();
    assert_eq!(taken.len(), COUNT);
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), COUNT);
}

async fn a_removed_member_is_not_pushed_to(record: Record) {
    let chat = record.group(&["bob", "carol"]).await;
    record.connect("bob", "phone", at(0)).await;
    record.connect("carol", "tab", at(0)).await;
    record.say_all(chat, "alice", &["one"]).await;
    record.changed(chat, "alice", Change::Remove(users(&["bob"]))).await;
    assert_eq!(pushed_to(&take(&record, 5_000).await[0].recipients), ["tab"]);
    record.changed(chat, "carol", Change::Leave).await;
    assert!(due(&record, 1_000_000).await.is_empty());
    assert_eq!(next_due(&record).await, None);
}

async fn the_trace_of_a_message_comes_with_each_push(record: Record) {
    let (chat, sender) = (record.accepted().await, user("alice"));
    record.connect("bob", "phone", at(0)).await;
    record.say(chat, "alice", "one", at(0)).await;
    let (id, trace) = (MessageId::of(chat, &sender, "two"), Some(trace()));
    let new = NewMessage { id, chat, sender: &sender, client_id: "two", body: "two", data: "{}", trace };
    record.messages().append(&new, at(0)).await.unwrap();
    for now_ms in [5_000, 20_000] {
        let traces: Vec<_> = take(&record, now_ms).await.into_iter().map(|due| due.trace).collect();
        assert_eq!(traces, [None, trace]);
    }
}
