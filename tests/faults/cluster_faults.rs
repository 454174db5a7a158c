//! A Redis Cluster fails over and moves its slots. No sender gets an error for any of it.

use std::time::{Duration, Instant};

use harness::redis_cluster::{agree_within, begin_to_move_slot, is_replica, move_slot, used_slots};
use harness::redis_server::RedisServer;

use crate::bus::Bus;
use crate::redis_faults::require_unnoticed;
use crate::testbed::Testbed;

/// Longer than a cluster takes to replace a primary.
const FAILOVER: Duration = Duration::from_secs(20);

/// F11: a primary is killed for so long that its replica takes over; then that one, and the first takes over again.
pub(crate) async fn killed(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    for is_first in [true, false] {
        testbed.expect_losses(1).await;
        let died = Instant::now();
        server(testbed, is_first).is_killed();
        let replica = if is_first { &testbed.servers.more_redis[2] } else { &testbed.servers.redis };
        let mut took = None;
        while died.elapsed() < Duration::from_secs(8) {
            let is_promoted =
                replica.answers::<String>(&["INFO", "replication"]).is_ok_and(|info| info.contains("role:master"));
            took = took.or(is_promoted.then(|| died.elapsed()));
            testbed.run_for(0.1).await;
        }
        testbed.require(took.is_some(), "no replica took over");
        testbed.note(format!("replaced after {:.1} s", took.unwrap_or_default().as_secs_f64()));
        server(testbed, is_first).is_back();
        let back = Instant::now();
        // It has all the data before it may have to take over.
        while !is_replica(server(testbed, is_first)) && back.elapsed() < FAILOVER {
            testbed.run_for(0.5).await;
        }
    }
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F12: all slots with keys of one primary move to another and back under load. Some are left half moved for 2 s.
pub(crate) async fn moved(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    let mut moved = 0;
    for (source, target) in [(0, 1), (1, 0)] {
        let servers: Vec<&RedisServer> = testbed.servers.all_redis().collect();
        for slot in used_slots(servers[source]) {
            let servers = (servers[source], servers[target]);
            tokio::task::block_in_place(|| {
                move_slot(slot, servers.0, servers.1, || std::thread::sleep(Duration::from_millis(5)))
            });
            moved += 1;
        }
        agree_within(&servers, FAILOVER);
        testbed.run_for(1.0).await;
    }
    let servers: Vec<&RedisServer> = testbed.servers.all_redis().collect();
    let half: Vec<u64> = used_slots(servers[0]);
    for slot in &half {
        begin_to_move_slot(*slot, servers[0], servers[1]);
    }
    testbed.run_for(2.0).await;
    let servers: Vec<&RedisServer> = testbed.servers.all_redis().collect();
    for slot in &half {
        move_slot(*slot, servers[0], servers[1], || {});
    }
    agree_within(&servers, FAILOVER);
    testbed.note(format!("{moved} slots moved, {} were half moved for 2 s", half.len()));
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F13: the replica of each primary takes over by force every 3 s, without asking the primary.
pub(crate) async fn taken_over(testbed: &mut Testbed) {
    testbed.run_for(1.5).await;
    let from = Instant::now();
    let mut taken = 0;
    for _ in 0..4 {
        let replicas = testbed.servers.all_redis().filter(|server| is_replica(server));
        for replica in replicas {
            testbed.expect_losses(1).await;
            replica.does(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
            taken += 1;
        }
        testbed.run_for(3.0).await;
    }
    testbed.require(taken >= 9, format!("only {taken} replicas took over"));
    testbed.note(format!("{taken} replicas took over"));
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// F14: a primary hears nothing from the other servers for so long that its replica takes over, while clients reach both.
/// Then it hears of that, and follows the replica.
pub(crate) async fn isolated(testbed: &mut Testbed) {
    let servers: Vec<&RedisServer> = testbed.servers.all_redis().collect();
    let bus = Bus::of(&servers).await;
    testbed.run_for(1.5).await;
    let from = Instant::now();
    testbed.expect_losses(1).await;
    bus.isolate(Some(&testbed.servers.redis));
    let cut = Instant::now();
    let (mut refused, mut replaced) = (None, None);
    while cut.elapsed() < Duration::from_secs(8) {
        let says = |server: &RedisServer, section: &[&str], what: &str| {
            server.answers::<String>(section).is_ok_and(|info| info.contains(what))
        };
        let has_failed = says(&testbed.servers.redis, &["CLUSTER", "INFO"], "cluster_state:fail");
        refused = refused.or(has_failed.then(|| cut.elapsed()));
        let is_promoted = says(&testbed.servers.more_redis[2], &["INFO", "replication"], "role:master");
        replaced = replaced.or(is_promoted.then(|| cut.elapsed()));
        testbed.run_for(0.1).await;
    }
    testbed.require(refused.is_some(), "the primary did not notice that it is alone");
    testbed.require(replaced.is_some(), "no replica took over");
    let seconds = |after: Option<Duration>| after.unwrap_or_default().as_secs_f64();
    testbed.note(format!("alone: refused after {:.1} s, replaced after {:.1} s", seconds(refused), seconds(replaced)));
    bus.isolate(None);
    let servers: Vec<&RedisServer> = testbed.servers.all_redis().collect();
    agree_within(&servers, FAILOVER);
    bus.end(&servers).await;
    testbed.run_for(1.0).await;
    testbed.end_fault();
    require_unnoticed(testbed, from);
}

/// The first primary, or its replica.
fn server(testbed: &mut Testbed, is_first: bool) -> &mut RedisServer {
    if is_first { &mut testbed.servers.redis } else { &mut testbed.servers.more_redis[2] }
}
