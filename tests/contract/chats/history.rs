//! Pages of messages.

use shared::chat::chats::Change;
use shared::chat::messages::{NewMessage, Range};
use shared::ids::{ChatId, MessageId};
use shared::inbox::bounds::{Bounds, Item};

use super::texts;
use crate::record::{Record, at, concurrently, user, users};

on_each_record! {
    the_last_messages_are_in_the_order_of_seq,
    messages_before_one_are_those_nearest_to_it,
    messages_after_one_are_the_next,
    pages_neither_skip_nor_repeat,
    bytes_bound_a_page_and_keep_those_nearest,
    the_first_message_is_in_a_page_whatever_its_size,
    what_was_cleared_is_in_no_history,
    an_empty_chat_has_a_complete_history,
    a_stranger_sees_no_messages,
    who_reads_after_a_seq_misses_nothing_while_others_write,
}

async fn page(record: &Record, chat: ChatId, name: &str, range: Range, limit: usize) -> (Vec<i64>, bool) {
    let history = record.messages_in(chat, name, range, Bounds::items(limit)).await;
    (history.messages.iter().map(|message| message.seq).collect(), history.complete)
}

/// A chat with this many messages.
async fn chat_of(record: &Record, count: usize) -> ChatId {
    let chat = record.accepted().await;
    for n in 1..=count {
        record.say(chat, "alice", &n.to_string(), at(0)).await;
    }
    chat
}

async fn the_last_messages_are_in_the_order_of_seq(record: Record) {
    let chat = chat_of(&record, 5).await;
    assert_eq!(page(&record, chat, "bob", Range::Last, 3).await, (vec![3, 4, 5], false));
    assert_eq!(page(&record, chat, "bob", Range::Last, 5).await, (vec![1, 2, 3, 4, 5], true));
}

async fn messages_before_one_are_those_nearest_to_it(record: Record) {
    let chat = chat_of(&record, 6).await;
    assert_eq!(page(&record, chat, "bob", Range::Before(5), 2).await, (vec![3, 4], false));
    assert_eq!(page(&record, chat, "bob", Range::Before(3), 2).await, (vec![1, 2], true));
    assert_eq!(page(&record, chat, "bob", Range::Before(99), 2).await, (vec![5, 6], false));
    for nothing in [1, 0, -7, i64::MIN] {
        assert_eq!(page(&record, chat, "bob", Range::Before(nothing), 2).await, (vec![], true));
    }
}

async fn messages_after_one_are_the_next(record: Record) {
    let chat = chat_of(&record, 5).await;
    assert_eq!(page(&record, chat, "bob", Range::After(1), 2).await, (vec![2, 3], false));
    assert_eq!(page(&record, chat, "bob", Range::After(3), 2).await, (vec![4, 5], true));
    assert_eq!(page(&record, chat, "bob", Range::After(-3), 1).await, (vec![1], false));
    for nothing in [5, 99, i64::MAX] {
        assert_eq!(page(&record, chat, "bob", Range::After(nothing), 2).await, (vec![], true));
    }
}

async fn pages_neither_skip_nor_repeat(record: Record) {
    let chat = chat_of(&record, 11).await;
    for limit in [1, 2, 3, 10, 11, 12] {
        let (mut before, mut pages) = (i64::MAX, Vec::new());
        loop {
            let (page, complete) = page(&record, chat, "bob", Range::Before(before), limit).await;
            before = page[0];
            pages.splice(0..0, page);
            if complete {
                break;
            }
        }
        assert_eq!(pages, (1..=11).collect::<Vec<_>>(), "backwards by {limit}");
        let (mut after, mut pages) = (0, Vec::new());
        loop {
            let (page, complete) = page(&record, chat, "bob", Range::After(after), limit).await;
            after = *page.last().unwrap();
            pages.extend(page);
            if complete {
                break;
            }
        }
        assert_eq!(pages, (1..=11).collect::<Vec<_>>(), "forwards by {limit}");
    }
}

/// Says something with data of about this many bytes.
async fn say_large(record: &Record, chat: ChatId, client_id: &str, bytes: usize) -> usize {
    let (sender, data) = (user("alice"), format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes)));
    let id = MessageId::of(chat, &sender, client_id);
    let new = NewMessage { id, chat, sender: &sender, client_id, body: client_id, data: &data, trace: None };
    record.messages().append(&new, at(0)).await.unwrap();
    record.chat(chat, "alice").await.last_message.unwrap().json_bytes()
}

async fn bytes_bound_a_page_and_keep_those_nearest(record: Record) {
    let chat = record.accepted().await;
    let mut sizes = Vec::new();
    for (client_id, bytes) in [("1", 900), ("2", 10), ("3", 2_000), ("4", 300), ("5", 700)] {
        sizes.push(say_large(&record, chat, client_id, bytes).await);
    }
    let of_size = async |range, bytes: usize| {
        let history = record.messages_in(chat, "bob", range, Bounds { items: 99, bytes }).await;
        (texts(&history.messages).concat(), history.complete)
    };
    let last_two = sizes[3] + sizes[4];
    assert_eq!(of_size(Range::Last, last_two).await, ("45".into(), false));
    assert_eq!(of_size(Range::Last, last_two - 1).await, ("5".into(), false));
    assert_eq!(of_size(Range::Before(5), last_two).await, ("4".into(), false));
    assert_eq!(of_size(Range::Before(3), sizes[0] + sizes[1]).await, ("12".into(), true));
    assert_eq!(of_size(Range::Before(3), sizes[0] + sizes[1] - 1).await, ("2".into(), false));
    assert_eq!(of_size(Range::After(0), sizes[0] + sizes[1]).await, ("12".into(), false));
    assert_eq!(of_size(Range::After(3), last_two).await, ("45".into(), true));
    assert_eq!(of_size(Range::After(3), last_two - 1).await, ("4".into(), false));
    assert_eq!(of_size(Range::Last, sizes.iter().sum()).await, ("12345".into(), true));
}

async fn the_first_message_is_in_a_page_whatever_its_size(record: Record) {
    let chat = record.accepted().await;
    say_large(&record, chat, "1", 9_000).await;
    say_large(&record, chat, "2", 9_000).await;
    let bounds = Bounds { items: 9, bytes: 10 };
    for (range, seq) in [(Range::Last, 2), (Range::Before(2), 1), (Range::After(0), 1), (Range::After(1), 2)] {
        let history = record.messages_in(chat, "bob", range, bounds).await;
        assert_eq!(history.messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [seq], "{range:?}");
        let is_end = matches!(range, Range::Before(2) | Range::After(1));
        assert_eq!(history.complete, is_end, "{range:?}");
    }
}

async fn what_was_cleared_is_in_no_history(record: Record) {
    let chat = chat_of(&record, 3).await;
    record.hide(chat, "bob", true).await;
    assert_eq!(page(&record, chat, "bob", Range::Last, 9).await, (vec![], true));
    record.say_all(chat, "alice", &["4", "5"]).await;
    for (range, limit, seqs, complete) in [
        (Range::Last, 9, vec![4, 5], true),
        (Range::Last, 1, vec![5], false),
        (Range::Before(5), 9, vec![4], true),
        (Range::Before(4), 9, vec![], true),
        (Range::After(0), 1, vec![4], false),
        (Range::After(4), 9, vec![5], true),
    ] {
        assert_eq!(page(&record, chat, "bob", range, limit).await, (seqs, complete), "{range:?}");
    }
    assert_eq!(page(&record, chat, "alice", Range::Last, 9).await, (vec![1, 2, 3, 4, 5], true), "for one alone");
    record.hide(chat, "bob", false).await;
    assert_eq!(page(&record, chat, "bob", Range::Last, 9).await, (vec![1, 2, 3, 4, 5], true));
}

async fn an_empty_chat_has_a_complete_history(record: Record) {
    let chat = record.accepted().await;
    for range in [Range::Last, Range::Before(1), Range::After(0)] {
        assert_eq!(page(&record, chat, "bob", range, 9).await, (vec![], true));
    }
}

async fn a_stranger_sees_no_messages(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.say_all(chat, "bob", &["hi"]).await;
    record.changed(chat, "alice", Change::Remove(users(&["bob"]))).await;
    for (chat, name) in [(chat, "eve"), (chat, "bob"), (ChatId::random(), "alice")] {
        for range in [Range::Last, Range::Before(9), Range::After(0)] {
            let history = record.messages().history(chat, &user(name), range, Bounds::default(), &[]).await.unwrap();
            assert!(history.is_none(), "{history:?}");
        }
    }
}

async fn who_reads_after_a_seq_misses_nothing_while_others_write(record: Record) {
    const EACH: usize = 25;
    let chat = record.group(&["bob", "carol"]).await;
    let seen = concurrently(4, |n| {
        let record = record.clone();
        async move {
            if n < 3 {
                for m in 0..EACH {
                    record.say(chat, ["alice", "bob", "carol"][n], &m.to_string(), at(0)).await;
                }
                return Vec::new();
            }
            let mut seen = Vec::new();
            while seen.len() < 3 * EACH {
                let after = seen.last().copied().unwrap_or(0);
                seen.extend(page(&record, chat, "alice", Range::After(after), 7).await.0);
            }
            seen
        }
    })
    .await;
    assert_eq!(seen[3], (1..=75).collect::<Vec<_>>());
}
