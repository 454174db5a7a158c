//! The queue: rates and memory by the number of entries that wait. A full queue refuses entries, which the record then finds.

use std::time::Instant;

use harness::redis_server::RedisServer;
use shared::clock::At;
use shared::delivery::queue::{Entry, Queue, Resolution};

use super::{count, moment, used_bytes};
use crate::queue::entry;
use crate::report::{figure, number};

/// How many entries are enqueued.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// How many are enqueued with one call.
const AT_ONCE: usize = 1_000;
/// How many are claimed and settled while the others wait, at most.
const CLAIMED: usize = 10_000;

pub(super) async fn measure() {
    for size in SIZES {
        wait(size).await;
    }
}

async fn wait(size: usize) {
    let redis = RedisServer::start();
    let queue = moment(&redis.config("growth"));
    // Connects, and loads the scripts.
    queue.add(&[], At::Server).await;
    let before = used_bytes(&redis);
    let (mut refused, began) = (0, Instant::now());
    for first in (0..size).step_by(AT_ONCE) {
        let entries: Vec<Entry> = (first..first + AT_ONCE).map(entry).collect();
        refused += queue.add(&entries, At::Server).await.refused;
    }
    let enqueued = size as f64 / began.elapsed().as_secs_f64();
    let (bytes, waiting) = (used_bytes(&redis) - before, size - refused);
    assert_eq!(queue.depth(At::Server).await.unwrap().waiting, waiting as u64, "WRONG");

    let (mut claimed, began) = (0, Instant::now());
    while claimed < waiting.min(CLAIMED) {
        let claims = queue.claim(64, At::Server).await.unwrap().claimed;
        claimed += claims.len();
        let done: Vec<Resolution> = claims.into_iter().map(|claimed| Resolution::Done(claimed.id)).collect();
        assert!(queue.settle(&done, At::Server).await && !done.is_empty(), "WRONG");
    }
    let processed = claimed as f64 / began.elapsed().as_secs_f64();

    let named = |what: &str| format!("queue, {} enqueued: {what}", count(size));
    figure(&named("waiting"), count(waiting), "entries", "the others were refused: each of 16 shards has a bound");
    figure(&named("added"), number(enqueued, 0), "entries/s", "1,000 with each call, one call after the other");
    let how = format!("{} claimed and settled, 64 at once, without the record", count(claimed));
    figure(&named("processed"), number(processed, 0), "entries/s", &how);
    figure(&named("Redis"), number(bytes / 1_048_576.0, 1), "MiB", "used_memory, less that of the empty server");
    figure(&named("Redis, each"), number(bytes / waiting as f64, 0), "bytes", "the same for each entry that waits");
}
