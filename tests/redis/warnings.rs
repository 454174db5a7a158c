//! A server that may evict keys is used, and the health check warns about it.

use std::time::Duration;

use harness::redis_server::{RedisServer, config, several};
use shared::telemetry::health::{Status, Warning, WarningName};

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
    let Status::Warned(warnings) = moment.check().await else { panic!("no warning") };
    let [Warning { instance, name: WarningName::EvictionPolicy, text }] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(instance, "redis-1");
    assert!(text.contains("allkeys-lru") && text.contains("noeviction"), "{text}");
    assert!(!text.contains(&server.port().to_string()), "{text}");
    assert_eq!((log.said().lines().count(), log.said().matches("allkeys-lru").count()), (1, 1), "{}", log.said());
    server.does(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    assert_eq!(moment.check().await, Status::Ok);
}

#[tokio::test]
async fn memory_that_is_nearly_full_is_warned_about_before_it_is() {
    let server = RedisServer::start();
    server.does(&["CONFIG", "SET", "maxmemory", "20mb"]);
    let moment = Moment::with_long_timeout(&server).await;
    assert_eq!(moment.check().await, Status::Ok);
    server.does(&["SETRANGE", "someone-else", "16000000", "x"]);
    let Status::Warned(warnings) = moment.check().await else { panic!("no warning") };
    assert_eq!(warnings.iter().map(|warning| warning.name).collect::<Vec<_>>(), [WarningName::Memory]);
}

#[tokio::test]
async fn instances_that_differ_are_named_when_the_second_one_is_connected() {
    let (log, _listening) = Log::of_this_thread();
    let servers = [(); 2].map(|()| RedisServer::start());
    servers[1].does(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let moment = Moment::new(&several(&servers.each_ref().map(RedisServer::port), PREFIX));
    moment.spends("send A", ONE).await;
    let Status::Warned(warnings) = moment.check().await else { panic!("no warning") };
    let [Warning { instance, name: WarningName::OtherEvictionPolicy, .. }] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    assert_eq!(instance, "redis-2");
    assert_eq!(log.said().matches("and that of redis-").count(), 1, "{}", log.said());
}

#[tokio::test]
async fn a_server_that_forbids_info_is_healthy() {
    let server = RedisServer::start();
    server.does(&["CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"]);
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p", "~carillon:*", "&carillon:*", "+@all", "-info"]);
    let moment = Moment::new(&config(&format!("redis://carillon:p@127.0.0.1:{}", server.port()), PREFIX));
    moment.becomes_healthy_within(Duration::from_secs(1)).await;
}
