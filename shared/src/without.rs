//! The moment where there is none: limits in this process, nobody who listens.

use async_trait::async_trait;

use crate::clock::At;
use crate::gcra::Buckets;
use crate::hints::{Accepted, Hints};
use crate::limits::{Limits, Spend, Verdict};
use crate::vitals::{Vital, Vitals};

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
impl Hints for WithoutMoment {
    async fn accepted(&self, _: &[Accepted<'_>]) {}
}

#[async_trait]
impl Vitals for WithoutMoment {
    async fn vital(&self) -> Vital {
        Vital::Off
    }
}
