//! The queue in this process, with the same shards as in Redis.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::delivery::fair_share::FairShare;
use crate::delivery::queue::{
    AWAKE_MS, Added, CLAIM_MS, ClaimId, Claimed, Claims, Depth, Entry, MAX_SHARD_ENTRIES, RETURN_MS, Resolution,
    WAKING_MS,
};
use crate::delivery::work::{PRIORITIES, SHARDS, Work, rank};

/// All work of this process.
#[derive(Debug, Default)]
pub(crate) struct MemoryQueue {
    shards: [Shard; SHARDS],
    fair_share: FairShare,
    generation: u64,
    /// Until when a drain counts as awake.
    awake_until_ms: i64,
    /// How many claims there were; their names follow from it.
    claims: u64,
}

#[derive(Debug, Default)]
struct Shard {
    /// Work that is due, by priority and in the order in which it fell due.
    due: [VecDeque<Due>; PRIORITIES],
    later: Later,
    claimed: HashMap<Vec<u8>, Claim>,
}

#[derive(Debug)]
struct Due {
    due_ms: i64,
    text: String,
}

/// Work that is not due yet, each text once.
#[derive(Debug, Default)]
struct Later {
    by_time: BTreeSet<(i64, String)>,
    due_ms: HashMap<String, i64>,
}

#[derive(Debug)]
struct Claim {
    lapses_ms: i64,
    due: Due,
    attempts: u32,
}

impl MemoryQueue {
    pub(crate) fn add(&mut self, entries: &[Entry], now_ms: i64) -> Added {
        let mut refused = 0;
        for Entry { work, wait_ms } in entries {
            let shard = &mut self.shards[work.shard()];
            if shard.count() >= MAX_SHARD_ENTRIES {
                refused += 1;
            } else if *wait_ms > 0 {
                shard.later.insert(work.text(), now_ms + wait_ms);
            } else {
                shard.due[rank(work.priority())].push_back(Due { due_ms: now_ms, text: work.text() });
            }
        }
        self.generation += 1;
        let is_awake = self.awake_until_ms > now_ms;
        if !is_awake {
            self.awake_until_ms = now_ms + WAKING_MS;
        }
        Added { refused, drain_is_awake: Some(is_awake) }
    }

    pub(crate) fn claim(&mut self, limit: usize, now_ms: i64) -> Claims {
        let generation = self.heartbeat(now_ms);
        self.shards.iter_mut().for_each(|shard| shard.move_due(now_ms));
        let due = self.shards.each_ref().map(|shard| shard.due.each_ref().map(VecDeque::len));
        let lapsed = self.shards.each_ref().map(|shard| shard.lapsed(now_ms).count());
        if limit > 0
            && let Some(shard) = self.fair_share.next_recovery(&due, &lapsed)
        {
            let claimed = self.recover(shard, now_ms).into_iter().collect();
            return Claims { claimed, next_in_ms: Some(0), generation };
        }
        let allotted = self.fair_share.allot(&due, limit);
        let mut claimed = Vec::new();
        for rank in 0..PRIORITIES {
            for (shard, allotted) in allotted.iter().enumerate() {
                for _ in 0..allotted[rank] {
                    if let Some(due) = self.shards[shard].due[rank].pop_front() {
                        claimed.push(self.hold(shard, due, 1, now_ms));
                    }
                }
            }
        }
        let is_more = due.iter().flatten().sum::<usize>() > claimed.len() || lapsed.iter().any(|count| *count > 0);
        let next_ms =
            self.shards.iter().filter_map(|shard| shard.later.by_time.first()).map(|(due_ms, _)| *due_ms).min();
        Claims { claimed, next_in_ms: if is_more { Some(0) } else { next_ms.map(|ms| ms - now_ms) }, generation }
    }

    pub(crate) fn settle(&mut self, resolutions: &[Resolution], now_ms: i64) {
        for resolution in resolutions {
            let shard = &mut self.shards[resolution.id().shard];
            let Some(claim) = shard.claimed.remove(&resolution.id().name) else { continue };
            match resolution {
                Resolution::Done(_) => {}
                Resolution::Retry(_, Entry { work, wait_ms }) => shard.later.insert(work.text(), now_ms + wait_ms),
                Resolution::Return(_) => {
                    let claim = Claim { lapses_ms: now_ms + RETURN_MS, attempts: 0, ..claim };
                    let name = self.next_name();
                    self.shards[resolution.id().shard].claimed.insert(name, claim);
                }
            }
        }
    }

    pub(crate) fn heartbeat(&mut self, now_ms: i64) -> u64 {
        self.awake_until_ms = now_ms + AWAKE_MS;
        self.generation
    }

    pub(crate) fn sign_off(&mut self) -> u64 {
        self.awake_until_ms = i64::MIN;
        self.generation
    }

    pub(crate) fn depth(&self, now_ms: i64) -> Depth {
        let mut depth = Depth::default();
        for shard in &self.shards {
            let due = shard.later.by_time.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).count();
            let firsts = shard.due.iter().filter_map(VecDeque::front).map(|due| due.due_ms);
            let firsts = firsts.chain(shard.later.by_time.first().map(|(due_ms, _)| *due_ms));
            let oldest_ms = firsts.map(|due_ms| (now_ms - due_ms).max(0).unsigned_abs()).max();
            depth.waiting += (shard.due.iter().map(VecDeque::len).sum::<usize>() + due) as u64;
            depth.delayed += (shard.later.by_time.len() - due) as u64;
            depth.processing += shard.claimed.len() as u64;
            depth.oldest_ms = depth.oldest_ms.max(oldest_ms.unwrap_or(0));
        }
        depth
    }

    /// Claims again the entry of a shard whose claim lapsed first.
    fn recover(&mut self, shard: usize, now_ms: i64) -> Option<Claimed> {
        let lapsed = self.shards[shard].lapsed(now_ms).min().map(|(_, name)| name.clone())?;
        let Claim { due, attempts, .. } = self.shards[shard].claimed.remove(&lapsed)?;
        Some(self.hold(shard, due, attempts.saturating_add(1), now_ms))
    }

    fn hold(&mut self, shard: usize, due: Due, attempts: u32, now_ms: i64) -> Claimed {
        let id = ClaimId { instance: 0, shard, name: self.next_name() };
        let claimed = Claimed { id, work: Work::parse(due.text.as_bytes()), attempts, due_ms: due.due_ms };
        let claim = Claim { lapses_ms: now_ms + CLAIM_MS, due, attempts };
        self.shards[shard].claimed.insert(claimed.id.name.clone(), claim);
        claimed
    }

    fn next_name(&mut self) -> Vec<u8> {
        self.claims += 1;
        self.claims.to_string().into_bytes()
    }
}

impl Shard {
    fn count(&self) -> usize {
        self.due.iter().map(VecDeque::len).sum::<usize>() + self.later.by_time.len() + self.claimed.len()
    }

    fn move_due(&mut self, now_ms: i64) {
        while let Some(text) = self.later.pop_due(now_ms) {
            let priority = Work::parse(text.as_bytes()).map(|work| work.priority()).unwrap_or_default();
            self.due[rank(priority)].push_back(Due { due_ms: now_ms, text });
        }
    }

    fn lapsed(&self, now_ms: i64) -> impl Iterator<Item = (i64, &Vec<u8>)> {
        let claims = self.claimed.iter().map(|(name, claim)| (claim.lapses_ms, name));
        claims.filter(move |(lapses_ms, _)| *lapses_ms <= now_ms)
    }
}

impl Later {
    fn insert(&mut self, text: String, due_ms: i64) {
        if let Some(before_ms) = self.due_ms.insert(text.clone(), due_ms) {
            self.by_time.remove(&(before_ms, text.clone()));
        }
        self.by_time.insert((due_ms, text));
    }

    fn pop_due(&mut self, now_ms: i64) -> Option<String> {
        let (due_ms, _) = self.by_time.first()?;
        if *due_ms > now_ms {
            return None;
        }
        let (_, text) = self.by_time.pop_first()?;
        self.due_ms.remove(&text);
        Some(text)
    }
}
