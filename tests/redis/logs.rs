//! A log that is at two instances, as after one of them was away: what was accepted before is read before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use harness::redis_server::{RedisServer, several};
use shared::clock::{At, Clock};
use shared::fast::log::{Claimed, KeyClaim, LogId, Logged, Logs, ReadLogs, Share, UnwrittenLogs, WriterId};
use shared::ids::{SendId, UserId};
use shared::limits::Verdict;
use shared::moment::redis::RedisMoment;
use sqlx::types::Uuid;

use crate::moment::{MAX_IN_FLIGHT, Moment, PLENTY, PREFIX};

/// The log of alice.
const KEY: &str = "carillon:{p0207}:log";
const ALL: Share = Share { entries: 100, bytes: 100_000 };

/// Two servers, and who reads alice's log at both.
struct Servers {
    all: [RedisServer; 2],
    moment: Moment,
}

impl Servers {
    async fn start() -> Self {
        let all = [(); 2].map(|()| RedisServer::start());
        let config = several(&all.each_ref().map(RedisServer::port), PREFIX);
        // Longer than any server hangs here.
        let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(30)).unwrap();
        let servers = Self { all, moment: Moment(Arc::new(moment)) };
        servers.moment.becomes_healthy_within(Duration::from_secs(10)).await;
        // Connected to both, which know the scripts.
        for n in 0..servers.all.len() {
            servers.has(n, 1, "known");
            let read = servers.reads(1, ALL).await;
            assert_eq!(texts(&read), ["known"]);
            servers.removes(&read, 1).await;
            assert_eq!(servers.reads(1, ALL).await, ReadLogs::default());
        }
        servers
    }

    /// An entry that one of them took at this time, in milliseconds since 1970.
    fn has(&self, server: usize, at_ms: i64, text: &str) {
        self.all[server].does(&append(at_ms, text).split(' ').collect::<Vec<_>>());
    }

    async fn reads(&self, writer: u64, share: Share) -> ReadLogs {
        self.moment.0.read(&[alice()], share, WriterId(writer), At::Server).await
    }

    async fn removes(&self, read: &ReadLogs, writer: u64) {
        assert!(self.moment.0.remove(&read.entries, WriterId(writer)).await.is_some());
    }
}

fn alice() -> LogId {
    LogId::of_user(&UserId::new("alice").unwrap())
}

fn append(at_ms: i64, text: &str) -> String {
    format!("XADD {KEY} {at_ms}-0 id {text} e {text}")
}

fn texts(read: &ReadLogs) -> Vec<&str> {
    read.entries.iter().map(|entry| std::str::from_utf8(&entry.text).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_given_before_an_entry_came_does_not_let_a_later_one_overtake_it() {
    let servers = Arc::new(Servers::start().await);
    // The second one answers only after it has taken the later entry, which comes before the question.
    let mut to_second = TcpStream::connect(("127.0.0.1", servers.all[1].port())).unwrap();
    // What a connection says that was not yet accepted comes after what others say.
    to_second.write_all(b"PING\r\n").unwrap();
    to_second.read_exact(&mut [0; b"+PONG\r\n".len()]).unwrap();
    servers.all[1].hangs();
    // In one piece: a second one would wait until the first is acknowledged, which a server that hangs may not do at once.
    to_second.write_all(format!("{}\r\n", append(200, "later")).as_bytes()).unwrap();
    servers.all[0].does(&["CONFIG", "RESETSTAT"]);
    let reading = tokio::spawn({
        let servers = Arc::clone(&servers);
        async move { servers.reads(1, ALL).await }
    });
    // The first one answers before it takes the earlier one.
    while !servers.all[0].answers::<String>(&["INFO", "commandstats"]).unwrap().contains("cmdstat_evalsha") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    servers.has(0, 100, "earlier");
    servers.all[1].goes_on();
    let read = reading.await.unwrap();
    assert_eq!(texts(&read), ["earlier", "later"]);
    assert!(!read.is_silent && read.busy.is_empty());
}

#[tokio::test]
async fn who_asks_for_all_logs_is_told_of_an_instance_that_gave_no_answer() {
    let mut servers = Servers::start().await;
    servers.has(0, 100, "entry");
    let known = UnwrittenLogs { logs: vec![alice()], is_silent: false };
    assert_eq!(servers.moment.0.unwritten(&[alice()]).await, known);
    servers.all[1].is_killed();
    assert_eq!(servers.moment.0.unwritten(&[alice()]).await, UnwrittenLogs { is_silent: true, ..known });
}

#[tokio::test]
async fn of_a_log_that_another_writer_has_nothing_is_taken_at_another_instance() {
    let servers = Servers::start().await;
    servers.has(0, 100, "earlier");
    let one = servers.reads(1, ALL).await;
    servers.has(1, 200, "later");
    let read = servers.reads(2, ALL).await;
    assert_eq!((texts(&read), read.busy[0].log), (vec![], alice()));
    servers.removes(&one, 1).await;
    let other = servers.reads(2, ALL).await;
    assert_eq!((texts(&one), texts(&other)), (vec!["earlier"], vec!["later"]));
    assert_eq!(servers.reads(1, ALL).await.busy.len(), 1);
}

#[tokio::test]
async fn writers_that_have_a_log_at_different_instances_do_not_wait_for_each_other() {
    let servers = Servers::start().await;
    servers.has(1, 200, "later");
    let one = servers.reads(1, ALL).await;
    servers.has(0, 100, "earlier");
    let other = servers.reads(2, ALL).await;
    assert_eq!((texts(&one), texts(&other)), (vec!["later"], vec!["earlier", "later"]));
    // Now the first one waits, until the other has written both.
    assert_eq!(servers.reads(1, ALL).await.busy.len(), 1);
    servers.removes(&other, 2).await;
    assert_eq!(servers.reads(1, ALL).await, ReadLogs::default());
}

#[tokio::test]
async fn entries_of_another_instance_do_not_overtake_what_is_behind_the_share_of_one() {
    let servers = Servers::start().await;
    for (server, at_ms, text) in [(0, 100, "a"), (0, 200, "b"), (1, 300, "c"), (1, 400, "d")] {
        servers.has(server, at_ms, text);
    }
    let mut all = Vec::new();
    loop {
        let read = servers.reads(1, Share { entries: 1, bytes: 0 }).await;
        if read.entries.is_empty() {
            break;
        }
        servers.removes(&read, 1).await;
        all.extend(read.entries.into_iter().map(|entry| String::from_utf8(entry.text).unwrap()));
    }
    assert_eq!(all, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn clocks_that_disagree_hold_up_nothing() {
    let servers = Servers::start().await;
    // One clock is hours ahead of the other, and both are ahead of that of the servers.
    let ahead = 4_000_000_000_000;
    for (server, at_ms, text) in [(0, ahead + 9_000_000, "ahead"), (1, ahead, "behind")] {
        servers.has(server, at_ms, text);
    }
    let read = servers.reads(1, ALL).await;
    assert_eq!((texts(&read), &read.more[..], &read.grown[..]), (vec!["behind", "ahead"], &[][..], &[][..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_appends_or_claims_waits_for_a_slow_server_while_who_can_do_without_it_does_not() {
    let server = RedisServer::start();
    let (timeout, concurrent) = (Duration::from_secs(30), Duration::from_millis(20));
    let config = server.config(PREFIX);
    let moment = RedisMoment::with_timeout_of_one(&config, Clock::system(), timeout, concurrent).unwrap();
    let moment = Moment(Arc::new(moment));
    moment.becomes_healthy_within(Duration::from_secs(10)).await;
    server.hangs();
    let spend = || {
        let moment = moment.clone();
        tokio::spawn(async move { moment.spends("send A alice", PLENTY).await })
    };
    // One waits on, and all others would give up.
    let patient = spend();
    tokio::time::sleep(10 * concurrent).await;
    let append = |n: u128| {
        let moment = moment.clone();
        tokio::spawn(async move { moment.0.append(alice(), Uuid::from_u128(n), "entry", At::Server).await })
    };
    let appends = [1, 2, 3].map(append);
    let claim = |n: u8| {
        let moment = moment.clone();
        tokio::spawn(async move {
            let claim = KeyClaim::new(None, &[n; 32]);
            let send = SendId::of_key(&UserId::new("alice").unwrap(), "send", "key");
            let claimed = moment.0.claim_key(send, claim, At::Server).await;
            (claim, claimed)
        })
    };
    let claims = [1, 2].map(claim);
    for _ in 0..3 {
        // Its verdict is one of this process.
        assert_eq!(spend().await.unwrap(), Verdict::Admitted);
    }
    assert!(!patient.is_finished() && appends.iter().all(|append| !append.is_finished()));
    server.goes_on();
    for append in appends {
        assert!(matches!(append.await.unwrap(), Some(Logged::Added { .. })));
    }
    let [(one, first), (other, second)] = <[_; 2]>::try_from(join_all(claims).await).unwrap().map(Result::unwrap);
    // One of them was first.
    let expected = match first {
        Some(Claimed::Now) => (Some(Claimed::Now), Some(Claimed::Before(one))),
        _ => (Some(Claimed::Before(other)), Some(Claimed::Now)),
    };
    assert_eq!((first, second), expected);
    assert_eq!(patient.await.unwrap(), Verdict::Admitted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_has_waited_for_a_server_does_not_wait_for_its_logs_too() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    assert_eq!(moment.0.unwritten(&[alice()]).await, UnwrittenLogs::default());
    server.hangs();
    for _ in 0..2 {
        moment.spends("send A alice", PLENTY).await;
    }
    let begun = Instant::now();
    assert!(moment.0.unwritten(&[alice()]).await.is_silent);
    assert!(begun.elapsed() < MAX_IN_FLIGHT, "{:?}", begun.elapsed());
    server.goes_on();
}
