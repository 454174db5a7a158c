//! A Redis Cluster: what happens while a server fails, slots move, and a replica takes over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::redis_cluster::RedisCluster;
use harness::redis_server::{Authority, RedisServer, config};
use shared::clock::At;
use shared::config::RedisConfig;
use shared::delivery::queue::{Queue, Resolution};
use shared::ids::ConnectionId;
use shared::limits::Verdict;
use shared::protocol::Frame;
use shared::sockets::push::Outcome;
use shared::sockets::streams::Streams;
use shared::telemetry::health::{Health, Instances, Mode, Status};

use crate::moment::{Log, Moment, ONE, PLENTY, PREFIX};
use crate::queue::{add, claim, entry};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than a cluster takes to replace a primary.
const FAILOVER: Duration = Duration::from_secs(20);
/// So many streams that some are at each of three servers, for any practical purpose.
const STREAMS: usize = 40;

/// A moment of a process of its own on this cluster, which has read its slots.
async fn moment(cluster: &RedisCluster) -> Moment {
    let moment = Moment::new(&cluster.config(PREFIX));
    moment.becomes_healthy_within(10 * SECOND).await;
    moment
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("send A user-{n}")).collect()
}

/// Spends from many budgets, without waiting for long.
async fn spends_quickly(moment: &Moment, prefix: &str) {
    for name in names(40) {
        let name = format!("{prefix} {name}");
        let took = moment.times(&name, PLENTY).await;
        assert!(took < SECOND / 2, "{name} took {took:?}");
    }
}

async fn share_all_budgets(one: &Moment, other: &Moment, prefix: &str) -> bool {
    for name in names(40) {
        if !one.shares_budgets_with(other, &format!("{prefix} {name}")).await {
            return false;
        }
    }
    true
}

/// Waits until two processes agree about every budget, trying new ones each time.
async fn share_budgets_within(one: &Moment, other: &Moment, prefix: &str, longest: Duration) {
    let begun = Instant::now();
    let mut tries = 0;
    while !share_all_budgets(one, other, &format!("{prefix} {tries}")).await {
        assert!(begun.elapsed() < longest, "each process still decides for itself");
        tokio::time::sleep(SECOND / 10).await;
        tries += 1;
    }
}

/// The queue's entries, claimed and settled by a drain until there are none.
async fn drains(drain: &Moment) -> BTreeSet<i64> {
    let mut offsets = BTreeSet::new();
    loop {
        let claimed = claim(drain).await;
        if claimed.is_empty() {
            return offsets;
        }
        for claimed in &claimed {
            let Ok(shared::delivery::work::Work::Push(push)) = &claimed.work else { panic!("{claimed:?}") };
            assert!(offsets.insert(push.offset), "{} twice", push.offset);
        }
        let done: Vec<Resolution> = claimed.into_iter().map(|claimed| Resolution::Done(claimed.id)).collect();
        assert!(drain.0.settle(&done, At::Server).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_has_a_share_and_reports_for_itself() {
    let cluster = RedisCluster::start(3, 0);
    let (one, other) = (moment(&cluster).await, moment(&cluster).await);
    assert!(share_all_budgets(&one, &other, "calm").await);
    assert!(cluster.servers.iter().all(|server| server.keys().len() >= 5));
    let Instances { mode, instances } = one.0.instances().await;
    assert_eq!((mode, instances.len()), (Mode::Cluster, 3));
    assert_eq!(instances.iter().map(|instance| &*instance.name).collect::<Vec<_>>(), ["redis-1", "redis-2", "redis-3"]);
    assert!(instances.iter().all(|instance| instance.healthy && instance.operations > 5 && instance.errors == 0));
    let shares: Vec<f64> = instances.iter().map(|instance| instance.share).collect();
    assert!(shares.iter().all(|share| (0.25..0.42).contains(share)), "{shares:?}");
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_delays_two_calls_and_its_replica_takes_over() {
    let mut cluster = RedisCluster::start(3, 1);
    let (one, other) = (moment(&cluster).await, moment(&cluster).await);
    spends_quickly(&one, "calm").await;
    // The one that the configuration names: others know the rest.
    cluster.servers[0].is_killed();
    // Nothing is refused meanwhile: each process decides about the budgets of that server.
    spends_quickly(&one, "away").await;
    spends_quickly(&other, "away").await;
    let Status::Warned(warnings) = one.check().await else { panic!("no warning") };
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    share_budgets_within(&one, &other, "replaced", FAILOVER).await;
    one.becomes_healthy_within(FAILOVER).await;
    spends_quickly(&one, "replaced").await;
    // The old one comes back as a replica, which changes nothing.
    cluster.servers[0].is_back();
    cluster.agrees_within(FAILOVER);
    assert!(share_all_budgets(&one, &other, "back").await);
    assert_eq!(one.check().await, Status::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_delays_two_calls() {
    let cluster = RedisCluster::start(3, 1);
    let (one, other) = (moment(&cluster).await, moment(&cluster).await);
    spends_quickly(&one, "calm").await;
    cluster.servers[2].hangs();
    let begun = Instant::now();
    spends_quickly(&one, "hung").await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    share_budgets_within(&one, &other, "replaced", FAILOVER).await;
    cluster.servers[2].goes_on();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_by_force_is_found_with_all_it_has() {
    let cluster = RedisCluster::start(3, 1);
    let config = cluster.config(PREFIX);
    let (one, other) = (Moment::patient(&config).await, Moment::patient(&config).await);
    for name in names(40) {
        assert_eq!(one.spends(&name, ONE).await, Verdict::Admitted);
    }
    for turn in 0..4 {
        // There and back.
        let replica = if turn % 2 == 0 { 3 } else { 0 };
        // What a primary has not yet told its replica would be lost with it.
        cluster.waits_for_copy(3 - replica, replica);
        cluster.servers[replica].does(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
        for name in names(40) {
            let spent = other.spends(&name, ONE).await;
            assert!(matches!(spent, Verdict::Limited { .. }), "{name} at turn {turn}");
        }
        cluster.agrees_within(FAILOVER);
    }
    // What is at its place again has the name that it had.
    let begun = Instant::now();
    loop {
        let instances = other.0.instances().await.instances;
        let names: BTreeSet<String> = instances.into_iter().map(|instance| instance.name).collect();
        if names.iter().eq(["redis-1", "redis-2", "redis-3"]) {
            break;
        }
        assert!(begun.elapsed() < FAILOVER, "{names:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn slots_move_under_load_and_every_budget_stays_exact() {
    let cluster = Arc::new(RedisCluster::start(3, 0));
    let (one, other) = (moment(&cluster).await, moment(&cluster).await);
    for name in names(60) {
        assert_eq!(one.spends(&name, ONE).await, Verdict::Admitted);
    }
    let is_moving = Arc::new(AtomicBool::new(true));
    let load = [one.clone(), other.clone()].map(|moment| {
        let is_moving = Arc::clone(&is_moving);
        tokio::spawn(async move {
            let mut rounds = 0;
            while is_moving.load(Ordering::Relaxed) || rounds == 0 {
                for name in names(60) {
                    let begun = Instant::now();
                    let spent = moment.spends(&name, ONE).await;
                    assert!(matches!(spent, Verdict::Limited { .. }), "{name} was forgotten");
                    assert!(begun.elapsed() < SECOND / 2, "{name} took {:?}", begun.elapsed());
                }
                rounds += 1;
            }
            rounds
        })
    });
    let moving = Arc::clone(&cluster);
    let moved = tokio::task::spawn_blocking(move || {
        let slots = moving.used_slots(0);
        for (n, slot) in slots.iter().enumerate() {
            moving.moves_slot(*slot, 0, 1 + n % 2, || std::thread::sleep(Duration::from_millis(20)));
        }
        slots.len()
    });
    let moved = moved.await.unwrap();
    is_moving.store(false, Ordering::Relaxed);
    for load in load {
        assert!(load.await.unwrap() >= 1);
    }
    assert!(moved >= 10, "{moved} slots moved");
    assert!(cluster.servers[0].keys().is_empty());
    assert!(share_all_budgets(&one, &other, "moved").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_claimed_once_and_settled_wherever_its_shard_has_moved() {
    let cluster = RedisCluster::start(3, 0);
    let (sender, drain) = (moment(&cluster).await, moment(&cluster).await);
    for n in 0..60 {
        assert_eq!(add(&sender, &[entry(&format!("user-{n}"), n, 0)]).await.refused, 0);
    }
    let first = claim(&drain).await;
    assert!(!first.is_empty());
    for slot in cluster.used_slots(0) {
        cluster.moves_slot(slot, 0, 1, || {});
    }
    // A process that learns of it only now, from the drain that claimed before.
    let mut done: BTreeSet<i64> = BTreeSet::new();
    for claimed in &first {
        let Ok(shared::delivery::work::Work::Push(push)) = &claimed.work else { panic!("{claimed:?}") };
        done.insert(push.offset);
    }
    let resolutions: Vec<Resolution> = first.into_iter().map(|claimed| Resolution::Done(claimed.id)).collect();
    assert!(drain.0.settle(&resolutions, At::Server).await);
    let rest = drains(&drain).await;
    assert!(done.is_disjoint(&rest));
    assert_eq!(done.union(&rest).copied().collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_a_half_moved_slot_is_found_at_either_server() {
    let cluster = RedisCluster::start(3, 0);
    let (one, other) = (moment(&cluster).await, moment(&cluster).await);
    for name in names(200) {
        assert_eq!(one.spends(&name, ONE).await, Verdict::Admitted);
    }
    for slot in cluster.used_slots(0) {
        cluster.begins_to_move_slot(slot, 0, 1);
    }
    for name in names(200) {
        assert!(matches!(other.spends(&name, ONE).await, Verdict::Limited { .. }), "{name} was forgotten");
    }
    spends_quickly(&one, "half").await;
    assert_eq!(one.check().await, Status::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_follows_its_slot_to_another_server() {
    let cluster = RedisCluster::start(3, 1);
    let (publisher, holder) = (moment(&cluster).await, moment(&cluster).await);
    let streams: Vec<ConnectionId> = (0..STREAMS).map(|_| ConnectionId::of_stream()).collect();
    let publish = async |text: &str| {
        let frames: Vec<_> = streams.iter().map(|stream| (stream.clone(), Frame::from(text))).collect();
        publisher.0.publish(&frames).await
    };
    let mut listening = Vec::new();
    for stream in &streams {
        listening.push(holder.0.listen(stream).await.unwrap());
    }
    assert_eq!(publish("calm").await, [Outcome::Offered; STREAMS]);
    for listening in &mut listening {
        assert_eq!(listening.next().await.as_deref(), Some("calm"));
    }
    cluster.waits_for_copy(0, 3);
    cluster.servers[3].does(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    // Those whose server is another now say that they may have missed something, and listen anew.
    let moved = listening.into_iter().zip(&streams).map(async |(mut listening, stream)| {
        match tokio::time::timeout(12 * SECOND, listening.next()).await {
            Ok(None) => (true, holder.0.listen(stream).await.unwrap()),
            Ok(Some(frame)) => panic!("{frame:?}"),
            Err(_) => (false, listening),
        }
    });
    let (moved, mut listening): (Vec<bool>, Vec<_>) = futures_util::future::join_all(moved).await.into_iter().unzip();
    let count = moved.iter().filter(|moved| **moved).count();
    assert!((1..STREAMS).contains(&count), "{count} of {STREAMS} moved");
    assert_eq!(publish("moved").await, [Outcome::Offered; STREAMS]);
    for listening in &mut listening {
        assert_eq!(listening.next().await.as_deref(), Some("moved"));
    }
    // A stream without a listener is gone, but just after slots have moved the listener may only be about to listen anew.
    let gone = [(ConnectionId::of_stream(), Frame::from("?"))];
    let newcomer = moment(&cluster).await;
    assert_eq!(newcomer.0.publish(&gone).await, [Outcome::Gone]);
    assert_eq!(publisher.0.publish(&gone).await, [Outcome::Failed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_heard_while_its_slot_moves_and_before_it_listens_at_the_new_server() {
    let cluster = RedisCluster::start(3, 0);
    let (publisher, holder) = (moment(&cluster).await, moment(&cluster).await);
    let streams: Vec<ConnectionId> = (0..30).map(|_| ConnectionId::of_stream()).collect();
    let mut listening = Vec::new();
    for stream in &streams {
        listening.push(holder.0.listen(stream).await.unwrap());
    }
    let publish = async |moment: &Moment, text: &str| {
        let frames: Vec<_> = streams.iter().map(|stream| (stream.clone(), Frame::from(text))).collect();
        moment.0.publish(&frames).await
    };
    // Slots of channels have no keys. Not all, so that every process still knows the server.
    for slot in 0..5_400 {
        cluster.begins_to_move_slot(slot, 0, 1);
    }
    assert_eq!(publish(&publisher, "moving").await, [Outcome::Offered; 30]);
    for slot in 0..5_400 {
        cluster.moves_slot(slot, 0, 1, || {});
    }
    assert_eq!(publish(&publisher, "moved").await, [Outcome::Offered; 30]);
    // One that knows nothing of the move.
    assert_eq!(publish(&moment(&cluster).await, "moved").await, [Outcome::Offered; 30]);
    for listening in &mut listening {
        assert_eq!(listening.next().await.as_deref(), Some("moving"));
        assert_eq!(listening.next().await.as_deref(), Some("moved"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_access_list_forbids_says_nothing_about_the_server() {
    let cluster = RedisCluster::start(3, 0);
    let rights = ["ACL", "SETUSER", "carillon", "on", ">p", "~carillon:*", "resetchannels", "+@all"];
    cluster.servers.iter().for_each(|server| server.does(&rights));
    let url = format!("redis://carillon:p@127.0.0.1:{}", cluster.servers[0].port());
    let moment = Moment::new(&RedisConfig { is_cluster: true, ..config(&url, PREFIX) });
    moment.becomes_healthy_within(10 * SECOND).await;
    let frames: Vec<_> = (0..9).map(|_| (ConnectionId::of_stream(), Frame::from("?"))).collect();
    assert_eq!(moment.0.publish(&frames).await, [Outcome::Failed; 9]);
    assert_eq!(moment.check().await, Status::Ok);
    let Instances { instances, .. } = moment.0.instances().await;
    assert!(instances.iter().all(|instance| instance.errors == 0), "{instances:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_drained_while_a_server_is_away() {
    let mut cluster = RedisCluster::with_options(3, 0, &["--cluster-require-full-coverage", "no"]);
    let (sender, drain) = (moment(&cluster).await, moment(&cluster).await);
    // It has read the slots: the one that the configuration names is the first to go.
    assert_eq!(drains(&drain).await.len(), 0);
    // Each of them in turn, so that one of them holds what all drains share.
    for away in 0..3 {
        cluster.servers[away].is_killed();
        let mut accepted = BTreeSet::new();
        for n in 0..30 {
            if add(&sender, &[entry(&format!("user-{n}"), n, 0)]).await.refused == 0 {
                accepted.insert(n);
            }
        }
        assert!((1..30).contains(&accepted.len()), "{} of 30 were accepted", accepted.len());
        let (mut drained, begun) = (BTreeSet::new(), Instant::now());
        while !accepted.is_subset(&drained) {
            assert!(begun.elapsed() < 10 * SECOND, "{:?} was not drained", accepted.difference(&drained));
            drained.extend(drains(&drain).await);
        }
        cluster.servers[away].is_back();
        cluster.agrees_within(FAILOVER);
        sender.becomes_healthy_within(FAILOVER).await;
        drain.becomes_healthy_within(FAILOVER).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_reached_by_tls() {
    let authority = Authority::found();
    let (cluster, port) = RedisCluster::with_tls(3, &authority);
    let config = RedisConfig {
        is_cluster: true,
        authorities: Some(authority.certificate()),
        ..config(&format!("rediss://127.0.0.1:{port}"), PREFIX)
    };
    let [one, other] = [(); 2].map(|()| Moment::new(&config));
    one.becomes_healthy_within(10 * SECOND).await;
    other.becomes_healthy_within(10 * SECOND).await;
    assert!(share_all_budgets(&one, &other, "tls").await);
    assert!(cluster.servers.iter().all(|server| server.keys().len() >= 5));
    let stream = ConnectionId::of_stream();
    let mut listening = one.0.listen(&stream).await.unwrap();
    assert_eq!(other.0.publish(&[(stream, Frame::from("hi"))]).await, [Outcome::Offered]);
    assert_eq!(listening.next().await.as_deref(), Some("hi"));
}

#[tokio::test]
async fn what_is_configured_as_a_cluster_and_is_none_is_named_and_so_is_the_other_way_round() {
    let (log, _listening) = Log::of_this_thread();
    let server = RedisServer::start();
    let moment = Moment::new(&RedisConfig { is_cluster: true, ..server.config(PREFIX) });
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    assert_eq!(moment.check().await, Status::Unavailable);
    assert!(log.said().contains("REDIS_CLUSTER is true, but this is no cluster"), "{}", log.said());

    let cluster = RedisCluster::start(3, 0);
    // Not the server that holds the partition of the probe.
    let mut said = 0;
    for server in &cluster.servers {
        let moment = Moment::new(&server.config(PREFIX));
        for name in names(9) {
            assert_eq!(moment.spends(&name, ONE).await, Verdict::Admitted);
        }
        said += usize::from(moment.check().await != Status::Ok);
    }
    assert_eq!(said, 3, "each of them is noticed");
    assert!(log.said().contains("REDIS_CLUSTER must be true"), "{}", log.said());
}
