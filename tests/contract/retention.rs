//! The suite of `shared::inbox::retention::Retention`: whatever is too old is purged, and nothing earlier.

use shared::inbox::bounds::Bounds;
use shared::inbox::retention::{MAX_PURGED, Purged};
use shared::inbox::send::Due;
use shared::inbox::sends::{Appended, CHUNK_RECIPIENTS};
use shared::inbox::{Change, Page};

use crate::record::{RETENTION_MS, Record, Send, at, concurrently, id, ids, user, users};

on_each_record! {
    a_tombstone_is_kept_for_its_retention_and_older_cursors_expire_with_it,
    notifications_and_chunks_that_are_not_due_are_not_purged,
    a_send_with_nothing_left_is_purged_and_its_key_is_free,
    a_send_with_something_left_is_kept,
    notifications_expire_when_the_retention_of_their_send_ends,
    one_purge_takes_at_most_the_maximum,
    concurrent_purges_take_each_tombstone_once_alongside_sends,
}

/// How long these tests keep tombstones, in milliseconds.
const TOMBSTONE_RETENTION_MS: i64 = 1_000;

async fn purge(record: &Record, now_ms: i64) -> Purged {
    record.retention().purge(TOMBSTONE_RETENTION_MS, at(now_ms)).await.unwrap()
}

async fn delete(record: &Record, name: &str, keys: &[&str], now_ms: i64) {
    record.change(name, Change::Delete(ids(keys, name)), at(now_ms)).await;
}

async fn a_tombstone_is_kept_for_its_retention_and_older_cursors_expire_with_it(record: Record) {
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    delete(&record, "alice", &["2"], 10).await;
    delete(&record, "alice", &["1"], 20).await;
    let before = record.position("alice").await;
    assert_eq!((purge(&record, 10 + TOMBSTONE_RETENTION_MS - 1).await, before.head), (Purged::default(), 5));
    assert_eq!(record.history("alice").await.len(), 3);

    assert_eq!(purge(&record, 10 + TOMBSTONE_RETENTION_MS).await.tombstones, 1);
    let after = record.position("alice").await;
    assert_eq!((after.purged_through, after.head, after.unread, after.acked), (4, 5, 1, 0));
    for offset in 0..4 {
        let below = after.cursor_at(offset);
        assert!(record.changes("alice", Some(below), 10).await.is_none(), "{offset}");
        assert!(!record.inbox().acknowledge(&user("alice"), below, at(2_000)).await.unwrap(), "{offset}");
        let all = Change::ReadAll { kind: None, before: Some(below) };
        assert!(record.inbox().change(&user("alice"), &all, at(2_000)).await.unwrap().is_none(), "{offset}");
    }
    // A cursor at the purged tombstone still learns of the rest.
    let changes = record.changes("alice", Some(after.cursor_at(4)), 10).await.unwrap().changes;
    assert_eq!(changes.iter().map(|change| change.version()).collect::<Vec<_>>(), [5]);
    assert_eq!(purge(&record, 20 + TOMBSTONE_RETENTION_MS).await.tombstones, 1);
    assert_eq!(record.position("alice").await.purged_through, 5);
    assert_eq!(record.listed("alice").await[0].id, id("3", "alice"));
    assert_eq!(purge(&record, 20 + TOMBSTONE_RETENTION_MS).await, Purged::default());
    // A later arrival is returned for a cursor at the last purged tombstone.
    record.ring(&["4"], "alice", at(3_000)).await;
    assert_eq!(record.changes("alice", Some(after.cursor_at(5)), 10).await.unwrap().changes.len(), 1);
}

async fn notifications_and_chunks_that_are_not_due_are_not_purged(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2"], "alice", at(0)).await;
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(1)).await;
    record.send(&Send::due("later", Due::After(1_000_000)), &users(&["bob"]), at(0)).await;
    assert_eq!(purge(&record, RETENTION_MS - 1).await, Purged::default());
    assert_eq!((record.listed("alice").await.len(), record.position("alice").await.purged_through), (2, 0));
    assert!(record.materialise_next(at(1_000_000)).await.unwrap().is_some());
}

async fn a_send_with_nothing_left_is_purged_and_its_key_is_free(record: Record) {
    let (send, alice) = (Send::new("1"), users(&["alice"]));
    record.send(&send, &alice, at(0)).await;
    delete(&record, "alice", &["1"], 10).await;
    assert_eq!(purge(&record, 10 + TOMBSTONE_RETENTION_MS).await, Purged { tombstones: 1, ..Purged::default() });
    assert!(matches!(record.append(&send, &alice, at(RETENTION_MS - 1)).await, Appended::Known(_)));
    assert_eq!(purge(&record, RETENTION_MS - 1).await, Purged::default());
    assert_eq!(purge(&record, RETENTION_MS).await, Purged { sends: 1, ..Purged::default() });
    assert_eq!(purge(&record, RETENTION_MS).await, Purged::default());
    assert!(record.sends().first_answer(send.id).await.unwrap().is_none());
    assert!(matches!(record.append(&send, &alice, at(RETENTION_MS)).await, Appended::Stored(_)));
    assert_eq!(record.listed("alice").await.len(), 1);
}

async fn a_send_with_something_left_is_kept(record: Record) {
    let to: Vec<_> = (0..CHUNK_RECIPIENTS + 1).map(|n| user(&format!("user {n:03}"))).collect();
    let (large, small) = (Send::new("large"), Send::new("small"));
    record.send(&large, &to[CHUNK_RECIPIENTS - 1..], at(0)).await;
    record.send(&Send::due("waits", Due::After(0)), &to, at(0)).await;
    record.send(&small, &users(&["alice"]), at(0)).await;
    // The small send's tombstone is too young, and the chunks of the scheduled send are still waiting.
    delete(&record, "alice", &["small"], RETENTION_MS).await;
    for recipient in &to[CHUNK_RECIPIENTS - 1..] {
        let all = Change::Delete(ids(&["large"], recipient.as_str()));
        record.change(recipient.as_str(), all, at(RETENTION_MS - TOMBSTONE_RETENTION_MS)).await;
    }
    assert_eq!(purge(&record, RETENTION_MS).await, Purged { tombstones: 2, sends: 3, ..Purged::default() });
    assert!(record.sends().first_answer(large.id).await.unwrap().is_none());
    assert!(record.sends().first_answer(small.id).await.unwrap().is_some());
    assert_eq!(purge(&record, RETENTION_MS).await, Purged::default(), "they are examined again later");
    assert_eq!(
        purge(&record, RETENTION_MS + TOMBSTONE_RETENTION_MS).await,
        Purged { tombstones: 1, sends: 2, ..Purged::default() }
    );
    assert!(record.sends().first_answer(small.id).await.unwrap().is_none());
    let mut materialised = 0;
    while record.materialise_next(at(RETENTION_MS + 5_000)).await.unwrap().is_some() {
        materialised += 1;
    }
    assert_eq!(materialised, 2, "waiting chunks are not lost");
}

async fn notifications_expire_when_the_retention_of_their_send_ends(record: Record) {
    let (send, both) = (Send::new("1"), users(&["alice", "bob"]));
    record.send(&send, &both, at(0)).await;
    record.ring(&["2"], "alice", at(1)).await;
    record.change("bob", Change::Read(ids(&["1"], "bob")), at(5)).await;
    delete(&record, "bob", &["1"], RETENTION_MS - TOMBSTONE_RETENTION_MS / 2).await;
    assert_eq!(purge(&record, RETENTION_MS - 1).await, Purged::default());
    // Bob's row is already a tombstone and does not expire. The send is kept as long as either row exists.
    assert_eq!(purge(&record, RETENTION_MS).await, Purged { expired: 1, sends: 1, ..Purged::default() });
    let now = at(RETENTION_MS + 1);
    let listed =
        record.inbox().list(&user("alice"), &Page { bounds: Bounds::items(9), ..Page::default() }, now).await.unwrap();
    let listed: Vec<_> = listed.notifications.iter().map(|one| one.id).collect();
    assert_eq!(listed, [id("2", "alice")]);
    let expired = record.retention().expire(10, now).await.unwrap();
    let [(whose, changed)] = expired.as_slice() else { panic!("{expired:?}") };
    assert_eq!((whose.as_str(), &changed.ids[..], changed.unread), ("alice", &[id("1", "alice")][..], 1));
    // The tombstone is returned during its retention; then the send is purged.
    assert_eq!(record.changes("alice", Some(changed.prev), 9).await.unwrap().changes.len(), 1);
    let expected = Purged { tombstones: 1, expired: 1, sends: 2 };
    assert_eq!(
        purge(&record, RETENTION_MS + TOMBSTONE_RETENTION_MS).await,
        expected,
        "the second send's notification expires too"
    );
    assert!(record.sends().first_answer(send.id).await.unwrap().is_some());
    assert_eq!(purge(&record, RETENTION_MS + 1 + 2 * TOMBSTONE_RETENTION_MS).await.tombstones, 1);
    assert!(record.sends().first_answer(send.id).await.unwrap().is_none());
    assert_eq!(record.position("alice").await.purged_through, 3);
}

async fn one_purge_takes_at_most_the_maximum(record: Record) {
    let keys: Vec<String> = (0..=MAX_PURGED).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    record.ring(&keys, "alice", at(0)).await;
    delete(&record, "alice", &keys, 10).await;
    let first = purge(&record, 10 + TOMBSTONE_RETENTION_MS).await;
    assert_eq!((first.tombstones, first.may_have_more()), (MAX_PURGED, true));
    let second = purge(&record, 10 + TOMBSTONE_RETENTION_MS).await;
    assert_eq!((second.tombstones, second.may_have_more()), (1, false));
    let position = record.position("alice").await;
    assert_eq!((position.purged_through, position.unread), (position.head, 0));
}

async fn concurrent_purges_take_each_tombstone_once_alongside_sends(record: Record) {
    let names: Vec<String> = (0..20).map(|n| format!("user {n}")).collect();
    let to: Vec<_> = names.iter().map(|name| user(name)).collect();
    for key in ["1", "2", "3"] {
        record.send(&Send::new(key), &to, at(0)).await;
    }
    for name in &names {
        delete(&record, name, &["1", "3"], 10).await;
    }
    let purged = concurrently(8, |n| {
        let (record, mut to) = (record.clone(), to.clone());
        async move {
            if n % 2 == 0 {
                return purge(&record, 10 + TOMBSTONE_RETENTION_MS).await.tombstones;
            }
            to.reverse();
            record.send(&Send::new(&format!("concurrent {n}")), &to, at(20)).await;
            0
        }
    })
    .await;
    assert_eq!(purged.iter().sum::<usize>() + purge(&record, 10 + TOMBSTONE_RETENTION_MS).await.tombstones, 40);
    for name in &names {
        let position = record.position(name).await;
        assert_eq!((position.purged_through, position.head, position.unread), (5, 9, 5), "{name}");
        assert_eq!(record.listed(name).await.len(), 5);
    }
}
