//! Writing logs that grow while they are read, so that something is left for the next reading, or of which a part gives no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use harness::TestApp;
use serde_json::json;
use shared::clock::At;
use shared::fast::log::{LogId, Logs, ReadLogs, Share, WriterId};
use shared::fast::write::{Extent, LogWriter, Written};
use shared::ids::UserId;
use shared::inbox::Page;

use crate::sending::sends;
use crate::strange_logs::{Strange, StrangeLogs};

/// Logs of which the first readings find only what came since they began.
struct Growing {
    logs: Arc<dyn Logs>,
    readings: AtomicUsize,
}

#[async_trait]
impl Strange for Growing {
    fn logs(&self) -> &Arc<dyn Logs> {
        &self.logs
    }

    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs {
        if self.readings.fetch_add(1, Ordering::Relaxed) < 3 {
            return ReadLogs { grown: logs.to_vec(), ..ReadLogs::default() };
        }
        self.logs.read(logs, share, writer, at).await
    }
}

/// Logs that have an instance which gives no answer, and of which a reading finds two entries at most.
struct PartlySilent {
    logs: Arc<dyn Logs>,
    is_silent: AtomicBool,
    readings: AtomicUsize,
}

impl PartlySilent {
    fn of(test: &TestApp) -> Arc<StrangeLogs<Self>> {
        let (logs, is_silent) = (test.app.moment.logs.clone(), AtomicBool::new(true));
        Arc::new(StrangeLogs(Self { logs, is_silent, readings: AtomicUsize::default() }))
    }
}

#[async_trait]
impl Strange for PartlySilent {
    fn logs(&self) -> &Arc<dyn Logs> {
        &self.logs
    }

    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs {
        self.readings.fetch_add(1, Ordering::Relaxed);
        let read = self.logs.read(logs, Share { entries: 2, ..share }, writer, at).await;
        ReadLogs { is_silent: self.is_silent.load(Ordering::Relaxed), ..read }
    }
}

/// Writes alice's log, which has an entry; also how often it was read, and how long that took.
async fn write_growing(extent: Extent) -> (Written, usize, Duration) {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    sends(&test, json!({"accept": "fast"})).await;
    let growing = Growing { logs: test.app.moment.logs.clone(), readings: AtomicUsize::default() };
    let logs = Arc::new(StrangeLogs(growing));
    let record = &test.app.record;
    let writer = LogWriter::new(record.fast.clone(), record.dead_letters.clone(), logs.clone());
    let (log, begun) = (LogId::of_user(&UserId::new("alice").unwrap()), std::time::Instant::now());
    let written = writer.write(&[log], extent, Duration::from_secs(10), test.app.clock.at()).await;
    (written, logs.0.readings.load(Ordering::Relaxed), begun.elapsed())
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

#[tokio::test]
async fn what_answers_is_written_before_an_act_while_another_part_gives_no_answer() {
    let mut test = TestApp::new().await;
    let logs = PartlySilent::of(&test);
    test.uses_logs(logs.clone());
    test.accepts_fast().await;
    for n in 0..5 {
        sends(&test, json!({"accept": "fast", "title": n.to_string()})).await;
    }
    assert_eq!(logs.0.readings.load(Ordering::Relaxed), 0);
    assert_eq!(sends(&test, json!({"title": "durable"})).await.status(), 202);
    let alice = UserId::new("alice").unwrap();
    let listed = test.app.record.inbox.list(&alice, &Page::default(), test.app.clock.at()).await.unwrap();
    let titles: Vec<&str> = listed.notifications.iter().map(|one| one.content.title.as_str()).collect();
    assert_eq!(titles, ["durable", "4", "3", "2", "1", "0"]);
}

#[tokio::test]
async fn a_drain_looks_again_a_second_later_where_a_part_gives_no_answer() {
    let mut test = TestApp::new().await;
    let logs = PartlySilent::of(&test);
    test.uses_logs(logs.clone());
    test.accepts_fast().await;
    sends(&test, json!({"accept": "fast"})).await;
    let drained = drain::handle(&test.app, test.clock.now_ms() + 60_000).await;
    assert_eq!(drained.persisted, 1);
    assert!(logs.0.readings.load(Ordering::Relaxed) <= 3, "{drained:?}");
    let depth = async || test.app.moment.queue.depth(test.app.clock.at()).await.unwrap();
    assert_eq!(depth().await.delayed, 1);
    logs.0.is_silent.store(false, Ordering::Relaxed);
    test.clock.advance(Duration::from_secs(1));
    drain::handle(&test.app, test.clock.now_ms() + 60_000).await;
    assert_eq!(depth().await.delayed, 0);
}
