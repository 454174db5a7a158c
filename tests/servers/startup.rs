//! Invalid configuration stops the gateway at startup, with one line that names the variable and contains no secret.

use std::process::{Output, Stdio};
use std::time::Duration;

use harness::{binaries, http, postgres_server};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// A password that no output may contain.
const SECRET: &str = "hunter2";
/// How long a test waits for a process.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A command that runs the gateway with these arguments and variables, and no others.
fn gateway(arguments: &[&str], variables: &[(&str, &str)]) -> (Command, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(binaries::gateway());
    command.env_clear().envs(variables.iter().copied()).args(arguments).arg("--data").arg(data.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    (command, data)
}

/// Asserts that the gateway exits with 78 (`EX_CONFIG`) and one line, which contains the variable and the reason.
pub(crate) async fn is_refused(arguments: &[&str], variables: &[(&str, &str)], names: &str, why: &str) {
    let (mut command, _data) = gateway(arguments, variables);
    let Output { status, stdout, stderr } =
        tokio::time::timeout(TIMEOUT, command.output()).await.expect("the gateway did not end").unwrap();
    let log = String::from_utf8(stderr).unwrap();
    let context = format!("{arguments:?} with {names}: {status}, {log:?}");
    assert_eq!((status.code(), log.lines().count(), stdout.len()), (Some(78), 1, 0), "{context}");
    assert!(log.contains(names) && log.contains(why) && !log.contains(SECRET), "{context}");
}

/// As [`is_refused`], for the server and for the `migrate` command.
async fn both_refuse(url: &str, why: &str) {
    for arguments in [&["--port", "0"][..], &["migrate"]] {
        is_refused(arguments, &[("DATABASE_URL", url)], "DATABASE_URL", why).await;
    }
}

#[tokio::test]
async fn a_database_url_that_does_not_parse_stops_the_start() {
    for url in ["postgres://root:hunter2@h:port/x", "mysql://root:hunter2@127.0.0.1/x", "hunter2", "postgres:hunter2"] {
        both_refuse(url, "postgres://").await;
    }
    is_refused(&["migrate"], &[], "DATABASE_URL", "is required").await;
}

#[tokio::test]
async fn a_wrong_database_password_stops_the_start() {
    let database = postgres_server::database().await;
    postgres_server::has_guarded_role(&database).await;
    let url = database.reveal().replace("postgres@", "guarded:hunter2@");
    both_refuse(&url, "password authentication failed").await;
}

#[tokio::test]
async fn an_unreachable_database_stops_the_start() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    both_refuse(&format!("postgres://root:hunter2@127.0.0.1:{port}/x"), "no answer in time").await;
}

#[tokio::test]
async fn a_missing_database_stops_the_start() {
    let database = postgres_server::database().await;
    let (server, _) = database.reveal().rsplit_once('/').unwrap();
    both_refuse(&format!("{server}/nowhere"), "\"nowhere\" does not exist").await;
}

/// After a rollback, an older release runs on the schema of a newer one.
#[tokio::test]
async fn a_database_with_a_newer_migration_is_used_as_it_is() {
    let database = postgres_server::database().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'of tomorrow', true, '', 0)";
    postgres_server::does(&database, newer).await;
    let variables = [("DATABASE_URL", database.reveal())];
    let migrated = gateway(&["migrate"], &variables).0.output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&migrated.stdout), String::from_utf8_lossy(&migrated.stderr));
    assert!(migrated.status.success() && stdout.contains("9999"), "{stdout}{stderr}");

    let world = harness::World::on(&variables, shared::clock::Clock::system()).await;
    let health = world.call("GET", "/health", &[], "").await.expect(200);
    assert_eq!((&health["status"], &health["schema"]["found"]), (&"ok".into(), &9999.into()), "{health}");
    assert!(health["schema"]["needed"].as_i64().unwrap() < 9999 && health["schema"]["missing"].is_null(), "{health}");
    world.stops().await;
}

/// Behind a pooler the gateway cannot migrate, so it says what is missing.
#[tokio::test]
async fn a_missing_migration_stops_the_start_behind_a_pooler() {
    let database = postgres_server::database().await;
    postgres_server::does(&database, "DELETE FROM _sqlx_migrations WHERE version = 3").await;
    let variables = [("DATABASE_URL", database.reveal()), ("DATABASE_POOLER", "transaction")];
    let missing = "lacks migration 0003_expiry_and_collapse: run the command `migrate`";
    is_refused(&["--port", "0"], &variables, "DATABASE_URL", missing).await;
    is_refused(&["migrate"], &variables, "DATABASE_POOLER", "migrations go past the pooler").await;
}

/// Statements of a function time out sooner, but building an index on a large table must not time out.
#[tokio::test]
async fn a_migration_waits_for_locks_longer_than_any_call() {
    const LONGER_THAN_ANY_CALL: Duration = Duration::from_millis(5_500);
    let database = postgres_server::database().await;
    // The migrations have to run again, and another transaction is about to create the first table.
    let everything = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
    postgres_server::does(&database, everything).await;
    let mut other = PgConnection::connect(database.reveal()).await.unwrap();
    let held = "SET idle_in_transaction_session_timeout = 0; BEGIN; CREATE TABLE epoch ()";
    sqlx::raw_sql(held).execute(&mut other).await.unwrap();
    let (mut command, _data) = gateway(&["migrate"], &[("DATABASE_URL", database.reveal())]);
    let mut process = command.spawn().unwrap();
    tokio::time::sleep(LONGER_THAN_ANY_CALL).await;
    assert!(process.try_wait().unwrap().is_none(), "the migration did not wait");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let migrated = process.wait_with_output().await.unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
}

#[tokio::test]
async fn migrating_makes_the_role_of_the_functions_and_does_not_tell_its_password() {
    let database = postgres_server::database().await;
    let functions = database.reveal().replace("postgres@", "made_by_migrate:hunter2@");
    let variables = [("DATABASE_URL", database.reveal()), ("FUNCTIONS_DATABASE_URL", &functions)];
    let migrated = gateway(&["migrate"], &variables).0.output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&migrated.stdout), String::from_utf8_lossy(&migrated.stderr));
    assert!(migrated.status.success() && stdout.contains("made_by_migrate"), "{stdout}{stderr}");
    assert!(!stdout.contains(SECRET) && !stderr.contains(SECRET), "{stdout}{stderr}");
    let mut session = PgConnection::connect(&functions).await.unwrap();
    sqlx::raw_sql("SELECT FROM sends").execute(&mut session).await.unwrap();

    for (url, why) in [("postgres://hunter2@h/x", "must contain a password"), ("hunter2", "must read postgres://")] {
        let variables = [("DATABASE_URL", database.reveal()), ("FUNCTIONS_DATABASE_URL", url)];
        is_refused(&["migrate"], &variables, "FUNCTIONS_DATABASE_URL", why).await;
    }
}

#[tokio::test]
async fn a_redis_url_that_does_not_parse_stops_the_start() {
    for url in ["redis://u:hunter2@h:port", "http://:hunter2@127.0.0.1", "hunter2", "redis://u:hunter2@h/x"] {
        is_refused(&["--port", "0"], &[("REDIS_URL", url)], "REDIS_URL", "redis").await;
    }
}

#[tokio::test]
async fn an_unreachable_redis_does_not_stop_the_start() {
    let variables = [("REDIS_URL", "redis://:hunter2@127.0.0.1:1"), ("RUST_LOG", "debug")];
    let (mut command, _data) = gateway(&["--port", "0"], &variables);
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let ready = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the gateway ended before it was ready");
            if let Some(address) = line.strip_prefix("ready http://") {
                return address.parse().unwrap();
            }
        }
    };
    let address = tokio::time::timeout(TIMEOUT, ready).await.expect("the gateway was not ready in time");
    let health = http::call(address, "GET", "/health", &[], "").await.expect(200);
    assert_eq!((&health["status"], &health["dependencies"]["redis"]), (&"degraded".into(), &"down".into()));
    process.start_kill().unwrap();
    let log = process.wait_with_output().await.unwrap().stderr;
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("Redis is unavailable") && !log.contains(SECRET), "{log}");
}
