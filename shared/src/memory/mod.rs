//! The moment in this process: for the local gateway and for tests. A process that ends forgets it, as
//! the moment may be forgotten at any time.

use async_trait::async_trait;

use crate::clock::At;
use crate::gcra::Buckets;
use crate::hints::{Accepted, Hints};
use crate::limits::{Limits, Spend, Verdict};
use crate::vitals::{Vital, Vitals};

/// Keeps the promises of the moment within one process.
#[derive(Debug, Default)]
pub struct MemoryMoment {
    buckets: Buckets,
}

#[async_trait]
impl Limits for MemoryMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        self.buckets.spend(spends, at.process_ms())
    }
}

#[async_trait]
impl Hints for MemoryMoment {
    /// There is no program beside this process that could listen.
    async fn accepted(&self, _: &[Accepted<'_>]) {}
}

#[async_trait]
impl Vitals for MemoryMoment {
    async fn vital(&self) -> Vital {
        Vital::Off
    }
}
