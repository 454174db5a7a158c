//! The end of a row: everything comes to rest, and what was promised is compared with what there is.

use std::time::{Duration, Instant};

use shared::clock::At;
use shared::delivery::queue::Queue;

use crate::checker::{self, Found};
use crate::device::Device;
use crate::report::{self, Report};
use crate::rows::Row;
use crate::sender::Sent;
use crate::servers::Servers;
use crate::stage::{QUIESCENCE, Stage, pause};

/// How long sending goes on after the fault.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// From then on what waits for its next try is due at once, so that nobody waits for five minutes.
const PATIENCE: Duration = Duration::from_secs(9);
/// How many keys are sent again to compare the answers.
const REPEATED: usize = 60;

impl Stage {
    /// Waits until nothing waits and every device has everything, or for as long as that may take.
    pub(crate) async fn comes_to_rest(&self) {
        let begun = Instant::now();
        while begun.elapsed() < QUIESCENCE && !self.is_at_rest().await {
            if begun.elapsed() > PATIENCE {
                self.is_due().await;
            }
            pause(300).await;
        }
    }

    /// How many rows and chunks wait in the record.
    pub(crate) async fn waiting(&self) -> i64 {
        let waiting = "SELECT (SELECT count(*) FROM notifications WHERE push_at IS NOT NULL)
                            + (SELECT count(*) FROM send_chunks WHERE state = 'waiting')";
        self.counts(waiting).await
    }

    /// How many entries of the queue are due and nobody's.
    async fn queued(&self) -> u64 {
        self.queue.depth(At::Server).await.map_or(0, |depth| depth.waiting)
    }

    async fn is_at_rest(&self) -> bool {
        if self.waiting().await > 0 || self.queued().await > 0 {
            return false;
        }
        let heads: Vec<(String, i64)> =
            sqlx::query_as("SELECT user_id, head FROM inboxes").fetch_all(&self.database).await.unwrap();
        let is_there =
            |device: &Device| heads.iter().all(|(user, head)| device.user != *user || device.offset() == *head);
        self.devices.iter().all(is_there)
    }

    /// Every repeat of a key must get its first answer: I4.
    async fn repeats(&self, found: &mut Found) {
        let accepted = self.service.log.accepted.lock().unwrap().clone();
        let step = accepted.len().div_ceil(REPEATED).max(1);
        for sent in accepted.iter().step_by(step) {
            let headers =
                [("authorization", self.service.authorization.as_str()), ("content-type", "application/json")];
            let path = "/api/notifications/send";
            let call = harness::http::call(self.service.address, "POST", path, &headers, sent.asked.to_string());
            let answer = call.await;
            if answer.text != sent.answer || answer.header("idempotency-replayed") != "true" {
                let how = format!("{} was answered {} and then {}", sent.asked["title"], sent.answer, answer.text);
                found.breaks("I4", how);
            }
        }
    }

    /// Ends the row: mends what is broken, lets everything come to rest, and compares.
    pub(crate) async fn ends(mut self, row: &Row) -> (Servers, Report) {
        if self.healed.is_none() {
            self.heals();
        }
        let healed = self.healed.unwrap_or(self.begun);
        self.starts_the_schedule();
        if !self.load.is_empty() {
            tokio::time::sleep(AFTERWARDS).await;
        }
        self.sends_no_more().await;
        self.comes_to_rest().await;
        let accepted = self.service.log.accepted.lock().unwrap().clone();
        let mut found = checker::compare(&self.database, &accepted, &self.devices).await;
        self.repeats(&mut found).await;
        // What falls due only now, or was another's, is found to be stale.
        let (begun, mut queued) = (Instant::now(), self.queued().await);
        while queued > 0 && begun.elapsed() < PATIENCE {
            pause(300).await;
            queued = self.queued().await;
        }
        if queued > 0 {
            found.breaks("I8", format!("{queued} still wait in the queue"));
        }
        let doubled = self.doubled_frames();
        if self.doubles_nothing && doubled > 0 {
            found.breaks("frames", format!("{doubled} came twice though the gateway took all of them"));
        }
        let letters = self.counts("SELECT count(*) FROM dead_letters").await;
        if letters > 0 {
            self.remarks(format!("{letters} were set aside"));
        }
        if let Some([accepted, lost]) = self.baseline {
            (found.accepted, found.lost) = (accepted, lost);
        }
        for broken in &self.broken {
            found.breaks(row.number, broken.clone());
        }
        let report = self.report(row, found, &accepted, healed);
        self.schedule.abort();
        self.devices.clear();
        self.gateway.stop().await;
        self.database.close().await;
        // What is killed next has less to sync before it is back.
        self.servers.postgres.drops(&self.name).await;
        (self.servers, report)
    }

    fn report(&mut self, row: &Row, mut found: Found, accepted: &[Sent], healed: Instant) -> Report {
        let tries = self.service.log.tries.lock().unwrap();
        for call in tries.iter().filter(|call| (400..500).contains(&call.status) && call.status != 429) {
            found.breaks("answers", format!("a good send was answered {} {}", call.status, call.code));
        }
        let refused = tries.iter().filter(|call| !(200..300).contains(&call.status)).count();
        Report {
            number: row.number,
            what: row.what,
            is_baseline: self.baseline.is_some(),
            accept_ms: report::accept_ms(tries.iter()),
            recovery: report::recovery(accepted, &self.devices, healed),
            retries: tries.iter().filter(|call| call.is_retry).count(),
            refused: refused as f64 / tries.len().max(1) as f64,
            remarks: std::mem::take(&mut self.remarks),
            took: self.begun.elapsed(),
            found,
        }
    }
}
