//! Chance that can be repeated: the same seed, the same throws.

use std::sync::atomic::{AtomicU64, Ordering};

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) struct Dice(AtomicU64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn throw(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to `count` - 1.
    pub(crate) fn below(&self, count: usize) -> usize {
        (self.throw() % count as u64) as usize
    }

    /// Whether something happens that does in this share of all cases.
    pub(crate) fn falls(&self, share: f64) -> bool {
        ((self.throw() >> 11) as f64) < share * (1_u64 << 53) as f64
    }
}
