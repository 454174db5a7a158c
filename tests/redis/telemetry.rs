//! Telemetry in Redis: its keys and their lifetimes, foreign values in them, and the effect of faults.

use std::time::{Duration, Instant};

use harness::redis_server::RedisServer;
use shared::clock::{At, Clock};
use shared::ids::{ConnectionId, NotificationId, SendId, UserId};
use shared::sockets::push::Outcome;
use shared::telemetry::health::Status;
use shared::telemetry::{Counts, Report, Telemetry};

use crate::moment::{MAX_IN_FLIGHT, Moment, ONE};

fn id() -> NotificationId {
    NotificationId::of(SendId::of_key(&user("shop"), "/", "1"), &user("alice"))
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Reports one accepted notification and one push, at the current time.
async fn report(moment: &Moment) {
    let phone = ConnectionId::new("PJqB0fHsqRcCHlw=");
    let mut counts = Counts { accepted: 1, ..Counts::default() };
    counts.accept_ms.add(20);
    let outcomes = vec![(id(), &phone, Outcome::Offered)];
    moment.0.report(&Report { counts, outcomes, ..Report::default() }, At::Server).await;
}

async fn accepted(moment: &Moment) -> u64 {
    moment.0.counts(At::Server).await.unwrap().accepted
}

async fn pushes(moment: &Moment) -> usize {
    moment.0.outcomes(id(), At::Server).await.unwrap().len()
}

/// The only key whose name contains `part`.
fn key(server: &RedisServer, part: &str) -> String {
    let keys = server.keys();
    let found: Vec<&String> = keys.iter().filter(|key| key.contains(part)).collect();
    let [key] = found[..] else { panic!("{keys:?}") };
    key.clone()
}

#[tokio::test]
async fn all_processes_add_to_the_same_counts_by_the_current_time() {
    let server = RedisServer::start();
    let (one, other) = (Moment::with_long_timeout(&server).await, Moment::with_long_timeout(&server).await);
    report(&one).await;
    report(&other).await;
    assert_eq!((accepted(&one).await, pushes(&other).await), (2, 2));
    let now_ms = Clock::system().now_ms();
    let pushed = one.0.outcomes(id(), At::Server).await.unwrap();
    assert!(pushed.iter().all(|push| (now_ms - 10_000..=now_ms + 10_000).contains(&push.at_ms)), "{pushed:?}");
}

#[tokio::test]
async fn telemetry_keys_have_the_prefix_and_a_hash_tag_and_expire() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    report(&moment).await;
    let (counts, outcomes) = (key(&server, "}:counts:"), key(&server, "}:outcomes:"));
    assert!(counts.starts_with("carillon:{p") && outcomes.starts_with("carillon:{p"), "{counts} {outcomes}");
    assert!(outcomes.ends_with(&format!(":{}", id())), "{outcomes}");
    for (key, hours) in [(&counts, 2), (&outcomes, 48)] {
        let ttl_ms: i64 = server.answers(&["PTTL", key]).unwrap();
        assert!((hours * 3_600_000 - 60_000..=hours * 3_600_000).contains(&ttl_ms), "{key}: {ttl_ms}");
    }
    // The format that keys.rs documents.
    let kept: Vec<String> = server.answers(&["HGETALL", &counts]).unwrap();
    assert_eq!(kept, ["accepted", "1", "acceptMs:20", "1"]);
    let kept: Vec<String> = server.answers(&["LRANGE", &outcomes, "0", "-1"]).unwrap();
    let words: Vec<&str> = kept[0].split(' ').collect();
    assert_eq!(words[1..], ["offered", "PJqB0fHsqRcCHlw="]);
    assert!(words[0].parse::<i64>().is_ok(), "{kept:?}");
    // An empty report writes nothing.
    moment.0.report(&Report::default(), At::Server).await;
    assert_eq!(server.keys().len(), 3, "{:?}", server.keys());
}

#[tokio::test]
async fn foreign_values_count_as_absent_and_are_counted_and_overwritten() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    report(&moment).await;
    let (counts, outcomes) = (key(&server, "}:counts:"), key(&server, "}:outcomes:"));
    let (counts, outcomes) = (counts.as_str(), outcomes.as_str());
    let other_types = |key| {
        [
            ["SET", key, "1"].to_vec(),
            ["ZADD", key, "1", "a"].to_vec(),
            ["XADD", key, "*", "a", "b"].to_vec(),
            ["SADD", key, "a"].to_vec(),
        ]
    };
    let mut foreign = other_types(counts).to_vec();
    foreign.push(["LPUSH", counts, "1"].to_vec());
    for value in ["", "much", "1.5", "1e3", " 1", "99999999999999999999"] {
        foreign.push(["HSET", counts, "accepted", value].to_vec());
    }
    for command in foreign {
        server.does(&["DEL", counts]);
        server.does(&command);
        let foreign_before = moment.0.foreign_values();
        assert_eq!(accepted(&moment).await, 0, "{command:?}");
        report(&moment).await;
        assert_eq!(moment.0.foreign_values(), foreign_before + 2, "{command:?}: once when read, once when overwritten");
        assert_eq!(accepted(&moment).await, 1, "{command:?}");
        assert_eq!(moment.0.foreign_values(), foreign_before + 2, "{command:?}");
    }
    // Buckets that do not exist, and a name that a later version may use.
    server.does(&["HSET", counts, "acceptMs:17", "5", "acceptMs:x", "5", "deliverMs:", "5", "invented", "5"]);
    let foreign_before = moment.0.foreign_values();
    let counted = moment.0.counts(At::Server).await.unwrap();
    assert_eq!((counted.accepted, counted.accept_ms.buckets().count()), (1, 1));
    assert_eq!(moment.0.foreign_values(), foreign_before + 3);

    let mut foreign = other_types(outcomes).to_vec();
    foreign.push(["HSET", outcomes, "a", "b"].to_vec());
    for command in foreign {
        server.does(&["DEL", outcomes]);
        server.does(&command);
        let foreign_before = moment.0.foreign_values();
        assert_eq!(pushes(&moment).await, 0, "{command:?}");
        report(&moment).await;
        assert_eq!((pushes(&moment).await, moment.0.foreign_values()), (1, foreign_before + 2), "{command:?}");
    }
    let foreign_before = moment.0.foreign_values();
    server.does(&["RPUSH", outcomes, "", "1", "soon offered a", "1800000000000 taken a", "1800000000000 offered"]);
    assert_eq!((pushes(&moment).await, moment.0.foreign_values()), (1, foreign_before + 5));
    assert_eq!(moment.check().await, Status::Ok);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again_and_nothing_is_reported_twice() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    for n in 1..=3 {
        server.does(&["SCRIPT", "FLUSH"]);
        report(&moment).await;
        assert_eq!((accepted(&moment).await, pushes(&moment).await), (n, n as usize));
    }
}

#[tokio::test]
async fn a_closed_connection_loses_no_report() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    for n in 1..=10 {
        server.does(&["CLIENT", "KILL", "TYPE", "normal"]);
        report(&moment).await;
        assert_eq!(accepted(&moment).await, n);
    }
}

#[tokio::test]
async fn nothing_is_known_and_no_call_waits_while_redis_is_unavailable() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    report(&moment).await;
    server.is_killed();
    let begun = Instant::now();
    report(&moment).await;
    assert!(begun.elapsed() < MAX_IN_FLIGHT, "{:?}", begun.elapsed());
    assert_eq!(moment.0.counts(At::Server).await, None);
    assert_eq!(moment.0.outcomes(id(), At::Server).await, None);
    server.is_back();
    moment.becomes_healthy_within(Duration::from_secs(1)).await;
    // Redis comes back empty, so that the earlier report is lost.
    assert_eq!((accepted(&moment).await, pushes(&moment).await), (0, 0));
    report(&moment).await;
    assert_eq!((accepted(&moment).await, pushes(&moment).await), (1, 1));
}

#[tokio::test]
async fn a_hung_redis_slows_reports_by_no_more_than_their_timeout() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.hangs();
    let begun = Instant::now();
    for _ in 0..20 {
        report(&moment).await;
    }
    assert!(begun.elapsed() < Duration::from_millis(250 + 100), "{:?}", begun.elapsed());
    server.goes_on();
    moment.becomes_healthy_within(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn forbidden_keys_are_an_outage() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p", "~*:limit:*", "&*", "+@all"]);
    let url = format!("redis://carillon:p@127.0.0.1:{}", server.port());
    let moment = Moment::new(&harness::redis_server::config(&url, "carillon"));
    moment.becomes_healthy_within(Duration::from_secs(1)).await;
    report(&moment).await;
    assert_eq!(moment.0.counts(At::Server).await, None);
    // Limits continue in this process.
    moment.spends("send A alice", ONE).await;
}
