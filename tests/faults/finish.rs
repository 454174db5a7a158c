//! The end of a scenario: waits until no work is left, compares what was promised with what exists, and reports.

use std::time::{Duration, Instant};

use shared::clock::At;
use shared::delivery::queue::Queue;

use crate::checker::{self, Found};
use crate::device::Device;
use crate::report::{self, Report};
use crate::scenarios::Scenario;
use crate::sender::Sent;
use crate::servers::Servers;
use crate::testbed::{IDLE_TIMEOUT, Testbed, pause};

/// How long senders go on after the fault.
const SEND_AFTER_FAULT: Duration = Duration::from_secs(3);
/// How long work may wait for its next attempt. After that it is made due, because the backoff can reach five minutes.
const MAX_BACKOFF_WAIT: Duration = Duration::from_secs(9);
/// How many accepted sends are repeated to compare the answers.
const REPLAYED_KEYS: usize = 60;

impl Testbed {
    /// Waits until no work is left and every device shows everything, at most for `IDLE_TIMEOUT`.
    pub(crate) async fn wait_until_idle(&self) {
        let started = Instant::now();
        while started.elapsed() < IDLE_TIMEOUT && !self.is_idle().await {
            if started.elapsed() > MAX_BACKOFF_WAIT {
                self.make_due().await;
            }
            pause(300).await;
        }
    }

    /// How many rows and chunks wait in the database.
    pub(crate) async fn waiting(&self) -> i64 {
        let waiting = "SELECT (SELECT count(*) FROM notifications WHERE push_at IS NOT NULL)
                            + (SELECT count(*) FROM send_chunks WHERE state = 'waiting')";
        self.count(waiting).await
    }

    /// How many entries of the queue are due and not claimed.
    async fn queued(&self) -> u64 {
        self.queue.depth(At::Server).await.map_or(0, |depth| depth.waiting)
    }

    async fn is_idle(&self) -> bool {
        if self.waiting().await > 0 || self.queued().await > 0 {
            return false;
        }
        let heads: Vec<(String, i64)> =
            sqlx::query_as("SELECT user_id, head FROM inboxes").fetch_all(&self.database).await.unwrap();
        let is_up_to_date =
            |device: &Device| heads.iter().all(|(user, head)| device.user != *user || device.offset() == *head);
        self.devices.iter().all(is_up_to_date)
    }

    /// Checks I4: a repeated key gets its first answer again.
    async fn check_replays(&self, found: &mut Found) {
        let accepted = self.service.log.accepted.lock().unwrap().clone();
        let step = accepted.len().div_ceil(REPLAYED_KEYS).max(1);
        for sent in accepted.iter().step_by(step) {
            let headers =
                [("authorization", self.service.authorization.as_str()), ("content-type", "application/json")];
            let path = "/api/notifications/send";
            let call = harness::http::call(self.service.address, "POST", path, &headers, sent.request.to_string());
            let answer = call.await;
            if answer.text != sent.answer || answer.header("idempotency-replayed") != "true" {
                let how =
                    format!("{} was answered {} first and {} later", sent.request["title"], sent.answer, answer.text);
                found.violated("I4", how);
            }
        }
    }

    /// Ends the scenario: ends the fault, waits until no work is left, compares, and shuts down.
    pub(crate) async fn finish(mut self, scenario: &Scenario) -> (Servers, Report) {
        if self.fault_ended.is_none() {
            self.end_fault();
        }
        let fault_ended = self.fault_ended.unwrap_or(self.started_at);
        self.start_schedule();
        if !self.load.is_empty() {
            tokio::time::sleep(SEND_AFTER_FAULT).await;
        }
        self.stop_senders().await;
        self.wait_until_idle().await;
        let accepted = self.service.log.accepted.lock().unwrap().clone();
        let mut found = checker::compare(&self.database, &accepted, &self.devices).await;
        self.check_replays(&mut found).await;
        // Entries that fall due only now, or were claimed, are found to be stale and leave the queue.
        let (started, mut queued) = (Instant::now(), self.queued().await);
        while queued > 0 && started.elapsed() < MAX_BACKOFF_WAIT {
            pause(300).await;
            queued = self.queued().await;
        }
        if queued > 0 {
            found.violated("I8", format!("{queued} entries still wait in the queue"));
        }
        let duplicates = self.duplicate_frames();
        if self.forbids_duplicates && duplicates > 0 {
            found.violated("frames", format!("{duplicates} frames came twice although no push failed"));
        }
        let dead_letters = self.count("SELECT count(*) FROM dead_letters").await;
        if dead_letters > 0 {
            self.note(format!("{dead_letters} tasks were dead-lettered"));
        }
        if let Some([accepted, lost]) = self.baseline {
            (found.accepted, found.lost) = (accepted, lost);
        }
        for failure in &self.failures {
            found.violated(scenario.id, failure.clone());
        }
        let report = self.report(scenario, found, &accepted, fault_ended);
        self.schedule.abort();
        self.devices.clear();
        self.gateway.stop().await;
        self.database.close().await;
        // With a smaller data directory, the next Postgres that is killed recovers faster.
        self.servers.postgres.drops(&self.name).await;
        (self.servers, report)
    }

    fn report(&mut self, scenario: &Scenario, mut found: Found, accepted: &[Sent], fault_ended: Instant) -> Report {
        let attempts = self.service.log.attempts.lock().unwrap();
        for call in attempts.iter().filter(|call| (400..500).contains(&call.status) && call.status != 429) {
            found.violated("answers", format!("a valid send was answered with {} {}", call.status, call.code));
        }
        let refused = attempts.iter().filter(|call| !(200..300).contains(&call.status)).count();
        Report {
            id: scenario.id,
            title: scenario.title,
            is_baseline: self.baseline.is_some(),
            accept_ms: report::accept_ms(attempts.iter()),
            recovery: report::recovery(accepted, &self.devices, fault_ended),
            retries: attempts.iter().filter(|call| call.is_retry).count(),
            refused: refused as f64 / attempts.len().max(1) as f64,
            notes: std::mem::take(&mut self.notes),
            took: self.started_at.elapsed(),
            found,
        }
    }
}
