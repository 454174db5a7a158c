//! The suite of `shared::delivery::queue::Queue`: each entry is claimed by one worker at a time, in order of priority,
//! and is settled or recovered.

mod claims;
mod delayed;
mod order;
mod unknown;
mod wake;

use std::sync::Arc;

use shared::delivery::queue::{Added, Claimed, Claims, Depth, Entry, Queue, Resolution};
use shared::delivery::work::{PushWork, Work};
use shared::ids::ConnectionId;
use shared::inbox::notification::Priority;

use crate::record::{at, user};

pub(crate) type Store = Arc<dyn Queue>;

/// Work for a user, identified by its offset.
pub(crate) fn work(name: &str, offset: i64) -> PushWork {
    PushWork {
        user: user(name),
        offset,
        fence_ms: 1_800_000_005_000 + offset,
        priority: Priority::Normal,
        throttled: 0,
        left: vec![ConnectionId::new("phone")],
    }
}

pub(crate) fn with_priority(priority: Priority, offset: i64) -> PushWork {
    PushWork { priority, ..work("alice", offset) }
}

pub(crate) fn due(work: PushWork) -> Entry {
    Entry { work: work.into(), wait_ms: 0 }
}

pub(crate) fn after(wait_ms: i64, work: PushWork) -> Entry {
    Entry { work: work.into(), wait_ms }
}

/// Adds entries, none of which may be refused.
async fn add(queue: &Store, entries: &[Entry], now_ms: i64) -> Added {
    let added = queue.add(entries, at(now_ms)).await;
    assert_eq!(added.refused, 0);
    added
}

/// Adds work for alice with these offsets, due at once.
async fn add_due(queue: &Store, offsets: std::ops::Range<i64>, now_ms: i64) {
    let entries: Vec<Entry> = offsets.map(|offset| due(work("alice", offset))).collect();
    add(queue, &entries, now_ms).await;
}

async fn claim(queue: &Store, limit: usize, now_ms: i64) -> Claims {
    queue.claim(limit, at(now_ms)).await.expect("the moment is available")
}

/// Claims, and returns the offsets of the claimed work.
async fn claimed(queue: &Store, limit: usize, now_ms: i64) -> Vec<i64> {
    offsets(&claim(queue, limit, now_ms).await.claimed)
}

fn offsets(claimed: &[Claimed]) -> Vec<i64> {
    claimed.iter().map(|claimed| push(claimed).offset).collect()
}

/// The claimed work, which must be a push.
pub(crate) fn push(claimed: &Claimed) -> &PushWork {
    match &claimed.work {
        Ok(Work::Push(push)) => push,
        other => panic!("a push was expected, and {other:?} was claimed"),
    }
}

async fn settle(queue: &Store, settled: &[Resolution], now_ms: i64) {
    assert!(queue.settle(settled, at(now_ms)).await, "the moment is available");
}

fn done(claimed: &[Claimed]) -> Vec<Resolution> {
    claimed.iter().map(|claimed| Resolution::Done(claimed.id.clone())).collect()
}

async fn depth(queue: &Store, now_ms: i64) -> Depth {
    queue.depth(at(now_ms)).await.expect("the moment is available")
}

/// How many entries are waiting, processing and delayed.
async fn counts(queue: &Store, now_ms: i64) -> [u64; 3] {
    let Depth { waiting, processing, delayed, .. } = depth(queue, now_ms).await;
    [waiting, processing, delayed]
}
