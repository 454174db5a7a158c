//! The schema of a database and the code that uses it. Code refuses a database that lacks one of its migrations, also
//! if it got a later one, and migrating it applies the missing one. It runs on the schema of a newer release.

use shared::config::{Config, DatabaseRole, Origins, Secret};
use shared::error::StoreError;
use shared::ids::UserId;
use shared::inbox::Inbox;
use shared::record::postgres::{OpenError, PostgresRecord};
use shared::record::sqlite::SqliteRecord;
use shared::telemetry::health::Migrations;
use sqlx::{Connection, PgConnection};

use crate::record::at;
use crate::stores;

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
        Err(StoreError::Unavailable(why)) => assert!(why.contains("lacks migration 0002_history:"), "{why}"),
        used => panic!("the database was used: {used:?}"),
    }
    let schema = record.schema().await.unwrap();
    assert_eq!((schema.found, schema.missing.as_deref()), (schema.needed, Some("0002_history")));
    record.migrate().await.unwrap();
    assert_eq!(record.position(&alice, at(0)).await.unwrap().head, 0);
    assert_eq!(record.schema().await.unwrap().missing, None);
}

#[tokio::test]
async fn postgres_without_any_migration_lacks_the_first() {
    let url = harness::postgres_server::database().await;
    harness::postgres_server::does(&url, "DROP TABLE _sqlx_migrations").await;
    let schema = PostgresRecord::new(&url, 1).unwrap().schema().await.unwrap();
    assert_eq!((schema.found, schema.missing.as_deref()), (0, Some("0001_record")));
}

const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
    VALUES (9999, 'of tomorrow', true, '', 0)";

#[tokio::test]
async fn postgres_with_a_newer_migration_is_used_and_migrated() {
    let url = harness::postgres_server::database().await;
    harness::postgres_server::does(&url, NEWER).await;
    let record = PostgresRecord::new(&url, 1).unwrap();
    assert_eq!(record.position(&UserId::new("alice").unwrap(), at(0)).await.unwrap().head, 0);
    harness::postgres_server::does(&url, WITHOUT_THE_SECOND).await;
    assert_eq!(record.migrate().await.unwrap(), 9_999);
    let schema = record.schema().await.unwrap();
    assert!(schema.needed < 9_999 && schema.missing.is_none(), "{schema:?}");
}

#[tokio::test]
async fn sqlite_with_a_newer_migration_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    SqliteRecord::open(&file).await.unwrap().close().await;
    stores::sqlite_connection(&file).execute_batch(NEWER).unwrap();
    let record = SqliteRecord::open(&file).await.unwrap();
    assert_eq!(record.position(&UserId::new("alice").unwrap(), at(0)).await.unwrap().head, 0);
    let schema = record.schema().await.unwrap();
    assert!(schema.found == 9_999 && schema.needed < 9_999 && schema.missing.is_none(), "{schema:?}");
}

/// A setting of the role in `url`, as a new session of it gets it.
async fn setting(url: &Secret, name: &'static str) -> String {
    let mut session = PgConnection::connect(url.reveal()).await.unwrap();
    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(&mut session).await.unwrap()
}

#[tokio::test]
async fn migrating_gives_its_own_role_timeouts_unless_it_has_some() {
    let url = harness::postgres_server::database().await;
    let (_, name) = url.reveal().rsplit_once('/').unwrap();
    assert_eq!(setting(&url, "lock_timeout").await, "3s");
    assert_eq!(setting(&url, "jit").await, "off");
    let other = format!("ALTER ROLE postgres IN DATABASE {name} SET lock_timeout = '1s'");
    harness::postgres_server::does(&url, &other).await;
    PostgresRecord::new(&url, 1).unwrap().migrate().await.unwrap();
    assert_eq!(setting(&url, "lock_timeout").await, "1s");
    assert_eq!(setting(&url, "statement_timeout").await, "5s");
}

#[tokio::test]
async fn the_role_of_the_functions_has_the_timeouts_then_and_can_change_no_table() {
    let url = harness::postgres_server::database().await;
    let functions = harness::postgres_server::as_functions(&url).await;
    PostgresRecord::new(&url, 1).unwrap().migrate().await.unwrap();
    for name in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        assert_eq!(setting(&url, name).await, "0", "{name} of the role that migrates");
        assert_ne!(setting(&functions, name).await, "0", "{name} of the functions");
    }
    let mut session = PgConnection::connect(functions.reveal()).await.unwrap();
    for denied in ["ALTER TABLE sends ADD COLUMN x bigint", "CREATE TABLE x ()", "DELETE FROM _sqlx_migrations"] {
        let error = sqlx::raw_sql(denied).execute(&mut session).await.unwrap_err();
        assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"), "{denied}");
    }
    assert_eq!(PostgresRecord::new(&functions, 1).unwrap().schema().await.unwrap().missing, None);
}

/// The role of this URL, as `migrate` reads it.
fn role_of(url: &str) -> DatabaseRole {
    let variable = |name: &str| (name == "FUNCTIONS_DATABASE_URL").then(|| url.to_owned());
    Config::read(variable, &[], Origins::Loopback).unwrap().functions_role.unwrap()
}

/// Everything that a role was given in this database.
async fn rights(url: &Secret, role: &str) -> Vec<String> {
    const RIGHTS: &str = "WITH role AS (SELECT oid FROM pg_roles WHERE rolname = $1)
        SELECT relname::text || ' ' || privilege_type AS found
          FROM pg_class, aclexplode(relacl) AS granted, role WHERE granted.grantee = role.oid
         UNION ALL
        SELECT 'schema ' || nspname::text || ' ' || privilege_type
          FROM pg_namespace, aclexplode(nspacl) AS granted, role WHERE granted.grantee = role.oid
         UNION ALL
        SELECT 'later ' || defaclobjtype::text || ' ' || privilege_type
          FROM pg_default_acl, aclexplode(defaclacl) AS granted, role WHERE granted.grantee = role.oid
         UNION ALL
        SELECT unnest(setconfig) FROM pg_db_role_setting, role, pg_database AS own
         WHERE setrole = role.oid AND setdatabase = own.oid AND own.datname = current_database()
         ORDER BY found";
    let mut session = PgConnection::connect(url.reveal()).await.unwrap();
    sqlx::query_scalar(RIGHTS).bind(role).fetch_all(&mut session).await.unwrap()
}

#[tokio::test]
async fn the_role_that_is_made_for_the_functions_may_do_what_roles_sql_says() {
    let url = harness::postgres_server::database().await;
    harness::postgres_server::as_functions(&url).await;
    let by_hand = rights(&url, "carillon_functions").await;
    assert!(by_hand.len() > 50 && by_hand.contains(&"sends DELETE".to_owned()), "{by_hand:?}");
    let record = PostgresRecord::new(&url, 1).unwrap();
    let (_, place) = url.reveal().rsplit_once('@').unwrap();
    let as_made = |password: &str| Secret::new(format!("postgres://made_by_migrate:{password}@{place}"));

    // The second run takes up another password, and changes nothing else.
    for password in ["a%20pass'word%24", "another"] {
        record.give_functions_role(&role_of(as_made(password).reveal())).await.unwrap();
        assert_eq!(rights(&url, "made_by_migrate").await, by_hand);
        assert_eq!(setting(&as_made(password), "statement_timeout").await, "5s");
        assert_eq!(PostgresRecord::new(&as_made(password), 1).unwrap().schema().await.unwrap().missing, None);
    }
    let outdated = PgConnection::connect(as_made("a%20pass'word%24").reveal()).await.unwrap_err();
    assert_eq!(outdated.as_database_error().and_then(|error| error.code()).as_deref(), Some("28P01"));
}

#[tokio::test]
async fn the_role_that_migrates_is_not_made_that_of_the_functions() {
    let url = harness::postgres_server::database().await;
    let record = PostgresRecord::new(&url, 1).unwrap();
    let role = role_of("postgres://postgres:hunter2@h/x");
    match record.give_functions_role(&role).await {
        Err(OpenError::Role(why)) => assert_eq!(why, "it is the role that migrates"),
        given => panic!("the role was given: {given:?}"),
    }
    assert_eq!(record.migrate().await.unwrap(), record.schema().await.unwrap().needed);
}

#[tokio::test]
async fn a_role_that_may_create_none_makes_none() {
    let url = harness::postgres_server::database().await;
    let functions = harness::postgres_server::as_functions(&url).await;
    let record = PostgresRecord::new(&functions, 1).unwrap();
    match record.give_functions_role(&role_of("postgres://made_by_no_one:hunter2@h/x")).await {
        Err(OpenError::Role(why)) => assert!(why.contains("permission denied") && !why.contains("hunter2"), "{why}"),
        given => panic!("the role was given: {given:?}"),
    }
}

#[tokio::test]
async fn sqlite_applies_a_missing_earlier_migration_when_it_opens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("carillon.db");
    SqliteRecord::open(&file).await.unwrap().close().await;
    let connection = stores::sqlite_connection(&file);
    connection.execute_batch(WITHOUT_THE_SECOND).unwrap();
    SqliteRecord::open(&file).await.unwrap();
    let second = "SELECT count(*) FROM _sqlx_migrations WHERE version = 2";
    let applied: i64 = connection.query_row(second, [], |row| row.get(0)).unwrap();
    assert_eq!(applied, 1);
}
