//! The moment in this process, for the local gateway and for tests. It ends with the process, as the moment may end at any
//! time.

mod queue;
mod telemetry;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::queue::MemoryQueue;
use self::telemetry::Recorded;
use crate::clock::At;
use crate::delivery::queue::{Added, Claims, Depth, Entry, Queue, Resolution};
use crate::ids::NotificationId;
use crate::limits::gcra::Buckets;
use crate::limits::{Limits, Spend, Verdict};
use crate::telemetry::health::{BreakerState, Health, Instance, Instances, Mode, Status};
use crate::telemetry::{Counts, PushAttempt, Report, Telemetry};

/// Keeps the promises of the moment in one process.
#[derive(Debug, Default)]
pub struct MemoryMoment {
    buckets: Buckets,
    telemetry: Mutex<Recorded>,
    queue: Mutex<MemoryQueue>,
    operations: AtomicU64,
}

impl MemoryMoment {
    fn telemetry(&self) -> MutexGuard<'_, Recorded> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held left at worst part of one report.
        self.telemetry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, MemoryQueue> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        // A panic while the lock was held lost at worst an entry that the record knows.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Limits for MemoryMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        self.buckets.spend(spends, at.process_ms())
    }

    async fn give_back(&self, spends: &[Spend], _: At) {
        self.buckets.give_back(spends);
    }
}

#[async_trait]
impl Telemetry for MemoryMoment {
    /// Hints are dropped: no other program can listen to this process.
    async fn report(&self, report: &Report<'_>, at: At) {
        self.telemetry().report(report, at.process_ms());
    }

    async fn counts(&self, at: At) -> Option<Counts> {
        Some(self.telemetry().counts(at.process_ms()))
    }

    async fn outcomes(&self, id: NotificationId, at: At) -> Option<Vec<PushAttempt>> {
        Some(self.telemetry().outcomes(id, at.process_ms()))
    }
}

#[async_trait]
impl Queue for MemoryMoment {
    async fn add(&self, entries: &[Entry], at: At) -> Added {
        self.queue().add(entries, at.process_ms())
    }

    async fn claim(&self, limit: usize, at: At) -> Option<Claims> {
        Some(self.queue().claim(limit, at.process_ms()))
    }

    async fn settle(&self, settled: &[Resolution], at: At) -> bool {
        self.queue().settle(settled, at.process_ms());
        true
    }

    async fn heartbeat(&self, at: At) -> Option<u64> {
        Some(self.queue().heartbeat(at.process_ms()))
    }

    async fn sign_off(&self, _: At) -> Option<u64> {
        Some(self.queue().sign_off())
    }

    async fn depth(&self, at: At) -> Option<Depth> {
        Some(self.queue().depth(at.process_ms()))
    }
}

#[async_trait]
impl Health for MemoryMoment {
    async fn check(&self) -> Status {
        Status::Off
    }

    /// No operation takes long enough to be measured.
    async fn instances(&self) -> Instances {
        let instance = Instance {
            name: "memory".into(),
            healthy: true,
            role: None,
            operations: self.operations.load(Ordering::Relaxed),
            errors: 0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            used_memory_bytes: None,
            breaker: BreakerState::Closed,
            last_error: None,
        };
        Instances { mode: Mode::Memory, instances: vec![instance] }
    }
}
