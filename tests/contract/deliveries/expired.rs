//! Notifications that expire: they disappear from every answer at that instant, and the drain makes tombstones of them
//! later. Races between that and changes to the inbox are in `overlapping.rs`.

use std::collections::HashMap;

use shared::ids::{NotificationId, UserId};
use shared::inbox::bounds::Bounds;
use shared::inbox::history::{SendQuery, States, Trace};
use shared::inbox::send::Due;
use shared::inbox::sends::{CHUNK_RECIPIENTS, Cancelled};
use shared::inbox::{Change, Changed, CurrentState, Page};

use super::scheduled::delayed;
use crate::record::{LATE_MS, Record, START_MS, Send, at, concurrently, id, ids, user, users};

on_each_record! {
    an_expired_notification_is_in_no_list_count_or_sync,
    an_expired_notification_cannot_be_changed_and_counts_as_deleted,
    an_expiry_takes_the_next_offset_and_is_reported_once,
    notifications_that_expired_first_become_tombstones_first,
    a_read_notification_expires_without_lowering_the_unread_count,
    an_expired_notification_is_not_pushed,
    a_notification_that_expires_as_it_arrives_is_not_pushed,
    a_chunk_that_expired_before_it_was_materialised_reaches_no_inbox,
    a_send_that_expired_before_it_started_can_still_be_cancelled,
    each_notification_expires_once_however_many_drains_run,
}

/// The ids in the list, how many are unread, and how many have expired but are not tombstones yet.
async fn seen(record: &Record, name: &str, now_ms: i64) -> (Vec<NotificationId>, i64, i64) {
    let page = Page::default();
    let listed = record.inbox().list(&user(name), &page, at(now_ms)).await.unwrap();
    let position = record.inbox().position(&user(name), at(now_ms)).await.unwrap();
    assert_eq!(listed.position, position);
    (listed.notifications.iter().map(|one| one.id).collect(), position.unread, position.expired)
}

/// What a sync returns after the beginning, with whether each is present, and what it returns without a cursor.
async fn synced(record: &Record, name: &str, now_ms: i64) -> (Vec<(NotificationId, bool)>, Vec<NotificationId>) {
    let beginning = record.position(name).await.cursor_at(0);
    let changes = async |since| {
        let changes = record.inbox().changes(&user(name), since, Bounds::default(), at(now_ms)).await.unwrap().unwrap();
        let states = changes.changes.into_iter().map(|present| match present {
            CurrentState::Present { notification, .. } => (notification.id, true),
            CurrentState::Deleted { id, .. } => (id, false),
        });
        states.collect::<Vec<_>>()
    };
    (changes(Some(beginning)).await, changes(None).await.into_iter().map(|(id, _)| id).collect())
}

async fn expire(record: &Record, limit: usize, now_ms: i64) -> Vec<(UserId, Changed)> {
    record.retention().expire(limit, at(now_ms)).await.unwrap()
}

async fn an_expired_notification_is_in_no_list_count_or_sync(record: Record) {
    record.send(&Send::new("1").expiring_at(1_000), &users(&["alice"]), at(0)).await;
    record.ring(&["2"], "alice", at(0)).await;
    let (one, two) = (id("1", "alice"), id("2", "alice"));
    assert_eq!(seen(&record, "alice", 999).await, (vec![two, one], 2, 0));
    assert_eq!(synced(&record, "alice", 999).await, (vec![(one, true), (two, true)], vec![one, two]));
    let found = async |now_ms| record.inbox().find(&user("alice"), one, at(now_ms)).await.unwrap();
    assert_eq!(found(999).await.unwrap().content.expires_at.unwrap().0, START_MS + 1_000);
    // Both before and after it becomes a tombstone.
    for is_tombstone in [false, true] {
        assert_eq!(seen(&record, "alice", 1_000).await, (vec![two], 1, i64::from(!is_tombstone)));
        let mut expected = vec![(one, false), (two, true)];
        expected.rotate_left(usize::from(is_tombstone));
        assert_eq!(synced(&record, "alice", 1_000).await, (expected, vec![two]));
        assert!(found(1_000).await.is_none());
        expire(&record, 10, 1_000).await;
    }
    // The unread count of later arrivals leaves it out.
    record.connect("alice", "tab", at(1_000)).await;
    assert_eq!(record.ring(&["3"], "alice", at(1_001)).await[0].unread, 2);
}

async fn an_expired_notification_cannot_be_changed_and_counts_as_deleted(record: Record) {
    record.send(&Send::new("1").expiring_at(1_000), &users(&["alice"]), at(0)).await;
    record.ring(&["2"], "alice", at(0)).await;
    for (change, known) in [
        (Change::Read(ids(&["1"], "alice")), 0),
        (Change::Unread(ids(&["1"], "alice")), 0),
        (Change::Delete(ids(&["1"], "alice")), 1),
    ] {
        let changed = record.change("alice", change.clone(), at(1_000)).await;
        let found = (changed.ids.len(), changed.known, changed.prev == changed.cursor, changed.unread);
        assert_eq!(found, (0, known, true, 1), "{change:?}");
    }
    let all = record.change("alice", Change::ReadAll { kind: None, before: None }, at(1_000)).await;
    assert_eq!((all.ids, all.unread), (ids(&["2"], "alice"), 0));
}

async fn an_expiry_takes_the_next_offset_and_is_reported_once(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.connect_until("alice", "ended", START_MS + 500, at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    for key in ["2", "3"] {
        record.send(&Send::new(key).expiring_at(1_000), &users(&["alice", "bob"]), at(0)).await;
    }
    record
        .deliveries()
        .mark_offered(&[(&user("alice"), 1), (&user("alice"), 2), (&user("alice"), 3)], at(0))
        .await
        .unwrap();
    assert!(expire(&record, 10, 999).await.is_empty());
    assert_eq!(record.next_due().await.unwrap(), Some(START_MS + 1_000));
    let expired = expire(&record, 10, 1_000).await;
    let names: Vec<&str> = expired.iter().map(|(user, _)| user.as_str()).collect();
    assert_eq!(names, ["alice", "bob"]);
    let changed = &expired[0].1;
    assert_eq!((changed.prev.offset, changed.cursor.offset, changed.unread), (3, 5, 1));
    assert_eq!(changed.ids, ids(&["2", "3"], "alice"));
    let connections: Vec<String> = changed.connections.iter().map(|open| open.id.to_string()).collect();
    assert_eq!(connections, ["tab"]);
    assert_eq!((expired[1].1.cursor.offset, expired[1].1.connections.len()), (4, 0));
    assert!(expire(&record, 10, LATE_MS).await.is_empty());
    assert_eq!(record.next_due().await.unwrap(), None);
    // A device that knew the notifications learns that they are gone.
    let changes = record.changes("alice", Some(changed.prev), 10).await.unwrap();
    let versions: Vec<i64> = changes.changes.iter().map(CurrentState::version).collect();
    assert!(changes.changes.iter().all(|change| matches!(change, CurrentState::Deleted { .. })));
    assert_eq!((versions, changes.position.unread, changes.position.head), (vec![4, 5], 1, 5));
}

async fn notifications_that_expired_first_become_tombstones_first(record: Record) {
    for (key, end_ms) in [("1", 3_000), ("2", 1_000), ("3", 2_000), ("4", 9_000)] {
        record.send(&Send::new(key).expiring_at(end_ms), &users(&["alice", "bob"]), at(0)).await;
    }
    let mut expired = Vec::new();
    for left in [2, 2, 2, 0] {
        // Notifications that are left for the next call are already gone from the count.
        assert_eq!(record.inbox().position(&user("bob"), at(5_000)).await.unwrap().unread, 1);
        let changes = expire(&record, 2, 5_000).await;
        assert_eq!(changes.iter().map(|(_, changed)| changed.ids.len()).sum::<usize>(), left);
        assert!(changes.iter().all(|(_, changed)| changed.unread == 1), "{changes:?}");
        expired.extend(changes.into_iter().filter(|(user, _)| user.as_str() == "bob").flat_map(|(_, one)| one.ids));
    }
    assert_eq!(expired, ids(&["2", "3", "1"], "bob"));
    let position = record.inbox().position(&user("bob"), at(5_000)).await.unwrap();
    assert_eq!((position.head, position.unread, position.expired), (7, 1, 0));
}

async fn a_read_notification_expires_without_lowering_the_unread_count(record: Record) {
    record.send(&Send::new("1").expiring_at(1_000), &users(&["alice"]), at(0)).await;
    record.ring(&["2"], "alice", at(0)).await;
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(1)).await;
    assert_eq!(seen(&record, "alice", 1_000).await, (ids(&["2"], "alice"), 1, 1));
    assert_eq!(expire(&record, 10, 1_000).await[0].1.unread, 1);
    assert_eq!(seen(&record, "alice", 1_000).await, (ids(&["2"], "alice"), 1, 0));
}

async fn an_expired_notification_is_not_pushed(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.send(&Send::new("1").expiring_at(6_000), &users(&["alice"]), at(0)).await;
    record.ring(&["2"], "alice", at(0)).await;
    let taken = record.deliveries().take_due(10, at(5_999)).await.unwrap().deliveries;
    assert_eq!((taken.len(), taken[0].unread), (2, 2));
    let taken = record.deliveries().take_due(10, at(LATE_MS - 1)).await.unwrap().deliveries;
    assert_eq!(taken.iter().map(|delivery| delivery.notification.id).collect::<Vec<_>>(), ids(&["2"], "alice"));
    assert_eq!(taken[0].unread, 1);
    record.deliveries().mark_offered(&[(&user("alice"), 2)], at(LATE_MS)).await.unwrap();
    expire(&record, 10, LATE_MS).await;
    assert_eq!(record.next_due().await.unwrap(), None);
}

async fn a_notification_that_expires_as_it_arrives_is_not_pushed(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    assert!(record.send(&Send::new("1").expiring_at(1_000), &users(&["alice"]), at(1_000)).await.is_empty());
    assert_eq!(seen(&record, "alice", 1_000).await, (vec![], 0, 1));
    assert_eq!(record.next_due().await.unwrap(), Some(START_MS + 1_000), "due for its expiry, not for a push");
    assert_eq!(expire(&record, 10, 1_000).await[0].1.ids, ids(&["1"], "alice"));
}

async fn a_chunk_that_expired_before_it_was_materialised_reaches_no_inbox(record: Record) {
    let to: Vec<UserId> = (0..2 * CHUNK_RECIPIENTS + 30).map(|n| user(&format!("user \"{n}\""))).collect();
    let last = to.last().unwrap().as_str();
    record.connect(last, "tab", at(0)).await;
    record.send(&Send::due("1", Due::After(500)).expiring_at(1_000), &to, at(0)).await;
    assert!(record.materialise_next(at(999)).await.unwrap().is_some());
    for _ in 0..2 {
        let settled = record.materialise_next(at(1_000)).await.unwrap();
        assert_eq!(settled.map(|deliveries| deliveries.len()), Some(0));
    }
    assert!(record.materialise_next(at(LATE_MS)).await.unwrap().is_none());
    assert_eq!(record.position(last).await.head, 0);
    // Each recipient is counted once, with or without a row.
    let query = SendQuery { limit: 1, recipient: Some(user(last)), ..SendQuery::default() };
    for _ in 0..2 {
        let states = record.send_history().sends(&query, at(1_000)).await.unwrap().sends[0].states;
        assert_eq!(states, States { expired: 430, ..States::default() });
        expire(&record, usize::MAX, 1_000).await;
    }
    let trace = record.send_history().trace(id("1", last), None, at(1_000)).await.unwrap();
    let expired_at_ms = Some(START_MS + 1_000);
    assert_eq!(trace, Some(Trace { accepted_at_ms: START_MS, expired_at_ms, ..Trace::default() }));
    assert_eq!(record.send_history().trace(id("1", last), Some(&user(last)), at(1_000)).await.unwrap(), None);
    assert_eq!(record.next_due().await.unwrap(), None);
}

async fn a_send_that_expired_before_it_started_can_still_be_cancelled(record: Record) {
    record.send(&delayed("1", 500).expiring_at(1_000), &users(&["alice"]), at(0)).await;
    assert!(record.materialise_next(at(1_000)).await.unwrap().is_some());
    assert_eq!(record.sends().cancel(Send::new("1").id, &user("billing")).await.unwrap(), Cancelled::Done);
    let query = SendQuery { limit: 1, ..SendQuery::default() };
    let page = record.send_history().sends(&query, at(2_000)).await.unwrap();
    assert_eq!(page.sends[0].states, States::default());
}

async fn each_notification_expires_once_however_many_drains_run(record: Record) {
    const SENDS: usize = 30;
    let to = users(&["alice", "bob", "carol"]);
    for n in 0..SENDS {
        let end_ms = 1_000 + i64::try_from(n % 7).unwrap();
        record.send(&Send::new(&n.to_string()).expiring_at(end_ms), &to, at(0)).await;
    }
    let expired = concurrently(6, |n| {
        let record = record.clone();
        async move {
            if n == 0 {
                // One task changes an inbox meanwhile.
                for m in 0..SENDS {
                    record.ring(&[&format!("later {m}")], "alice", at(2_000)).await;
                }
            }
            let mut expired = Vec::new();
            loop {
                let changes = expire(&record, 4, 2_000).await;
                if changes.is_empty() {
                    return expired;
                }
                expired.extend(changes.into_iter().flat_map(|(_, changed)| changed.ids));
            }
        }
    })
    .await;
    while !expire(&record, 4, 2_000).await.is_empty() {}
    let mut times: HashMap<NotificationId, usize> = HashMap::new();
    for id in expired.into_iter().flatten() {
        *times.entry(id).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1));
    for (name, more) in [("alice", SENDS), ("bob", 0), ("carol", 0)] {
        let versions: Vec<i64> = record.history(name).await.iter().map(CurrentState::version).collect();
        let (first, last) = (i64::try_from(SENDS + 1).unwrap(), i64::try_from(2 * SENDS + more).unwrap());
        assert_eq!(versions, (first..=last).collect::<Vec<_>>(), "{name}");
        let position = record.position(name).await;
        assert_eq!((position.unread, position.expired), (i64::try_from(more).unwrap(), 0));
    }
}
