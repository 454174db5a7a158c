//! What an inbox shows: its position, its pages and single notifications.

use shared::clock::Time;
use shared::inbox::bounds::Bounds;
use shared::inbox::{Change, Page};

use crate::record::{Record, START_MS, Send, at, id, ids, user};

on_each_record! {
    an_empty_inbox_is_at_offset_zero,
    all_inboxes_of_a_record_share_one_epoch,
    a_list_is_newest_first_and_says_whether_older_ones_follow,
    pages_neither_skip_nor_repeat_while_notifications_arrive_and_are_deleted,
    a_list_holds_only_what_matches_its_filter,
    unread_is_counted_by_type,
    a_list_comes_with_the_position_it_is_valid_for,
    only_a_users_own_notification_is_found,
}

async fn an_empty_inbox_is_at_offset_zero(record: Record) {
    record.ring(&["1"], "bob", at(0)).await;
    let position = record.position("alice").await;
    let numbers = (position.head, position.acked, position.purged_through, position.unread);
    assert_eq!(numbers, (0, 0, 0, 0));
    assert!(record.listed("alice").await.is_empty());
    let changes = record.changes("alice", None, 10).await.unwrap();
    assert!(changes.changes.is_empty() && changes.complete);
    assert_eq!(changes.position, position);
    // A cursor from before the first arrival is in the history afterwards.
    record.ring(&["2"], "alice", at(0)).await;
    let since = record.changes("alice", Some(position.cursor()), 10).await;
    assert_eq!(since.unwrap().changes.len(), 1);
}

async fn all_inboxes_of_a_record_share_one_epoch(record: Record) {
    record.ring(&["1"], "alice", at(0)).await;
    let (alice, bob) = (record.position("alice").await, record.position("bob").await);
    assert_eq!(alice.epoch, bob.epoch);
}

async fn a_list_is_newest_first_and_says_whether_older_ones_follow(record: Record) {
    record.ring(&["1", "2", "3", "4", "5"], "alice", at(0)).await;
    // A later change moves nothing: the list is in the order of arrival.
    let read = Change::Read(vec![id("2", "alice")]);
    record.change("alice", read, at(1)).await;

    for (before, limit, keys, more) in [
        (None, 2, ["5", "4"].as_slice(), true),
        (Some(4), 2, &["3", "2"], true),
        (Some(3), 2, &["2", "1"], false),
        (Some(3), 1, &["2"], true),
        (Some(1), 2, &[], false),
        (None, 5, &["5", "4", "3", "2", "1"], false),
        (None, 4, &["5", "4", "3", "2"], true),
    ] {
        let page = Page { before, bounds: Bounds::items(limit), ..Page::default() };
        let listed = record.inbox().list(&user("alice"), &page, at(1)).await.unwrap();
        let found: Vec<_> = listed.notifications.iter().map(|n| n.id).collect();
        assert_eq!(found, ids(keys, "alice"), "{page:?}");
        assert_eq!(listed.more, more, "{page:?}");
    }
}

async fn pages_neither_skip_nor_repeat_while_notifications_arrive_and_are_deleted(record: Record) {
    let keys: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    record.ring(&keys, "alice", at(0)).await;

    let (mut before, mut found) = (None, Vec::new());
    for n in 0_usize.. {
        let page = Page { before, bounds: Bounds::items(7), ..Page::default() };
        let listed = record.inbox().list(&user("alice"), &page, at(1)).await.unwrap();
        found.extend(listed.notifications.iter().map(|n| n.id));
        let last = listed.notifications.last().unwrap();
        before = Some(last.cursor.offset);
        record.ring(&[&format!("new {n}")], "alice", at(1)).await;
        // Delete the very row from which the next page continues.
        let delete = Change::Delete(vec![last.id]);
        record.change("alice", delete, at(1)).await;
        if !listed.more {
            break;
        }
    }
    let newest_first: Vec<&str> = keys.into_iter().rev().collect();
    assert_eq!(found, ids(&newest_first, "alice"));
}

async fn a_list_holds_only_what_matches_its_filter(record: Record) {
    let alice = [user("alice")];
    for (n, kind) in ["like", "LIKE", "like", "reply", "like", "reply"].into_iter().enumerate() {
        record.send(&Send::of_kind(&n.to_string(), kind), &alice, at(0)).await;
    }
    let read = Change::Read(ids(&["2", "3"], "alice"));
    record.change("alice", read, at(1)).await;
    let delete = Change::Delete(ids(&["0"], "alice"));
    record.change("alice", delete, at(2)).await;

    for (kind, unread, limit, keys, more) in [
        (None, false, 10, ["5", "4", "3", "2", "1"].as_slice(), false),
        (None, true, 10, &["5", "4", "1"], false),
        (None, true, 2, &["5", "4"], true),
        (Some("like"), false, 10, &["4", "2"], false),
        (Some("like"), false, 1, &["4"], true),
        (Some("like"), true, 1, &["4"], false),
        (Some("reply"), true, 10, &["5"], false),
        (Some("lik"), false, 10, &[], false),
        (Some("lik%"), false, 10, &[], false),
        (Some(""), false, 10, &[], false),
    ] {
        let page = Page { before: None, bounds: Bounds::items(limit), kind: kind.map(str::to_owned), unread };
        let listed = record.inbox().list(&alice[0], &page, at(3)).await.unwrap();
        let found: Vec<_> = listed.notifications.iter().map(|n| n.id).collect();
        assert_eq!(found, ids(keys, "alice"), "{page:?}");
        assert_eq!(listed.more, more, "{page:?}");
        // The count is that of the inbox, not of the page.
        assert_eq!(listed.position.unread, 3);
    }
}

async fn unread_is_counted_by_type(record: Record) {
    let alice = [user("alice"), user("bob")];
    for (n, kind) in ["like", "LIKE", "like", "like", "reply"].into_iter().enumerate() {
        record.send(&Send::of_kind(&n.to_string(), kind), &alice, at(0)).await;
    }
    let expiring = Send::of_kind("expiring", "like").expiring_at(5);
    record.send(&expiring, &alice, at(0)).await;
    record.change("alice", Change::Read(ids(&["0"], "alice")), at(1)).await;
    record.change("alice", Change::Delete(ids(&["2"], "alice")), at(2)).await;
    for (name, kind, after_ms, unread) in [
        ("alice", "like", 4, 2),
        ("alice", "like", 5, 1),
        ("alice", "reply", 5, 1),
        ("alice", "lik%", 4, 0),
        ("bob", "like", 5, 3),
    ] {
        let counted = record.inbox().unread_of_type(&user(name), kind, at(after_ms)).await.unwrap();
        assert_eq!(counted, unread, "{name}, {kind}, {after_ms}");
    }
}

async fn a_list_comes_with_the_position_it_is_valid_for(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let read = Change::Read(vec![id("1", "alice")]);
    record.change("alice", read, at(1)).await;
    let page = Page { bounds: Bounds::items(1), ..Page::default() };
    let listed = record.inbox().list(&user("alice"), &page, at(1)).await.unwrap();
    assert_eq!(listed.position, record.position("alice").await);
    assert_eq!((listed.position.head, listed.position.unread), (3, 1));
}

async fn only_a_users_own_notification_is_found(record: Record) {
    let send = Send::new("1");
    record.send(&send, &[user("alice"), user("bob")], at(0)).await;
    let read = Change::Read(vec![id("1", "alice")]);
    record.change("alice", read, at(9)).await;
    let find = async |name: &str, id| record.inbox().find(&user(name), id, at(10)).await.unwrap();

    let found = find("alice", id("1", "alice")).await.unwrap();
    assert_eq!((found.id, found.cursor.offset), (id("1", "alice"), 1));
    assert_eq!(found.read_at, Some(Time(START_MS + 9)));
    assert!(find("alice", id("1", "bob")).await.is_none());
    assert!(find("carol", id("1", "alice")).await.is_none());
    assert!(find("alice", id("2", "alice")).await.is_none());
    let bob_found = find("bob", id("1", "bob")).await.unwrap();
    assert_eq!(bob_found.read_at, None);

    let delete = Change::Delete(vec![id("1", "alice")]);
    record.change("alice", delete, at(10)).await;
    assert!(find("alice", id("1", "alice")).await.is_none());
    assert!(find("bob", id("1", "bob")).await.is_some());
}
