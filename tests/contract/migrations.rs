//! A database that got a later migration before an earlier one. Functions refuse to use it, and migrating it applies
//! the missing one.

use shared::error::StoreError;
use shared::ids::UserId;
use shared::inbox::Inbox;
use shared::record::postgres::PostgresRecord;
use shared::record::sqlite::SqliteRecord;
use sqlx::{Connection, SqliteConnection};

use crate::record::at;

/// Makes the database look as if the second migration had never been applied.
const WITHOUT_THE_SECOND: &str = "DELETE FROM _sqlx_migrations WHERE version = 2;
    DROP INDEX sends_created_at; DROP INDEX sends_type; DROP INDEX notifications_send; DROP INDEX notifications_by_id;
    CREATE UNIQUE INDEX notifications_id ON notifications (user_id, id)";

#[tokio::test]
async fn postgres_is_unavailable_until_a_missing_earlier_migration_is_applied() {
    let url = harness::postgres_server::database().await;
    harness::postgres_server::does(&url, WITHOUT_THE_SECOND).await;
    let alice = UserId::new("alice").unwrap();
    let record = PostgresRecord::new(&url, 1).unwrap();
    match record.position(&alice, at(0)).await {
        Err(StoreError::Unavailable(why)) => assert!(why.contains("lacks migration 2"), "{why}"),
        used => panic!("the database was used: {used:?}"),
    }
    record.migrate().await.unwrap();
    assert_eq!(record.position(&alice, at(0)).await.unwrap().head, 0);
}

#[tokio::test]
async fn sqlite_applies_a_missing_earlier_migration_when_it_opens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    SqliteRecord::open(&file).await.unwrap().close().await;
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::raw_sql(WITHOUT_THE_SECOND).execute(&mut connection).await.unwrap();
    SqliteRecord::open(&file).await.unwrap();
    let applied: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE version = 2")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(applied, [2]);
}
