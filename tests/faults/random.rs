//! Repeatable random numbers: the same seed gives the same sequence.

use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to `count` - 1.
    pub(crate) fn below(&self, count: usize) -> usize {
        (self.next_u64() % count as u64) as usize
    }

    /// Returns true with this probability.
    pub(crate) fn chance(&self, share: f64) -> bool {
        ((self.next_u64() >> 11) as f64) < share * (1_u64 << 53) as f64
    }
}
