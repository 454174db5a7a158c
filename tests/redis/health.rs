//! What is reported about an instance: its health, but never its address.

use std::time::Duration;

use harness::redis_server::{RedisServer, config};
use shared::telemetry::health::{BreakerState, Health, Instance, Instances, Mode, Role, Server};

use crate::moment::{Moment, ONE, PREFIX};

const SECOND: Duration = Duration::from_secs(1);

async fn instance(moment: &Moment) -> Instance {
    let Instances { mode, instances } = moment.0.instances().await;
    assert_eq!((mode, instances.len()), (Mode::Single, 1));
    instances[0].clone()
}

#[tokio::test]
async fn a_healthy_instance_reports_its_activity() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    let before = instance(&moment).await;
    for n in 0..100 {
        moment.spends(&format!("send A {n}"), ONE).await;
    }
    let after = instance(&moment).await;
    // The health check is an operation as well.
    assert_eq!(after.operations, before.operations + 101);
    let found = (after.name.as_str(), after.healthy, after.server.role, after.breaker, after.errors, &after.last_error);
    assert_eq!(found, ("redis-1", true, Some(Role::Primary), BreakerState::Closed, before.errors, &None));
    assert!(after.server.used_memory_bytes.unwrap() > 100_000, "{after:?}");
    assert_eq!((after.share, after.server.eviction_policy.as_deref()), (1.0, Some("noeviction")));
    assert!(after.p50_ms > 0.0 && after.p50_ms <= after.p99_ms && after.p99_ms < 1_000.0, "{after:?}");
}

#[tokio::test]
async fn an_unavailable_instance_reports_why_but_not_its_address() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.is_killed();
    moment.spends("send A alice", ONE).await;
    let down = instance(&moment).await;
    assert!(!down.healthy && down.breaker != BreakerState::Closed && down.errors > 0, "{down:?}");
    assert_eq!(&down.server, &Server::default());
    let error = down.last_error.unwrap();
    assert!(["connection refused", "connection closed", "no answer in time"].contains(&error.as_str()), "{error}");
    server.is_back();
    moment.becomes_healthy_within(SECOND).await;
    let recovered = instance(&moment).await;
    assert!(
        recovered.healthy && recovered.breaker == BreakerState::Closed && recovered.last_error == Some(error),
        "{recovered:?}"
    );
}

#[tokio::test]
async fn a_hung_instance_is_reported_within_the_timeout() {
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
async fn a_replica_and_a_wrong_password_are_reported_as_such() {
    let server = RedisServer::with(&["--requirepass", "right"]);
    let moment = Moment::new(&config(&format!("redis://:hunter2@127.0.0.1:{}", server.port()), PREFIX));
    moment.spends("send A alice", ONE).await;
    let refused = instance(&moment).await;
    assert!(!refused.healthy && refused.breaker == BreakerState::Open, "{refused:?}");
    let error = refused.last_error.unwrap();
    assert!(!error.contains("hunter2") && !error.contains(&server.port().to_string()), "{error}");

    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.does(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(instance(&moment).await.server.role, Some(Role::Replica));
}

#[tokio::test]
async fn an_instance_that_forbids_info_is_healthy() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p", "~carillon:*", "&carillon:*", "+@all", "-info"]);
    let moment = Moment::new(&config(&format!("redis://carillon:p@127.0.0.1:{}", server.port()), PREFIX));
    moment.becomes_healthy_within(SECOND).await;
    let unknown = instance(&moment).await;
    assert_eq!((unknown.healthy, unknown.server), (true, Server::default()));
}
