//! Logs in this process.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use crate::fast::log::{
    BusyLog, Claimed, KEY_CLAIM_MS, KeyClaim, LogEntry, LogId, Logged, MAX_LOG_AGE_MS, MAX_LOG_BYTES, MAX_LOG_ENTRIES,
    ReadLogs, Share, Unwritten, WRITER_LEASE_MS, WriterId,
};
use crate::ids::SendId;

/// The number of claims from which those that are over are dropped.
const SWEEP_AT: usize = 10_000;

/// All logs, and the claims of keys.
#[derive(Debug, Default)]
pub(super) struct MemoryLogs {
    logs: BTreeMap<LogId, Vec<Kept>>,
    claims: HashMap<SendId, (KeyClaim, i64)>,
    /// Who writes each log, and until when it is busy.
    writers: HashMap<LogId, (WriterId, i64)>,
    last_place: u64,
}

#[derive(Debug)]
struct Kept {
    place: u64,
    id: Uuid,
    text: String,
    at_ms: i64,
}

impl MemoryLogs {
    pub(super) fn append(&mut self, log: LogId, id: Uuid, text: &str, now_ms: i64) -> Logged {
        let entries = self.logs.entry(log).or_default();
        if let Some(known) = entries.iter().find(|entry| entry.id == id) {
            return Logged::Known(known.text.clone());
        }
        let oldest_ms = entries.first().map(|first| (now_ms - first.at_ms).max(0));
        let bytes: usize = entries.iter().map(|entry| entry.text.len()).sum();
        if entries.len() >= MAX_LOG_ENTRIES
            || bytes + text.len() > MAX_LOG_BYTES
            || oldest_ms.is_some_and(|oldest_ms| oldest_ms >= MAX_LOG_AGE_MS)
        {
            return Logged::Full;
        }
        self.last_place += 1;
        entries.push(Kept { place: self.last_place, id, text: text.to_owned(), at_ms: now_ms });
        Logged::Added { oldest_ms }
    }

    pub(super) fn claim_key(&mut self, send: SendId, claim: KeyClaim, now_ms: i64) -> Claimed {
        if let Some(before) = self.claimed_key(send, now_ms) {
            return Claimed::Before(before);
        }
        if self.claims.len() >= SWEEP_AT {
            self.claims.retain(|_, (_, until_ms)| *until_ms > now_ms);
        }
        self.claims.insert(send, (claim, now_ms + KEY_CLAIM_MS));
        Claimed::Now
    }

    pub(super) fn take_key(&mut self, send: SendId, claim: KeyClaim, now_ms: i64) -> Option<KeyClaim> {
        let before = self.claimed_key(send, now_ms);
        self.claims.insert(send, (claim, now_ms + KEY_CLAIM_MS));
        before
    }

    pub(super) fn claimed_key(&self, send: SendId, now_ms: i64) -> Option<KeyClaim> {
        self.claims.get(&send).filter(|(_, until_ms)| *until_ms > now_ms).map(|(claim, _)| *claim)
    }

    pub(super) fn unwritten(&self, logs: &[LogId]) -> Vec<LogId> {
        logs.iter().copied().filter(|log| self.logs.get(log).is_some_and(|entries| !entries.is_empty())).collect()
    }

    pub(super) fn read(&mut self, logs: &[LogId], share: Share, writer: WriterId, now_ms: i64) -> ReadLogs {
        let unwritten = self.unwritten(logs);
        // A lease that ends later than one from now on was given before the clock went back.
        let lasts = |until_ms: i64| (now_ms + 1..=now_ms + WRITER_LEASE_MS).contains(&until_ms);
        let has_lease = writer != WriterId::WITHOUT_LEASE;
        let is_others = |log: &LogId| {
            has_lease && self.writers.get(log).is_some_and(|(other, until_ms)| *other != writer && lasts(*until_ms))
        };
        let (busy, own): (Vec<LogId>, Vec<LogId>) = unwritten.into_iter().partition(is_others);
        if has_lease {
            self.writers.extend(own.iter().map(|log| (*log, (writer, now_ms + WRITER_LEASE_MS))));
        }
        let entries = self.oldest(&own, share);
        let has_more = |log: &LogId| {
            let read = entries.iter().filter(|entry| entry.log == *log).count();
            self.logs.get(log).is_some_and(|all| all.len() > read)
        };
        let more = own.iter().copied().filter(has_more).collect();
        let busy = busy.into_iter().filter_map(|log| self.busy(log)).collect();
        ReadLogs { entries, more, busy, ..ReadLogs::default() }
    }

    fn busy(&self, log: LogId) -> Option<BusyLog> {
        let entries = self.logs.get(&log)?;
        Some(BusyLog { log, first: (entries.first()?.place, 0), last: (entries.last()?.place, 0) })
    }

    fn oldest(&self, logs: &[LogId], share: Share) -> Vec<LogEntry> {
        let of = |log: &LogId| self.logs.get(log).map(|entries| (*log, entries));
        let oldest = logs.iter().filter_map(of).flat_map(|(log, entries)| {
            let mut bytes = 0;
            let fits = move |(n, entry): &(usize, &Kept)| {
                bytes += entry.text.len();
                *n < share.entries && (*n == 0 || bytes <= share.bytes)
            };
            entries.iter().enumerate().take_while(fits).map(move |(_, entry)| LogEntry {
                log,
                id: entry.id.hyphenated().to_string().into_bytes(),
                text: entry.text.clone().into_bytes(),
                instance: 0,
                place: entry.place.to_be_bytes().to_vec(),
            })
        });
        oldest.collect()
    }

    pub(super) fn remove(&mut self, removed: &[LogEntry], writer: WriterId) -> Vec<LogId> {
        for LogEntry { log, place, .. } in removed {
            if let Some(entries) = self.logs.get_mut(log) {
                entries.retain(|entry| entry.place.to_be_bytes().as_slice() != place.as_slice());
            }
        }
        self.logs.retain(|_, entries| !entries.is_empty());
        let left: BTreeSet<LogId> = removed.iter().map(|entry| entry.log).collect();
        self.writers.retain(|log, (own, _)| *own != writer || !left.contains(log));
        self.unwritten(&left.into_iter().collect::<Vec<_>>())
    }

    pub(super) fn release(&mut self, logs: &[LogId], writer: WriterId) {
        self.writers.retain(|log, (own, _)| *own != writer || !logs.contains(log));
    }

    pub(super) fn unwritten_total(&self, now_ms: i64) -> Unwritten {
        let entries = self.logs.values().flatten();
        entries.fold(Unwritten::default(), |sum, entry| {
            let oldest_ms = u64::try_from(now_ms - entry.at_ms).unwrap_or(0);
            sum.and(Unwritten { entries: 1, bytes: entry.text.len() as u64, oldest_ms })
        })
    }
}
