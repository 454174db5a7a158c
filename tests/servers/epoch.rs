//! `carillon epoch renew` on a database that was restored from a backup: no cursor of before is taken for one of its own.

use std::path::Path;
use std::process::Output;

use harness::{binaries, postgres_server};
use serde_json::json;
use shared::clock::Clock;
use shared::ids::UserId;
use shared::inbox::Inbox;
use shared::record::sqlite::SqliteRecord;
use tokio::process::Command;

/// Runs the command with these variables, and no others, on this data folder.
async fn renew(variables: &[(&str, &str)], data: &Path) -> Output {
    let mut command = Command::new(binaries::gateway());
    command.env_clear().envs(variables.iter().copied()).args(["epoch", "renew", "--data"]).arg(data);
    command.kill_on_drop(true).output().await.unwrap()
}

#[tokio::test]
async fn clients_of_a_restored_database_fetch_everything_anew() {
    let database = postgres_server::database().await;
    let variables = [("DATABASE_URL", database.reveal())];
    let world = harness::World::on(&variables, Clock::system()).await;
    let (alice, shop) = (world.user("alice"), world.service("shop"));
    shop.rings(&["alice"], "in the backup").await;
    shop.rings(&["alice"], "after the backup").await;
    let before = alice.cursor().await;
    // The backup is restored, and something else takes the offset of what it lacks.
    let restore = "DELETE FROM notifications WHERE \"offset\" = 2; UPDATE inboxes SET head = 1, unread = 1";
    postgres_server::does(&database, restore).await;
    shop.rings(&["alice"], "after the restore").await;
    assert_eq!(alice.cursor().await, before, "the reason for another epoch");

    let mut phone = alice.connects().await;
    let renewed = renew(&variables, Path::new("unused")).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&renewed.stdout), String::from_utf8_lossy(&renewed.stderr));
    assert!(renewed.status.success() && stdout.contains("another epoch"), "{stdout}{stderr}");

    let sync = alice.gets(&format!("/api/sync?since={before}")).await;
    assert_eq!((sync.status, sync.code().as_str()), (410, "cursor_expired"));
    let ack = alice.posts("/api/ack", json!({"cursor": before})).await;
    assert_eq!((ack.status, ack.code().as_str()), (410, "cursor_expired"));
    let list = alice.gets("/api/notifications").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let cursor = list["cursor"].as_str().unwrap();
    assert_ne!(cursor, before);

    // An open device goes on too: what is pushed to it is of the new epoch.
    shop.rings(&["alice"], "in the new epoch").await;
    assert_eq!(phone.sees("in the new epoch").await["prev"], cursor);
    let sync = alice.gets(&format!("/api/sync?since={cursor}")).await.expect(200);
    assert_eq!(sync["notifications"][0]["title"], "in the new epoch");
    world.stops().await;
}

#[tokio::test]
async fn a_file_is_renewed_while_no_gateway_has_it_open() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("carillon.db");
    let alice = UserId::new("alice").unwrap();
    let record = SqliteRecord::open(&file).await.unwrap();
    let before = record.position(&alice, Clock::system().at()).await.unwrap();
    let refused = renew(&[], data.path()).await;
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("in use by another process"), "{why}");
    record.close().await;
    drop(record);

    assert!(renew(&[], data.path()).await.status.success());
    let record = SqliteRecord::open(&file).await.unwrap();
    assert_ne!(record.position(&alice, Clock::system().at()).await.unwrap().epoch, before.epoch);
}

#[tokio::test]
async fn a_database_that_lacks_a_migration_is_left_as_it_is() {
    let database = postgres_server::database().await;
    postgres_server::does(&database, "DELETE FROM _sqlx_migrations WHERE version = 3").await;
    let refused = renew(&[("DATABASE_URL", database.reveal())], Path::new("unused")).await;
    assert!(!refused.status.success());
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("lacks migration 0003_expiry_and_collapse"), "{why}");
}
