//! How often messages of a large chat are pushed, and which ones.

use shared::chat::MAX_SMALL;
use shared::chat::chats::Change;
use shared::chat::messages::{MAX_PUSHED_MEMBERS, Recipients};
use shared::ids::ChatId;

use super::push::{due, next_due, pushed_to, take};
use crate::record::{Record, at, concurrently, users};

on_each_record! {
    a_small_chat_has_no_pace,
    in_a_large_chat_what_follows_within_a_second_waits,
    only_the_last_of_those_that_wait_is_pushed,
    without_connections_nothing_waits_and_nothing_holds_up,
    a_message_that_was_not_pushed_is_settled_by_the_next,
    what_some_members_got_goes_on_to_all_before_the_next,
    of_two_that_began_the_later_goes_on,
    a_push_by_the_drain_holds_up_too,
    a_clock_that_is_set_back_holds_nothing_up,
    two_takers_of_a_large_chat_push_one_message,
    a_chat_that_shrinks_pushes_all_that_waits,
}

/// A group of alice and as many others as make it so large.
async fn group_of(record: &Record, members: usize) -> (ChatId, Vec<String>) {
    let names: Vec<String> = (1..members).map(|n| format!("member {n:03}")).collect();
    let chat = record.group(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    (chat, names)
}

/// The smallest large group, in which so many are connected.
async fn large_group(record: &Record, connected: usize) -> (ChatId, Vec<String>) {
    let (chat, names) = group_of(record, usize::try_from(MAX_SMALL).unwrap() + 1).await;
    for name in &names[..connected] {
        record.connect(name, name, at(0)).await;
    }
    (chat, names)
}

async fn says(record: &Record, chat: ChatId, text: &str, now_ms: i64) -> Recipients {
    record.say(chat, "alice", text, at(now_ms)).await.1
}

/// Whether a message waits; then it is pushed to no connection.
fn waits(recipients: &Recipients) -> bool {
    if recipients.waits {
        assert!(recipients.connections.is_empty() && recipients.continues_after.is_none(), "{recipients:?}");
    }
    recipients.waits
}

async fn mark(record: &Record, chat: ChatId, seq: i64) {
    record.messages().mark_pushed(&[(chat, seq)]).await.unwrap();
}

async fn a_small_chat_has_no_pace(record: Record) {
    let (chat, _) = group_of(&record, usize::try_from(MAX_SMALL).unwrap()).await;
    record.connect("member 001", "phone", at(0)).await;
    for text in ["one", "two", "three"] {
        assert_eq!(pushed_to(&says(&record, chat, text, 0).await), ["phone"]);
    }
    assert_eq!(due(&record, 5_000).await, [1, 2, 3]);
}

async fn in_a_large_chat_what_follows_within_a_second_waits(record: Record) {
    let (chat, _) = large_group(&record, 2).await;
    let first = says(&record, chat, "one", 0).await;
    assert!(!waits(&first));
    assert_eq!(pushed_to(&first), ["member 001", "member 002"]);
    mark(&record, chat, 1).await;
    assert!(waits(&says(&record, chat, "two", 999).await));
    assert_eq!(next_due(&record).await, Some(1_000), "as soon as the second is over");
    assert_eq!(pushed_to(&take(&record, 1_000).await[0].recipients), ["member 001", "member 002"]);
    mark(&record, chat, 2).await;
    assert_eq!(next_due(&record).await, None);
    // After a second of silence the call pushes again.
    assert!(waits(&says(&record, chat, "three", 1_999).await));
    assert_eq!(due(&record, 2_000).await, [3]);
    mark(&record, chat, 3).await;
    assert!(!waits(&says(&record, chat, "four", 3_000).await));
}

async fn only_the_last_of_those_that_wait_is_pushed(record: Record) {
    let (chat, _) = large_group(&record, 1).await;
    let small = record.accepted().await;
    record.connect("bob", "tab", at(0)).await;
    says(&record, chat, "first", 0).await;
    mark(&record, chat, 1).await;
    for n in 2..=9 {
        assert!(waits(&says(&record, chat, &n.to_string(), 100 * n).await));
    }
    record.say(small, "alice", "hi", at(-4_000)).await;
    assert!(due(&record, 999).await.is_empty());
    let taken = take(&record, 1_000).await;
    let mut taken: Vec<_> = taken.iter().map(|due| (due.message.chat, due.message.seq)).collect();
    taken.sort_by_key(|(_, seq)| *seq);
    assert_eq!(taken, [(small, 1), (chat, 9)]);
    // The others are settled: nothing of the chat but its last message is ever due again.
    record.messages().mark_pushed(&[(small, 1)]).await.unwrap();
    assert_eq!(next_due(&record).await, Some(6_000));
    mark(&record, chat, 9).await;
    assert_eq!(next_due(&record).await, None);
}

async fn without_connections_nothing_waits_and_nothing_holds_up(record: Record) {
    let (chat, names) = large_group(&record, 0).await;
    for text in ["one", "two"] {
        assert!(!waits(&says(&record, chat, text, 0).await));
    }
    assert_eq!(next_due(&record).await, None);
    record.connect(&names[0], "phone", at(1)).await;
    assert_eq!(pushed_to(&says(&record, chat, "three", 2).await), ["phone"]);
}

async fn a_message_that_was_not_pushed_is_settled_by_the_next(record: Record) {
    let (chat, _) = large_group(&record, 1).await;
    // The call that was to push it died.
    says(&record, chat, "one", 0).await;
    assert!(!waits(&says(&record, chat, "two", 1_000).await));
    mark(&record, chat, 2).await;
    assert!(due(&record, 5_000).await.is_empty(), "who got the second message sees that the first is missing");
    assert_eq!(next_due(&record).await, None);
    // Without a next one, it is pushed.
    says(&record, chat, "three", 10_000).await;
    assert_eq!(due(&record, 15_000).await, [3]);
    assert_eq!(due(&record, 25_000).await, [3], "and again, while it is not settled");
}

async fn what_some_members_got_goes_on_to_all_before_the_next(record: Record) {
    let (chat, names) = large_group(&record, 70).await;
    let mut continued = says(&record, chat, "one", 0).await.continues_after.unwrap();
    record.messages().mark_partly_pushed(chat, 1, continued, at(100)).await.unwrap();
    assert!(waits(&says(&record, chat, "two", 200).await));
    assert!(waits(&says(&record, chat, "three", 300).await));
    // It takes longer than a second, in which the next would be due.
    for (now_ms, first) in [(800, 20), (1_600, 40), (2_400, 60)] {
        let taken = take(&record, now_ms).await;
        assert_eq!(taken.iter().map(|due| due.message.seq).collect::<Vec<_>>(), [1], "at {now_ms}");
        let end = names[..70].len().min(first + MAX_PUSHED_MEMBERS);
        assert_eq!(pushed_to(&taken[0].recipients), names[first..end]);
        match taken[0].recipients.continues_after {
            Some(next) => {
                assert!(next > continued);
                continued = next;
                record.messages().mark_partly_pushed(chat, 1, continued, at(now_ms)).await.unwrap();
            }
            None => mark(&record, chat, 1).await,
        }
    }
    assert!(due(&record, 3_399).await.is_empty(), "the last ones got the first less than a second ago");
    let next_ms = next_due(&record).await.unwrap();
    assert_eq!(next_ms, 3_400);
    let taken = take(&record, next_ms).await;
    assert_eq!(taken[0].message.seq, 3);
    assert_eq!(pushed_to(&taken[0].recipients), names[..MAX_PUSHED_MEMBERS]);
    assert_eq!(taken.len(), 1);
}

async fn of_two_that_began_the_later_goes_on(record: Record) {
    let (chat, names) = large_group(&record, 30).await;
    // The calls have pushed to the first members, and no drain came in between.
    for (text, seq, now_ms) in [("one", 1, 0), ("two", 2, 1_000)] {
        let continued = says(&record, chat, text, now_ms).await.continues_after.unwrap();
        record.messages().mark_partly_pushed(chat, seq, continued, at(now_ms)).await.unwrap();
    }
    let taken = take(&record, 1_500).await;
    assert_eq!(taken.iter().map(|due| due.message.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(pushed_to(&taken[0].recipients), names[MAX_PUSHED_MEMBERS..30]);
    mark(&record, chat, 2).await;
    assert_eq!(next_due(&record).await, None);
}

async fn a_push_by_the_drain_holds_up_too(record: Record) {
    let (chat, _) = large_group(&record, 1).await;
    says(&record, chat, "one", 0).await;
    assert_eq!(due(&record, 5_000).await, [1]);
    assert!(waits(&says(&record, chat, "two", 5_999).await));
    assert!(!waits(&says(&record, chat, "three", 6_000).await));
}

async fn a_clock_that_is_set_back_holds_nothing_up(record: Record) {
    let (chat, _) = large_group(&record, 1).await;
    says(&record, chat, "one", 3_600_000).await;
    assert!(!waits(&says(&record, chat, "two", 0).await));
    assert!(waits(&says(&record, chat, "three", -1).await));
    assert_eq!(next_due(&record).await, Some(1_000));
    assert_eq!(due(&record, 1_000).await, [3]);
}

async fn two_takers_of_a_large_chat_push_one_message(record: Record) {
    const COUNT: i64 = 30;
    let (chat, _) = large_group(&record, 1).await;
    says(&record, chat, "first", 0).await;
    mark(&record, chat, 1).await;
    for n in 2..=COUNT {
        assert!(waits(&says(&record, chat, &n.to_string(), 1).await));
    }
    let taken = concurrently(6, |_| {
        let record = record.clone();
        async move {
            let mut taken = Vec::new();
            for _ in 0..COUNT {
                let due = record.messages().take_due_messages(3, at(1_000)).await.unwrap();
                taken.extend(due.iter().map(|due| due.message.seq));
            }
            taken
        }
    })
    .await
    .concat();
    assert_eq!(taken, [COUNT]);
    mark(&record, chat, COUNT).await;
    assert_eq!(next_due(&record).await, None);
}

async fn a_chat_that_shrinks_pushes_all_that_waits(record: Record) {
    let (chat, names) = large_group(&record, 1).await;
    says(&record, chat, "one", 0).await;
    mark(&record, chat, 1).await;
    for text in ["two", "three"] {
        assert!(waits(&says(&record, chat, text, 1).await));
    }
    record.changed(chat, "alice", Change::Remove(users(&[&names[50]]))).await;
    assert_eq!(due(&record, 1_000).await, [2, 3]);
    assert!(!waits(&says(&record, chat, "four", 1_001).await));
}
