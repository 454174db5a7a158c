//! Spending from budgets in Redis, and giving back: the caller of `gcra.lua`.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use crate::clock::At;
use crate::limits::{Rate, Spend, Verdict};
use crate::moment::redis::keys::{Key, Keys, Partition};
use crate::moment::redis::steps::{self, Answer, Script, Step, read};

static GCRA: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("gcra.lua")));

/// The longest wait for one unit of a budget, in milliseconds: the longest window of a rate, and as much again by which the
/// script lets a clock go back.
const MAX_WAIT_MS: u64 = 2 * 24 * 60 * 60 * 1_000;

/// A call that spends: a step per partition, which names each budget once however often it is spent from.
pub(crate) struct Spending {
    pub(crate) steps: Vec<Step>,
    /// For each step and each of its budgets, the positions of their spends in the call.
    positions: Vec<Vec<Vec<usize>>>,
    spends: usize,
}

/// One budget, and the positions of its spends in the call.
struct Budget {
    key: Key,
    rate: Rate,
    positions: Vec<usize>,
}

/// What Redis answered.
pub(crate) struct Spent {
    /// In the order of the spends; `None` for those whose instance gave no answer.
    pub(crate) verdicts: Vec<Option<Verdict>>,
    /// How many values were foreign.
    pub(crate) foreign: u64,
}

impl Spending {
    pub(crate) fn new(keys: &Keys, spends: &[Spend], at: At) -> Self {
        Self::of(keys, spends, at, "")
    }

    /// A call that gives back what was spent. Every unit counts as admitted then.
    pub(crate) fn refund(keys: &Keys, spends: &[Spend], at: At) -> Self {
        Self::of(keys, spends, at, "-")
    }

    fn of(keys: &Keys, spends: &[Spend], at: At, sign: &str) -> Self {
        let mut partitions: BTreeMap<Partition, Vec<Budget>> = BTreeMap::new();
        let mut known: HashMap<(&str, Rate), (Partition, usize)> = HashMap::new();
        for (position, Spend { bucket, rate }) in spends.iter().enumerate() {
            let (partition, index) = *known.entry((bucket, *rate)).or_insert_with(|| {
                let key = keys.limit(bucket, *rate);
                let partition = key.partition();
                let budgets = partitions.entry(partition).or_default();
                budgets.push(Budget { key, rate: *rate, positions: Vec::new() });
                (partition, budgets.len() - 1)
            });
            if let Some(budget) = partitions.get_mut(&partition).and_then(|budgets| budgets.get_mut(index)) {
                budget.positions.push(position);
            }
        }
        let (mut steps, mut positions) = (Vec::new(), Vec::new());
        for budgets in partitions.into_values() {
            let keys = budgets.iter().map(|budget| budget.key.clone()).collect();
            let step = Step::script(&GCRA, keys).arg(steps::now_ms(at));
            steps.push(budgets.iter().fold(step, |step, Budget { rate, positions, .. }| {
                step.arg(rate.count).arg(rate.window_ms).arg(format!("{sign}{}", positions.len()))
            }));
            positions.push(budgets.into_iter().map(|budget| budget.positions).collect());
        }
        Self { steps, positions, spends: spends.len() }
    }

    pub(crate) fn result(self, answers: Vec<Answer>) -> Spent {
        let mut spent = Spent { verdicts: vec![None; self.spends], foreign: 0 };
        for (answer, budgets) in answers.into_iter().zip(&self.positions) {
            let Some(numbers) = read::<Vec<u64>>(answer) else { continue };
            let Some((foreign, pairs)) = numbers.split_first().filter(|(_, pairs)| pairs.len() == 2 * budgets.len())
            else {
                tracing::error!("a script did not answer for each of its budgets");
                continue;
            };
            spent.foreign = spent.foreign.saturating_add(*foreign);
            for (pair, positions) in pairs.chunks_exact(2).zip(budgets) {
                let admitted = usize::try_from(pair[0]).unwrap_or(usize::MAX);
                // Whatever the answer says, no budget takes longer to have one unit.
                let retry_after_ms = pair[1].clamp(1, MAX_WAIT_MS);
                for (n, position) in positions.iter().enumerate() {
                    let is_admitted = n < admitted;
                    spent.verdicts[*position] =
                        Some(if is_admitted { Verdict::Admitted } else { Verdict::Limited { retry_after_ms } });
                }
            }
        }
        spent
    }
}

/// What calls do, done once from a budget of this partition that is never empty: reads, writes, and leaves the script with the
/// server. Tells whether a server serves, which a greeting does not.
pub(crate) fn probe(keys: &Keys, partition: Partition) -> Step {
    let rate = Rate { count: 100_000, window_ms: 1_000 };
    let step = Step::script(&GCRA, vec![keys.probe(partition, rate)]).arg(steps::now_ms(At::Server));
    step.arg(rate.count).arg(rate.window_ms).arg(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_asked_for_once_and_a_partition_in_one_step() {
        let keys = Keys::new("carillon").unwrap();
        let (slow, fast) = (Rate { count: 30, window_ms: 60_000 }, Rate { count: 50, window_ms: 1_000 });
        let mut list: Vec<Spend> = (0..3_000).map(|n| Spend { bucket: format!("send A {n}"), rate: slow }).collect();
        list.push(Spend { bucket: "send A 7".into(), rate: slow });
        list.push(Spend { bucket: "send A 7".into(), rate: fast });
        let spending = Spending::new(&keys, &list, At::Fixed(1_234));
        assert!(spending.steps.len() <= 1_024);
        let partitions: std::collections::BTreeSet<_> = spending.steps.iter().map(Step::partition).collect();
        assert_eq!(partitions.len(), spending.steps.len());
        assert_eq!(spending.positions.iter().map(Vec::len).sum::<usize>(), 3_001);
        for (step, budgets) in spending.steps.iter().zip(&spending.positions) {
            let arguments = step.script_arguments();
            assert_eq!((arguments[0].as_slice(), arguments.len()), (&b"1234"[..], 1 + 3 * budgets.len()));
        }
        let seventh = spending.positions.iter().flatten().find(|positions| positions.contains(&7)).unwrap();
        assert_eq!(*seventh, [7, 3_000]);
        assert_eq!(Spending::new(&keys, &list, At::Server).steps[0].script_arguments()[0], b"0");
    }
}
