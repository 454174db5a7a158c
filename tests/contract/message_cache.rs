//! The suite of `shared::chat::cache::MessageCache`: runs without gaps, of the last messages alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use shared::chat::cache::{MAX_KEPT_BYTES, MessageCache, Room};
use shared::chat::message::Message;
use shared::chat::messages::Range;
use shared::clock::Time;
use shared::ids::{ChatId, MessageId};
use shared::inbox::bounds::Item;

use crate::limits::Dice;
use crate::record::{at, concurrently, user};

on_each_moment! {
    what_is_kept_is_found_as_it_was,
    a_range_has_only_what_is_inside,
    a_run_ends_at_what_is_missing,
    the_last_messages_stay,
    keeping_again_changes_nothing,
    a_message_of_another_life_forgets_all_others,
    a_large_message_is_left_out,
    what_is_forgotten_is_gone,
    chats_are_apart,
    concurrent_messages_are_all_kept,
    every_run_matches_what_was_kept,
}

type Store = Arc<dyn MessageCache>;

const ROOM: Room = Room { messages: 100, ttl_ms: 7_200_000 };

fn chat() -> ChatId {
    ChatId::of_pair(&user("alice"), &user("bob"))
}

fn message(chat: ChatId, seq: i64) -> Message {
    let sender = user("alice");
    Message {
        id: MessageId::of(chat, &sender, &seq.to_string()),
        chat,
        seq,
        client_id: Some(seq.to_string()),
        sender: Some(sender),
        body: format!("number {seq}"),
        data: RawValue::from_string("{}".into()).unwrap(),
        created_at: Time(1_000 + seq),
        is_erased: false,
    }
}

async fn keep(store: &Store, seqs: impl IntoIterator<Item = i64>) {
    let messages: Vec<Message> = seqs.into_iter().map(|seq| message(chat(), seq)).collect();
    store.keep(chat(), &messages.iter().collect::<Vec<_>>(), ROOM, at(0)).await;
}

fn seqs(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| message.seq).collect()
}

async fn run(store: &Store, range: Range, limit: usize) -> Vec<i64> {
    seqs(&store.run(chat(), range, limit, at(1)).await)
}

async fn what_is_kept_is_found_as_it_was(store: Store) {
    let plain = message(chat(), 1);
    let odd = Message {
        sender: Some(user("a:b {x} \"🔔\"")),
        client_id: Some("\\ \u{1f514}".into()),
        body: "line one\nline \"two\"\t\u{2028}".into(),
        data: RawValue::from_string(r#"{"b":1e100000,"a":[1, 2],"a":"\u0000"}"#.into()).unwrap(),
        ..message(chat(), 2)
    };
    let erased = Message { sender: None, client_id: None, body: String::new(), is_erased: true, ..message(chat(), 3) };
    let kept = [plain, odd, erased];
    store.keep(chat(), &kept.iter().collect::<Vec<_>>(), ROOM, at(0)).await;
    let found = store.run(chat(), Range::Last, 9, at(1)).await;
    assert_eq!(format!("{found:?}"), format!("{kept:?}"));
    assert_eq!(found[1].data.get(), kept[1].data.get());
}

async fn a_range_has_only_what_is_inside(store: Store) {
    assert_eq!(run(&store, Range::Last, 9).await, [0; 0]);
    keep(&store, 3..=9).await;
    assert_eq!(run(&store, Range::Last, 3).await, [7, 8, 9]);
    assert_eq!(run(&store, Range::Last, usize::MAX).await, (3..=9).collect::<Vec<_>>());
    assert_eq!(run(&store, Range::Before(7), 2).await, [5, 6]);
    assert_eq!(run(&store, Range::Before(5), 9).await, [3, 4]);
    assert_eq!(run(&store, Range::Before(99), 2).await, [8, 9]);
    assert_eq!(run(&store, Range::After(5), 2).await, [6, 7]);
    assert_eq!(run(&store, Range::After(7), 9).await, [8, 9]);
    // Of the messages 1 to 4, which such a page has at most.
    assert_eq!(run(&store, Range::After(0), 4).await, [3, 4]);
    for nothing in [Range::Before(3), Range::Before(i64::MIN), Range::After(9), Range::After(i64::MAX)] {
        assert_eq!(run(&store, nothing, 9).await, [0; 0], "{nothing:?}");
    }
    assert_eq!(run(&store, Range::After(i64::MIN), 9).await, [0; 0]);
    assert_eq!(run(&store, Range::Before(i64::MAX), 1).await, [9]);
}

async fn a_run_ends_at_what_is_missing(store: Store) {
    keep(&store, [1, 2, 3, 5, 6, 8]).await;
    assert_eq!(run(&store, Range::Last, 9).await, [1, 2, 3]);
    assert_eq!(run(&store, Range::Last, 3).await, [5, 6]);
    assert_eq!(run(&store, Range::After(2), 9).await, [5, 6]);
    keep(&store, [7]).await;
    assert_eq!(run(&store, Range::Last, 9).await, [5, 6, 7, 8]);
    keep(&store, [4]).await;
    assert_eq!(run(&store, Range::Last, 9).await, (1..=8).collect::<Vec<_>>());
}

async fn the_last_messages_stay(store: Store) {
    keep(&store, 51..=100).await;
    keep(&store, 101..=180).await;
    assert_eq!(run(&store, Range::Last, 999).await, (81..=180).collect::<Vec<_>>());
    // What is older takes the place of nothing.
    keep(&store, [80, 12]).await;
    assert_eq!(run(&store, Range::Last, 999).await, (81..=180).collect::<Vec<_>>());
    let smaller = Room { messages: 3, ..ROOM };
    store.keep(chat(), &[&message(chat(), 181)], smaller, at(0)).await;
    assert_eq!(run(&store, Range::Last, 999).await, [179, 180, 181]);
}

async fn keeping_again_changes_nothing(store: Store) {
    keep(&store, 1..=5).await;
    keep(&store, [5, 3, 4, 3]).await;
    assert_eq!(run(&store, Range::Last, 9).await, [1, 2, 3, 4, 5]);
    keep(&store, []).await;
    assert_eq!(run(&store, Range::Last, 9).await, [1, 2, 3, 4, 5]);
}

async fn a_message_of_another_life_forgets_all_others(store: Store) {
    keep(&store, 1..=9).await;
    let of_now = Message { created_at: Time(9_999), body: "anew".into(), ..message(chat(), 4) };
    store.keep(chat(), &[&of_now], ROOM, at(0)).await;
    let found = store.run(chat(), Range::Last, 9, at(1)).await;
    assert_eq!((seqs(&found), found[0].body.as_str()), (vec![4], "anew"));
}

async fn a_large_message_is_left_out(store: Store) {
    let sized = |seq, bytes: usize| {
        let mut sized = message(chat(), seq);
        sized.body = "x".repeat(bytes - sized.json_bytes() + sized.body.len());
        sized
    };
    let (kept, large) = (sized(2, MAX_KEPT_BYTES), sized(3, MAX_KEPT_BYTES + 1));
    store.keep(chat(), &[&message(chat(), 1), &kept, &large], ROOM, at(0)).await;
    assert_eq!(run(&store, Range::Last, 9).await, [1, 2]);
    // At its place, no message of another life of the record stays.
    keep(&store, [3]).await;
    store.keep(chat(), &[&Message { created_at: Time(5), ..large }], ROOM, at(0)).await;
    assert_eq!(run(&store, Range::Last, 9).await, [0; 0]);
    keep(&store, [4]).await;
    assert_eq!(run(&store, Range::Last, 9).await, [4]);
}

async fn what_is_forgotten_is_gone(store: Store) {
    keep(&store, 1..=9).await;
    store.forget(chat()).await;
    assert_eq!(run(&store, Range::Last, 9).await, [0; 0]);
    keep(&store, [10]).await;
    assert_eq!(run(&store, Range::Last, 9).await, [10]);
}

async fn chats_are_apart(store: Store) {
    let other = ChatId::of_pair(&user("alice"), &user("carol"));
    keep(&store, 1..=3).await;
    store.keep(other, &[&message(other, 7)], ROOM, at(0)).await;
    assert_eq!(run(&store, Range::Last, 9).await, [1, 2, 3]);
    store.forget(chat()).await;
    let found = store.run(other, Range::Last, 9, at(1)).await;
    assert_eq!((seqs(&found), found[0].chat), (vec![7], other));
}

async fn concurrent_messages_are_all_kept(store: Store) {
    concurrently(20, |n| {
        let store = Arc::clone(&store);
        async move { keep(&store, [n as i64 + 1]).await }
    })
    .await;
    assert_eq!(run(&store, Range::Last, 99).await, (1..=20).collect::<Vec<_>>());
}

/// The longest gapless run of what is kept inside a page, written as plainly as possible; the last of several.
fn expected(kept: &BTreeMap<i64, Message>, range: Range, limit: usize) -> Vec<i64> {
    let mut inside: Vec<i64> = match range {
        Range::Last => kept.keys().rev().take(limit).copied().collect(),
        Range::Before(seq) => kept.keys().rev().filter(|kept| **kept < seq).take(limit).copied().collect(),
        Range::After(seq) => {
            kept.keys().filter(|kept| (seq + 1..=seq + limit as i64).contains(kept)).copied().collect()
        }
    };
    inside.sort_unstable();
    let runs = inside.chunk_by(|one, next| next - one == 1);
    runs.max_by_key(|run| run.len()).unwrap_or_default().to_vec()
}

async fn every_run_matches_what_was_kept(store: Store) {
    let small = Room { messages: 12, ..ROOM };
    let (mut kept, mut dice, mut last, mut found_any) = (BTreeMap::new(), Dice(0xcac4e), 0, 0);
    for step in 0..1_500 {
        match dice.below(12) {
            0 => {
                store.forget(chat()).await;
                kept.clear();
            }
            1..=4 => {
                last += 1;
                // One message in four is lost on its way.
                if dice.below(4) > 0 {
                    store.keep(chat(), &[&message(chat(), last)], small, at(step)).await;
                    kept.insert(last, message(chat(), last));
                }
            }
            5..=6 if last > 0 => {
                let first = 1 + dice.below(last);
                let page: Vec<Message> =
                    (first..=last.min(first + dice.below(8))).map(|seq| message(chat(), seq)).collect();
                store.keep(chat(), &page.iter().collect::<Vec<_>>(), small, at(step)).await;
                kept.extend(page.into_iter().map(|message| (message.seq, message)));
            }
            _ => {
                let range = match dice.below(3) {
                    0 => Range::Last,
                    1 => Range::Before(dice.below(last + 3)),
                    _ => Range::After(dice.below(last + 3)),
                };
                let limit = 1 + dice.below(15) as usize;
                let found = run(&store, range, limit).await;
                assert_eq!(found, expected(&kept, range, limit), "{range:?} {limit} of {:?}", kept.keys());
                found_any += usize::from(found.len() > 2);
            }
        }
        while kept.len() > small.messages {
            kept.pop_first();
        }
    }
    assert!(found_any > 100, "the trace is one-sided: {found_any}");
}
