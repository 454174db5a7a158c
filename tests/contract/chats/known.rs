//! Histories of which the caller knows a part: the same answers, without reading that part again.

use shared::chat::message::Message;
use shared::chat::messages::{History, NewMessage, Range};
use shared::clock::Time;
use shared::ids::{ChatId, MessageId};
use shared::inbox::bounds::{Bounds, Item};

use crate::limits::Dice;
use crate::record::{Record, at, user};

on_each_record! {
    known_messages_are_not_read_again,
    what_is_known_changes_no_answer,
    what_is_known_counts_towards_the_bytes,
    what_was_cleared_is_not_shown_because_it_is_known,
    messages_of_another_life_of_the_record_are_not_used,
    knowing_messages_shows_a_stranger_nothing,
}

async fn with_known(
    record: &Record,
    chat: ChatId,
    name: &str,
    range: Range,
    bounds: Bounds,
    known: &[Message],
) -> History {
    record.messages().history(chat, &user(name), range, bounds, known).await.unwrap().expect("the user is a member")
}

async fn all(record: &Record, chat: ChatId) -> Vec<Message> {
    record.messages_in(chat, "alice", Range::Last, Bounds::default()).await.messages
}

/// A chat with this many messages, and the messages.
async fn chat_of(record: &Record, count: i64) -> (ChatId, Vec<Message>) {
    let chat = record.accepted().await;
    for n in 1..=count {
        record.say(chat, "alice", &n.to_string(), at(n)).await;
    }
    (chat, all(record, chat).await)
}

fn shown(history: &History) -> (Vec<String>, bool) {
    (history.messages.iter().map(|message| serde_json::to_string(message).unwrap()).collect(), history.complete)
}

async fn known_messages_are_not_read_again(record: Record) {
    let (chat, mut messages) = chat_of(&record, 9).await;
    // Had they been read, they would say something else.
    for message in &mut messages {
        message.body = "known".into();
    }
    for (range, known, expected) in [
        (Range::Last, 4..9, "KKKKK"),
        (Range::Last, 0..9, "KKKKK"),
        (Range::Last, 2..7, "KKKRR"),
        (Range::Before(6), 2..4, "RRKKR"),
        (Range::Before(9), 0..5, "KKRRR"),
        (Range::After(2), 3..5, "RKKRR"),
        (Range::After(6), 0..9, "KKK"),
        (Range::After(6), 0..4, "RRR"),
        (Range::Before(3), 5..9, "RR"),
    ] {
        let history = with_known(&record, chat, "bob", range, Bounds::items(5), &messages[known.clone()]).await;
        let how = |message: &Message| if message.body == "known" { 'K' } else { 'R' };
        assert_eq!(history.messages.iter().map(how).collect::<String>(), expected, "{range:?} knowing {known:?}");
        assert!(history.has_confirmed && history.last_seq == 9);
    }
}

async fn what_is_known_changes_no_answer(record: Record) {
    let (chat, messages) = chat_of(&record, 12).await;
    let mut dice = Dice(0xca11);
    for _ in 0..150 {
        let range = match dice.below(3) {
            0 => Range::Last,
            1 => Range::Before(dice.below(15)),
            _ => Range::After(dice.below(15)),
        };
        let first = dice.below(12) as usize;
        let known = &messages[first..first + dice.below(13 - first as i64) as usize];
        let bounds = Bounds { items: 1 + dice.below(14) as usize, bytes: 100 + dice.below(3_000) as usize };
        let expected = shown(&record.messages_in(chat, "bob", range, bounds).await);
        let found = shown(&with_known(&record, chat, "bob", range, bounds, known).await);
        assert_eq!(found, expected, "{range:?} {bounds:?} knowing {} from {first}", known.len());
    }
}

async fn what_is_known_counts_towards_the_bytes(record: Record) {
    let chat = record.accepted().await;
    let (sender, data) = (user("alice"), format!(r#"{{"text":"{}"}}"#, "x".repeat(900)));
    for client_id in ["1", "2", "3", "4"] {
        let id = MessageId::of(chat, &sender, client_id);
        let new = NewMessage { id, chat, sender: &sender, client_id, body: client_id, data: &data, trace: None };
        record.messages().append(&new, at(0)).await.unwrap();
    }
    let messages = all(&record, chat).await;
    let two = messages[0].json_bytes() + messages[1].json_bytes();
    for known in [0..0, 0..4, 1..3, 3..4, 0..1] {
        for (range, bytes, expected) in [
            (Range::Last, two, vec![3, 4]),
            (Range::Last, two - 1, vec![4]),
            (Range::After(0), two, vec![1, 2]),
            (Range::After(0), 10, vec![1]),
            (Range::Before(4), two, vec![2, 3]),
        ] {
            let bounds = Bounds { items: 9, bytes };
            let history = with_known(&record, chat, "bob", range, bounds, &messages[known.clone()]).await;
            let seqs: Vec<i64> = history.messages.iter().map(|message| message.seq).collect();
            assert_eq!((seqs, history.complete), (expected, false), "{range:?} {bytes} knowing {known:?}");
        }
    }
}

async fn what_was_cleared_is_not_shown_because_it_is_known(record: Record) {
    let (chat, messages) = chat_of(&record, 3).await;
    record.hide(chat, "bob", true).await;
    for range in [Range::Last, Range::Before(3), Range::After(0)] {
        let history = with_known(&record, chat, "bob", range, Bounds::items(9), &messages).await;
        assert!(history.messages.is_empty() && history.complete, "{range:?}: {history:?}");
    }
    record.say(chat, "alice", "4", at(4)).await;
    let messages = all(&record, chat).await;
    let history = with_known(&record, chat, "bob", Range::Last, Bounds::items(9), &messages).await;
    assert_eq!((shown(&history).0.len(), history.messages[0].seq, history.complete), (1, 4, true));
}

async fn messages_of_another_life_of_the_record_are_not_used(record: Record) {
    let (chat, messages) = chat_of(&record, 5).await;
    let expected = shown(&record.messages_in(chat, "bob", Range::Last, Bounds::items(9)).await);
    let other = |seq: i64, change: fn(&mut Message)| {
        let mut other = messages[4].clone();
        other.seq = seq;
        other.body = "of another life".into();
        change(&mut other);
        vec![Message { seq: seq - 1, ..other.clone() }, other]
    };
    for (known, what) in [
        (other(5, |message| message.created_at = Time(7)), "another time"),
        (other(5, |message| message.id = MessageId::of(message.chat, &user("eve"), "x")), "another id"),
        (other(4, |_| ()), "another place"),
        (other(6, |_| ()), "behind the end"),
        (other(1_000, |_| ()), "far behind the end"),
    ] {
        let history = with_known(&record, chat, "bob", Range::Last, Bounds::items(9), &known).await;
        assert_eq!((shown(&history), history.has_confirmed), (expected.clone(), false), "{what}");
    }
}

async fn knowing_messages_shows_a_stranger_nothing(record: Record) {
    let (chat, messages) = chat_of(&record, 2).await;
    for range in [Range::Last, Range::Before(9), Range::After(0)] {
        let history = record.messages().history(chat, &user("eve"), range, Bounds::items(9), &messages).await.unwrap();
        assert!(history.is_none(), "{history:?}");
    }
}
