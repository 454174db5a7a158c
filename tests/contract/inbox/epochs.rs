//! The suite of `shared::inbox::epochs::Epochs`: a database that was restored from a backup begins another epoch.

use std::time::Duration;

use shared::cursor::{Cursor, Epoch};
use shared::inbox::Change;
use sqlx::{Connection, PgConnection};

use crate::record::{Record, Send, at, id, ids, user, users};

on_each_record! {
    cursors_of_before_are_part_of_no_inbox,
    what_is_in_an_inbox_stays_and_is_read_whole,
    arrivals_and_changes_go_on_in_the_new_epoch,
    an_inbox_that_begins_afterwards_is_of_the_new_epoch,
    each_renewal_begins_another_epoch,
    arrivals_at_the_same_time_are_of_one_epoch,
}

async fn renew(record: &Record) -> Epoch {
    record.epochs().renew_epoch().await.unwrap()
}

async fn cursors_of_before_are_part_of_no_inbox(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let (alice, bob) = (record.position("alice").await, record.position("bob").await);
    renew(&record).await;
    let head = alice.cursor();
    for (name, cursor) in [("alice", alice.cursor_at(0)), ("alice", head), ("bob", bob.cursor())] {
        assert!(record.changes(name, Some(cursor), 10).await.is_none(), "{name} {cursor}");
        assert!(!record.inbox().acknowledge(&user(name), cursor, at(1)).await.unwrap(), "{name} {cursor}");
    }
    let change = Change::ReadAll { kind: None, before: Some(head) };
    assert!(record.inbox().change(&user("alice"), &change, at(1)).await.unwrap().is_none());
    let after = record.position("alice").await;
    assert_eq!((after.acked, after.unread), (0, 2));
}

async fn what_is_in_an_inbox_stays_and_is_read_whole(record: Record) {
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    let before = record.position("alice").await;
    assert!(record.inbox().acknowledge(&user("alice"), before.cursor_at(2), at(1)).await.unwrap());
    record.change("alice", Change::Delete(ids(&["1"], "alice")), at(1)).await;
    let before = record.position("alice").await;
    let epoch = renew(&record).await;
    let after = record.position("alice").await;
    assert_eq!((after.head, after.acked, after.unread), (before.head, 2, 2));
    assert_eq!(after.epoch, epoch);

    let listed = record.listed("alice").await;
    let cursors: Vec<Cursor> = listed.iter().map(|notification| notification.cursor).collect();
    assert_eq!(cursors, [after.cursor_at(3), after.cursor_at(2)]);
    let everything = record.changes("alice", None, 10).await.unwrap();
    assert_eq!((everything.changes.len(), everything.position), (2, after));
    let found = record.inbox().find(&user("alice"), id("3", "alice"), at(2)).await.unwrap().unwrap();
    assert_eq!(found.cursor, after.cursor_at(3));
}

async fn arrivals_and_changes_go_on_in_the_new_epoch(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    let epoch = renew(&record).await;
    let cursor = record.position("alice").await.cursor();
    let deliveries = record.ring(&["2"], "alice", at(1)).await;
    assert_eq!(deliveries[0].notification.cursor, Cursor { epoch, offset: 2 });
    let changed = record.change("alice", Change::Read(ids(&["1"], "alice")), at(2)).await;
    assert_eq!(changed.cursor, Cursor { epoch, offset: 3 });
    let changes = record.changes("alice", Some(cursor), 10).await.unwrap();
    assert_eq!(changes.changes.len(), 2);
    assert!(record.inbox().acknowledge(&user("alice"), cursor, at(3)).await.unwrap());
}

async fn an_inbox_that_begins_afterwards_is_of_the_new_epoch(record: Record) {
    let epoch = renew(&record).await;
    assert_eq!(record.position("alice").await.epoch, epoch);
    record.ring(&["1"], "alice", at(0)).await;
    assert_eq!(record.position("alice").await.epoch, epoch);
    assert_eq!(record.listed("alice").await[0].cursor, Cursor { epoch, offset: 1 });
}

async fn each_renewal_begins_another_epoch(record: Record) {
    let first = record.position("alice").await.epoch;
    let (second, third) = (renew(&record).await, renew(&record).await);
    assert!(first != second && second != third && first != third);
}

async fn arrivals_at_the_same_time_are_of_one_epoch(record: Record) {
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    crate::record::concurrently(10, |n| {
        let (record, to) = (record.clone(), users(&names[2 * n..2 * n + 2]));
        async move {
            if n % 5 == 0 {
                renew(&record).await;
            }
            record.send(&Send::new(&n.to_string()), &to, at(0)).await;
        }
    })
    .await;
    let epoch = record.position("nobody").await.epoch;
    for name in names {
        let position = record.position(name).await;
        assert_eq!((position.epoch, position.head), (epoch, 1), "{name}");
    }
}

/// A statement that began before has read the epoch that it gives to a new inbox, and commits only after the renewal has
/// begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_waits_for_inboxes_that_are_under_way() {
    let url = harness::postgres_server::database().await;
    let record = Record::new(shared::record::postgres::PostgresRecord::new(&url, 4).unwrap());
    let mut other = PgConnection::connect(url.reveal()).await.unwrap();
    let begins = "SET idle_in_transaction_session_timeout = 0; BEGIN;
                  INSERT INTO inboxes (user_id, epoch) SELECT 'alice', epoch FROM epoch";
    sqlx::raw_sql(begins).execute(&mut other).await.unwrap();
    let renewing = tokio::spawn({
        let record = record.clone();
        async move { renew(&record).await }
    });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    // Of its own, since a transaction sees the same activity until its end.
    let mut observer = PgConnection::connect(url.reveal()).await.unwrap();
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut observer).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let epoch = renewing.await.unwrap();
    assert_eq!(record.position("alice").await.epoch, epoch);
}
