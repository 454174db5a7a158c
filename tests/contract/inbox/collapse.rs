//! Notifications with a collapse key: of the unread ones only the newest remains. Races between them and changes to the
//! inbox are in `overlapping.rs`.

use shared::ids::{NotificationId, UserId};
use shared::inbox::history::{SendQuery, States};
use shared::inbox::send::Due;
use shared::inbox::sends::{Appended, CHUNK_RECIPIENTS, Cancelled};
use shared::inbox::{Change, CurrentState};

use crate::record::{LATE_MS, Record, START_MS, Send, at, concurrently, id, ids, user, users};

on_each_record! {
    a_newer_notification_replaces_an_unread_older_one,
    only_unread_ones_of_the_same_key_and_user_are_replaced,
    an_older_notification_that_arrives_late_is_not_shown,
    an_older_notification_is_late_even_if_the_newer_one_was_read_or_deleted,
    of_two_due_at_the_same_time_the_one_accepted_later_remains,
    a_cancelled_send_replaces_nothing,
    chunks_of_a_large_send_replace_and_are_replaced,
    a_replaced_notification_counts_as_expired_and_is_traced_as_collapsed,
    a_repeat_replaces_nothing,
    of_many_concurrent_sends_one_remains_in_each_inbox,
}

fn keyed(key: &str) -> Send {
    Send::new(key).collapsing("door")
}

fn delayed(key: &str, delay_ms: i64) -> Send {
    Send::due(key, Due::After(delay_ms)).collapsing("door")
}

async fn listed_ids(record: &Record, name: &str) -> Vec<NotificationId> {
    record.listed(name).await.iter().map(|one| one.id).collect()
}

async fn materialises(record: &Record, now_ms: i64) -> usize {
    record.materialise_next(at(now_ms)).await.unwrap().expect("a chunk is due").len()
}

/// The head of an inbox, and how many are unread.
async fn counts(record: &Record, name: &str) -> (i64, i64) {
    let position = record.position(name).await;
    (position.head, position.unread)
}

async fn a_newer_notification_replaces_an_unread_older_one(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    assert!(record.send(&keyed("1"), &users(&["alice"]), at(0)).await[0].replaces.is_empty());
    let before = record.position("alice").await.cursor();
    let newer = record.send(&keyed("2"), &users(&["alice"]), at(1)).await;
    assert_eq!((newer[0].replaces.clone(), newer[0].unread), (ids(&["1"], "alice"), 1));
    assert_eq!(newer[0].notification.content.collapse_key.as_deref(), Some("door"));
    // The older one's tombstone, then the newer one's arrival.
    assert_eq!(newer[0].notification.cursor.offset, 3);
    assert_eq!((listed_ids(&record, "alice").await, counts(&record, "alice").await), (ids(&["2"], "alice"), (3, 1)));
    let changes = record.changes("alice", Some(before), 10).await.unwrap().changes;
    assert!(matches!(&changes[0], CurrentState::Deleted { version: 2, id: deleted } if *deleted == id("1", "alice")));
    assert!(matches!(&changes[1], CurrentState::Present { version: 3, .. }));
    // The older one is no longer pushed, and deleting it finds a known id.
    let due = record.deliveries().take_due(10, at(10_000)).await.unwrap().deliveries;
    assert_eq!(
        due.iter().map(|one| (one.notification.id, one.replaces.len())).collect::<Vec<_>>(),
        [(id("2", "alice"), 0)]
    );
    let deleted = record.change("alice", Change::Delete(ids(&["1"], "alice")), at(10_000)).await;
    assert_eq!((deleted.known, deleted.ids.len()), (1, 0));
}

async fn only_unread_ones_of_the_same_key_and_user_are_replaced(record: Record) {
    record.send(&keyed("read"), &users(&["alice"]), at(0)).await;
    record.change("alice", Change::Read(ids(&["read"], "alice")), at(1)).await;
    record.send(&Send::new("other key").collapsing("window"), &users(&["alice"]), at(2)).await;
    record.ring(&["no key"], "alice", at(2)).await;
    record.send(&keyed("1"), &users(&["alice", "bob"]), at(3)).await;
    record.send(&keyed("expired").expiring_at(10), &users(&["carol"]), at(3)).await;
    record.send(&keyed("2"), &users(&["alice", "carol"]), at(20)).await;
    assert_eq!(listed_ids(&record, "alice").await, ids(&["2", "no key", "other key", "read"], "alice"));
    assert_eq!(listed_ids(&record, "bob").await, ids(&["1"], "bob"));
    // The expired one is not replaced: its tombstone is left to the drain.
    assert_eq!(counts(&record, "carol").await, (2, 1));
    // A notification that is unread again can be replaced, together with others.
    record.change("alice", Change::Unread(ids(&["read"], "alice")), at(21)).await;
    record.connect("alice", "tab", at(21)).await;
    let newest = record.send(&keyed("3"), &users(&["alice"]), at(22)).await;
    assert_eq!((newest[0].replaces.clone(), newest[0].unread), (ids(&["read", "2"], "alice"), 3));
    assert_eq!(listed_ids(&record, "alice").await, ids(&["3", "no key", "other key"], "alice"));
}

async fn an_older_notification_that_arrives_late_is_not_shown(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.send(&delayed("older", 1_000), &users(&["alice", "bob"]), at(0)).await;
    record.send(&keyed("newer"), &users(&["alice"]), at(1_500)).await;
    let before = record.position("alice").await.cursor();
    assert_eq!(materialises(&record, 2_000).await, 0);
    assert_eq!(
        (listed_ids(&record, "alice").await, counts(&record, "alice").await),
        (ids(&["newer"], "alice"), (2, 1))
    );
    assert_eq!(listed_ids(&record, "bob").await, ids(&["older"], "bob"));
    let changes = record.changes("alice", Some(before), 10).await.unwrap().changes;
    assert!(matches!(&changes[..], [CurrentState::Deleted { version: 2, .. }]), "{changes:?}");
    // The one that is due later is newer, whenever it was accepted.
    record.send(&delayed("latest", 5_000), &users(&["alice"]), at(1_400)).await;
    assert_eq!(materialises(&record, 6_400).await, 1);
    assert_eq!(listed_ids(&record, "alice").await, ids(&["latest"], "alice"));
}

async fn an_older_notification_is_late_even_if_the_newer_one_was_read_or_deleted(record: Record) {
    record.send(&delayed("older", 1_000), &users(&["alice", "bob"]), at(0)).await;
    record.send(&keyed("newer"), &users(&["alice", "bob"]), at(1_500)).await;
    record.change("alice", Change::Read(ids(&["newer"], "alice")), at(1_600)).await;
    record.change("bob", Change::Delete(ids(&["newer"], "bob")), at(1_600)).await;
    materialises(&record, 2_000).await;
    assert_eq!((listed_ids(&record, "alice").await, counts(&record, "alice").await.1), (ids(&["newer"], "alice"), 0));
    assert_eq!((listed_ids(&record, "bob").await, counts(&record, "bob").await.1), (vec![], 0));
}

async fn of_two_due_at_the_same_time_the_one_accepted_later_remains(record: Record) {
    // Repeated, because either chunk may be materialised first.
    for n in 0..6 {
        let (first, second) = (format!("first {n}"), format!("second {n}"));
        let to = [user(&format!("user {n}"))];
        let due = Due::At(START_MS + 1_000);
        record.send(&Send { due, ..keyed(&first) }, &to, at(0)).await;
        record.send(&Send { due, ..keyed(&second) }, &to, at(1)).await;
        materialises(&record, 1_000).await;
        materialises(&record, 1_000).await;
        assert_eq!(listed_ids(&record, to[0].as_str()).await, [id(&second, to[0].as_str())]);
    }
}

async fn a_cancelled_send_replaces_nothing(record: Record) {
    record.send(&delayed("1", 1_000), &users(&["alice"]), at(0)).await;
    record.send(&delayed("2", 2_000), &users(&["alice"]), at(0)).await;
    assert_eq!(record.sends().cancel(Send::new("2").id, &user("billing")).await.unwrap(), Cancelled::Done);
    materialises(&record, 3_000).await;
    assert_eq!(listed_ids(&record, "alice").await, ids(&["1"], "alice"));
}

async fn chunks_of_a_large_send_replace_and_are_replaced(record: Record) {
    let to: Vec<UserId> = (0..2 * CHUNK_RECIPIENTS + 10).map(|n| user(&format!("user {n}"))).collect();
    let last = to.last().unwrap().as_str();
    record.send(&keyed("1"), &to, at(0)).await;
    record.send(&keyed("2"), &[to[0].clone(), user(last)], at(1)).await;
    while record.materialise_next(at(2)).await.unwrap().is_some() {}
    record.send(&keyed("3"), &to[1..], at(3)).await;
    while record.materialise_next(at(4)).await.unwrap().is_some() {}
    for (n, recipient) in to.iter().enumerate() {
        let newest = if n == 0 { "2" } else { "3" };
        let name = recipient.as_str();
        assert_eq!(
            (listed_ids(&record, name).await, counts(&record, name).await.1),
            (vec![id(newest, name)], 1),
            "{name}"
        );
    }
}

async fn a_replaced_notification_counts_as_expired_and_is_traced_as_collapsed(record: Record) {
    record.send(&delayed("older", 1_000), &users(&["alice", "bob"]), at(0)).await;
    record.send(&keyed("newer"), &users(&["alice"]), at(1_500)).await;
    materialises(&record, 2_000).await;
    record.send(&keyed("newest"), &users(&["bob"]), at(3_000)).await;
    let query = SendQuery { limit: 10, ..SendQuery::default() };
    let sends = record.send_history().sends(&query, at(4_000)).await.unwrap().sends;
    let states = |title: &str| sends.iter().find(|send| send.title == title).unwrap().states;
    assert_eq!(states("older"), States { expired: 2, ..States::default() });
    assert_eq!(states("newer"), States { waiting: 1, ..States::default() });
    for (name, collapsed_ms) in [("alice", 2_000), ("bob", 3_000)] {
        let trace =
            record.send_history().trace(id("older", name), Some(&user(name)), at(4_000)).await.unwrap().unwrap();
        assert_eq!(trace.collapsed_at_ms, Some(START_MS + collapsed_ms));
        let steps = trace.steps(Some(&[]), START_MS + 4_000).steps;
        let names: Vec<&str> = steps.iter().map(|step| step.step).collect();
        assert_eq!(names, ["accepted", "materialised", "collapsed"]);
    }
}

async fn a_repeat_replaces_nothing(record: Record) {
    record.send(&keyed("1"), &users(&["alice"]), at(0)).await;
    record.send(&keyed("2"), &users(&["alice"]), at(1)).await;
    for _ in 0..2 {
        let repeat = record.append(&keyed("1"), &users(&["alice", "nobody"]), at(2)).await;
        assert!(matches!(repeat, Appended::Known(_)));
    }
    assert_eq!((listed_ids(&record, "alice").await, counts(&record, "alice").await), (ids(&["2"], "alice"), (3, 1)));
    assert_eq!(counts(&record, "nobody").await, (0, 0));
}

async fn of_many_concurrent_sends_one_remains_in_each_inbox(record: Record) {
    const SENDS: usize = 24;
    let names = ["alice", "bob", "carol", "dave"];
    let to = users(&names);
    record.send(&delayed("delayed", 1), &to, at(0)).await;
    concurrently(SENDS + 2, |n| {
        let (record, mut to) = (record.clone(), to.clone());
        async move {
            if n >= SENDS {
                record.materialise_next(at(10)).await.unwrap();
                return;
            }
            // Callers name the recipients in any order.
            to.rotate_left(n % 4);
            let send = if n % 3 == 0 { Send::new(&format!("plain {n}")) } else { keyed(&n.to_string()) };
            record.send(&send, &to, at(10)).await;
        }
    })
    .await;
    for name in names {
        let keyed: Vec<_> =
            record.listed(name).await.into_iter().filter(|one| one.content.collapse_key.is_some()).collect();
        assert_eq!(keyed.len(), 1, "{name}");
        let (head, unread) = counts(&record, name).await;
        // All 25 arrived, and all but one of the 17 with the key became tombstones. Each tombstone took a further
        // offset, except that of the delayed one if it was a tombstone on arrival.
        assert!((25 + 15..=25 + 16).contains(&head), "{name}: {head}");
        assert_eq!(unread, 8 + 1, "{name}");
        let mut versions: Vec<i64> = record.history(name).await.iter().map(CurrentState::version).collect();
        versions.dedup();
        assert_eq!(versions.len(), SENDS + 1);
        assert_eq!(record.inbox().position(&user(name), at(LATE_MS)).await.unwrap().head, head);
    }
}
