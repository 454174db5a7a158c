//! Whose turn it is in the queue: how much of each priority and each shard goes into the next claim.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::work::{PRIORITIES, SHARDS};

/// Numbers, by shard and then by priority, the most urgent first.
pub type CountsPerShard = [[usize; PRIORITIES]; SHARDS];

/// What the claims of one process remember of each other.
#[derive(Debug, Default)]
pub struct FairShare {
    /// Where the wheel stands.
    wheel: AtomicUsize,
    /// The shard that comes first.
    first: AtomicUsize,
    /// Whether it is the turn of one whose claim lapsed.
    suspect: AtomicBool,
}

impl FairShare {
    /// What to take of so many that wait, `limit` at most.
    ///
    /// The wheel has 15 places: 8 for critical ones, every second of them, 4 for high, 2 for normal and 1 for low. A
    /// place for which nobody waits goes to the most urgent of the others. All shards have the same turn.
    pub fn allot(&self, waiting: &CountsPerShard, limit: usize) -> CountsPerShard {
        let mut left = [0; PRIORITIES];
        for (rank, left) in left.iter_mut().enumerate() {
            *left = waiting.iter().map(|shard| shard[rank]).sum();
        }
        let mut shares = [0; PRIORITIES];
        for _ in 0..limit.min(left.iter().sum()) {
            let place = self.wheel.fetch_add(1, Ordering::Relaxed) % 15 + 1;
            let rank = place.trailing_zeros() as usize;
            let ranks = std::iter::once(rank).chain(0..PRIORITIES);
            if let Some(rank) = ranks.into_iter().find(|rank| left[*rank] > 0) {
                left[rank] -= 1;
                shares[rank] += 1;
            }
        }
        let first = self.first.fetch_add(1, Ordering::Relaxed);
        let mut taken = [[0; PRIORITIES]; SHARDS];
        for (rank, share) in shares.iter_mut().enumerate() {
            while *share > 0 {
                for n in 0..SHARDS {
                    let shard = (first + n) % SHARDS;
                    if *share > 0 && taken[shard][rank] < waiting[shard][rank] {
                        taken[shard][rank] += 1;
                        *share -= 1;
                    }
                }
            }
        }
        taken
    }

    /// The shard of whose lapsed claims one is to be taken now, alone; `None` where it is the turn of what waits.
    /// `lapsed`: how many each shard has.
    pub fn suspect(&self, waiting: &CountsPerShard, lapsed: &[usize; SHARDS]) -> Option<usize> {
        let first = self.first.load(Ordering::Relaxed);
        let shard = (0..SHARDS).map(|n| (first + n) % SHARDS).find(|shard| lapsed[*shard] > 0)?;
        let is_alone = waiting.iter().flatten().all(|count| *count == 0);
        let is_its_turn = self.suspect.fetch_xor(true, Ordering::Relaxed) || is_alone;
        if is_its_turn {
            // The next one comes from another shard.
            self.first.fetch_add(1, Ordering::Relaxed);
        }
        is_its_turn.then_some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(taken: &CountsPerShard) -> [usize; PRIORITIES] {
        std::array::from_fn(|rank| taken.iter().map(|shard| shard[rank]).sum())
    }

    #[test]
    fn what_is_urgent_has_more_turns_and_nobody_has_none() {
        let fair_share = FairShare::default();
        let plenty = [[1_000; PRIORITIES]; SHARDS];
        assert_eq!(shares(&fair_share.allot(&plenty, 15)), [8, 4, 2, 1]);
        assert_eq!(shares(&fair_share.allot(&plenty, 150)), [80, 40, 20, 10]);
        // However few are claimed at once.
        let mut sums = [0; PRIORITIES];
        for _ in 0..15 {
            for (sum, share) in sums.iter_mut().zip(shares(&fair_share.allot(&plenty, 1))) {
                *sum += share;
            }
        }
        assert_eq!(sums, [8, 4, 2, 1]);
    }

    #[test]
    fn what_nobody_waits_for_goes_to_the_others() {
        let fair_share = FairShare::default();
        let mut waiting = [[0; PRIORITIES]; SHARDS];
        waiting[3] = [1, 0, 0, 100];
        waiting[9] = [0, 0, 5, 0];
        let taken = fair_share.allot(&waiting, 64);
        assert_eq!(shares(&taken), [1, 0, 5, 58]);
        assert_eq!((taken[3], taken[9]), ([1, 0, 0, 58], [0, 0, 5, 0]));
        assert_eq!(fair_share.allot(&[[0; PRIORITIES]; SHARDS], 64), [[0; PRIORITIES]; SHARDS]);
        assert_eq!(shares(&fair_share.allot(&waiting, usize::MAX)), [1, 0, 5, 100]);
    }

    #[test]
    fn no_shard_waits_for_another() {
        let fair_share = FairShare::default();
        let mut waiting = [[0, 0, 1, 0]; SHARDS];
        waiting[5][2] = 10_000;
        let taken = fair_share.allot(&waiting, 64);
        assert!(taken.iter().all(|shard| shard[2] >= 1));
        assert_eq!(taken[5][2], 64 - 15);
        // Where there is room for one, each comes in its turn.
        let even = [[0, 0, 1, 0]; SHARDS];
        let mut first: Vec<usize> =
            (0..SHARDS).map(|_| fair_share.allot(&even, 1).iter().position(|shard| shard[2] == 1).unwrap()).collect();
        first.sort_unstable();
        assert_eq!(first, (0..SHARDS).collect::<Vec<usize>>());
    }

    #[test]
    fn suspects_and_others_take_turns() {
        let fair_share = FairShare::default();
        let (mut busy, mut lapsed) = ([[0; PRIORITIES]; SHARDS], [0; SHARDS]);
        busy[0][2] = 1;
        assert_eq!(fair_share.suspect(&busy, &lapsed), None);
        lapsed[7] = 2;
        let found: Vec<Option<usize>> = (0..4).map(|_| fair_share.suspect(&busy, &lapsed)).collect();
        assert_eq!(found, [None, Some(7), None, Some(7)]);
        let idle = [[0; PRIORITIES]; SHARDS];
        let found: Vec<Option<usize>> = (0..2).map(|_| fair_share.suspect(&idle, &lapsed)).collect();
        assert_eq!(found, [Some(7), Some(7)]);
    }
}
