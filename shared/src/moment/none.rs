//! The moment of a deployment without Redis (`QUEUE_REDIS_ENABLED=false`): limits are kept in each process, nothing is
//! counted and nothing is queued.

use async_trait::async_trait;

use crate::clock::At;
use crate::delivery::queue::{Added, Claims, Depth, Entry, Queue, Resolution};
use crate::ids::NotificationId;
use crate::limits::gcra::Buckets;
use crate::limits::{Limits, Spend, Verdict};
use crate::telemetry::health::{Health, Instances, Mode, Status};
use crate::telemetry::{Counts, PushAttempt, Report, Telemetry};

/// Keeps what it can of the promises of the moment without a store.
#[derive(Debug, Default)]
pub struct NoMoment {
    buckets: Buckets,
}

#[async_trait]
impl Limits for NoMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        self.buckets.spend(spends, at.process_ms())
    }

    async fn give_back(&self, spends: &[Spend], _: At) {
        self.buckets.give_back(spends);
    }
}

#[async_trait]
impl Telemetry for NoMoment {
    async fn report(&self, _: &Report<'_>, _: At) {}

    async fn counts(&self, _: At) -> Option<Counts> {
        None
    }

    async fn outcomes(&self, _: NotificationId, _: At) -> Option<Vec<PushAttempt>> {
        None
    }
}

/// Everything is refused, and the record finds it.
#[async_trait]
impl Queue for NoMoment {
    async fn add(&self, entries: &[Entry], _: At) -> Added {
        Added { refused: entries.len(), drain_is_awake: None }
    }

    async fn claim(&self, _: usize, _: At) -> Option<Claims> {
        None
    }

    async fn settle(&self, _: &[Resolution], _: At) -> bool {
        false
    }

    async fn heartbeat(&self, _: At) -> Option<u64> {
        None
    }

    async fn sign_off(&self, _: At) -> Option<u64> {
        None
    }

    async fn depth(&self, _: At) -> Option<Depth> {
        None
    }
}

#[async_trait]
impl Health for NoMoment {
    async fn check(&self) -> Status {
        Status::Off
    }

    async fn instances(&self) -> Instances {
        Instances { mode: Mode::Memory, instances: Vec::new() }
    }
}
