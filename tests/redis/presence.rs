//! Presence in Redis: the size of its keys, their format and lifetime, foreign values in them, and the effect of faults.

use std::time::{Duration, Instant};

use harness::redis_server::RedisServer;
use shared::clock::{At, Clock};
use shared::ids::{ConnectionId, UserId};
use shared::presence::{GRACE_MS, Left, Presence, Renewed, Settled};

use crate::moment::{MAX_IN_FLIGHT, Moment, ONE};

const LEASE_MS: i64 = 300_000;
fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn renew(moment: &Moment, connection: &str) -> Option<Renewed> {
    moment.0.renew(&user("alice"), &ConnectionId::new(connection), LEASE_MS, At::Server).await
}

async fn leave(moment: &Moment, connection: &str) -> Option<Left> {
    moment.0.leave(&user("alice"), &ConnectionId::new(connection), At::Server).await
}

async fn is_online(moment: &Moment) -> Option<bool> {
    moment.0.online(&[user("alice")], At::Server).await.map(|online| online[0])
}

/// The only key with leases.
fn key(server: &RedisServer) -> String {
    let keys = server.keys();
    let found: Vec<&String> = keys.iter().filter(|key| key.contains("}:on:")).collect();
    let [key] = found[..] else { panic!("{keys:?}") };
    key.clone()
}

#[tokio::test]
async fn a_user_with_one_device_costs_at_most_130_bytes() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    renew(&moment, "PJqB0fHsqRcCHlw=").await.unwrap();
    // The key's entry in the main table is part of it, that of its expiry, another 24 bytes, is not.
    let used: i64 = server.answers(&["MEMORY", "USAGE", &key(&server)]).unwrap();
    assert!(used <= 130, "{used} bytes");
}

#[tokio::test]
async fn leases_are_text_and_expire_after_twice_their_length() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    let begun_ms = Clock::system().now_ms();
    renew(&moment, "PJqB0fHsqRcCHlw=").await.unwrap();
    renew(&moment, "another").await.unwrap();
    leave(&moment, "PJqB0fHsqRcCHlw=").await.unwrap();
    let kept: String = server.answers(&["GET", &key(&server)]).unwrap();
    let (other, left) = kept.split_at(20);
    let ms = |text: &str| text[7..].parse::<i64>().unwrap();
    assert!(left.starts_with("kXIbm=-") && &other[6..7] == "+" && kept.len() == 40, "{kept}");
    assert!((begun_ms + GRACE_MS..begun_ms + GRACE_MS + 60_000).contains(&ms(left)), "{kept}");
    assert!((begun_ms + LEASE_MS..begun_ms + LEASE_MS + 60_000).contains(&ms(other)), "{kept}");
    let ttl_ms: i64 = server.answers(&["PTTL", &key(&server)]).unwrap();
    assert!((2 * LEASE_MS - 60_000..=2 * LEASE_MS).contains(&ttl_ms), "{ttl_ms}");
}

#[tokio::test]
async fn a_user_who_reconnects_all_the_time_keeps_a_bounded_number_of_leases() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    for n in 0..200 {
        renew(&moment, &format!("tab {n}")).await.unwrap();
        leave(&moment, &format!("tab {n}")).await.unwrap();
    }
    let length: usize = server.answers(&["STRLEN", &key(&server)]).unwrap();
    assert_eq!(length, 64 * 20);
    // The newest of them is among those that are kept.
    assert_eq!(leave(&moment, "tab 199").await, Some(Left::Last));
}

#[tokio::test]
async fn foreign_values_count_as_absent_and_are_counted_and_overwritten() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    renew(&moment, "phone").await.unwrap();
    let key = key(&server);
    let key = key.as_str();
    for command in [
        vec!["SET", key, "much"],
        vec!["SET", key, "kXIbm=*1800000000000"],
        vec!["RPUSH", key, "1"],
        vec!["SADD", key, "a"],
        vec!["HSET", key, "a", "b"],
        vec!["ZADD", key, "1", "a"],
        vec!["XADD", key, "*", "a", "b"],
    ] {
        server.does(&["DEL", key]);
        server.does(&command);
        let foreign_before = moment.0.foreign_values();
        assert_eq!(is_online(&moment).await, Some(false), "{command:?}");
        assert_eq!(moment.0.settle(&user("alice"), At::Server).await, Some(Settled::Unknown), "{command:?}");
        assert_eq!(renew(&moment, "phone").await, Some(Renewed::CameOnline), "{command:?}");
        assert_eq!(moment.0.foreign_values(), foreign_before + 3, "{command:?}");
        assert_eq!(is_online(&moment).await, Some(true), "{command:?}");
        assert_eq!(moment.0.foreign_values(), foreign_before + 3, "{command:?}");
    }
    server.does(&["DEL", key]);
    server.does(&["SET", key, "much"]);
    assert_eq!(leave(&moment, "phone").await, Some(Left::NotLast));
}

#[tokio::test]
async fn after_a_wipe_the_next_frame_brings_a_user_back() {
    let mut server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    renew(&moment, "phone").await.unwrap();
    assert_eq!(is_online(&moment).await, Some(true));
    server.is_wiped();
    server.is_back();
    moment.becomes_healthy_within(Duration::from_secs(10)).await;
    assert_eq!(is_online(&moment).await, Some(false));
    assert_eq!(renew(&moment, "phone").await, Some(Renewed::CameOnline));
    assert_eq!(is_online(&moment).await, Some(true));
}

#[tokio::test]
async fn without_redis_no_one_knows_and_no_one_waits() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.is_killed();
    moment.spends("until the breaker opens", ONE).await;
    moment.spends("until the breaker opens", ONE).await;
    let begun = Instant::now();
    assert_eq!(renew(&moment, "phone").await, None);
    assert_eq!(leave(&moment, "phone").await, None);
    assert_eq!(moment.0.settle(&user("alice"), At::Server).await, None);
    assert!(begun.elapsed() < MAX_IN_FLIGHT, "{:?}", begun.elapsed());
    assert_eq!(is_online(&moment).await, None);
}
