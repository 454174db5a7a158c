//! Redis is reachable but refuses to serve us: replicas, full servers, wrong passwords, access lists, TLS.

use std::time::{Duration, Instant};

use harness::redis_server::{Authority, RedisServer, config};
use shared::clock::Clock;
use shared::config::RedisConfig;
use shared::limits::Verdict;
use shared::moment::redis::{RedisMoment, SetupError};
use shared::telemetry::health::Status;

use crate::moment::{Log, MAX_IN_FLIGHT, Moment, ONE, PLENTY, PREFIX};

const SECOND: Duration = Duration::from_secs(1);

/// Asserts that calls are answered at once in this process, without Redis.
async fn assert_unavailable_at_once(moment: &Moment) {
    let took = moment.times("send A alice", ONE).await;
    assert!(took < MAX_IN_FLIGHT, "{took:?}");
    assert!(matches!(moment.spends("send A alice", ONE).await, Verdict::Limited { .. }));
    assert_eq!(moment.check().await, Status::Unavailable);
}

async fn call_for(moment: &Moment, duration: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < duration {
        moment.times("send B alice", PLENTY).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_replica_is_not_used_until_it_is_a_primary_again() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.does(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_unavailable_at_once(&moment).await;
    server.does(&["REPLICAOF", "NO", "ONE"]);
    moment.becomes_healthy_within(SECOND).await;
}

#[tokio::test]
async fn a_full_server_is_not_used_until_it_has_room() {
    let (log, _listening) = Log::of_this_thread();
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.does(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_unavailable_at_once(&moment).await;
    // Probes find it reachable but full, so it is still not used.
    call_for(&moment, SECOND).await;
    assert_eq!((log.said().lines().count(), log.said().matches("(OOM)").count()), (1, 1), "{}", log.said());
    server.does(&["CONFIG", "SET", "maxmemory", "0"]);
    moment.becomes_healthy_within(SECOND).await;
}

#[tokio::test]
async fn a_flushed_script_is_loaded_again() {
    let server = RedisServer::start();
    let (moment, other) = (Moment::on(&server).await, Moment::on(&server).await);
    server.does(&["SCRIPT", "FLUSH"]);
    assert!(moment.shares_budgets_with(&other, "send A alice").await);
    server.does(&["FLUSHALL"]);
    assert!(moment.shares_budgets_with(&other, "send A alice").await);
}

#[tokio::test]
async fn a_wrong_password_is_logged_once_and_limits_continue_in_this_process() {
    let (log, _listening) = Log::of_this_thread();
    let server = RedisServer::with(&["--requirepass", "right"]);
    let moment = Moment::new(&config(&format!("redis://:hunter2@127.0.0.1:{}", server.port()), PREFIX));
    assert_unavailable_at_once(&moment).await;
    call_for(&moment, SECOND).await;
    let said = log.said();
    assert_eq!(said.matches("Redis is unavailable (WRONGPASS)").count(), 1, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("hunter2") && !said.contains(&server.port().to_string()), "{said}");
}

#[tokio::test]
async fn user_password_and_database_are_taken_from_the_url() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p@ss", "~*", "&*", "+@all"]);
    let url = format!("redis://carillon:p%40ss@127.0.0.1:{}/3", server.port());
    let moment = Moment::new(&config(&url, PREFIX));
    moment.becomes_healthy_within(SECOND).await;
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    assert!(server.keys().is_empty(), "database 0 was written to");
    let info: String = server.answers(&["INFO", "keyspace"]).unwrap();
    assert!(info.contains("db3:keys=2"), "{info}");
}

#[tokio::test]
async fn a_server_without_tls_is_an_outage_and_not_a_panic() {
    let server = RedisServer::start();
    let moment = Moment::new(&config(&format!("rediss://127.0.0.1:{}", server.port()), PREFIX));
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    assert_eq!(moment.check().await, Status::Unavailable);
}

#[tokio::test]
async fn only_a_server_with_a_trusted_certificate_is_used_over_tls() {
    let (authority, other) = (Authority::found(), Authority::found());
    let (server, port) = RedisServer::with_tls(&authority);
    let trusting = |authorities| RedisConfig { authorities, ..config(&format!("rediss://127.0.0.1:{port}"), PREFIX) };

    let moment = Moment::new(&trusting(Some(authority.certificate())));
    moment.becomes_healthy_within(SECOND).await;
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    let written = server.keys();
    assert!(!written.is_empty(), "the server was not used");

    for untrusted in [None, Some(other.certificate())] {
        let moment = Moment::new(&trusting(untrusted));
        assert_eq!(moment.spends("send A bob", ONE).await, Verdict::Admitted);
        assert_eq!(moment.check().await, Status::Unavailable);
    }
    assert_eq!(server.keys(), written, "an untrusted server was used");

    let unreadable =
        [authority.certificate().with_file_name("nowhere.pem"), authority.certificate().with_file_name("server.key")];
    for file in unreadable {
        let refused = RedisMoment::new(&trusting(Some(file)), Clock::system());
        assert_eq!(refused.err(), Some(SetupError::Authorities));
    }
}
