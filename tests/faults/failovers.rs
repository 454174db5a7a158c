//! A Redis with a replica, as managed services have it: the replica takes over, and the endpoint leads to it. And a list of
//! instances that changes. No sender gets an error for any of it.

use std::time::{Duration, Instant};

use harness::redis_cluster::is_replica;
use harness::redis_server::RedisServer;
use shared::clock::{At, Clock};
use shared::config::RedisConfig;
use shared::fast::log::Logs;
use shared::moment::redis::RedisMoment;

use crate::redis_faults::require_unnoticed;
use crate::servers::{REDIS_OPTIONS, calls};
use crate::testbed::{Testbed, pause};

/// The time that a copy of the data takes at most.
const COPY_TIMEOUT: Duration = Duration::from_secs(20);

/// F08: the replica takes over without what its primary was told in the last 3 s, since it had lost the connection.
pub(crate) async fn behind(testbed: &mut Testbed) {
    let replica = new_replica(testbed).await;
    testbed.run_for(1.5).await;
    let from = Instant::now();
    replica.does(&["REPLICAOF", "127.0.0.1", "1"]);
    testbed.run_for(3.0).await;
    testbed.expect_losses(1).await;
    testbed.servers.redis.is_killed();
    testbed.run_for(1.0).await;
    takes_over(testbed, &replica);
    testbed.run_for(4.0).await;
    testbed.require(is_used(&replica), "the replica was not used");
    returns(testbed).await;
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F09: the replica takes over while its primary lives on, and clients use both. Later only the new one remains.
pub(crate) async fn split(testbed: &mut Testbed) {
    let replica = new_replica(testbed).await;
    testbed.run_for(1.5).await;
    let from = Instant::now();
    replica.does(&["REPLICAOF", "NO", "ONE"]);
    testbed.redis.lead_to(&[testbed.servers.redis.port(), replica.port()]);
    let primaries = [&testbed.servers.redis, &replica];
    for round in 0..10 {
        // New connections, so that some find the other one.
        for server in primaries {
            server.does(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        if round == 0 {
            primaries.into_iter().for_each(forget_calls);
        }
        testbed.run_for(0.5).await;
    }
    let used = primaries.map(is_used);
    testbed.require(used == [true, true], "one of the two primaries was not used");
    testbed.expect_losses(1).await;
    testbed.redis.lead_to(&[replica.port()]);
    testbed.servers.redis.does(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    testbed.run_for(2.0).await;
    returns(testbed).await;
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F10: the two change places. Connections stay open, and a write to the former primary is refused with READONLY.
pub(crate) async fn switched(testbed: &mut Testbed) {
    let replica = new_replica(testbed).await;
    testbed.run_for(1.5).await;
    let from = Instant::now();
    for turn in 0..3 {
        let (old, new) =
            if turn % 2 == 0 { (&testbed.servers.redis, &replica) } else { (&replica, &testbed.servers.redis) };
        copied(new).await;
        testbed.expect_losses(1).await;
        new.does(&["REPLICAOF", "NO", "ONE"]);
        old.does(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
        testbed.redis.lead_to(&[new.port()]);
        forget_calls(new);
        testbed.run_for(3.0).await;
        let used = is_used(new);
        testbed.require(used, format!("the new primary was not used in turn {turn}"));
    }
    returns(testbed).await;
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// The list of instances changes, as by deployments: one is added, then the first one taken away, then everything is as before.
/// Meanwhile functions with the old list and the new one run side by side.
pub(crate) async fn list_changed(testbed: &mut Testbed) {
    let added = RedisServer::with(&REDIS_OPTIONS);
    let own = testbed.redis_urls();
    let added_url = format!("redis://127.0.0.1:{}", added.port());
    testbed.run_for(1.5).await;
    let from = Instant::now();
    let more = [&own[..], std::slice::from_ref(&added_url)].concat();
    let accept = testbed.accept();
    for list in [&more, &more[1..].to_vec(), &own] {
        if testbed.accepts_fast && list.len() < more.len() {
            writes_logs(testbed, &added).await;
        }
        let changed = [("REDIS_URL", String::new()), ("REDIS_URLS", list.join(","))];
        for first in ["send", "drain"] {
            testbed.lambda.deploy(first, &changed);
            testbed.run_for(1.0).await;
        }
        for function in testbed.lambda.names().filter(|name| !["send", "drain"].contains(name)) {
            testbed.lambda.deploy(function, &changed);
        }
        deploy_everywhere(testbed, "ACCEPT", accept);
        testbed.run_for(2.0).await;
    }
    let used = added.answers::<i64>(&["DBSIZE"]).unwrap();
    testbed.require(used > 0, "the added instance was not used");
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// What an operator does before an instance is taken away: nothing more is accepted fast, and what was is written.
async fn writes_logs(testbed: &mut Testbed, added: &RedisServer) {
    deploy_everywhere(testbed, "ACCEPT", "durable");
    // Calls that have begun end as they are.
    testbed.run_for(1.0).await;
    let own = testbed.redis_config().clone();
    let each = own.instances.iter().map(|instance| RedisConfig { instances: vec![instance.clone()], ..own.clone() });
    let each: Vec<RedisConfig> = each.chain([added.config(&testbed.name)]).collect();
    for config in each {
        let (logs, began) = (RedisMoment::new(&config, Clock::system()).unwrap(), Instant::now());
        while logs.unwritten_total(At::Server).await.is_none_or(|unwritten| unwritten.entries > 0) {
            assert!(began.elapsed() < Duration::from_secs(20), "logs were not written");
            pause(50).await;
        }
    }
}

fn deploy_everywhere(testbed: &Testbed, variable: &str, value: &str) {
    for function in testbed.lambda.names() {
        testbed.lambda.deploy(function, &[(variable, value.to_owned())]);
    }
}

/// A replica of the first Redis instance, with a complete copy.
async fn new_replica(testbed: &Testbed) -> RedisServer {
    let replica = RedisServer::with(&[&REDIS_OPTIONS[..], &["--repl-diskless-load", "on-empty-db"]].concat());
    testbed.servers.redis.does(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    replica.does(&["REPLICAOF", "127.0.0.1", &testbed.servers.redis.port().to_string()]);
    copied(&replica).await;
    if testbed.accepts_fast {
        // Clients may be at either of them, and the testbed's own at the other.
        for server in [&testbed.servers.redis, &replica] {
            testbed.watch_logs(&server.config(&testbed.name));
        }
    }
    replica
}

/// Waits until a replica has a complete copy.
async fn copied(replica: &RedisServer) {
    let began = Instant::now();
    while !is_replica(replica) {
        assert!(began.elapsed() < COPY_TIMEOUT, "the replica got no copy");
        pause(50).await;
    }
}

fn takes_over(testbed: &Testbed, replica: &RedisServer) {
    replica.does(&["REPLICAOF", "NO", "ONE"]);
    forget_calls(replica);
    testbed.redis.lead_to(&[replica.port()]);
}

/// Has a primary count its calls anew. As a replica it has performed those of its primary too.
fn forget_calls(server: &RedisServer) {
    server.does(&["CONFIG", "RESETSTAT"]);
}

/// Whether functions have called a primary since. They count what they accept; the testbed itself does not.
fn is_used(server: &RedisServer) -> bool {
    calls(server, "hincrby") > 0
}

/// The endpoint leads to the first instance again, which is the primary, with whatever it still has. What the other one has is
/// lost with it.
async fn returns(testbed: &mut Testbed) {
    testbed.expect_losses(1).await;
    testbed.servers.redis.is_back();
    testbed.redis.lead_to(&[testbed.servers.redis.port()]);
    testbed.run_for(1.0).await;
}
