//! The queue in Redis: what each operation sends, and what the answers mean. Every script touches one shard, and all shards
//! are asked in one pipeline. A drain asks every instance, since each has what was enqueued while others were away.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::clock::At;
use crate::delivery::fair_share::{CountsPerShard, FairShare};
use crate::delivery::queue::{
    AWAKE_MS, Added, CLAIM_MS, ClaimId, Claimed, Claims, Depth, Entry, MAX_SHARD_ENTRIES, RETURN_MS, Resolution,
    WAKING_MS,
};
use crate::delivery::work::{PRIORITIES, SHARDS, Work, rank};
use crate::moment::redis::keys::{Keys, ShardKeys};
use crate::moment::redis::steps::{self, Answer, Script, Step, read};

static ADD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_add.lua")));
static ANNOUNCE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_announce.lua")));
static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_heartbeat.lua")));
static INSPECT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_inspect.lua")));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_claim.lua")));
static RECOVER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_recover.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_settle.lua")));
static DEPTH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_depth.lua")));

/// How many entries of a shard that have fallen due one claim moves at most, so that the script is short.
const MAX_MOVED: usize = 500;

/// A result, and how many values in Redis were not ours.
pub(crate) type Counted<T> = (T, u64);

/// Adding entries: a step for each shard, and last the announcement, so that a drain that hears it finds all of them.
pub(crate) struct Adding {
    pub(crate) steps: Vec<Step>,
    /// How many entries each step adds.
    entries: Vec<usize>,
}

impl Adding {
    pub(crate) fn new(keys: &Keys, entries: &[Entry], at: At) -> Self {
        let mut by_shard: BTreeMap<usize, Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            by_shard.entry(entry.work.shard()).or_default().push(entry);
        }
        let add = |(shard, entries): (&usize, &Vec<&Entry>)| {
            let step = Step::script(&ADD, keys.shard(*shard).all()).arg(steps::now_ms(at)).arg(MAX_SHARD_ENTRIES);
            entries.iter().fold(step, |step, Entry { work, wait_ms }| {
                step.arg(rank(work.priority()) + 1).arg((*wait_ms).max(0)).arg(work.text())
            })
        };
        let announced = keys.drains().into_iter().chain([keys.work_channel()]).collect();
        let announce = Step::script(&ANNOUNCE, announced).arg(steps::now_ms(at)).arg(WAKING_MS);
        Self {
            steps: by_shard.iter().map(add).chain([announce]).collect(),
            entries: by_shard.values().map(Vec::len).collect(),
        }
    }

    pub(crate) fn result(self, answers: Vec<Answer>) -> Counted<Added> {
        let mut answers = answers.into_iter();
        let (mut refused, mut foreign) = (0, 0);
        // The entries come first in `zip`: it takes from its first iterator even if the second is at its end.
        for (entries, answer) in self.entries.iter().zip(answers.by_ref()) {
            let Some([strange, full]) = read::<[u64; 2]>(answer) else {
                refused += entries;
                continue;
            };
            foreign = u64::saturating_add(foreign, strange);
            refused = refused.saturating_add(usize::try_from(full).unwrap_or(usize::MAX));
        }
        let announced = answers.next().and_then(read::<[u64; 2]>);
        let drain_is_awake = announced.map(|[_, awake]| awake == 1);
        (Added { refused, drain_is_awake }, foreign.saturating_add(announced.map_or(0, |[strange, _]| strange)))
    }
}

/// What a drain finds before it claims: how much is due in each shard.
pub(crate) struct Inspected {
    due: CountsPerShard,
    lapsed: [usize; SHARDS],
    next_in_ms: Option<i64>,
    generation: u64,
}

/// What is claimed next.
pub(crate) enum Plan {
    /// One lapsed claim of this shard, alone.
    Recover(usize),
    /// So many of each priority and shard.
    Claim(Box<CountsPerShard>),
}

/// The heartbeat and a look at every shard.
pub(crate) fn inspect(keys: &Keys, at: At) -> Vec<Step> {
    let look = |shard| Step::script(&INSPECT, keys.shard(shard).all()).arg(steps::now_ms(at)).arg(MAX_MOVED);
    [heartbeat(keys, AWAKE_MS, at)].into_iter().chain((0..SHARDS).map(look)).collect()
}

impl Inspected {
    /// `None` if there is no answer at all. A shard that gives none counts as empty. Without the generation it is 0, which is
    /// another one once there is an answer again: until then a waiting drain hears of nothing.
    pub(crate) fn read(answers: Vec<Answer>) -> Option<Counted<Self>> {
        if answers.iter().all(Option::is_none) {
            return None;
        }
        let mut answers = answers.into_iter();
        let (generation, mut foreign) = read_heartbeat(answers.next()?).unwrap_or_default();
        let mut inspected = Self { due: [[0; PRIORITIES]; SHARDS], lapsed: [0; SHARDS], next_in_ms: None, generation };
        for (shard, answer) in answers.enumerate() {
            let Some([strange, critical, high, normal, low, lapsed, next]) = read::<[i64; 7]>(answer) else { continue };
            // A shard has no more entries, whatever the answer says, so that the sums stay numbers.
            let count = |count: i64| usize::try_from(count).unwrap_or(0).min(MAX_SHARD_ENTRIES);
            foreign = u64::saturating_add(foreign, strange.unsigned_abs());
            inspected.due[shard] = [critical, high, normal, low].map(count);
            inspected.lapsed[shard] = count(lapsed);
            inspected.next_in_ms = inspected.next_in_ms.into_iter().chain((next >= 0).then_some(next)).min();
        }
        Some((inspected, foreign))
    }

    /// How much there is to claim.
    pub(crate) fn wanted(&self) -> usize {
        let due: usize = self.due.iter().flatten().sum();
        due.max(usize::from(self.lapsed.iter().any(|count| *count > 0)))
    }

    /// What to claim of it. A lapsed claim is recovered alone if `may_recover`.
    pub(crate) fn plan(&self, fair_share: &FairShare, limit: usize, may_recover: bool) -> Plan {
        let suspect = if limit > 0 && may_recover { fair_share.next_recovery(&self.due, &self.lapsed) } else { None };
        suspect.map_or_else(|| Plan::Claim(Box::new(fair_share.allot(&self.due, limit))), Plan::Recover)
    }

    /// The result after `claimed` was claimed.
    pub(crate) fn claims(self, claimed: Vec<Claimed>, is_recovered: bool) -> Claims {
        let due: usize = self.due.iter().flatten().sum();
        let is_more = is_recovered || due > claimed.len() || self.lapsed.iter().any(|count| *count > 0);
        let next_in_ms = if is_more { Some(0) } else { self.next_in_ms };
        Claims { claimed, next_in_ms, generation: self.generation }
    }
}

impl Plan {
    /// One step per shard that has something.
    pub(crate) fn steps(&self, keys: &Keys, at: At) -> Vec<Step> {
        let now_ms = steps::now_ms(at);
        self.shards()
            .map(|shard| {
                let ShardKeys { due, claimed, .. } = keys.shard(shard);
                match self {
                    Self::Recover(_) => Step::script(&RECOVER, vec![claimed]).arg(now_ms).arg(CLAIM_MS),
                    Self::Claim(counts) => {
                        let keys = Vec::from(due).into_iter().chain([claimed]).collect();
                        Step::script(&CLAIM, keys).arg(now_ms).arg(CLAIM_MS).arg(&counts[shard][..])
                    }
                }
            })
            .collect()
    }

    /// What the answers of an instance say was claimed. What it claimed without giving an answer comes back when the claims lapse.
    pub(crate) fn claimed(&self, instance: usize, answers: Vec<Answer>) -> Counted<Vec<Claimed>> {
        let (mut claimed, mut foreign) = (Vec::new(), 0);
        for (shard, answer) in self.shards().zip(answers) {
            let mut values = read::<Vec<redis::Value>>(answer).unwrap_or_default().into_iter();
            let strange = values.next().and_then(|strange| read::<u64>(Some(Ok(strange)))).unwrap_or(0);
            foreign = u64::saturating_add(foreign, strange);
            let names = values.filter_map(|name| read::<Vec<u8>>(Some(Ok(name))));
            claimed.extend(names.map(|name| parse_claim(instance, shard, name)));
        }
        (claimed, foreign)
    }

    fn shards(&self) -> impl Iterator<Item = usize> {
        (0..SHARDS).filter(move |shard| match self {
            Self::Recover(suspect) => shard == suspect,
            Self::Claim(counts) => counts[*shard].iter().any(|count| *count > 0),
        })
    }
}

/// Divides what may be claimed among instances, evenly as far as each wants so much.
pub(crate) fn divide(limit: usize, wanted: &[usize]) -> Vec<usize> {
    let (mut limits, mut left) = (vec![0; wanted.len()], limit.min(wanted.iter().sum()));
    while left > 0 {
        for (limit, wanted) in limits.iter_mut().zip(wanted) {
            if left > 0 && *limit < *wanted {
                *limit += 1;
                left -= 1;
            }
        }
    }
    limits
}

/// The claims of all instances together: the most urgent first, and within a priority and shard in the order of each instance.
/// The generation is new if that of one of them is. `None` if no instance gave an answer.
pub(crate) fn together(all: impl Iterator<Item = Claims>) -> Option<Claims> {
    let mut claims = all.reduce(|mut one, other| {
        one.claimed.extend(other.claimed);
        one.next_in_ms = one.next_in_ms.into_iter().chain(other.next_in_ms).min();
        one.generation = one.generation.wrapping_add(other.generation);
        one
    })?;
    // Stable: the entries of a shard are in order already.
    claims.claimed.sort_by_key(|claimed| claimed.work.as_ref().map_or(PRIORITIES, |work| rank(work.priority())));
    Some(claims)
}

/// Settling claims of one instance: one step per shard.
pub(crate) fn settle(keys: &Keys, resolutions: &[&Resolution], at: At) -> Vec<Step> {
    let mut by_shard: BTreeMap<usize, Vec<&Resolution>> = BTreeMap::new();
    for resolution in resolutions.iter().copied() {
        by_shard.entry(resolution.id().shard).or_default().push(resolution);
    }
    let settle = |(shard, resolutions): (usize, Vec<&Resolution>)| {
        let ShardKeys { later, claimed, .. } = keys.shard(shard);
        let step = Step::script(&SETTLE, vec![claimed, later]).arg(steps::now_ms(at));
        resolutions.into_iter().fold(step, |step, resolution| {
            let (kind, wait_ms, text) = match resolution {
                Resolution::Done(_) => ("done", 0, String::new()),
                Resolution::Retry(_, Entry { work, wait_ms }) => ("retry", (*wait_ms).max(0), work.text()),
                Resolution::Return(_) => ("return", RETURN_MS, String::new()),
            };
            step.arg(resolution.id().name.as_slice()).arg(kind).arg(wait_ms).arg(text)
        })
    };
    by_shard.into_iter().map(settle).collect()
}

/// Whether all claims were settled.
pub(crate) fn read_settled(answers: Vec<Answer>) -> Counted<bool> {
    answers.into_iter().map(read::<[u64; 1]>).fold((true, 0), |(is_settled, foreign), answer| match answer {
        Some([strange]) => (is_settled, u64::saturating_add(foreign, strange)),
        None => (false, foreign),
    })
}

/// Keeps a drain counted as awake for so long, or ends that with 0; the answer is the generation.
pub(crate) fn heartbeat(keys: &Keys, awake_ms: i64, at: At) -> Step {
    Step::script(&HEARTBEAT, keys.drains()).arg(steps::now_ms(at)).arg(awake_ms)
}

/// The generation.
pub(crate) fn read_heartbeat(answer: Answer) -> Option<Counted<u64>> {
    read::<[u64; 2]>(answer).map(|[foreign, generation]| (generation, foreign))
}

/// Counting all shards.
pub(crate) fn depth(keys: &Keys, at: At) -> Vec<Step> {
    (0..SHARDS).map(|shard| Step::script(&DEPTH, keys.shard(shard).all()).arg(steps::now_ms(at))).collect()
}

/// The sum over the shards of one instance that gave an answer; `None` if none did.
pub(crate) fn read_depth(answers: Vec<Answer>) -> Option<Counted<Depth>> {
    if answers.iter().all(Option::is_none) {
        return None;
    }
    let (mut depth, mut foreign) = (Depth::default(), 0);
    for answer in answers {
        let Some([strange, waiting, processing, delayed, oldest_ms]) = read::<[u64; 5]>(answer) else { continue };
        foreign = u64::saturating_add(foreign, strange);
        depth = add_depth(depth, Depth { waiting, processing, delayed, oldest_ms });
    }
    Some((depth, foreign))
}

/// The sum over shards or instances.
pub(crate) fn add_depth(sum: Depth, other: Depth) -> Depth {
    Depth {
        waiting: sum.waiting.saturating_add(other.waiting),
        processing: sum.processing.saturating_add(other.processing),
        delayed: sum.delayed.saturating_add(other.delayed),
        oldest_ms: sum.oldest_ms.max(other.oldest_ms),
    }
}

/// Reads `<attempts> <priority> <id> <text>`, which the scripts make of anything that they find.
fn parse_claim(instance: usize, shard: usize, name: Vec<u8>) -> Claimed {
    let mut words = name.splitn(4, |byte| *byte == b' ');
    let mut word = || words.next().unwrap_or_default();
    let attempts = std::str::from_utf8(word()).ok().and_then(|word| word.parse().ok()).unwrap_or(u32::MAX);
    let (_priority, id) = (word(), word());
    // `<ms>-<n>`: the time at which it fell due.
    let due_ms = id.split(|byte| *byte == b'-').next().and_then(|ms| std::str::from_utf8(ms).ok()?.parse().ok());
    let work = Work::parse(word());
    Claimed { id: ClaimId { instance, shard, name }, work, attempts, due_ms: due_ms.unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_with_much_to_do_does_not_keep_others_waiting() {
        assert_eq!(divide(2, &[1_000, 1]), [1, 1]);
        assert_eq!(divide(64, &[1_000, 0, 5, 1_000]), [30, 0, 5, 29]);
        assert_eq!(divide(1, &[3, 3]), [1, 0]);
        assert_eq!(divide(64, &[2, 1]), [2, 1]);
        assert_eq!(divide(64, &[]), [0; 0]);
    }
}
