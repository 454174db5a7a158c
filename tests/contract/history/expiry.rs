//! Expired notifications in the history. The expiry is written into the tables directly, so that one send has
//! notifications that expire and one that does not.

use shared::ids::UserId;
use shared::inbox::Change;
use shared::inbox::history::{SendQuery, State, States, Trace};
use shared::inbox::sends::CHUNK_RECIPIENTS;
use shared::record::postgres::PostgresRecord;
use sqlx::{Connection, Executor, PgConnection};

use crate::record::{Record, START_MS, Send, at, id, ids, user};

#[tokio::test]
async fn notifications_expire_at_their_end_in_sqlite() {
    let (record, folder) = crate::stores::sqlite().await;
    let connection = crate::stores::sqlite_connection(&folder.path().join("carillon.db"));
    notifications_expire_at_their_end(record, async |sql| connection.execute_batch(&sql).unwrap()).await;
}

#[tokio::test]
async fn notifications_expire_at_their_end_in_postgres() {
    let url = harness::postgres_server::database().await;
    let mut connection = PgConnection::connect(url.reveal()).await.unwrap();
    let record = Record::new(PostgresRecord::new(&url, 2).unwrap());
    notifications_expire_at_their_end(record, async |sql| {
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    })
    .await;
}

/// A notification counts as expired from its end on, unless it was settled before.
async fn notifications_expire_at_their_end(record: Record, mut execute: impl AsyncFnMut(String)) {
    let to: Vec<UserId> = (0..CHUNK_RECIPIENTS + 3).map(|n| user(&format!("user {n}"))).collect();
    record.send(&Send::new("1"), &to, at(0)).await;
    record.change("user 0", Change::Read(ids(&["1"], "user 0")), at(1)).await;
    record.change("user 1", Change::Delete(ids(&["1"], "user 1")), at(1)).await;
    record.deliveries().mark_offered(&[(&user("user 2"), 1), (&user("user 3"), 1)], at(1)).await.unwrap();
    // Stands for the tombstone that the drain makes of an expired notification.
    record.change("user 4", Change::Delete(ids(&["1"], "user 4")), at(10)).await;
    execute(format!("UPDATE notifications SET expires_at = {} WHERE user_id <> 'user 2'", START_MS + 10)).await;
    execute(format!("UPDATE sends SET expires_at = {}", START_MS + 10)).await;

    let query = SendQuery { limit: 1, ..SendQuery::default() };
    let states = async |after_ms| record.send_history().sends(&query, at(after_ms)).await.unwrap().sends[0].states;
    // The tombstone dates from the end, which is still ahead here.
    assert_eq!(states(9).await, States { settled: 2, offered: 2, waiting: 199, ..States::default() });
    let ended = States { settled: 2, offered: 1, expired: 200, ..States::default() };
    assert_eq!(states(10).await, ended);
    let expired = SendQuery { state: Some(State::Expired), ..query.clone() };
    assert_eq!(record.send_history().sends(&expired, at(9)).await.unwrap().sends.len(), 0);
    assert_eq!(record.send_history().sends(&expired, at(10)).await.unwrap().sends.len(), 1);

    let trace = async |after_ms| {
        let trace = record.send_history().trace(id("1", "user 3"), None, at(after_ms)).await.unwrap().unwrap();
        trace.expired_at_ms
    };
    assert_eq!((trace(9).await, trace(10).await), (None, Some(START_MS + 10)));
    let never = record.send_history().trace(id("1", "user 2"), None, at(99)).await.unwrap();
    let offered = Trace { offered_at_ms: Some(START_MS + 1), materialised_at_ms: Some(START_MS), ..Trace::default() };
    assert_eq!(never, Some(Trace { accepted_at_ms: START_MS, ..offered }));
}
