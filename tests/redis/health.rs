//! What is told of an instance: how it is, and nothing of where.

use std::time::Duration;

use harness::redis_server::{RedisServer, config};
use shared::telemetry::health::{BreakerState, Health, Instance, Instances, Mode, Role};

use crate::moment::{Moment, ONE, PREFIX};

const SECOND: Duration = Duration::from_secs(1);

async fn instance(moment: &Moment) -> Instance {
    let Instances { mode, instances } = moment.0.instances().await;
    assert_eq!((mode, instances.len()), (Mode::Single, 1));
    instances[0].clone()
}

#[tokio::test]
async fn an_instance_that_works_says_what_it_does() {
    let server = RedisServer::start();
    let moment = Moment::patient(&server).await;
    let before = instance(&moment).await;
    for n in 0..100 {
        moment.spends(&format!("send A {n}"), ONE).await;
    }
    let after = instance(&moment).await;
    // Asking how it is is asking as well.
    assert_eq!(after.operations, before.operations + 101);
    let known = (after.name.as_str(), after.healthy, after.role, after.breaker, after.errors, &after.last_error);
    assert_eq!(known, ("redis-1", true, Some(Role::Primary), BreakerState::Closed, before.errors, &None));
    assert!(after.used_memory_bytes.unwrap() > 100_000, "{after:?}");
    assert!(after.p50_ms > 0.0 && after.p50_ms <= after.p99_ms && after.p99_ms < 1_000.0, "{after:?}");
}

#[tokio::test]
async fn an_instance_that_is_away_says_why_and_not_where() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.is_killed();
    moment.spends("send A alice", ONE).await;
    let away = instance(&moment).await;
    assert!(!away.healthy && away.breaker != BreakerState::Closed && away.errors > 0, "{away:?}");
    assert_eq!((away.role, away.used_memory_bytes), (None, None));
    let why = away.last_error.unwrap();
    assert!(["connection refused", "connection closed", "no answer in time"].contains(&why.as_str()), "{why}");
    server.is_back();
    moment.is_well_within(SECOND).await;
    let back = instance(&moment).await;
    assert!(back.healthy && back.breaker == BreakerState::Closed && back.last_error == Some(why), "{back:?}");
}

#[tokio::test]
async fn one_that_hangs_is_told_of_within_the_bound() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.hangs();
    let begun = std::time::Instant::now();
    let hung = instance(&moment).await;
    assert!(begun.elapsed() < Duration::from_millis(150 + 100), "{:?}", begun.elapsed());
    assert!(!hung.healthy, "{hung:?}");
    server.goes_on();
}

#[tokio::test]
async fn a_replica_and_a_wrong_password_are_told_as_what_they_are() {
    let server = RedisServer::with(&["--requirepass", "right"]);
    let moment = Moment::new(&config(&format!("redis://:hunter2@127.0.0.1:{}", server.port()), PREFIX));
    moment.spends("send A alice", ONE).await;
    let refused = instance(&moment).await;
    assert!(!refused.healthy && refused.breaker == BreakerState::Open, "{refused:?}");
    let why = refused.last_error.unwrap();
    assert!(!why.contains("hunter2") && !why.contains(&server.port().to_string()), "{why}");

    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.does(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(instance(&moment).await.role, Some(Role::Replica));
}

#[tokio::test]
async fn one_that_does_not_let_us_ask_is_well_all_the_same() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p", "~carillon:*", "&carillon:*", "+@all", "-info"]);
    let moment = Moment::new(&config(&format!("redis://carillon:p@127.0.0.1:{}", server.port()), PREFIX));
    moment.is_well_within(SECOND).await;
    let silent = instance(&moment).await;
    assert_eq!((silent.healthy, silent.role, silent.used_memory_bytes), (true, None, None));
}
