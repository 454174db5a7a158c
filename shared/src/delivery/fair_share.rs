//! The fair share of each priority and each shard in the next claim from the queue.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::work::{PRIORITIES, SHARDS};

/// Numbers of entries, by shard and then by priority, the most urgent first.
pub type CountsPerShard = [[usize; PRIORITIES]; SHARDS];

/// What one process keeps between its claims, so that shares are fair over all of them and not only within each.
#[derive(Debug, Default)]
pub struct FairShare {
    /// The next place of the wheel, before it is reduced to 15.
    wheel: AtomicUsize,
    /// The shard that is served first, before it is reduced to [`SHARDS`].
    first: AtomicUsize,
    /// Whether the next claim recovers a lapsed one, if there are other entries too.
    suspect: AtomicBool,
}

impl FairShare {
    /// How many of the waiting entries to claim, at most `limit` in total.
    ///
    /// The wheel has 15 places: 8 for critical entries (every second place), 4 for high, 2 for normal and 1 for low. A
    /// place whose priority has no entries goes to the most urgent one that has. Shards are served in turn, one entry
    /// each.
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

    /// The shard from which one lapsed claim is recovered now, alone; `None` if waiting entries are claimed instead.
    /// The two take turns if there are both. `lapsed`: the number of lapsed claims of each shard.
    pub fn next_recovery(&self, waiting: &CountsPerShard, lapsed: &[usize; SHARDS]) -> Option<usize> {
        let first = self.first.load(Ordering::Relaxed);
        let shard = (0..SHARDS).map(|n| (first + n) % SHARDS).find(|shard| lapsed[*shard] > 0)?;
        let is_alone = waiting.iter().flatten().all(|count| *count == 0);
        let is_its_turn = self.suspect.fetch_xor(true, Ordering::Relaxed) || is_alone;
        if is_its_turn {
            // So that the next one comes from another shard.
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
    fn urgent_priorities_get_more_places_and_none_starves() {
        let fair_share = FairShare::default();
        let plenty = [[1_000; PRIORITIES]; SHARDS];
        assert_eq!(shares(&fair_share.allot(&plenty, 15)), [8, 4, 2, 1]);
        assert_eq!(shares(&fair_share.allot(&plenty, 150)), [80, 40, 20, 10]);
        // Also if each claim takes only one.
        let mut sums = [0; PRIORITIES];
        for _ in 0..15 {
            for (sum, share) in sums.iter_mut().zip(shares(&fair_share.allot(&plenty, 1))) {
                *sum += share;
            }
        }
        assert_eq!(sums, [8, 4, 2, 1]);
    }

    #[test]
    fn places_of_an_empty_priority_go_to_the_others() {
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
    fn a_large_shard_does_not_delay_the_others() {
        let fair_share = FairShare::default();
        let mut waiting = [[0, 0, 1, 0]; SHARDS];
        waiting[5][2] = 10_000;
        let taken = fair_share.allot(&waiting, 64);
        assert!(taken.iter().all(|shard| shard[2] >= 1));
        assert_eq!(taken[5][2], 64 - 15);
        // If each claim takes only one, the shards take turns.
        let even = [[0, 0, 1, 0]; SHARDS];
        let mut first: Vec<usize> =
            (0..SHARDS).map(|_| fair_share.allot(&even, 1).iter().position(|shard| shard[2] == 1).unwrap()).collect();
        first.sort_unstable();
        assert_eq!(first, (0..SHARDS).collect::<Vec<usize>>());
    }

    #[test]
    fn lapsed_claims_and_waiting_entries_take_turns() {
        let fair_share = FairShare::default();
        let (mut busy, mut lapsed) = ([[0; PRIORITIES]; SHARDS], [0; SHARDS]);
        busy[0][2] = 1;
        assert_eq!(fair_share.next_recovery(&busy, &lapsed), None);
        lapsed[7] = 2;
        let found: Vec<Option<usize>> = (0..4).map(|_| fair_share.next_recovery(&busy, &lapsed)).collect();
        assert_eq!(found, [None, Some(7), None, Some(7)]);
        let idle = [[0; PRIORITIES]; SHARDS];
        let found: Vec<Option<usize>> = (0..2).map(|_| fair_share.next_recovery(&idle, &lapsed)).collect();
        assert_eq!(found, [Some(7), Some(7)]);
    }
}
