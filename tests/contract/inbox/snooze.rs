//! The suite of `shared::inbox::snooze::Snoozes`: what is gone for a time, and how it arrives anew. Races with other changes
//! are in `overlapping.rs`.

use shared::clock::Time;
use shared::delivery::Delivery;
use shared::ids::NotificationId;
use shared::inbox::history::{SendQuery, State, States, Trace};
use shared::inbox::retention::Purged;
use shared::inbox::snooze::{Snoozed, Unsnoozed};
use shared::inbox::{Change, Changed, CurrentState, Page};

use crate::record::{LATE_MS, RETENTION_MS, Record, START_MS, Send, at, concurrently, id, ids, user, users};

on_each_record! {
    a_snoozed_notification_is_gone_like_a_deleted_one,
    it_arrives_anew_unread_and_last,
    only_the_first_snooze_is_a_change,
    a_past_time_means_now,
    what_is_deleted_while_it_is_snoozed_never_comes_back,
    only_what_is_in_the_inbox_or_snoozed_can_be_snoozed,
    it_cannot_be_snoozed_beyond_its_expiry_or_its_retention,
    several_arrive_in_the_order_in_which_their_snoozes_ended,
    it_is_pushed_again_until_it_is_offered,
    an_acknowledgement_before_does_not_settle_it,
    a_trace_tells_of_the_snooze,
    a_newer_one_of_the_same_key_ends_its_life,
    it_does_not_come_back_after_its_expiry,
    no_purge_takes_it,
    each_arrives_once_however_many_drains_run,
    all_changes_race_snoozes,
}

async fn snooze(record: &Record, key: &str, until_ms: i64, now_ms: i64) -> Snoozed {
    let until = Time(START_MS + until_ms);
    record.snoozes().snooze(&user("alice"), id(key, "alice"), until, at(now_ms)).await.unwrap()
}

/// The effect of a snooze that must be possible.
async fn snoozed(record: &Record, key: &str, until_ms: i64, now_ms: i64) -> Changed {
    match snooze(record, key, until_ms, now_ms).await {
        Snoozed::Done(changed) => changed,
        other => panic!("{key}: {other:?}"),
    }
}

async fn unsnooze(record: &Record, limit: usize, now_ms: i64) -> Unsnoozed {
    record.snoozes().unsnooze(limit, at(now_ms)).await.unwrap()
}

/// How many snoozes end.
async fn ended(record: &Record, now_ms: i64) -> usize {
    unsnooze(record, usize::MAX, now_ms).await.snoozes
}

async fn next_due(record: &Record) -> Option<i64> {
    record.next_due().await.unwrap().map(|due_ms| due_ms - START_MS)
}

async fn listed_ids(record: &Record) -> Vec<NotificationId> {
    record.listed("alice").await.iter().map(|one| one.id).collect()
}

/// What a delivery tells: which notification, its offset, and how many are unread then.
fn told(delivery: &Delivery) -> (NotificationId, i64, i64) {
    (delivery.notification.id, delivery.notification.cursor.offset, delivery.unread)
}

async fn states(record: &Record, key: &str, now_ms: i64) -> States {
    let query = SendQuery { limit: 200, ..SendQuery::default() };
    let page = record.send_history().sends(&query, at(now_ms)).await.unwrap();
    page.sends.into_iter().find(|send| send.key.id == Send::new(key).id).unwrap().states
}

fn only(state: State) -> States {
    let mut states = States::default();
    match state {
        State::Settled => states.settled = 1,
        State::Expired => states.expired = 1,
        State::Dead => states.dead = 1,
        State::Offered => states.offered = 1,
        State::Waiting => states.waiting = 1,
    }
    states
}

async fn trace(record: &Record, key: &str, now_ms: i64) -> Trace {
    let alice = user("alice");
    record.send_history().trace(id(key, "alice"), Some(&alice), at(now_ms)).await.unwrap().unwrap()
}

async fn a_snoozed_notification_is_gone_like_a_deleted_one(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    record.change("alice", Change::Read(ids(&["3"], "alice")), at(1)).await;
    let before = record.position("alice").await;
    let changed = snoozed(&record, "1", 60_000, 2).await;
    assert_eq!((changed.prev, changed.cursor), (before.cursor(), before.cursor_at(5)));
    assert_eq!((changed.ids, changed.known, changed.unread), (ids(&["1"], "alice"), 1, 1));
    let told: Vec<&str> = changed.connections.iter().map(|open| open.id.as_str()).collect();
    assert_eq!(told, ["tab"]);
    // A read one leaves the count as it is.
    let changed = snoozed(&record, "3", 60_000, 3).await;
    assert_eq!((changed.cursor.offset, changed.unread), (6, 1));

    assert_eq!(listed_ids(&record).await, ids(&["2"], "alice"));
    assert!(record.inbox().find(&user("alice"), id("1", "alice"), at(4)).await.unwrap().is_none());
    assert_eq!(record.inbox().unread_of_type(&user("alice"), "REPORT_APPROVED", at(4)).await.unwrap(), 1);
    for change in [Change::Read(ids(&["1", "3"], "alice")), Change::Unread(ids(&["1", "3"], "alice"))] {
        let changed = record.change("alice", change, at(4)).await;
        assert_eq!((changed.known, changed.ids.len()), (0, 0));
    }
    let all = record.change("alice", Change::ReadAll { kind: None, before: None }, at(4)).await;
    assert_eq!(all.ids, ids(&["2"], "alice"));
    let changes = record.changes("alice", Some(before.cursor()), 10).await.unwrap().changes;
    let gone = |state: &CurrentState| match state {
        CurrentState::Deleted { version, id } => Some((*version, *id)),
        CurrentState::Present { .. } => None,
    };
    let gone: Vec<_> = changes.iter().filter_map(gone).collect();
    assert_eq!(gone, [(5, id("1", "alice")), (6, id("3", "alice"))]);
    // Nothing is pushed while it is snoozed.
    record.deliveries().mark_offered(&[(&user("alice"), 2)], at(4)).await.unwrap();
    assert!(record.deliveries().take_due(10, at(59_999)).await.unwrap().is_empty());
    assert_eq!(next_due(&record).await, Some(60_000));
}

async fn it_arrives_anew_unread_and_last(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2"], "alice", at(0)).await;
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(1)).await;
    snoozed(&record, "1", 60_000, 2).await;
    let before = record.position("alice").await;
    assert_eq!(unsnooze(&record, 10, 59_999).await.snoozes, 0);
    let Unsnoozed { snoozes, deliveries, .. } = unsnooze(&record, 10, 60_007).await;
    let [delivery] = deliveries.as_slice() else { panic!("{deliveries:?}") };
    assert_eq!((snoozes, told(delivery)), (1, (id("1", "alice"), 5, 2)));
    assert_eq!((delivery.user.as_str(), delivery.replaces.len(), delivery.attempt), ("alice", 0, 0));
    assert_eq!((delivery.fence_ms, delivery.arrived_at_ms), (START_MS + 65_007, START_MS + 60_007));
    let notification = &delivery.notification;
    assert_eq!((notification.created_at, notification.read_at), (Time(START_MS), None), "it first arrived then");
    assert_eq!((notification.cursor, &*notification.content.title), (before.cursor_at(5), "1"));

    assert_eq!(listed_ids(&record).await, ids(&["1", "2"], "alice"));
    let after = record.position("alice").await;
    assert_eq!((after.head, after.unread), (5, 2));
    let changes = record.changes("alice", Some(before.cursor()), 10).await.unwrap().changes;
    let [CurrentState::Present { version: 5, notification }] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((notification.id, notification.cursor), (id("1", "alice"), after.cursor()));
    // A cursor before its new arrival does not cover it.
    let read = Change::ReadAll { kind: None, before: Some(before.cursor()) };
    assert_eq!(record.change("alice", read, at(60_008)).await.ids, ids(&["2"], "alice"));
    let page = Page { before: Some(5), ..Page::default() };
    let older = record.inbox().list(&user("alice"), &page, at(60_008)).await.unwrap().notifications;
    assert_eq!(older.iter().map(|one| one.id).collect::<Vec<_>>(), ids(&["2"], "alice"));
    assert_eq!(ended(&record, LATE_MS - 1).await, 0, "it arrives once");
}

async fn only_the_first_snooze_is_a_change(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    let first = snoozed(&record, "1", 60_000, 1).await;
    for (until_ms, now_ms) in [(90_000, 2), (30_000, 3), (120_000, 30_000)] {
        let again = snoozed(&record, "1", until_ms, now_ms).await;
        assert_eq!((again.prev, again.cursor, again.unread), (first.cursor, first.cursor, 0), "{until_ms}");
        assert_eq!((again.ids.len(), again.known, again.connections.len()), (0, 1, 0), "{until_ms}");
        assert_eq!(next_due(&record).await, Some(until_ms));
    }
    assert_eq!((ended(&record, 119_999).await, ended(&record, 120_000).await), (0, 1));
    // From then on it is snoozed like any other.
    let changed = snoozed(&record, "1", 200_000, 120_001).await;
    assert_eq!((changed.ids.len(), changed.prev.offset, changed.cursor.offset, changed.unread), (1, 3, 4, 0));
    assert_eq!((ended(&record, 200_000).await, record.position("alice").await.head), (1, 5));
}

async fn a_past_time_means_now(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    snoozed(&record, "1", 60_000, 10).await;
    snoozed(&record, "1", -60_000, 20).await;
    snoozed(&record, "2", -60_000, 30).await;
    assert_eq!(next_due(&record).await, Some(20));
    assert_eq!((ended(&record, 19).await, ended(&record, 29).await, ended(&record, 30).await), (0, 1, 1));
    assert_eq!(listed_ids(&record).await, ids(&["2", "1"], "alice"));
}

async fn what_is_deleted_while_it_is_snoozed_never_comes_back(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    for key in ["1", "2"] {
        snoozed(&record, key, 60_000, 1).await;
    }
    let before = record.position("alice").await;
    let deleted = record.change("alice", Change::Delete(ids(&["1"], "alice")), at(2)).await;
    assert_eq!((deleted.prev, deleted.cursor), (before.cursor(), before.cursor()), "it was told as deleted before");
    assert_eq!((deleted.ids.len(), deleted.known, deleted.connections.len()), (0, 1, 0));
    // Beside one that is still there.
    let deleted = record.change("alice", Change::Delete(ids(&["2", "3"], "alice")), at(3)).await;
    assert_eq!((deleted.ids, deleted.known), (ids(&["3"], "alice"), 2));
    assert_eq!(deleted.cursor.offset, before.head + 1);
    assert_eq!((next_due(&record).await, ended(&record, 60_000).await), (None, 0));
    for (key, deleted_ms) in [("1", 2), ("2", 3)] {
        assert!(matches!(snooze(&record, key, 90_000, 4).await, Snoozed::Unknown));
        let trace = trace(&record, key, 5).await;
        assert_eq!((trace.deleted_at_ms, trace.snoozed_at_ms), (Some(START_MS + deleted_ms), None));
    }
    // The tombstones can be purged.
    assert_eq!(record.retention().purge(1_000, at(1_003)).await.unwrap().tombstones, 3);
}

async fn only_what_is_in_the_inbox_or_snoozed_can_be_snoozed(record: Record) {
    record.send(&Send::new("1"), &users(&["alice", "bob"]), at(0)).await;
    record.send(&Send::new("expired").expiring_at(1_000), &users(&["alice"]), at(0)).await;
    record.ring(&["deleted"], "alice", at(0)).await;
    record.change("alice", Change::Delete(ids(&["deleted"], "alice")), at(1)).await;
    let before = record.position("alice").await;
    for (key, of) in [("expired", "alice"), ("deleted", "alice"), ("1", "bob"), ("unknown", "alice")] {
        for until_ms in [0, 2_000] {
            let until = Time(START_MS + until_ms);
            let refused = record.snoozes().snooze(&user("alice"), id(key, of), until, at(1_000)).await.unwrap();
            assert!(matches!(refused, Snoozed::Unknown), "{key} of {of}");
        }
    }
    assert_eq!((record.position("alice").await, record.position("bob").await.head), (before, 1));
    assert!(matches!(
        record.snoozes().snooze(&user("nobody"), id("1", "alice"), Time(START_MS), at(0)).await.unwrap(),
        Snoozed::Unknown
    ));
}

async fn it_cannot_be_snoozed_beyond_its_expiry_or_its_retention(record: Record) {
    record.send(&Send::new("expires").expiring_at(9_000), &users(&["alice"]), at(0)).await;
    record.ring(&["kept"], "alice", at(5)).await;
    for (key, end_ms) in [("expires", 9_000), ("kept", RETENTION_MS + 5)] {
        let before = record.position("alice").await;
        for until_ms in [end_ms, end_ms + 1, RETENTION_MS * 4] {
            assert!(matches!(snooze(&record, key, until_ms, 10).await, Snoozed::TooLate), "{key} {until_ms}");
        }
        assert_eq!(record.position("alice").await, before);
        snoozed(&record, key, end_ms - 1, 10).await;
        // A second time as well, which leaves the first time as it is.
        assert!(matches!(snooze(&record, key, end_ms, 11).await, Snoozed::TooLate));
        assert_eq!(ended(&record, end_ms - 2).await, 0);
        assert_eq!(ended(&record, end_ms - 1).await, 1);
    }
}

async fn several_arrive_in_the_order_in_which_their_snoozes_ended(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let both = users(&["alice", "bob"]);
    for (key, until_ms) in [("1", 30_000), ("2", 10_000), ("3", 20_000), ("4", 90_000), ("5", 10_000)] {
        record.send(&Send::new(key), &both, at(0)).await;
        for name in ["alice", "bob"] {
            let until = Time(START_MS + until_ms);
            let snoozed = record.snoozes().snooze(&user(name), id(key, name), until, at(1)).await.unwrap();
            assert!(matches!(snoozed, Snoozed::Done(_)));
        }
    }
    let mut arrived = Vec::new();
    for expected in [3, 3, 2, 0] {
        let Unsnoozed { snoozes, deliveries, .. } = unsnooze(&record, 3, 40_000).await;
        assert_eq!(snoozes, expected);
        // Bob has no connection to push to.
        assert!(deliveries.iter().all(|delivery| delivery.user == user("alice")));
        arrived.extend(deliveries.iter().map(told));
    }
    let at_offset = |(key, offset, unread)| (id(key, "alice"), offset, unread);
    assert_eq!(arrived, [("2", 11, 1), ("5", 12, 2), ("3", 13, 3), ("1", 14, 4)].map(at_offset));
    assert_eq!(listed_ids(&record).await, ids(&["1", "3", "5", "2"], "alice"));
    for name in ["alice", "bob"] {
        let position = record.position(name).await;
        assert_eq!((position.head, position.unread), (14, 4), "{name}");
        let versions: Vec<i64> = record.history(name).await.iter().map(CurrentState::version).collect();
        assert_eq!(versions, [8, 11, 12, 13, 14], "{name}");
    }
}

async fn it_is_pushed_again_until_it_is_offered(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    // The push of its first arrival was tried twice.
    for now_ms in [5_000, 10_000] {
        assert_eq!(record.deliveries().take_due(10, at(now_ms)).await.unwrap().deliveries.len(), 1);
    }
    snoozed(&record, "1", 60_000, 11_000).await;
    let delivery = unsnooze(&record, 10, 60_000).await.deliveries.remove(0);
    let offset = delivery.notification.cursor.offset;
    // Whoever finishes that push late means another arrival.
    record.deliveries().mark_offered(&[(&user("alice"), 1)], at(60_001)).await.unwrap();
    assert_eq!(next_due(&record).await, Some(65_000));
    let again = record.deliveries().take_due(10, at(65_000)).await.unwrap().deliveries;
    let [again] = again.as_slice() else { panic!("{again:?}") };
    assert_eq!((told(again), again.attempt), ((id("1", "alice"), offset, 1), 1));
    assert_eq!(again.arrived_at_ms, START_MS + 60_000);
    assert_eq!(next_due(&record).await, Some(70_000), "as after the first attempt of any row");
    record.deliveries().mark_offered(&[(&user("alice"), offset)], at(65_001)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
}

async fn an_acknowledgement_before_does_not_settle_it(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    record.deliveries().mark_offered(&[(&user("alice"), 1)], at(1)).await.unwrap();
    assert_eq!(states(&record, "1", 1).await, only(State::Offered));
    let cursor = snoozed(&record, "1", 60_000, 2).await.cursor;
    assert_eq!(states(&record, "1", 2).await, only(State::Settled));
    assert!(record.inbox().acknowledge(&user("alice"), cursor, at(3)).await.unwrap());
    let delivery = unsnooze(&record, 10, 60_000).await.deliveries.remove(0);
    assert_eq!(states(&record, "1", 60_000).await, only(State::Waiting));
    let cursor = delivery.notification.cursor;
    record.deliveries().mark_offered(&[(&user("alice"), cursor.offset)], at(60_001)).await.unwrap();
    assert_eq!(states(&record, "1", 60_001).await, only(State::Offered));
    assert!(record.inbox().acknowledge(&user("alice"), cursor, at(60_002)).await.unwrap());
    assert_eq!(states(&record, "1", 60_002).await, only(State::Settled));
}

async fn a_trace_tells_of_the_snooze(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    record.deliveries().mark_offered(&[(&user("alice"), 1)], at(1)).await.unwrap();
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(2)).await;
    snoozed(&record, "1", 60_000, 3).await;
    snoozed(&record, "1", 50_000, 4).await;
    let accepted = Trace { accepted_at_ms: START_MS, materialised_at_ms: Some(START_MS), ..Trace::default() };
    let offered_at_ms = Some(START_MS + 1);
    let snoozed_at_ms = Some(START_MS + 3);
    assert_eq!(trace(&record, "1", 5).await, Trace { offered_at_ms, snoozed_at_ms, ..accepted });
    unsnooze(&record, 10, 50_000).await;
    let unsnoozed = Trace { unsnoozed_at_ms: Some(START_MS + 50_000), ..accepted };
    assert_eq!(trace(&record, "1", 50_001).await, unsnoozed);
    record.change("alice", Change::Delete(ids(&["1"], "alice")), at(50_002)).await;
    let deleted = Trace { deleted_at_ms: Some(START_MS + 50_002), ..unsnoozed };
    assert_eq!(trace(&record, "1", 50_003).await, deleted);
}

async fn a_newer_one_of_the_same_key_ends_its_life(record: Record) {
    let keyed = |key: &str| Send::new(key).collapsing("door");
    record.connect("alice", "tab", at(0)).await;
    record.send(&keyed("older"), &users(&["alice"]), at(0)).await;
    snoozed(&record, "older", 60_000, 1).await;
    let newer = record.send(&keyed("newer"), &users(&["alice"]), at(10)).await;
    // It is a tombstone already, which is not told once more.
    assert_eq!((newer[0].replaces.len(), newer[0].notification.cursor.offset), (0, 3));
    record.change("alice", Change::Read(ids(&["newer"], "alice")), at(11)).await;
    let before = record.position("alice").await;
    let Unsnoozed { snoozes, deliveries, .. } = unsnooze(&record, 10, 60_000).await;
    assert_eq!((snoozes, deliveries.len(), record.position("alice").await), (1, 0, before));
    assert_eq!((listed_ids(&record).await, ended(&record, LATE_MS - 1).await), (ids(&["newer"], "alice"), 0));
    assert!(matches!(snooze(&record, "older", 90_000, 60_001).await, Snoozed::Unknown));
    assert_eq!(states(&record, "older", 60_001).await, only(State::Expired));
    assert_eq!(trace(&record, "older", 60_001).await.collapsed_at_ms, Some(START_MS + 10));

    // One that came before the snooze does not end it: its user has chosen the older one.
    record.send(&keyed("third"), &users(&["alice"]), at(60_002)).await;
    snoozed(&record, "newer", 70_000, 60_003).await;
    record.send(&Send::new("other key").collapsing("window"), &users(&["alice"]), at(60_004)).await;
    let deliveries = unsnooze(&record, 10, 70_000).await.deliveries;
    assert_eq!(deliveries.iter().map(|one| one.notification.id).collect::<Vec<_>>(), ids(&["newer"], "alice"));
}

async fn it_does_not_come_back_after_its_expiry(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.send(&Send::new("1").expiring_at(60_000), &users(&["alice"]), at(0)).await;
    snoozed(&record, "1", 50_000, 1).await;
    let before = record.position("alice").await;
    assert!(record.retention().expire(10, at(60_000)).await.unwrap().is_empty(), "it is a tombstone already");
    // No drain ran in time.
    let Unsnoozed { snoozes, deliveries, .. } = unsnooze(&record, 10, 60_000).await;
    assert_eq!((snoozes, deliveries.len(), record.position("alice").await), (1, 0, before));
    assert_eq!(states(&record, "1", 60_001).await, only(State::Expired));
    assert_eq!(trace(&record, "1", 60_001).await.expired_at_ms, Some(START_MS + 60_000));
    assert_eq!((next_due(&record).await, ended(&record, 99_000).await), (None, 0));
}

async fn no_purge_takes_it(record: Record) {
    let until_ms = RETENTION_MS - 1;
    record.ring(&["1", "deleted"], "alice", at(0)).await;
    snoozed(&record, "1", until_ms, 1).await;
    record.change("alice", Change::Delete(ids(&["deleted"], "alice")), at(2)).await;
    // With a retention that was shortened since.
    let purge = async |now_ms| record.retention().purge(1_000, at(now_ms)).await.unwrap();
    assert_eq!(purge(1_002).await, Purged { tombstones: 1, ..Purged::default() });
    assert_eq!(purge(until_ms).await, Purged::default());
    // Nor does it take the send, if no drain ran in time. The other send goes, of which nothing is left.
    assert_eq!(purge(RETENTION_MS).await, Purged { sends: 1, ..Purged::default() });
    let now_ms = RETENTION_MS + 5;
    assert_eq!((ended(&record, now_ms).await, record.position("alice").await.head), (1, 5));
    // It has been kept for as long as its send, and so it ends.
    assert_eq!(purge(now_ms).await, Purged { expired: 1, sends: 1, ..Purged::default() });
    assert_eq!(record.retention().expire(10, at(now_ms + 1)).await.unwrap()[0].1.ids, ids(&["1"], "alice"));
}

async fn each_arrives_once_however_many_drains_run(record: Record) {
    const NOTIFICATIONS: usize = 30;
    record.connect("alice", "tab", at(0)).await;
    let keys: Vec<String> = (0..NOTIFICATIONS).map(|n| n.to_string()).collect();
    for key in &keys {
        record.ring(&[key], "alice", at(0)).await;
        snoozed(&record, key, 1_000, 1).await;
    }
    let offsets = concurrently(6, |n| {
        let record = record.clone();
        async move {
            if n == 0 {
                // One task sends meanwhile.
                for m in 0..NOTIFICATIONS {
                    record.ring(&[&format!("later {m}")], "alice", at(2_000)).await;
                }
            }
            let mut offsets = Vec::new();
            loop {
                let Unsnoozed { snoozes, deliveries, .. } = unsnooze(&record, 4, 2_000).await;
                offsets.extend(deliveries.iter().map(|delivery| delivery.notification.cursor.offset));
                if snoozes == 0 {
                    return offsets;
                }
            }
        }
    })
    .await;
    let mut offsets = offsets.concat();
    offsets
        .extend(unsnooze(&record, usize::MAX, 2_000).await.deliveries.iter().map(|one| one.notification.cursor.offset));
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), NOTIFICATIONS);
    let position = record.position("alice").await;
    let all = i64::try_from(NOTIFICATIONS).unwrap();
    assert_eq!((position.head, position.unread), (4 * all, 2 * all));
    let versions: Vec<i64> = record.history("alice").await.iter().map(CurrentState::version).collect();
    assert_eq!(versions, (2 * all + 1..=4 * all).collect::<Vec<_>>());
}

/// Whatever the order, every offset is taken once, what was deleted stays deleted, and the other one comes back.
async fn all_changes_race_snoozes(record: Record) {
    const ROUNDS: usize = 15;
    record.connect("alice", "tab", at(0)).await;
    for round in 0..ROUNDS {
        let [deleted, kept] = ["deleted", "kept"].map(|name| format!("{name} {round}"));
        record.ring(&[&deleted, &kept], "alice", at(0)).await;
        concurrently(6, |n| {
            let (record, deleted, kept) = (record.clone(), deleted.clone(), kept.clone());
            async move {
                for _ in 0..3 {
                    match n % 3 {
                        0 => {
                            snooze(&record, &deleted, 0, 1).await;
                            snoozed(&record, &kept, 0, 1).await;
                        }
                        1 => drop(unsnooze(&record, 10, 1).await),
                        _ => drop(record.change("alice", Change::Delete(vec![id(&deleted, "alice")]), at(1)).await),
                    }
                }
            }
        })
        .await;
        unsnooze(&record, usize::MAX, 1).await;
        let listed = listed_ids(&record).await;
        assert!(!listed.contains(&id(&deleted, "alice")) && listed.contains(&id(&kept, "alice")));
        let (position, history) = (record.position("alice").await, record.history("alice").await);
        let mut versions: Vec<i64> = history.iter().map(CurrentState::version).collect();
        versions.dedup();
        assert_eq!((versions.len(), versions.last()), (2 * (round + 1), Some(&position.head)));
        assert_eq!((position.unread, listed.len()), (i64::try_from(round + 1).unwrap(), round + 1));
    }
}
