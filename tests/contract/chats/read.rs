//! Read marks, and who hears of them.

use shared::chat::chats::Change;
use shared::ids::ChatId;

use super::{ids, pair};
use crate::record::{Record, START_MS, at, concurrently, user, users};

on_each_record! {
    a_mark_moves_up_to_a_message,
    a_mark_never_moves_back,
    a_mark_never_moves_past_the_end,
    concurrent_marks_end_at_the_highest,
    a_stranger_marks_nothing,
    a_pending_chat_is_read_without_telling_the_other,
    in_an_accepted_direct_chat_the_other_hears_of_a_mark,
    a_declined_chat_gives_no_receipts,
    in_a_group_only_involved_members_hear_of_a_mark,
    chats_of_more_than_100_members_give_no_receipts,
    a_mark_in_a_cleared_part_leaves_nothing_unread_below_it,
}

async fn a_mark_moves_up_to_a_message(record: Record) {
    let chat = record.accepted().await;
    record.connect("bob", "phone", at(0)).await;
    record.connect("bob", "desk", at(0)).await;
    record.connect_until("bob", "ended", START_MS, at(-1)).await;
    record.say_all(chat, "alice", &["one", "two", "three"]).await;
    let marked = record.read_through(chat, "bob", 2).await;
    assert_eq!((marked.seq, marked.unread, marked.has_moved), (2, 1, true));
    assert_eq!(ids(&marked.own), ["desk", "phone"], "all of one's own devices");
    let own = record.chat(chat, "bob").await;
    assert_eq!((own.read_seq, own.unread), (2, 1));
    assert_eq!(record.chat(chat, "alice").await.chat.participants[1].read_seq, 2);
}

async fn a_mark_never_moves_back(record: Record) {
    let chat = record.accepted().await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    record.say_all(chat, "alice", &["one", "two", "three"]).await;
    record.read_through(chat, "bob", 2).await;
    for seq in [2, 1, 0, -1, i64::MIN] {
        let marked = record.read_through(chat, "bob", seq).await;
        assert_eq!((marked.seq, marked.unread, marked.has_moved), (2, 1, false));
        assert!(marked.own.is_empty() && marked.others.is_empty());
    }
    assert_eq!(record.chat(chat, "bob").await.read_seq, 2);
}

async fn a_mark_never_moves_past_the_end(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    let marked = record.read_through(chat, "bob", i64::MAX).await;
    assert_eq!((marked.seq, marked.unread, marked.has_moved), (2, 0, true));
    assert_eq!(record.chat(chat, "bob").await.read_seq, 2);
    record.say_all(chat, "alice", &["three"]).await;
    assert_eq!(record.chat(chat, "bob").await.unread, 1);
}

async fn concurrent_marks_end_at_the_highest(record: Record) {
    let chat = record.accepted().await;
    for round in 0..10_i64 {
        for n in 0..8 {
            record.say(chat, "alice", &format!("{round} {n}"), at(0)).await;
        }
        let marked = concurrently(8, |n| {
            let record = record.clone();
            async move { record.read_through(chat, "bob", 8 * round + i64::try_from(n).unwrap() + 1).await }
        })
        .await;
        assert_eq!(marked.iter().map(|marked| marked.seq).max(), Some(8 * round + 8));
        for (n, marked) in (1..).zip(&marked) {
            assert!(marked.seq >= 8 * round + n, "a mark is behind what was read");
            assert_eq!(marked.unread, 8 * round + 8 - marked.seq);
        }
        assert_eq!(record.chat(chat, "bob").await.read_seq, 8 * round + 8);
    }
}

async fn a_stranger_marks_nothing(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.changed(chat, "bob", Change::Leave).await;
    for (chat, name) in [(chat, "eve"), (chat, "bob"), (ChatId::random(), "alice")] {
        assert!(record.messages().read(chat, &user(name), 1, at(0)).await.unwrap().is_none());
    }
}

async fn a_pending_chat_is_read_without_telling_the_other(record: Record) {
    let chat = record.pending().await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    record.say_all(chat, "alice", &["one"]).await;
    let marked = record.read_through(chat, "bob", 1).await;
    assert!(marked.has_moved);
    assert_eq!((ids(&marked.own), ids(&marked.others)), (vec!["phone"], vec![]));
}

async fn in_an_accepted_direct_chat_the_other_hears_of_a_mark(record: Record) {
    let chat = record.accepted().await;
    record.connect("alice", "desk", at(0)).await;
    record.connect_until("alice", "ended", START_MS, at(-1)).await;
    record.connect("bob", "phone", at(0)).await;
    record.connect("eve", "other", at(0)).await;
    record.say_all(chat, "alice", &["one"]).await;
    let marked = record.read_through(chat, "bob", 1).await;
    assert_eq!((ids(&marked.own), ids(&marked.others)), (vec!["phone"], vec!["desk"]));
    record.say_all(chat, "bob", &["two"]).await;
    let marked = record.read_through(chat, "alice", 2).await;
    assert_eq!((ids(&marked.own), ids(&marked.others)), (vec!["desk"], vec!["phone"]));
}

async fn a_declined_chat_gives_no_receipts(record: Record) {
    let chat = record.accepted().await;
    record.connect("alice", "desk", at(0)).await;
    record.say_all(chat, "alice", &["one"]).await;
    record.changed(chat, "bob", Change::Decline).await;
    let marked = record.read_through(chat, "bob", 1).await;
    assert!(marked.has_moved && marked.others.is_empty(), "{marked:?}");
}

async fn in_a_group_only_involved_members_hear_of_a_mark(record: Record) {
    let names = ["bob", "carol", "dave", "eve", "frank"];
    let chat = record.group(&names).await;
    for name in names.iter().chain(&["alice"]) {
        record.connect(name, &format!("{name}'s"), at(0)).await;
    }
    record.say_all(chat, "alice", &["one", "two"]).await;
    // The owner is involved by creating it, and who reads by reading.
    let marked = record.read_through(chat, "bob", 1).await;
    assert_eq!((ids(&marked.own), ids(&marked.others)), (vec!["bob's"], vec!["alice's"]));
    record.change_chat(chat, "carol", Change::Accept).await.unwrap();
    record.say_all(chat, "dave", &["three"]).await;
    // Reading what was read before involves too, though no mark moves.
    assert!(!record.read_through(chat, "eve", 0).await.has_moved);
    let marked = record.read_through(chat, "bob", 3).await;
    assert_eq!(ids(&marked.others), ["alice's", "carol's", "dave's", "eve's"]);
}

async fn chats_of_more_than_100_members_give_no_receipts(record: Record) {
    let names: Vec<String> = (0..98).map(|n| format!("member {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["bob"]).collect();
    let chat = record.group(&names).await;
    record.connect("alice", "desk", at(0)).await;
    record.connect("bob", "phone", at(0)).await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    let marked = record.read_through(chat, "bob", 1).await;
    assert_eq!(ids(&marked.others), ["desk"], "of 100 members");
    record.changed(chat, "alice", Change::Add(users(&["the 101st"]))).await;
    let marked = record.read_through(chat, "bob", 2).await;
    assert_eq!((ids(&marked.own), ids(&marked.others)), (vec!["phone"], vec![]));
}

async fn a_mark_in_a_cleared_part_leaves_nothing_unread_below_it(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    record.hide(chat, "bob", true).await;
    record.say_all(chat, "alice", &["three", "four"]).await;
    let marked = record.read_through(chat, "bob", 1).await;
    assert_eq!((marked.seq, marked.unread, marked.has_moved), (2, 2, false));
    assert_eq!(record.read_through(pair("alice", "bob"), "bob", 3).await.unread, 1);
}
