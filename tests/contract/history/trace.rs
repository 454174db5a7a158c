//! The trace of one notification: only the steps that happened, and only for those who may see them.

use shared::ids::UserId;
use shared::inbox::Change;
use shared::inbox::history::Trace;
use shared::inbox::sends::CHUNK_RECIPIENTS;

use crate::record::{Record, START_MS, Send, at, id, ids, user, users};

on_each_record! {
    a_trace_has_each_step_and_its_time,
    a_deleted_notification_keeps_its_trace,
    a_trace_is_found_for_its_owner_or_without_a_user,
    a_notification_in_a_chunk_is_traced_only_without_a_user,
}

async fn trace(record: &Record, key: &str, name: &str, of: Option<&str>) -> Option<Trace> {
    let of = of.map(user);
    record.send_history().trace(id(key, name), of.as_ref(), at(1_000)).await.unwrap()
}

async fn a_trace_has_each_step_and_its_time(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.send(&Send::new("1"), &users(&["alice", "bob"]), at(5)).await;
    let accepted = Trace { accepted_at_ms: START_MS + 5, materialised_at_ms: Some(START_MS + 5), ..Trace::default() };
    assert_eq!(trace(&record, "1", "alice", Some("alice")).await, Some(accepted));
    record.deliveries().mark_offered(&[(&user("alice"), 1)], at(6)).await.unwrap();
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(7)).await;
    let read = Trace { offered_at_ms: Some(START_MS + 6), read_at_ms: Some(START_MS + 7), ..accepted };
    assert_eq!(trace(&record, "1", "alice", Some("alice")).await, Some(read));
    record.change("alice", Change::Unread(ids(&["1"], "alice")), at(8)).await;
    let unread = Trace { read_at_ms: None, ..read };
    assert_eq!(trace(&record, "1", "alice", Some("alice")).await, Some(unread));
    assert_eq!(trace(&record, "1", "bob", Some("bob")).await, Some(accepted));
}

async fn a_deleted_notification_keeps_its_trace(record: Record) {
    record.ring(&["1"], "alice", at(0)).await;
    record.change("alice", Change::Delete(ids(&["1"], "alice")), at(9)).await;
    for of in [None, Some("alice")] {
        let trace = trace(&record, "1", "alice", of).await.unwrap();
        assert_eq!((trace.deleted_at_ms, trace.read_at_ms), (Some(START_MS + 9), None));
    }
}

async fn a_trace_is_found_for_its_owner_or_without_a_user(record: Record) {
    record.send(&Send::new("1"), &users(&["alice", "bob"]), at(0)).await;
    assert!(trace(&record, "1", "alice", Some("alice")).await.is_some());
    assert!(trace(&record, "1", "alice", None).await.is_some());
    assert!(trace(&record, "1", "alice", Some("bob")).await.is_none());
    assert!(trace(&record, "1", "alice", Some("billing")).await.is_none());
    for of in [None, Some("alice"), Some("carol")] {
        assert!(trace(&record, "2", "alice", of).await.is_none());
        assert!(trace(&record, "1", "carol", of).await.is_none());
    }
}

async fn a_notification_in_a_chunk_is_traced_only_without_a_user(record: Record) {
    let to: Vec<UserId> = (0..CHUNK_RECIPIENTS + 2).map(|n| user(&format!("user \"{n}\""))).collect();
    let last = to.last().unwrap().as_str();
    record.send(&Send::new("1"), &to, at(3)).await;
    record.send(&Send::new("2"), &to, at(4)).await;
    for (key, accepted_at_ms) in [("1", START_MS + 3), ("2", START_MS + 4)] {
        let accepted = Trace { accepted_at_ms, ..Trace::default() };
        assert_eq!(trace(&record, key, last, None).await, Some(accepted));
        assert_eq!(trace(&record, key, last, Some(last)).await, None);
        assert_eq!(trace(&record, key, "another user", None).await, None);
    }
    record.materialise_next(at(20)).await.unwrap();
    let materialised =
        Trace { accepted_at_ms: START_MS + 3, materialised_at_ms: Some(START_MS + 20), ..Trace::default() };
    for of in [None, Some(last)] {
        assert_eq!(trace(&record, "1", last, of).await, Some(materialised));
    }
}
