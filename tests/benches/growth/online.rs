//! Presence: what the leases of users take in Redis, and how long it takes to read those of 200, by the number of users online.

use std::time::Instant;

use futures_util::future::join_all;
use harness::redis_server::RedisServer;
use shared::clock::At;
use shared::ids::{ConnectionId, UserId};
use shared::moment::redis::RedisMoment;
use shared::presence::{MAX_ASKED, Presence, Renewed};

use super::{count, moment, p50_and_p99, timed, used_bytes};
use crate::report::{figure, number};

/// The numbers of users online, each with one connection.
const SIZES: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
/// How many come online at once.
const AT_ONCE: usize = 500;
/// Longer than this takes.
const LEASE_MS: i64 = 3_600_000;
/// How often users are asked about.
const READS: usize = 300;

pub(super) async fn measure() {
    let redis = RedisServer::start();
    let presence = moment(&redis.config("growth"));
    // Connects, and loads the scripts.
    presence.online(&[user(0)], At::Server).await.unwrap();
    let (before, mut online) = (used_bytes(&redis), 0);
    for size in SIZES {
        let began = Instant::now();
        come_online(&presence, online, size).await;
        let rate = (size - online) as f64 / began.elapsed().as_secs_f64();
        online = size;
        let bytes = used_bytes(&redis) - before;
        let asked = size.min(MAX_ASKED);
        let mut taken = Vec::new();
        for read in 0..READS {
            let users: Vec<UserId> = (0..asked).map(|n| user((n * (size / asked) + read) % size)).collect();
            let found = timed(&mut taken, presence.online(&users, At::Server)).await;
            assert_eq!(found, Some(vec![true; asked]), "WRONG");
        }
        let named = |what: &str| format!("{} online: {what}", count(size));
        let how = format!("one lease each, {AT_ONCE} at once; those who were not online before");
        figure(&named("came online"), number(rate, 0), "users/s", &how);
        figure(&named("Redis"), number(bytes / 1_048_576.0, 1), "MiB", "used_memory, less that of the empty server");
        figure(&named("Redis, each"), number(bytes / size as f64, 0), "bytes", "the same for each user");
        let how = format!("{asked} users in one call, p50 / p99; {READS} calls");
        figure(&named("read"), p50_and_p99(&taken), "ms", &how);
    }
}

/// Lets the users from `first` to before `end` come online.
async fn come_online(presence: &RedisMoment, first: usize, end: usize) {
    for first in (first..end).step_by(AT_ONCE) {
        let coming = (first..end.min(first + AT_ONCE)).map(|n| async move {
            let connection = ConnectionId::new(format!("PJqB0fHsq{n:07}="));
            presence.renew(&user(n), &connection, LEASE_MS, At::Server).await
        });
        let renewed = join_all(coming).await;
        assert!(renewed.iter().all(|renewed| *renewed == Some(Renewed::CameOnline)), "WRONG");
    }
}

fn user(n: usize) -> UserId {
    UserId::new(format!("user-{n}")).unwrap()
}
