//! Redis becomes unavailable and comes back: at most two calls are slowed, by 250 ms in total, and Redis is used again
//! within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use harness::redis_server::{RedisServer, config};
use shared::limits::Verdict;
use shared::telemetry::health::Status;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::moment::{MAX_IN_FLIGHT, Moment, ONE, PLENTY, PREFIX};

/// The longest that an undisturbed call takes on a busy machine.
const UNSLOWED: Duration = Duration::from_millis(80);
/// By how much an outage may slow all calls in total, and how much a busy machine may add to that.
const SLOWED: Duration = Duration::from_millis(250 + 100);
const SECOND: Duration = Duration::from_secs(1);

/// Callers that spend every few milliseconds until `ends`, which returns the times of the slowed calls.
struct Load {
    goes_on: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<(usize, Vec<Duration>)>>,
}

impl Load {
    fn on(moment: &Moment, callers: usize) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let caller = |n: usize| {
            let (goes_on, moment) = (Arc::clone(&goes_on), moment.clone());
            tokio::spawn(async move {
                let (mut calls, mut slowed) = (0, Vec::new());
                while goes_on.load(Ordering::Relaxed) {
                    let took = moment.times(&format!("send LOAD {n}"), PLENTY).await;
                    calls += 1;
                    if took > UNSLOWED {
                        slowed.push(took);
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (calls, slowed)
            })
        };
        let callers = (0..callers).map(caller).collect();
        Self { goes_on, callers }
    }

    async fn ends(self) -> Vec<Duration> {
        self.goes_on.store(false, Ordering::Relaxed);
        let (mut calls, mut slowed) = (0, Vec::new());
        for caller in self.callers {
            let (its_calls, its_slowed) = caller.await.unwrap();
            calls += its_calls;
            slowed.extend(its_slowed);
        }
        assert!(calls > 20, "{calls} calls");
        slowed
    }
}

fn assert_tolerable(slowed: &[Duration]) {
    assert!(slowed.len() <= 2 && slowed.iter().sum::<Duration>() <= SLOWED, "slowed: {slowed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_slows_at_most_two_calls_and_is_used_again_within_a_second() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    let load = Load::on(&moment, 4);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.is_killed();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(moment.check().await, Status::Unavailable);
        server.is_back();
        moment.becomes_healthy_within(SECOND).await;
    }
    let slowed = load.ends().await;
    assert_tolerable(&slowed);
    let other = Moment::on(&server).await;
    assert!(moment.shares_budgets_with(&other, "send A alice").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_redis_slows_at_most_two_calls_and_is_used_again_within_a_second() {
    for callers in [1, 16] {
        let server = RedisServer::start();
        let moment = Moment::on(&server).await;
        let load = Load::on(&moment, callers);
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.hangs();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(moment.check().await, Status::Unavailable);
        server.goes_on();
        moment.becomes_healthy_within(SECOND).await;
        assert_tolerable(&load.ends().await);
    }
}

#[tokio::test]
async fn limits_continue_in_this_process_while_redis_is_unavailable() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.is_killed();
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    for _ in 0..100 {
        assert!(matches!(moment.spends("send A alice", ONE).await, Verdict::Limited { .. }));
    }
}

#[tokio::test]
async fn a_redis_that_starts_later_is_used() {
    let mut server = RedisServer::start();
    server.is_killed();
    let moment = Moment::new(&server.config(PREFIX));
    let took = moment.times("send A alice", PLENTY).await;
    assert!(took < MAX_IN_FLIGHT, "{took:?}");
    server.is_back();
    moment.becomes_healthy_within(SECOND).await;
}

#[tokio::test]
async fn a_connection_that_redis_closed_loses_no_budget() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    for n in 0..20 {
        let bucket = format!("send A {n}");
        assert_eq!(moment.spends(&bucket, ONE).await, Verdict::Admitted);
        // As a server or a load balancer does with a connection that was frozen for long.
        server.does(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert!(matches!(moment.spends(&bucket, ONE).await, Verdict::Limited { .. }), "the budget was lost");
    }
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_left_for_the_new_primary() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let name = Name::of(&old).await;
    let moment = Moment::new(&config(&format!("redis://127.0.0.1:{}", name.port), PREFIX));
    moment.becomes_healthy_within(SECOND).await;
    old.does(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    name.point_to(&new);
    let took = moment.times("send A alice", ONE).await;
    assert!(took < MAX_IN_FLIGHT, "{took:?}");
    assert_eq!(new.keys().len(), 1, "the new primary was not used: {:?}", new.keys());
    assert_eq!(moment.check().await, Status::Ok);
}

/// A host name whose target can change; only new connections follow it.
struct Name {
    port: u16,
    points_at: Arc<AtomicU16>,
}

impl Name {
    async fn of(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let points_at = Arc::new(AtomicU16::new(server.port()));
        let target = Arc::clone(&points_at);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = target.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    // Either side may close first.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, points_at }
    }

    fn point_to(&self, server: &RedisServer) {
        self.points_at.store(server.port(), Ordering::Relaxed);
    }
}

#[tokio::test]
async fn only_two_calls_wait_for_a_server_that_never_answers_the_handshake() {
    only_two_calls_wait_for_a_server_that_says("").await;
}

#[tokio::test]
async fn only_two_calls_wait_for_a_server_that_hangs_after_the_handshake() {
    // `HELLO`, and `CLIENT SETINFO` twice, which Redis 7.0 does not know.
    only_two_calls_wait_for_a_server_that_says("%1\r\n+server\r\n+redis\r\n-ERR unknown\r\n-ERR unknown\r\n").await;
}

/// Runs a server that accepts connections, as a kernel does, and sends each of them only this text.
async fn only_two_calls_wait_for_a_server_that_says(greeting: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut clients = Vec::new();
        while let Ok((mut client, _)) = listener.accept().await {
            client.write_all(greeting.as_bytes()).await.unwrap();
            clients.push(client);
        }
    });
    let moment = Moment::new(&config(&format!("redis://127.0.0.1:{port}"), PREFIX));
    let begun = Instant::now();
    let mut slowed = Vec::new();
    while begun.elapsed() < 2 * SECOND {
        slowed.push(moment.times("send A alice", PLENTY).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    slowed.retain(|took| *took > UNSLOWED);
    assert_eq!(slowed.len(), 2, "{slowed:?}");
    assert_tolerable(&slowed);
}
