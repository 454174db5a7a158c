//! A server that may evict keys is used, and the health check warns about it.

use std::time::Duration;

use harness::redis_server::{RedisServer, config};
use shared::telemetry::health::Status;

use crate::moment::{Log, Moment, ONE, PREFIX};

#[tokio::test]
async fn an_eviction_policy_is_warned_about_until_it_is_changed() {
    let (log, _listening) = Log::of_this_thread();
    let server = RedisServer::start();
    server.does(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"]);
    let moment = Moment::new(&server.config(PREFIX));
    for n in 0..5 {
        // Each new connection checks the configuration, but a process warns only once.
        moment.spends(&format!("send A {n}"), ONE).await;
        server.does(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    let Status::Warned(warning) = moment.check().await else { panic!("no warning") };
    assert!(warning.contains("allkeys-lru") && warning.contains("noeviction"), "{warning}");
    assert!(!warning.contains(&server.port().to_string()), "{warning}");
    assert_eq!((log.said().lines().count(), log.said().matches("allkeys-lru").count()), (1, 1), "{}", log.said());
    server.does(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_eq!(moment.check().await, Status::Ok);
}

#[tokio::test]
async fn a_server_that_forbids_info_is_healthy() {
    let server = RedisServer::start();
    server.does(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"]);
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p", "~carillon:*", "&carillon:*", "+@all", "-info"]);
    let moment = Moment::new(&config(&format!("redis://carillon:p@127.0.0.1:{}", server.port()), PREFIX));
    moment.becomes_healthy_within(Duration::from_secs(1)).await;
}
