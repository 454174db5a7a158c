//! Redis is there and does not let us: replicas, full servers, wrong passwords, access lists, TLS.

use std::time::{Duration, Instant};

use harness::redis_server::{Authority, RedisServer, config};
use shared::clock::Clock;
use shared::config::RedisConfig;
use shared::limits::Verdict;
use shared::moment::redis::{RedisMoment, SetupError};
use shared::telemetry::health::Status;

use crate::moment::{Log, MAX_IN_FLIGHT, Moment, ONE, PLENTY, PREFIX};

const SECOND: Duration = Duration::from_secs(1);

/// Every call is answered in this process and at once.
async fn is_away_at_once(moment: &Moment) {
    let took = moment.times("send A alice", ONE).await;
    assert!(took < MAX_IN_FLIGHT, "{took:?}");
    assert!(matches!(moment.spends("send A alice", ONE).await, Verdict::Limited { .. }));
    assert_eq!(moment.check().await, Status::Away);
}

async fn calls_for(moment: &Moment, long: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < long {
        moment.times("send B alice", PLENTY).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_replica_is_not_written_to_and_comes_back_as_a_primary() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.does(&["REPLICAOF", "127.0.0.1", "1"]);
    is_away_at_once(&moment).await;
    server.does(&["REPLICAOF", "NO", "ONE"]);
    moment.is_well_within(SECOND).await;
}

#[tokio::test]
async fn a_full_server_is_left_alone_until_it_has_room() {
    let (log, _listening) = Log::of_this_thread();
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.does(&["CONFIG", "SET", "maxmemory", "1"]);
    is_away_at_once(&moment).await;
    // Probes find it there and full, which is no reason to ask it again.
    calls_for(&moment, SECOND).await;
    assert_eq!((log.said().lines().count(), log.said().matches("(OOM)").count()), (1, 1), "{}", log.said());
    server.does(&["CONFIG", "SET", "maxmemory", "0"]);
    moment.is_well_within(SECOND).await;
}

#[tokio::test]
async fn a_forgotten_script_is_brought_along_again() {
    let server = RedisServer::start();
    let (moment, other) = (Moment::on(&server).await, Moment::on(&server).await);
    server.does(&["SCRIPT", "FLUSH"]);
    assert!(moment.shares_budgets_with(&other, "send A alice").await);
    server.does(&["FLUSHALL"]);
    assert!(moment.shares_budgets_with(&other, "send A alice").await);
}

#[tokio::test]
async fn a_wrong_password_is_said_once_and_limits_go_on_in_this_process() {
    let (log, _listening) = Log::of_this_thread();
    let server = RedisServer::with(&["--requirepass", "right"]);
    let moment = Moment::new(&config(&format!("redis://:hunter2@127.0.0.1:{}", server.port()), PREFIX));
    is_away_at_once(&moment).await;
    calls_for(&moment, SECOND).await;
    let said = log.said();
    assert_eq!(said.matches("Redis is away (WRONGPASS)").count(), 1, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!said.contains("hunter2") && !said.contains(&server.port().to_string()), "{said}");
}

#[tokio::test]
async fn a_user_and_a_password_and_a_database_are_taken_from_the_url() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p@ss", "~*", "&*", "+@all"]);
    let url = format!("redis://carillon:p%40ss@127.0.0.1:{}/3", server.port());
    let moment = Moment::new(&config(&url, PREFIX));
    moment.is_well_within(SECOND).await;
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    assert!(server.keys().is_empty(), "database 0 was written to");
    let info: String = server.answers(&["INFO", "keyspace"]).unwrap();
    assert!(info.contains("db3:keys=2"), "{info}");
}

#[tokio::test]
async fn tls_that_the_server_does_not_speak_is_an_outage_and_no_panic() {
    let server = RedisServer::start();
    let moment = Moment::new(&config(&format!("rediss://127.0.0.1:{}", server.port()), PREFIX));
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    assert_eq!(moment.check().await, Status::Away);
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_of_an_authority_that_is_trusted_and_with_no_other() {
    let (authority, other) = (Authority::found(), Authority::found());
    let (server, port) = RedisServer::with_tls(&authority);
    let trusting = |authorities| RedisConfig { authorities, ..config(&format!("rediss://127.0.0.1:{port}"), PREFIX) };

    let moment = Moment::new(&trusting(Some(authority.certificate())));
    moment.is_well_within(SECOND).await;
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    let written = server.keys();
    assert!(!written.is_empty(), "it was not written to");

    for stranger in [None, Some(other.certificate())] {
        let moment = Moment::new(&trusting(stranger));
        assert_eq!(moment.spends("send A bob", ONE).await, Verdict::Admitted);
        assert_eq!(moment.check().await, Status::Away);
    }
    assert_eq!(server.keys(), written, "a server that nobody vouches for was spoken to");

    let unreadable =
        [authority.certificate().with_file_name("nowhere.pem"), authority.certificate().with_file_name("server.key")];
    for file in unreadable {
        let refused = RedisMoment::new(&trusting(Some(file)), Clock::system());
        assert_eq!(refused.err(), Some(SetupError::Authorities));
    }
}
