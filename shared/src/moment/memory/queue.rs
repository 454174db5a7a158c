//! The queue in this process, cut into shards as anywhere else.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::delivery::fair_share::{FairShare, PRIORITIES};
use crate::delivery::queue::{
    AWAKE_MS, Added, CLAIM_MS, ClaimId, Claimed, Claims, Depth, Entry, MAX_SHARD_ENTRIES, Resolution, SHARDS,
    WAKING_MS, found, rank, shard,
};

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    shards: [Shard; SHARDS],
    fair_share: FairShare,
    /// How often drains were told of work.
    generation: u64,
    /// Until when a drain counts as awake.
    awake_until_ms: i64,
    /// How many claims there were, from which names follow.
    claims: u64,
}

#[derive(Debug, Default)]
struct Shard {
    /// Texts by when they fell due; by priority.
    due: [VecDeque<(i64, String)>; PRIORITIES],
    later: Later,
    claimed: HashMap<Vec<u8>, Held>,
}

/// Texts by when they are due, each once.
#[derive(Debug, Default)]
struct Later {
    by_time: BTreeSet<(i64, String)>,
    due_ms: HashMap<String, i64>,
}

#[derive(Debug)]
struct Held {
    lapses_ms: i64,
    text: String,
    attempts: u32,
}

impl Waiting {
    pub(super) fn add(&mut self, entries: &[Entry], now_ms: i64) -> Added {
        let mut refused = 0;
        for Entry { work, wait_ms } in entries {
            let shard = &mut self.shards[shard(&work.user)];
            if shard.count() >= MAX_SHARD_ENTRIES {
                refused += 1;
            } else if *wait_ms > 0 {
                shard.later.insert(work.text(), now_ms + wait_ms);
            } else {
                shard.due[rank(work.priority)].push_back((now_ms, work.text()));
            }
        }
        self.generation += 1;
        let is_awake = self.awake_until_ms > now_ms;
        if !is_awake {
            self.awake_until_ms = now_ms + WAKING_MS;
        }
        Added { refused, drain_is_awake: Some(is_awake) }
    }

    pub(super) fn claim(&mut self, limit: usize, now_ms: i64) -> Claims {
        let generation = self.heartbeat(now_ms);
        self.shards.iter_mut().for_each(|shard| shard.move_due(now_ms));
        let waiting = self.shards.each_ref().map(|shard| shard.due.each_ref().map(VecDeque::len));
        let lapsed = self.shards.each_ref().map(|shard| shard.lapsed(now_ms).count());
        if limit > 0
            && let Some(shard) = self.fair_share.suspect(&waiting, &lapsed)
        {
            let claimed = self.recover(shard, now_ms).into_iter().collect();
            return Claims { claimed, next_in_ms: Some(0), generation };
        }
        let taken = self.fair_share.allot(&waiting, limit);
        let mut claimed = Vec::new();
        for rank in 0..PRIORITIES {
            for (shard, taken) in taken.iter().enumerate() {
                for _ in 0..taken[rank] {
                    if let Some((_, text)) = self.shards[shard].due[rank].pop_front() {
                        claimed.push(self.hold(shard, text, 1, now_ms));
                    }
                }
            }
        }
        let is_more = waiting.iter().flatten().sum::<usize>() > claimed.len() || lapsed.iter().any(|count| *count > 0);
        let next_ms =
            self.shards.iter().filter_map(|shard| shard.later.by_time.first()).map(|(due_ms, _)| *due_ms).min();
        Claims { claimed, next_in_ms: if is_more { Some(0) } else { next_ms.map(|ms| ms - now_ms) }, generation }
    }

    pub(super) fn settle(&mut self, settled: &[Resolution], now_ms: i64) {
        for settled in settled {
            let shard = &mut self.shards[settled.id().shard];
            let held = shard.claimed.remove(&settled.id().name);
            if let (Some(_), Resolution::Retry(_, Entry { work, wait_ms })) = (held, settled) {
                shard.later.insert(work.text(), now_ms + wait_ms);
            }
        }
    }

    pub(super) fn heartbeat(&mut self, now_ms: i64) -> u64 {
        self.awake_until_ms = now_ms + AWAKE_MS;
        self.generation
    }

    pub(super) fn sign_off(&mut self) -> u64 {
        self.awake_until_ms = i64::MIN;
        self.generation
    }

    pub(super) fn depth(&self, now_ms: i64) -> Depth {
        let mut depth = Depth::default();
        for shard in &self.shards {
            let due = shard.later.by_time.iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
            let firsts = shard.due.iter().filter_map(VecDeque::front).chain(shard.later.by_time.first());
            let oldest_ms = firsts.map(|(due_ms, _)| (now_ms - due_ms).max(0).unsigned_abs()).max();
            let due = due.count();
            depth.waiting += (shard.due.iter().map(VecDeque::len).sum::<usize>() + due) as u64;
            depth.delayed += (shard.later.by_time.len() - due) as u64;
            depth.processing += shard.claimed.len() as u64;
            depth.oldest_ms = depth.oldest_ms.max(oldest_ms.unwrap_or(0));
        }
        depth
    }

    /// Claims anew the entry of a shard whose claim lapsed first.
    fn recover(&mut self, shard: usize, now_ms: i64) -> Option<Claimed> {
        let lapsed = self.shards[shard].lapsed(now_ms).min().map(|(_, name)| name.clone())?;
        let Held { text, attempts, .. } = self.shards[shard].claimed.remove(&lapsed)?;
        Some(self.hold(shard, text, attempts.saturating_add(1), now_ms))
    }

    fn hold(&mut self, shard: usize, text: String, attempts: u32, now_ms: i64) -> Claimed {
        self.claims += 1;
        let id = ClaimId { shard, name: self.claims.to_string().into_bytes() };
        let work = found(text.as_bytes());
        let held = Held { lapses_ms: now_ms + CLAIM_MS, text, attempts };
        self.shards[shard].claimed.insert(id.name.clone(), held);
        Claimed { id, work, attempts }
    }
}

impl Shard {
    fn count(&self) -> usize {
        self.due.iter().map(VecDeque::len).sum::<usize>() + self.later.by_time.len() + self.claimed.len()
    }

    fn move_due(&mut self, now_ms: i64) {
        while let Some(text) = self.later.pop_due(now_ms) {
            if let Ok(work) = found(text.as_bytes()) {
                self.due[rank(work.priority)].push_back((now_ms, text));
            }
        }
    }

    fn lapsed(&self, now_ms: i64) -> impl Iterator<Item = (i64, &Vec<u8>)> {
        let claims = self.claimed.iter().map(|(name, held)| (held.lapses_ms, name));
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
