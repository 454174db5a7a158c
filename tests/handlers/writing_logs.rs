//! Writing logs that grow while they are read, so that something is left for the next reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use harness::TestApp;
use serde_json::json;
use shared::clock::At;
use shared::fast::log::{KeyClaim, LogEntry, LogId, Logged, Logs, ReadLogs, Share, Unwritten, UnwrittenLogs, WriterId};
use shared::fast::write::{Extent, LogWriter, Written};
use shared::ids::{SendId, UserId, Uuid};

use crate::sending::sends;

/// Logs of which the first readings find only what came since they began.
struct Growing {
    logs: Arc<dyn Logs>,
    readings: AtomicUsize,
}

#[async_trait]
impl Logs for Growing {
    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged> {
        self.logs.append(log, id, text, at).await
    }

    async fn claim_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<KeyClaim> {
        self.logs.claim_key(send, claim, at).await
    }

    async fn take_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<KeyClaim> {
        self.logs.take_key(send, claim, at).await
    }

    async fn claimed_key(&self, send: SendId, at: At) -> Option<KeyClaim> {
        self.logs.claimed_key(send, at).await
    }

    async fn unwritten(&self, logs: &[LogId]) -> UnwrittenLogs {
        self.logs.unwritten(logs).await
    }

    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs {
        if self.readings.fetch_add(1, Ordering::Relaxed) < 3 {
            return ReadLogs { grown: logs.to_vec(), ..ReadLogs::default() };
        }
        self.logs.read(logs, share, writer, at).await
    }

    async fn remove(&self, entries: &[LogEntry], writer: WriterId) -> Option<Vec<LogId>> {
        self.logs.remove(entries, writer).await
    }

    async fn release(&self, logs: &[LogId], writer: WriterId) {
        self.logs.release(logs, writer).await;
    }

    async fn unwritten_total(&self, at: At) -> Option<Unwritten> {
        self.logs.unwritten_total(at).await
    }
}

/// Writes alice's log, which has an entry; also how often it was read, and how long that took.
async fn write_growing(extent: Extent) -> (Written, usize, Duration) {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    sends(&test, json!({"accept": "fast"})).await;
    let logs = Arc::new(Growing { logs: test.app.moment.logs.clone(), readings: AtomicUsize::default() });
    let record = &test.app.record;
    let writer = LogWriter::new(record.fast.clone(), record.dead_letters.clone(), logs.clone());
    let (log, begun) = (LogId::of_user(&UserId::new("alice").unwrap()), std::time::Instant::now());
    let written = writer.write(&[log], extent, Duration::from_secs(10), test.app.clock.at()).await;
    (written, logs.readings.load(Ordering::Relaxed), begun.elapsed())
}

#[tokio::test]
async fn a_drain_reads_a_log_again_that_has_grown() {
    let (written, readings, took) = write_growing(Extent::Everything).await;
    assert_eq!(written, Written { entries: 1, ..Written::default() });
    assert_eq!(readings, 4);
    // Without keeping the moment busy.
    assert!(took >= Duration::from_millis(5 + 10 + 20), "{took:?}");
}

#[tokio::test]
async fn a_call_does_not_wait_for_what_came_after_it() {
    let (written, readings, _) = write_growing(Extent::Present).await;
    assert_eq!((written, readings), (Written::default(), 1));
}
