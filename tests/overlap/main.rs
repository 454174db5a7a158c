//! A release under load, and back: `make overlap`. The release before the newest migration and this one run side by side
//! on one database, one Redis and one queue while services send, users read and drains run in both. The database is
//! migrated in the middle, and the code is rolled back at the end. Nothing may be lost, answered with 5xx or
//! dead-lettered.
//!
//! `BASE=<commit>` names another earlier release.

#![allow(clippy::unwrap_used, reason = "a panic fails the run")]
#![allow(clippy::print_stdout, reason = "the report goes to stdout")]

#[allow(dead_code, reason = "the fault tests use more of it")]
#[path = "../faults/checker.rs"]
mod checker;
#[allow(dead_code, reason = "the fault tests use more of it")]
#[path = "../faults/device.rs"]
mod device;
mod gateway;
#[path = "../faults/line.rs"]
mod line;
mod releases;
#[allow(dead_code, reason = "the fault tests use more of it")]
#[path = "../faults/sender.rs"]
mod sender;
mod sockets;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::postgres_server::PostgresServer;
use harness::redis_server::RedisServer;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Executor, PgPool};

use crate::device::{Device, Transport};
use crate::gateway::{Gateway, migrate};
use crate::releases::Releases;
use crate::sockets::Sockets;
use crate::traffic::{Log, Tokens, Traffic};

/// How long each phase lasts.
const PHASE: Duration = Duration::from_secs(12);
/// How long it may take until no work is left.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const SECRET: &str = "a secret that both releases share";
const USERS: usize = 6;

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let releases = Releases::build();
    println!("the old release is {}", releases.base);
    let (postgres, redis, sockets) = (PostgresServer::start(), RedisServer::start(), Sockets::new().await);
    let url = postgres.empty_database().await;
    let variables = [
        ("DATABASE_URL", url.reveal().to_owned()),
        ("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port())),
        ("JWT_SECRET", SECRET.to_owned()),
        ("WS_ENDPOINT", format!("http://{}/live", sockets.address)),
        ("RATE_LIMIT_SEND", "100000/1s".to_owned()),
        ("RATE_LIMIT_FRAMES", "100000/1s".to_owned()),
        ("DRAIN_LINGER_MS", "500".to_owned()),
        ("RUST_LOG", "warn".to_owned()),
    ];
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n}")).collect();
    let (tokens, log) = (Tokens::new(SECRET, &users), Arc::<Log>::default());
    let traffic = |name: &'static str, gateway: &Gateway| Traffic::start(name, gateway.address, &tokens, &log);
    let connect = |gateway: &Gateway| -> Vec<Arc<Device>> {
        let device = |user: &String| Device::new(user, Transport::Socket, gateway.address, tokens.of(user), false);
        users.iter().map(device).map(Arc::new).collect()
    };

    // Waiting for the traffic of a gateway before it stops is what API Gateway does when it moves to another version.
    let old = Gateway::start(&releases.old, &variables).await;
    sockets.add(old.address);
    let database = PgPoolOptions::new().max_connections(2).after_connect(|connection, _| {
        Box::pin(async move { connection.execute("SET statement_timeout = 0").await.map(drop) })
    });
    let database = database.connect(url.reveal()).await.unwrap();
    let mut devices = connect(&old);
    let old_traffic = traffic("old", &old);
    tokio::time::sleep(PHASE).await;
    let mut failures = report("the old release alone", &log, &database).await;

    println!("{}", migrate(&releases.new, &variables).await);
    tokio::time::sleep(PHASE).await;
    failures += report("the old release on the new schema", &log, &database).await;

    let new = Gateway::start(&releases.new, &variables).await;
    sockets.add(new.address);
    devices.extend(connect(&new));
    let new_traffic = traffic("new", &new);
    tokio::time::sleep(PHASE).await;
    failures += report("both releases", &log, &database).await;

    old_traffic.stop().await;
    new_traffic.stop().await;
    wait_until_idle(&database, &devices).await;
    failures += compare(&database, &log, &devices).await;
    devices.truncate(USERS);
    // A device that hangs up is forgotten by the release that has its socket.
    tokio::time::sleep(Duration::from_secs(1)).await;
    sockets.remove(new.address);
    new.stop().await;

    let rolled_back = Gateway::start(&releases.old, &variables).await;
    sockets.add(rolled_back.address);
    devices.extend(connect(&rolled_back));
    let old_traffic = traffic("old-again", &old);
    let rolled_back_traffic = traffic("rolled-back", &rolled_back);
    tokio::time::sleep(PHASE).await;
    failures += report("the old release, started again on the new schema", &log, &database).await;

    old_traffic.stop().await;
    rolled_back_traffic.stop().await;
    wait_until_idle(&database, &devices).await;
    failures += compare(&database, &log, &devices).await;
    devices.clear();
    rolled_back.stop().await;
    old.stop().await;
    println!("{}", if failures == 0 { "passed" } else { "FAILED" });
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what happened so far; returns how much of it must not happen.
async fn report(phase: &str, log: &Log, database: &PgPool) -> usize {
    let dead: i64 = sqlx::query_scalar("SELECT count(*) FROM dead_letters").fetch_one(database).await.unwrap();
    let bad = log.bad();
    println!("{phase}: {}, {dead} dead letters", log.counts());
    for call in &bad {
        println!("    VIOLATION {call}");
    }
    bad.len() + usize::try_from(dead).unwrap()
}

/// Compares what was accepted with the database and every device; returns the number of violations.
async fn compare(database: &PgPool, log: &Log, devices: &[Arc<Device>]) -> usize {
    let accepted = log.sends.accepted.lock().unwrap().clone();
    let found = checker::compare(database, &accepted, devices, None).await;
    println!(
        "accepted {} notifications: lost {}, shown twice {}, out of order {}; {} frames",
        found.accepted, found.lost, found.shown_twice, found.order_violations, found.frames
    );
    for violation in &found.violations {
        println!("    VIOLATION {violation}");
    }
    found.lost + found.shown_twice + found.order_violations + found.violations.len()
}

/// Waits until no work is left in the database and every device shows everything.
async fn wait_until_idle(database: &PgPool, devices: &[Arc<Device>]) {
    let started = Instant::now();
    while started.elapsed() < IDLE_TIMEOUT {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM notifications WHERE push_at IS NOT NULL)
                  + (SELECT count(*) FROM send_chunks WHERE state = 'waiting')",
        )
        .fetch_one(database)
        .await
        .unwrap();
        let heads: Vec<(String, i64)> =
            sqlx::query_as("SELECT user_id, head FROM inboxes").fetch_all(database).await.unwrap();
        let is_behind =
            |device: &Arc<Device>| heads.iter().any(|(user, head)| device.user == *user && device.offset() < *head);
        if waiting == 0 && !devices.iter().any(is_behind) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
