//! How partitions are divided among instances: by rendezvous hashing, so that an instance that comes or goes moves only its
//! own share, and every process finds the same home by itself.

use crate::config::RedisInstance;
use crate::ids::sha256;
use crate::moment::redis::keys::Partition;

/// One instance among which partitions are divided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// From its address, so that its share does not depend on its place in the list.
    seed: u64,
    weight: f64,
}

impl Candidate {
    pub(crate) fn new(instance: &RedisInstance) -> Self {
        let hash = sha256(instance.address().as_bytes());
        let seed = u64::from_be_bytes(std::array::from_fn(|n| hash[n]));
        Self { seed, weight: f64::from(instance.weight) }
    }

    /// How well it suits a partition: the highest is its home. The shares are as the weights.
    fn score(self, partition: Partition) -> f64 {
        // Between 0 and 1, without either.
        let random = (mixed(self.seed ^ mixed(partition.number())) >> 11) as f64;
        let random = (random + 0.5) / (1_u64 << 53) as f64;
        -self.weight / random.ln()
    }
}

/// All instances by their numbers, the one that suits a partition best first.
pub(crate) fn ranked(candidates: &[Candidate], partition: Partition) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..candidates.len()).collect();
    ranked.sort_by(|one, other| candidates[*other].score(partition).total_cmp(&candidates[*one].score(partition)));
    ranked
}

/// Spreads a number over all bits (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn candidates(instances: &[(&str, u32)]) -> Vec<Candidate> {
        let instance = |(host, weight): &(&str, u32)| RedisInstance {
            url: Secret::new(format!("redis://{host}")),
            weight: *weight,
        };
        instances.iter().map(|named| Candidate::new(&instance(named))).collect()
    }

    fn homes(candidates: &[Candidate]) -> Vec<usize> {
        (0..1_024).map(|n| ranked(candidates, Partition::Hashed(n))[0]).collect()
    }

    fn share(homes: &[usize], instance: usize) -> usize {
        homes.iter().filter(|home| **home == instance).count()
    }

    #[test]
    fn the_homes_never_change() {
        let candidates = candidates(&[("a", 1), ("b", 1), ("c", 1)]);
        let partitions = (0..6).map(Partition::Hashed).chain([Partition::Shard(0), Partition::Drains]);
        let ranked: Vec<Vec<usize>> = partitions.map(|partition| ranked(&candidates, partition)).collect();
        let expected = [[0, 2, 1], [0, 2, 1], [2, 0, 1], [2, 1, 0], [1, 2, 0], [0, 1, 2], [2, 1, 0], [2, 0, 1]];
        assert_eq!(ranked, expected);
    }

    #[test]
    fn the_shares_are_as_the_weights() {
        let homes = homes(&candidates(&[("a", 1), ("b", 1), ("c", 2)]));
        let shares = [0, 1, 2].map(|instance| share(&homes, instance));
        assert!((200..=312).contains(&shares[0]) && (200..=312).contains(&shares[1]), "{shares:?}");
        assert!((450..=574).contains(&shares[2]), "{shares:?}");
    }

    #[test]
    fn an_instance_that_leaves_moves_its_own_share_alone_and_to_all_others() {
        let [all, fewer] = [&[("a", 1), ("b", 1), ("c", 1), ("d", 1)][..], &[("a", 1), ("b", 1), ("c", 1)]];
        let (before, after) = (homes(&candidates(all)), homes(&candidates(fewer)));
        let mut taken = [0; 3];
        for (before, after) in before.iter().zip(&after) {
            if *before == 3 {
                taken[*after] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!(taken.iter().all(|taken| (50..=120).contains(taken)), "{taken:?}");
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let (one, other) = (homes(&candidates(&[("a", 1), ("b", 3)])), homes(&candidates(&[("b", 3), ("a", 1)])));
        assert!(one.iter().zip(&other).all(|(one, other)| *one == 1 - *other));
    }
}
