//! Sends that are cancelled while they wait never reach an inbox. Their races with a drain that materialises them are
//! in `overlapping.rs`.

use shared::delivery::deliveries::Backlog;
use shared::ids::UserId;
use shared::inbox::history::{SendQuery, States};
use shared::inbox::sends::{Appended, CHUNK_RECIPIENTS, Cancelled};
use shared::record::postgres::PostgresRecord;
use sqlx::{Connection, Executor, PgConnection};

use super::scheduled::delayed;
use crate::record::{LATE_MS, Record, Send, at, concurrently, id, user, users};

on_each_record! {
    a_cancelled_send_never_arrives_even_when_it_is_due,
    a_started_send_is_not_cancelled,
    only_its_sender_can_cancel_a_send,
    a_repeat_of_a_cancelled_send_gets_the_first_answer,
    the_history_shows_a_cancelled_send_without_recipients,
    a_send_that_races_its_cancellation_is_cancelled_or_arrives_as_a_whole,
}

async fn cancel(record: &Record, key: &str, sender: &str) -> Cancelled {
    record.sends().cancel(Send::new(key).id, &user(sender)).await.unwrap()
}

async fn materialises(record: &Record, now_ms: i64) -> bool {
    record.materialise_next(at(now_ms)).await.unwrap().is_some()
}

fn many() -> Vec<UserId> {
    (0..2 * CHUNK_RECIPIENTS + 50).map(|n| user(&format!("user {n}"))).collect()
}

async fn a_cancelled_send_never_arrives_even_when_it_is_due(record: Record) {
    record.send(&delayed("1", 1_000), &many(), at(0)).await;
    record.send(&delayed("2", 2_000), &users(&["alice"]), at(0)).await;
    for _ in 0..2 {
        assert_eq!(cancel(&record, "1", "billing").await, Cancelled::Done);
        let left = record.deliveries().backlog(at(1_500)).await.unwrap();
        assert_eq!(left, Backlog { delayed: 1, ..Backlog::default() }, "another send's chunk stays");
        assert!(!materialises(&record, 1_999).await);
    }
    assert!(materialises(&record, 2_000).await);
    assert!(!materialises(&record, LATE_MS).await);
    assert_eq!(record.next_due().await.unwrap(), None);
    for recipient in many() {
        assert_eq!(record.position(recipient.as_str()).await.head, 0, "{recipient}");
    }
    assert_eq!(record.listed("alice").await.len(), 1);
    // A send that is already due can be cancelled as long as it has not started.
    record.send(&delayed("3", 1), &users(&["alice"]), at(0)).await;
    assert_eq!(record.deliveries().backlog(at(10)).await.unwrap().waiting, 1);
    assert_eq!(cancel(&record, "3", "billing").await, Cancelled::Done);
    assert!(!materialises(&record, LATE_MS).await);
}

async fn a_started_send_is_not_cancelled(record: Record) {
    record.send(&delayed("1", 1_000), &many(), at(0)).await;
    assert!(materialises(&record, 1_000).await);
    assert_eq!(cancel(&record, "1", "billing").await, Cancelled::Started);
    assert!(materialises(&record, 1_000).await && materialises(&record, 1_000).await);
    assert_eq!(cancel(&record, "1", "billing").await, Cancelled::Started);
    assert_eq!(record.position("user 449").await.head, 1);
    // An immediate send has started with the call, including its later chunks.
    record.send(&Send::new("2"), &many(), at(0)).await;
    assert_eq!(cancel(&record, "2", "billing").await, Cancelled::Started);
    assert!(materialises(&record, 0).await);
}

async fn only_its_sender_can_cancel_a_send(record: Record) {
    record.send(&delayed("1", 1_000), &users(&["alice"]), at(0)).await;
    record.send(&Send::new("2"), &users(&["alice"]), at(0)).await;
    for (key, sender) in [("1", "mallory"), ("1", "alice"), ("2", "mallory"), ("unknown", "billing")] {
        assert_eq!(cancel(&record, key, sender).await, Cancelled::Unknown, "{key} of {sender}");
    }
    assert!(materialises(&record, 1_000).await);
    record.send(&delayed("3", 1_000), &users(&["alice"]), at(0)).await;
    assert_eq!(cancel(&record, "3", "billing").await, Cancelled::Done);
    assert_eq!(cancel(&record, "3", "mallory").await, Cancelled::Unknown);
}

async fn a_repeat_of_a_cancelled_send_gets_the_first_answer(record: Record) {
    let send = delayed("1", 1_000);
    record.send(&send, &users(&["alice"]), at(0)).await;
    assert_eq!(cancel(&record, "1", "billing").await, Cancelled::Done);
    for now_ms in [1, 5_000] {
        match record.append(&send, &users(&["alice"]), at(now_ms)).await {
            Appended::Known(first) => {
                assert_eq!((first.answer, first.fingerprint), (send.answer.clone(), send.fingerprint))
            }
            stored => panic!("{stored:?}"),
        }
        assert!(!materialises(&record, now_ms + 2_000).await);
    }
    assert_eq!(record.sends().first_answer(send.id).await.unwrap().unwrap().answer, send.answer);
    assert_eq!(cancel(&record, "1", "billing").await, Cancelled::Done);
    assert!(record.listed("alice").await.is_empty());
}

async fn the_history_shows_a_cancelled_send_without_recipients(record: Record) {
    record.send(&delayed("1", 1_000), &many(), at(0)).await;
    assert_eq!(cancel(&record, "1", "billing").await, Cancelled::Done);
    let query = SendQuery { limit: 10, ..SendQuery::default() };
    let page = record.send_history().sends(&query, at(5_000)).await.unwrap();
    assert_eq!((page.sends[0].title.as_str(), page.sends[0].states), ("1", States::default()));
    assert_eq!(page.sends[0].states.sum(), 0);
    let to_one = SendQuery { recipient: Some(user("user 7")), ..query };
    assert!(record.send_history().sends(&to_one, at(5_000)).await.unwrap().sends.is_empty());
    assert_eq!(record.send_history().trace(id("1", "user 7"), None, at(5_000)).await.unwrap(), None);
}

async fn a_send_that_races_its_cancellation_is_cancelled_or_arrives_as_a_whole(record: Record) {
    const SENDS: usize = 12;
    let to = many();
    for n in 0..SENDS {
        record.send(&delayed(&n.to_string(), 1_000), &to, at(0)).await;
    }
    let cancelled = concurrently(SENDS + 4, |n| {
        let record = record.clone();
        async move {
            if n < SENDS {
                return Some(cancel(&record, &n.to_string(), "billing").await);
            }
            while materialises(&record, 1_000).await {}
            None
        }
    })
    .await;
    while materialises(&record, 1_000).await {}
    assert_eq!(record.next_due().await.unwrap(), None);
    for (n, cancelled) in cancelled.into_iter().flatten().enumerate() {
        let expected = if cancelled == Cancelled::Started { 1 } else { 0 };
        assert_ne!(cancelled, Cancelled::Unknown);
        for recipient in to.iter().step_by(149) {
            let found = record.inbox().find(recipient, id(&n.to_string(), recipient.as_str()), at(LATE_MS)).await;
            assert_eq!(usize::from(found.unwrap().is_some()), expected, "{n} for {recipient}: {cancelled:?}");
        }
    }
}

#[tokio::test]
async fn chunks_of_a_cancelled_send_are_skipped_in_sqlite() {
    let (record, folder) = crate::stores::sqlite().await;
    let connection = crate::stores::sqlite_connection(&folder.path().join("carillon.db"));
    chunks_of_a_cancelled_send_are_skipped(record, async |sql| connection.execute_batch(sql).unwrap()).await;
}

#[tokio::test]
async fn chunks_of_a_cancelled_send_are_skipped_in_postgres() {
    let url = harness::postgres_server::database().await;
    let mut connection = PgConnection::connect(url.reveal()).await.unwrap();
    chunks_of_a_cancelled_send_are_skipped(Record::new(PostgresRecord::new(&url, 2).unwrap()), async |sql| {
        connection.execute(sql).await.unwrap();
    })
    .await;
}

/// The state of the send decides, even if its chunks are still stored.
async fn chunks_of_a_cancelled_send_are_skipped(record: Record, mut execute: impl AsyncFnMut(&'static str)) {
    record.send(&delayed("1", 1_000), &many(), at(0)).await;
    execute("UPDATE sends SET state = 'cancelled'").await;
    record.send(&delayed("2", 1_001), &users(&["alice"]), at(0)).await;
    assert!(materialises(&record, 1_001).await);
    assert_eq!((record.position("user 0").await.head, record.position("alice").await.head), (0, 1));
    assert!(!materialises(&record, LATE_MS).await);
    assert_eq!(record.next_due().await.unwrap(), None);
}
