//! Changes that users make to their own inboxes: which rows change, which offsets that takes, which connections are
//! notified.

use shared::clock::Time;
use shared::cursor::{Cursor, Epoch};
use shared::inbox::Change;
use shared::inbox::ChangeKind;

use crate::record::{Record, START_MS, Send, at, id, ids, user};

on_each_record! {
    each_changed_row_takes_one_offset,
    a_change_without_effect_takes_no_offset_and_notifies_no_connection,
    read_and_unread_change_the_named_rows_and_nothing_else,
    a_deleted_notification_stays_deleted,
    a_repeated_change_changes_nothing,
    unknown_ids_and_ids_of_other_users_are_skipped,
    an_id_named_twice_counts_once,
    read_all_reads_one_type_up_to_a_cursor,
    read_all_requires_a_cursor_of_the_history,
    a_change_returns_the_valid_connections_of_its_user,
    a_read_or_deleted_notification_is_not_pushed,
    an_empty_inbox_can_be_changed,
}

async fn each_changed_row_takes_one_offset(record: Record) {
    record.ring(&["1", "2", "3", "4"], "alice", at(0)).await;
    let position = record.position("alice").await;
    for (change, keys, prev, cursor, unread) in [
        (Change::Read(ids(&["3", "1"], "alice")), ["1", "3"].as_slice(), 4, 6, 2),
        (Change::Unread(ids(&["3"], "alice")), &["3"], 6, 7, 3),
        (Change::Delete(ids(&["2", "3"], "alice")), &["2", "3"], 7, 9, 1),
        (Change::ReadAll { kind: None, before: None }, &["4"], 9, 10, 0),
    ] {
        let changed = record.change("alice", change.clone(), at(1)).await;
        assert_eq!(changed.prev, position.cursor_at(prev), "{change:?}");
        assert_eq!(changed.cursor, position.cursor_at(cursor), "{change:?}");
        let mut found = changed.ids.clone();
        found.sort();
        let mut expected = ids(keys, "alice");
        expected.sort();
        assert_eq!(found, expected, "{change:?}");
        assert_eq!(changed.unread, unread, "{change:?}");
        // The ids are in the order of their new versions.
        let since = record.changes("alice", Some(changed.prev), 10).await.unwrap();
        let after: Vec<i64> = since.changes.iter().map(|c| c.version()).collect();
        assert_eq!(after, (prev + 1..=cursor).collect::<Vec<_>>(), "{change:?}");
        let order: Vec<_> = since
            .changes
            .iter()
            .map(|c| match c {
                shared::inbox::CurrentState::Present { notification, .. } => notification.id,
                shared::inbox::CurrentState::Deleted { id, .. } => *id,
            })
            .collect();
        assert_eq!(order, changed.ids, "{change:?}");
        let now = record.position("alice").await;
        assert_eq!((now.cursor(), now.unread), (changed.cursor, changed.unread));
    }
}

async fn a_change_without_effect_takes_no_offset_and_notifies_no_connection(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2"], "alice", at(0)).await;
    let delete = Change::Delete(ids(&["2"], "alice"));
    record.change("alice", delete, at(1)).await;
    let before = record.position("alice").await;
    for change in [
        Change::Unread(ids(&["1", "2"], "alice")),
        Change::Read(ids(&["2", "unknown"], "alice")),
        Change::Delete(ids(&["2", "unknown"], "alice")),
        Change::Read(Vec::new()),
        Change::Delete(Vec::new()),
        Change::ReadAll { kind: Some("other".into()), before: None },
        Change::ReadAll { kind: None, before: Some(before.cursor_at(0)) },
    ] {
        let changed = record.change("alice", change.clone(), at(2)).await;
        assert_eq!((changed.prev, changed.cursor), (before.cursor(), before.cursor()));
        assert!(changed.ids.is_empty() && changed.connections.is_empty(), "{change:?}");
        assert_eq!(changed.unread, 1, "{change:?}");
        assert_eq!(record.position("alice").await, before, "{change:?}");
    }
}

async fn read_and_unread_change_the_named_rows_and_nothing_else(record: Record) {
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    let read = Change::Read(ids(&["1", "2"], "alice"));
    assert_eq!(read.kind(), ChangeKind::Read);
    assert_eq!(record.change("alice", read, at(7)).await.known, 2);
    let unread = Change::Unread(ids(&["2", "3"], "alice"));
    assert_eq!(unread.kind(), ChangeKind::Unread);
    let changed = record.change("alice", unread, at(8)).await;
    assert_eq!((changed.known, changed.ids), (2, vec![id("2", "alice")]), "3 was not read before");

    let listed = record.listed("alice").await;
    let read_at: Vec<_> = listed.iter().map(|n| n.read_at).collect();
    assert_eq!(read_at, [None, None, Some(Time(START_MS + 7))]);
    let offsets: Vec<_> = listed.iter().map(|n| n.cursor.offset).collect();
    assert_eq!(offsets, [3, 2, 1], "the arrival offsets stay");
    assert!(listed.iter().all(|n| n.created_at == Time(START_MS)), "the arrival times stay");
}

async fn a_deleted_notification_stays_deleted(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let deleted_ids = ids(&["1"], "alice");
    let deleted = record.change("alice", Change::Delete(deleted_ids.clone()), at(1)).await;
    assert_eq!((deleted.known, deleted.unread), (1, 1));
    for (change, known) in [
        (Change::Read(deleted_ids.clone()), 0),
        (Change::Unread(deleted_ids.clone()), 0),
        // A second deletion is a repeat of the first, not an error.
        (Change::Delete(deleted_ids.clone()), 1),
    ] {
        let changed = record.change("alice", change.clone(), at(2)).await;
        assert_eq!((changed.known, changed.ids.len()), (known, 0), "{change:?}");
    }
    let all = Change::ReadAll { kind: None, before: None };
    assert_eq!(record.change("alice", all, at(3)).await.ids, ids(&["2"], "alice"));
    assert_eq!(record.listed("alice").await.len(), 1);
}

async fn a_repeated_change_changes_nothing(record: Record) {
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    let before = record.position("alice").await.cursor_at(2);
    for change in [
        Change::Read(ids(&["1"], "alice")),
        Change::Unread(ids(&["1"], "alice")),
        Change::ReadAll { kind: None, before: Some(before) },
        Change::Delete(ids(&["2", "3"], "alice")),
    ] {
        let first = record.change("alice", change.clone(), at(1)).await;
        assert!(!first.ids.is_empty(), "{change:?}");
        let listed = record.listed("alice").await;
        let again = record.change("alice", change.clone(), at(2)).await;
        assert!(again.ids.is_empty(), "{change:?}");
        assert_eq!(
            (again.prev, again.cursor, again.known, again.unread),
            (first.cursor, first.cursor, first.known, first.unread),
            "{change:?}"
        );
        // The first time of reading stays.
        let read_at =
            |listed: &[shared::inbox::notification::Notification]| listed.iter().map(|n| n.read_at).collect::<Vec<_>>();
        assert_eq!(read_at(&record.listed("alice").await), read_at(&listed));
    }
}

async fn unknown_ids_and_ids_of_other_users_are_skipped(record: Record) {
    let both = [user("alice"), user("bob")];
    record.send(&Send::new("1"), &both, at(0)).await;
    let named = vec![id("1", "bob"), id("2", "alice"), id("1", "alice")];
    let bob = record.position("bob").await;
    for change in [Change::Read, Change::Unread, Change::Delete] {
        let changed = record.change("alice", change(named.clone()), at(1)).await;
        assert_eq!((changed.known, changed.ids), (1, vec![id("1", "alice")]));
        let skipped = record.change("alice", change(named[..2].to_vec()), at(1)).await;
        assert_eq!((skipped.known, skipped.ids.len()), (0, 0));
    }
    assert_eq!(record.position("bob").await, bob);
    assert_eq!(record.listed("bob").await[0].read_at, None);
}

async fn an_id_named_twice_counts_once(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    for change in [Change::Read, Change::Unread, Change::Delete] {
        let named = ids(&["2", "1", "2", "1"], "alice");
        let changed = record.change("alice", change(named), at(1)).await;
        assert_eq!((changed.known, changed.ids.len()), (2, 2));
        assert_eq!(changed.cursor.offset, changed.prev.offset + 2);
    }
}

async fn read_all_reads_one_type_up_to_a_cursor(record: Record) {
    let alice = [user("alice")];
    for (n, kind) in ["like", "reply", "like", "reply", "like"].into_iter().enumerate() {
        let key = (n + 1).to_string();
        record.send(&Send::of_kind(&key, kind), &alice, at(0)).await;
    }
    // A change does not move an arrival: the first to arrive is still before everything else.
    let read = Change::Read(ids(&["1"], "alice"));
    record.change("alice", read, at(1)).await;
    let unread = Change::Unread(ids(&["1"], "alice"));
    record.change("alice", unread, at(1)).await;

    let position = record.position("alice").await;
    for (kind, before, keys, unread) in [
        (Some("like"), Some(3), ["1", "3"].as_slice(), 3),
        (Some("reply"), Some(1), &[], 3),
        (None, Some(2), &["2"], 2),
        (Some("like"), None, &["5"], 1),
        (None, Some(7), &["4"], 0),
    ] {
        let change =
            Change::ReadAll { kind: kind.map(str::to_owned), before: before.map(|offset| position.cursor_at(offset)) };
        assert_eq!(change.kind(), ChangeKind::Read);
        let changed = record.change("alice", change.clone(), at(2)).await;
        assert_eq!(changed.ids, ids(keys, "alice"), "{change:?}");
        assert_eq!(changed.unread, unread, "{change:?}");
    }
}

async fn read_all_requires_a_cursor_of_the_history(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let position = record.position("alice").await;
    for before in [position.cursor_at(3), Cursor { epoch: Epoch(position.epoch.0 ^ 1), offset: 1 }] {
        let change = Change::ReadAll { kind: None, before: Some(before) };
        let changed = record.inbox().change(&user("alice"), &change, at(1)).await;
        assert!(changed.unwrap().is_none(), "{before}");
        assert_eq!(record.position("alice").await, position);
    }
}

async fn a_change_returns_the_valid_connections_of_its_user(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    record.connect("alice", "phone", at(0)).await;
    record.connect_until("alice", "old tab", START_MS + 100, at(1)).await;
    record.connect("bob", "bob's", at(0)).await;
    for (key, now_ms, expected) in [("1", 99, ["phone", "old tab"].as_slice()), ("2", 100, &["phone"])] {
        let read = Change::Read(ids(&[key], "alice"));
        let changed = record.change("alice", read, at(now_ms)).await;
        let notified: Vec<&str> = changed.connections.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(notified, expected);
    }
}

async fn a_read_or_deleted_notification_is_not_pushed(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2", "3", "4"], "alice", at(0)).await;
    let head = record.position("alice").await;
    let all = Change::ReadAll { kind: None, before: Some(head.cursor_at(1)) };
    for change in [
        all,
        Change::Read(ids(&["2"], "alice")),
        Change::Delete(ids(&["3"], "alice")),
        // A notification that was seen is not pushed again, even if it is marked as unread.
        Change::Unread(ids(&["2"], "alice")),
    ] {
        record.change("alice", change, at(1)).await;
    }
    let due = record.deliveries().take_due(10, at(5_000)).await.unwrap().deliveries;
    let due: Vec<_> = due.iter().map(|row| row.notification.id).collect();
    assert_eq!(due, ids(&["4"], "alice"));
    let read = Change::Read(ids(&["4"], "alice"));
    record.change("alice", read, at(5_001)).await;
    assert_eq!(record.next_due().await.unwrap(), None);
}

async fn an_empty_inbox_can_be_changed(record: Record) {
    let beginning = record.position("alice").await.cursor();
    for change in [
        Change::Read(ids(&["1"], "alice")),
        Change::Delete(ids(&["1"], "alice")),
        Change::ReadAll { kind: None, before: Some(beginning) },
    ] {
        let changed = record.change("alice", change, at(0)).await;
        assert_eq!((changed.prev, changed.cursor), (beginning, beginning));
        assert_eq!((changed.known, changed.unread), (0, 0));
    }
}
