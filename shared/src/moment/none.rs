//! The moment where there is none: limits in this process, nobody who listens or keeps notes.

use async_trait::async_trait;

use crate::clock::At;
use crate::delivery::queue::{Added, Claims, Depth, Entry, Queue, Settled};
use crate::ids::NotificationId;
use crate::limits::gcra::Buckets;
use crate::limits::{Limits, Spend, Verdict};
use crate::telemetry::health::{Layout, Mode, Vital, Vitals};
use crate::telemetry::{Counts, Noted, Notes, Pushed};

/// Keeps the promises of the moment with `QUEUE_REDIS_ENABLED=false`: what a process forgets, it forgets.
#[derive(Debug, Default)]
pub struct WithoutMoment {
    buckets: Buckets,
}

#[async_trait]
impl Limits for WithoutMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        self.buckets.spend(spends, at.process_ms())
    }
}

#[async_trait]
impl Notes for WithoutMoment {
    async fn note(&self, _: &Noted<'_>, _: At) {}

    async fn counted(&self, _: At) -> Option<Counts> {
        None
    }

    async fn outcomes(&self, _: NotificationId, _: At) -> Option<Vec<Pushed>> {
        None
    }
}

/// Nothing waits here: everything is refused, and the record finds it.
#[async_trait]
impl Queue for WithoutMoment {
    async fn add(&self, entries: &[Entry], _: At) -> Added {
        Added { refused: entries.len(), drain_is_awake: None }
    }

    async fn claim(&self, _: usize, _: At) -> Option<Claims> {
        None
    }

    async fn settle(&self, _: &[Settled], _: At) -> bool {
        false
    }

    async fn watch(&self, _: At) -> Option<u64> {
        None
    }

    async fn rest(&self, _: At) -> Option<u64> {
        None
    }

    async fn depth(&self, _: At) -> Option<Depth> {
        None
    }
}

#[async_trait]
impl Vitals for WithoutMoment {
    async fn vital(&self) -> Vital {
        Vital::Off
    }

    async fn layout(&self) -> Layout {
        Layout { mode: Mode::Memory, instances: Vec::new() }
    }
}
