//! Lists of chats and summaries; hiding and restoring.

use shared::chat::OwnChat;
use shared::chat::chats::{Change, Page};
use shared::clock::Time;
use shared::ids::ChatId;
use shared::inbox::bounds::{Bounds, Item};
use shared::page_key::PageKey;

use super::pair;
use crate::record::{Record, START_MS, at, user};

on_each_record! {
    the_newest_activity_comes_first,
    chats_of_one_millisecond_are_in_the_order_of_ids,
    pages_neither_skip_nor_repeat,
    bytes_bound_a_page_and_the_first_chat_is_in_it,
    only_ones_own_chats_are_listed,
    hidden_chats_are_listed_apart_until_a_later_message,
    hiding_clears_for_one_alone,
    restoring_shows_all,
    an_empty_chat_is_visible_until_it_is_hidden,
    a_cleared_last_message_is_not_shown,
    a_stranger_hides_nothing,
    summaries_are_those_of_visible_chats_newest_first,
}

async fn list(record: &Record, name: &str, page: &Page) -> (Vec<OwnChat>, bool) {
    record.chats().list(&user(name), page).await.unwrap()
}

/// All chats, hidden or not, in their order.
async fn listed(record: &Record, name: &str, hidden: bool) -> Vec<ChatId> {
    let page = Page { after: None, bounds: Bounds::default(), hidden };
    let (chats, more) = list(record, name, &page).await;
    assert!(!more);
    assert!(chats.iter().all(|own| own.hidden == hidden));
    chats.into_iter().map(|own| own.chat.id).collect()
}

/// Alice's chats with so many others. Two at a time were asked in the same millisecond.
async fn chats_of_alice(record: &Record, count: i64) -> Vec<ChatId> {
    let mut keys = Vec::new();
    for n in 0..count {
        let other = format!("friend {n}");
        record.ask("alice", &other, at(n / 2)).await;
        keys.push(PageKey { at_ms: n / 2, id: pair("alice", &other) });
    }
    keys.sort_unstable_by(|one, other| other.cmp(one));
    keys.into_iter().map(|key| key.id).collect()
}

async fn the_newest_activity_comes_first(record: Record) {
    for (other, at_ms) in [("bob", 10), ("carol", 20), ("dave", 30)] {
        record.ask("alice", other, at(at_ms)).await;
    }
    let [bob, carol, dave] = ["bob", "carol", "dave"].map(|other| pair("alice", other));
    assert_eq!(listed(&record, "alice", false).await, [dave, carol, bob]);
    record.say(bob, "alice", "hi", at(40)).await;
    assert_eq!(listed(&record, "alice", false).await, [bob, dave, carol]);
    // What is no message is no activity.
    record.chats().change(carol, &user("carol"), &Change::Accept, at(50)).await.unwrap().unwrap();
    record.messages().read(dave, &user("alice"), 1, at(60)).await.unwrap();
    assert_eq!(listed(&record, "alice", false).await, [bob, dave, carol]);
    let first = &list(&record, "alice", &Page { after: None, bounds: Bounds::items(1), hidden: false }).await.0[0];
    assert_eq!(first.active_at, Time(START_MS + 40));
}

async fn chats_of_one_millisecond_are_in_the_order_of_ids(record: Record) {
    let expected = chats_of_alice(&record, 8).await;
    assert_eq!(listed(&record, "alice", false).await, expected);
}

async fn pages_neither_skip_nor_repeat(record: Record) {
    let expected = chats_of_alice(&record, 9).await;
    // Hidden ones are no gap in the pages of the others.
    let (hidden, visible): (Vec<_>, Vec<_>) = expected.into_iter().enumerate().partition(|(n, _)| n % 3 == 1);
    for (_, chat) in &hidden {
        record.hide(*chat, "alice", true).await;
    }
    for (is_hidden, expected) in [(false, &visible), (true, &hidden)] {
        for limit in 1..=expected.len() + 1 {
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let page = Page { after, bounds: Bounds::items(limit), hidden: is_hidden };
                let (chats, more) = list(&record, "alice", &page).await;
                assert!(chats.len() <= limit && (chats.len() == limit || !more));
                let last = chats.last().expect("a page has chats");
                after = Some(PageKey { at_ms: last.active_at.0, id: last.chat.id });
                seen.extend(chats.iter().map(|own| own.chat.id));
                if !more {
                    break;
                }
            }
            assert_eq!(seen, expected.iter().map(|(_, chat)| *chat).collect::<Vec<_>>(), "by {limit}");
        }
    }
}

async fn bytes_bound_a_page_and_the_first_chat_is_in_it(record: Record) {
    let chats = chats_of_alice(&record, 3).await;
    record.say(chats[1], "alice", &"x".repeat(2_000), at(0)).await;
    let all = list(&record, "alice", &Page { after: None, bounds: Bounds::default(), hidden: false }).await.0;
    let sizes: Vec<usize> = all.iter().map(Item::json_bytes).collect();
    let count = async |bytes| {
        let page = Page { after: None, bounds: Bounds { items: 9, bytes }, hidden: false };
        let (chats, more) = list(&record, "alice", &page).await;
        (chats.len(), more)
    };
    assert_eq!(count(sizes.iter().sum()).await, (3, false));
    assert_eq!(count(sizes.iter().sum::<usize>() - 1).await, (2, true));
    assert_eq!(count(sizes[0] + sizes[1] - 1).await, (1, true));
    assert_eq!(count(1).await, (1, true));
}

async fn only_ones_own_chats_are_listed(record: Record) {
    let group = record.group(&["bob", "carol"]).await;
    record.ask("alice", "bob", at(1)).await;
    assert_eq!(listed(&record, "bob", false).await, [pair("alice", "bob"), group]);
    assert_eq!(listed(&record, "carol", false).await, [group]);
    record.changed(group, "carol", Change::Leave).await;
    assert!(listed(&record, "carol", false).await.is_empty());
    assert!(listed(&record, "eve", false).await.is_empty());
}

async fn hidden_chats_are_listed_apart_until_a_later_message(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one"]).await;
    record.hide(chat, "bob", true).await;
    record.hide(chat, "bob", true).await;
    assert!(listed(&record, "bob", false).await.is_empty());
    assert_eq!(listed(&record, "bob", true).await, [chat]);
    assert_eq!(listed(&record, "alice", false).await, [chat], "hidden from one alone");
    record.say_all(chat, "alice", &["two"]).await;
    assert_eq!(listed(&record, "bob", false).await, [chat]);
    assert!(listed(&record, "bob", true).await.is_empty());
    assert_eq!(record.texts(chat, "bob").await, ["two"], "what was cleared stays cleared");
    record.hide(chat, "bob", true).await;
    record.say_all(chat, "bob", &["three"]).await;
    assert_eq!(listed(&record, "bob", false).await, [chat], "one's own message brings it back too");
}

async fn hiding_clears_for_one_alone(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    record.hide(chat, "bob", true).await;
    let own = record.chat(chat, "bob").await;
    assert_eq!((own.hidden, own.unread, own.read_seq, own.chat.last_seq), (true, 0, 2, 2));
    assert!(own.last_message.is_none());
    let other = record.chat(chat, "alice").await;
    assert_eq!((other.hidden, other.last_message.unwrap().seq), (false, 2));
    assert_eq!(record.texts(chat, "alice").await, ["one", "two"]);
}

async fn restoring_shows_all(record: Record) {
    let chat = record.accepted().await;
    record.say_all(chat, "alice", &["one", "two"]).await;
    record.hide(chat, "bob", true).await;
    record.hide(chat, "bob", false).await;
    let own = record.chat(chat, "bob").await;
    // It was read when it was hidden, and a mark never moves back.
    assert_eq!((own.hidden, own.unread, own.read_seq), (false, 0, 2));
    assert_eq!(own.last_message.unwrap().seq, 2);
    assert_eq!(record.texts(chat, "bob").await, ["one", "two"]);
    assert_eq!(listed(&record, "bob", false).await, [chat]);
    // Restoring what is not hidden is harmless.
    record.hide(chat, "alice", false).await;
    assert_eq!(record.texts(chat, "alice").await, ["one", "two"]);
}

async fn an_empty_chat_is_visible_until_it_is_hidden(record: Record) {
    let chat = record.accepted().await;
    assert_eq!(listed(&record, "bob", false).await, [chat]);
    assert!(listed(&record, "bob", true).await.is_empty());
    record.hide(chat, "bob", true).await;
    assert!(listed(&record, "bob", false).await.is_empty());
    assert_eq!(listed(&record, "bob", true).await, [chat]);
    record.hide(chat, "bob", false).await;
    assert_eq!(listed(&record, "bob", false).await, [chat]);
    record.hide(chat, "bob", true).await;
    record.say_all(chat, "alice", &["one"]).await;
    assert_eq!(listed(&record, "bob", false).await, [chat]);
}

async fn a_cleared_last_message_is_not_shown(record: Record) {
    let chat = record.accepted().await;
    assert!(record.chat(chat, "bob").await.last_message.is_none());
    record.say_all(chat, "alice", &["one"]).await;
    assert_eq!(record.chat(chat, "bob").await.last_message.unwrap().body, "one");
    record.hide(chat, "bob", true).await;
    assert!(record.chat(chat, "bob").await.last_message.is_none());
    record.say_all(chat, "alice", &["two"]).await;
    let page = Page { after: None, bounds: Bounds::default(), hidden: false };
    let own = list(&record, "bob", &page).await.0.remove(0);
    assert_eq!((own.last_message.unwrap().body.as_str(), own.unread), ("two", 1));
}

async fn a_stranger_hides_nothing(record: Record) {
    let chat = record.group(&["bob"]).await;
    record.changed(chat, "bob", Change::Leave).await;
    for (chat, name) in [(chat, "eve"), (chat, "bob"), (ChatId::random(), "alice")] {
        for hidden in [true, false] {
            assert!(!record.chats().set_hidden(chat, &user(name), hidden, at(0)).await.unwrap());
        }
    }
    assert!(!record.chat(chat, "alice").await.hidden);
}

async fn summaries_are_those_of_visible_chats_newest_first(record: Record) {
    let chats = chats_of_alice(&record, 6).await;
    record.hide(chats[2], "alice", true).await;
    let summaries = record.chats().summaries(&user("alice"), 99).await.unwrap();
    let ids: Vec<ChatId> = summaries.iter().map(|summary| summary.chat_id).collect();
    let visible = [chats[0], chats[1], chats[3], chats[4], chats[5]];
    assert_eq!(ids, visible);
    let first = record.chats().summaries(&user("alice"), 3).await.unwrap();
    assert_eq!(first, summaries[..3]);
    for summary in summaries {
        let own = record.chat(summary.chat_id, "alice").await;
        assert_eq!((summary.last_seq, summary.read_seq, summary.unread), (own.chat.last_seq, own.read_seq, own.unread));
        assert_eq!((summary.status, summary.version), (own.chat.status, own.chat.version));
    }
}
