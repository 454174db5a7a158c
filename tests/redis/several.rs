//! Several instances: what happens while one of them is away, and when it comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::redis_server::{RedisServer, several};
use shared::clock::{At, Clock};
use shared::delivery::queue::{Queue, Resolution};
use shared::delivery::work::Work;
use shared::ids::ConnectionId;
use shared::limits::Verdict;
use shared::moment::redis::RedisMoment;
use shared::protocol::Frame;
use shared::sockets::push::Outcome;
use shared::sockets::streams::Streams;
use shared::telemetry::health::{BreakerState, Health, Instances, Mode, Status, Warning, WarningName};

use crate::moment::{Moment, ONE, PLENTY, PREFIX};
use crate::queue::{add, claim, depth, entry};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than an instance that came back is watched before it gets its share again.
const WATCHED: Duration = Duration::from_secs(6);

/// Three servers.
struct Servers([RedisServer; 3]);

impl Servers {
    fn start() -> Self {
        Self([(); 3].map(|()| RedisServer::start()))
    }

    /// A moment of a process of its own on these servers, which is connected to all of them.
    async fn moment(&self) -> Moment {
        let moment = Moment::new(&several(&self.0.each_ref().map(RedisServer::port), PREFIX));
        moment.becomes_healthy_within(10 * SECOND).await;
        moment
    }

    /// The budgets at each server, without that of the probes.
    fn budgets(&self) -> [BTreeSet<String>; 3] {
        let is_budget = |key: &String| key.contains("}:limit:") && key.contains("/3600000:");
        self.0.each_ref().map(|server| server.keys().into_iter().filter(is_budget).collect())
    }
}

/// Names of budgets, which are in as many partitions.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("send A user-{n}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_budget_is_at_one_instance_and_all_of_them_have_a_share() {
    let servers = Servers::start();
    let (one, other) = (servers.moment().await, servers.moment().await);
    for name in names(60) {
        assert!(one.shares_budgets_with(&other, &name).await, "{name}");
    }
    let budgets = servers.budgets();
    assert_eq!(budgets.each_ref().map(BTreeSet::len).iter().sum::<usize>(), 60, "{budgets:?}");
    assert!(budgets.iter().all(|budgets| budgets.len() >= 8), "{budgets:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_instance_is_away_the_others_take_over_in_every_process_and_no_call_waits_for_long() {
    let mut servers = Servers::start();
    let (one, other) = (servers.moment().await, servers.moment().await);
    // It hangs first: one that has just come back has no partitions.
    for killed in [false, true] {
        if killed {
            servers.0[1].is_killed()
        } else {
            servers.0[1].hangs()
        }
        let began = Instant::now();
        for name in names(40) {
            let name = format!("{name} {killed}");
            let took = one.times(&name, PLENTY).await;
            assert!(took < Duration::from_millis(350), "{name} took {took:?}");
        }
        // None of these is kept in the process: the other one knows what was spent.
        for name in names(40) {
            let name = format!("{name} {killed} shared");
            assert!(one.shares_budgets_with(&other, &name).await, "{name}");
        }
        assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
        let Status::Warned(warnings) = one.check().await else { panic!("no warning") };
        let [Warning { instance, name: WarningName::Away, .. }] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(instance, "redis-2");
        if killed {
            servers.0[1].is_back()
        } else {
            servers.0[1].goes_on()
        }
        one.becomes_healthy_within(3 * SECOND).await;
        other.becomes_healthy_within(3 * SECOND).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_came_back_gets_its_share_again_once_it_has_stayed() {
    let mut servers = Servers::start();
    let moment = servers.moment().await;
    for name in names(60) {
        moment.spends(&name, PLENTY).await;
    }
    let before = servers.budgets();
    servers.0[2].is_wiped();
    for name in names(60) {
        moment.spends(&name, PLENTY).await;
    }
    servers.0[2].is_back();
    let returned = Instant::now();
    moment.becomes_healthy_within(3 * SECOND).await;
    for name in names(60) {
        moment.spends(&name, PLENTY).await;
    }
    assert!(returned.elapsed() < 4 * SECOND, "the machine was too slow to look before it is trusted");
    assert!(servers.budgets()[2].is_empty(), "it has only just come back");
    tokio::time::sleep(WATCHED).await;
    for name in names(60) {
        moment.spends(&name, PLENTY).await;
    }
    // What others kept meanwhile stays there until it expires; its own share is as before, and nothing else has moved.
    let after = servers.budgets();
    assert_eq!(after[2], before[2]);
    assert!(before[0].is_subset(&after[0]) && before[1].is_subset(&after[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_was_enqueued_while_an_instance_was_away_is_claimed_wherever_it_is() {
    let mut servers = Servers::start();
    let sender = servers.moment().await;
    let names: Vec<String> = (0..40).map(|n| format!("user-{n}")).collect();
    let enqueue = async |from: i64| {
        for (name, offset) in names.iter().zip(from..) {
            assert_eq!(add(&sender, &[entry(name, offset, 0)]).await.refused, 0, "{name}");
        }
    };
    enqueue(0).await;
    servers.0[0].is_killed();
    enqueue(100).await;
    servers.0[0].is_back();
    sender.becomes_healthy_within(3 * SECOND).await;
    tokio::time::sleep(WATCHED).await;
    enqueue(200).await;

    // A drain that has never seen an instance away.
    let drain = servers.moment().await;
    let [waiting, ..] = depth(&drain).await;
    let mut offsets = BTreeSet::new();
    loop {
        let claimed = claim(&drain).await;
        if claimed.is_empty() {
            break;
        }
        for claimed in &claimed {
            let Ok(Work::Push(push)) = &claimed.work else { panic!("{claimed:?}") };
            assert!(offsets.insert(push.offset), "{} twice", push.offset);
        }
        let done: Vec<Resolution> = claimed.into_iter().map(|claimed| Resolution::Done(claimed.id)).collect();
        assert!(drain.0.settle(&done, At::Server).await);
    }
    assert_eq!(offsets.len() as u64, waiting);
    assert_eq!(depth(&drain).await, [0, 0, 0]);
    // The instance that was killed lost what it had; the record would push that.
    let expected = |from: i64| (from..from + 40).collect::<BTreeSet<i64>>();
    assert!(expected(100).is_subset(&offsets) && expected(200).is_subset(&offsets), "{offsets:?}");
    assert!((1..40).contains(&offsets.intersection(&expected(0)).count()), "some of it was at another instance");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_hears_what_is_published_at_whichever_instance() {
    let mut servers = Servers::start();
    let (publisher, holder) = (servers.moment().await, servers.moment().await);
    let streams: Vec<ConnectionId> = (0..12).map(|_| ConnectionId::of_stream()).collect();
    let listen = async |moment: &Moment| {
        let mut all = Vec::new();
        for stream in &streams {
            all.push(moment.0.listen(stream).await.expect("an instance is there"));
        }
        all
    };
    let publish = async |text: &str| {
        let frames: Vec<(ConnectionId, Frame)> =
            streams.iter().map(|stream| (stream.clone(), Frame::from(text))).collect();
        publisher.0.publish(&frames).await
    };
    let mut listening = listen(&holder).await;
    assert_eq!(publish("all there").await, [Outcome::Offered; 12]);
    for listening in &mut listening {
        assert_eq!(listening.next().await.as_deref(), Some("all there"));
    }
    servers.0[0].is_killed();
    // It may have missed something, so it says so, and listens anew at the others.
    for listening in &mut listening {
        assert_eq!(listening.next().await.as_deref(), None);
    }
    let mut listening = listen(&holder).await;
    assert_eq!(publish("one away").await, [Outcome::Offered; 12]);
    for listening in &mut listening {
        assert_eq!(listening.next().await.as_deref(), Some("one away"));
    }
    servers.0[0].is_back();
    publisher.becomes_healthy_within(3 * SECOND).await;
    // Each listens at the one that came back before anything is published there.
    let waiting = listening.into_iter().map(|mut listening| tokio::spawn(async move { listening.next().await }));
    let waiting: Vec<_> = waiting.collect();
    tokio::time::sleep(WATCHED).await;
    assert_eq!(publish("back").await, [Outcome::Offered; 12]);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().as_deref(), Some("back"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_not_held_up_by_an_instance_that_hangs() {
    let servers = Servers::start();
    let (publisher, holder) = (servers.moment().await, servers.moment().await);
    let stream = ConnectionId::of_stream();
    let mut listening = holder.0.listen(&stream).await.unwrap();
    servers.0[0].hangs();
    let ended = tokio::time::timeout(5 * SECOND, listening.next()).await;
    assert_eq!(ended.expect("the hanging instance is noticed").as_deref(), None);
    let begun = Instant::now();
    let mut listening = holder.0.listen(&stream).await.unwrap();
    assert!(begun.elapsed() < SECOND, "listening anew took {:?}", begun.elapsed());
    // For longer than it takes until the hanging one is tried again, and until that is given up.
    for n in 0..60 {
        let text = n.to_string();
        let frames = [(stream.clone(), Frame::from(&*text))];
        let begun = Instant::now();
        assert_eq!(publisher.0.publish(&frames).await, [Outcome::Offered]);
        let heard = tokio::time::timeout(5 * SECOND, listening.next()).await.unwrap();
        assert_eq!(heard.as_deref(), Some(&*text));
        assert!(begun.elapsed() < SECOND / 2, "frame {n} took {:?}", begun.elapsed());
        tokio::time::sleep(SECOND / 10).await;
    }
}

#[tokio::test]
async fn each_instance_reports_for_itself() {
    let mut servers = Servers::start();
    let moment = servers.moment().await;
    servers.0[2].is_killed();
    for name in names(30) {
        moment.spends(&name, PLENTY).await;
    }
    let Instances { mode, instances } = moment.0.instances().await;
    assert_eq!(mode, Mode::Balanced);
    let found: Vec<(&str, bool, bool)> = instances
        .iter()
        .map(|instance| (&*instance.name, instance.healthy, instance.breaker == BreakerState::Closed))
        .collect();
    assert_eq!(found, [("redis-1", true, true), ("redis-2", true, true), ("redis-3", false, false)]);
    assert!(instances[..2].iter().all(|instance| instance.operations > 5 && instance.errors == 0), "{instances:?}");
    for server in &mut servers.0[..2] {
        server.is_killed();
    }
    assert_eq!(moment.check().await, Status::Unavailable);
    // With all of them away, each process decides alone.
    assert_eq!(moment.spends("send B alice", ONE).await, Verdict::Admitted);
    assert!(matches!(moment.spends("send B alice", ONE).await, Verdict::Limited { .. }));
}

/// "Redis Load Balancer: execute operation, health checks, failover, metrics."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancer_distributes_operations_checks_health_fails_over_and_counts() {
    let mut servers = Servers::start();
    let moment = servers.moment().await;
    let operations = async || {
        let Instances { instances, .. } = moment.0.instances().await;
        instances.into_iter().map(|instance| (instance.healthy, instance.operations)).collect::<Vec<_>>()
    };
    // "Executes a Redis operation with load balancing across multiple Redis instances."
    let before = operations().await;
    for name in names(90) {
        assert_eq!(moment.spends(&name, PLENTY).await, Verdict::Admitted);
    }
    let after = operations().await;
    assert!(before.iter().zip(&after).all(|((_, before), (_, after))| after - before >= 15), "{before:?} {after:?}");
    // "Performs regular health checks on Redis instances to ensure availability."
    servers.0[1].is_killed();
    let begun = Instant::now();
    while operations().await[1].0 {
        assert!(begun.elapsed() < 2 * SECOND, "the outage was not noticed");
    }
    // "Automatically fails over to healthy Redis instances when one becomes unavailable."
    let before = operations().await;
    for name in names(90) {
        assert_eq!(moment.spends(&format!("{name} again"), PLENTY).await, Verdict::Admitted);
    }
    // "Provides metrics about the load balancer, including instance health and operation counts."
    let after = operations().await;
    assert_eq!(after.iter().map(|(healthy, _)| *healthy).collect::<Vec<_>>(), [true, false, true]);
    assert!([0, 2].iter().all(|n| after[*n].1 - before[*n].1 >= 25), "{before:?} {after:?}");
    servers.0[1].is_back();
    moment.becomes_healthy_within(3 * SECOND).await;
}

#[tokio::test]
async fn the_order_in_which_instances_are_listed_does_not_matter() {
    let servers = Servers::start();
    let mut ports = servers.0.each_ref().map(RedisServer::port);
    let one = servers.moment().await;
    ports.reverse();
    let moment = RedisMoment::with_timeout(&several(&ports, PREFIX), Clock::system(), 30 * SECOND).unwrap();
    let other = Moment(Arc::new(moment));
    for name in names(30) {
        assert!(one.shares_budgets_with(&other, &name).await, "{name}");
    }
}
