//! What only a record in a file can promise: that it survives a restart, and that it has one owner.

use shared::clock::At;
use shared::ids::{ConnectionId, UserId};
use shared::inbox::sends::Appended;
use shared::record::sqlite::{OpenError, SqliteRecord};

use crate::record::{Record, START_MS, Send, at, id, user};

#[tokio::test]
async fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new folder").join("carillon.db");
    let record = Record::new(SqliteRecord::open(&file).await.unwrap());
    record.connect("alice", "tab", at(0)).await;
    let many: Vec<UserId> = (0..201).map(|n| user(&n.to_string())).collect();
    record.ring(&["1"], "alice", at(0)).await;
    record.send(&Send::new("large"), &many, at(1)).await;
    let before = record.position("alice").await;
    drop(record);

    let record = Record::new(reopen(&file).await);
    assert_eq!(record.position("alice").await, before);
    assert_eq!(record.listed("alice").await[0].id, id("1", "alice"));
    let repeat = record.append(&Send::new("1"), &[user("alice")], at(2)).await;
    assert!(matches!(repeat, Appended::Known(_)));
    let tab = ConnectionId::new("tab");
    assert!(record.connections().find(&tab).await.unwrap().is_some());
    let deliveries = record.deliveries();
    assert_eq!(deliveries.next_due().await.unwrap().first(), Some(START_MS + 1));
    let chunk = record.materialise_next(at(1)).await.unwrap();
    assert!(chunk.is_some());
    assert_eq!(record.position("200").await.head, 1);
    let due = deliveries.take_due(10, at(5_000)).await.unwrap().deliveries;
    assert_eq!(due.len(), 1);
}

/// Opens the file as soon as it is free: the thread that writes closes it some time after the record is dropped.
async fn reopen(file: &std::path::Path) -> SqliteRecord {
    loop {
        match SqliteRecord::open(file).await {
            Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    let first = SqliteRecord::open(&file).await.unwrap();
    let second = SqliteRecord::open(&file).await.unwrap_err();
    assert!(matches!(second, OpenError::InUse(_)), "{second}");
    let message = second.to_string();
    assert!(message.contains(&folder.path().display().to_string()), "{message}");
    first.close().await;
    drop(first);
    SqliteRecord::open(&file).await.unwrap();
}

#[tokio::test]
async fn each_database_has_its_own_epoch() {
    let (first, _guard) = crate::stores::sqlite().await;
    let (second, _other_guard) = crate::stores::sqlite().await;
    let cursor = first.position("alice").await.cursor();
    assert_ne!(cursor.epoch, second.position("alice").await.epoch);
    let changes = second.changes("alice", Some(cursor), 10).await;
    assert!(changes.is_none());
}

#[tokio::test]
async fn opening_a_file_that_is_not_a_database_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    std::fs::write(&file, "this is not a database, but it is long enough to be read as one").unwrap();
    let error = SqliteRecord::open(&file).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("carillon.db"), "{error}");
}

#[tokio::test]
async fn the_server_clock_is_the_current_time() {
    let (record, _guard) = crate::stores::sqlite().await;
    let now_ms = || {
        let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap();
        i64::try_from(since_1970.as_millis()).unwrap()
    };
    let before_ms = now_ms();
    record.ring(&["1"], "alice", At::Server).await;
    let created_at = record.listed("alice").await[0].created_at;
    assert!((before_ms..=now_ms()).contains(&created_at.0));
}
