//! The promise of the moment to keep what was accepted fast until it is written to the record.

use async_trait::async_trait;
use uuid::Uuid;

use crate::clock::At;
use crate::ids::{ChatId, SendId, UserId, sha256};

/// How many logs there are; never changes in a deployment.
pub const LOGS: u16 = 1_024;
/// The most entries of a log; further accepts are durable.
pub const MAX_LOG_ENTRIES: usize = 1_000;
/// The most bytes of the entries of a log; further accepts are durable.
pub const MAX_LOG_BYTES: usize = 1_024 * 1_024;
/// The age of a log's oldest entry, in milliseconds, from which further accepts are durable: drains are behind, or away.
pub const MAX_LOG_AGE_MS: i64 = 10_000;
/// How long a writer has a log after it was read, in milliseconds: longer than writing takes, unless the writer has died.
pub const WRITER_LEASE_MS: i64 = 500;
/// How long the claim of a key is remembered, in milliseconds: much longer than an entry waits in a log.
pub const KEY_CLAIM_MS: i64 = 10 * 60 * 1_000;

/// Logs, each of which keeps the order in which it took its entries.
///
/// Losing a log loses its entries: that is what a fast accept risks, and why a log is bounded. An entry is in a log at most
/// once, by its id, but may be in two stores at once after one of them was away.
#[async_trait]
pub trait Logs: Send + Sync {
    /// Appends an entry, unless the log has one of this id. `None` without an answer: the entry may be there.
    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged>;

    /// Claims the id of a keyed send, for [`KEY_CLAIM_MS`], unless it was claimed before. `None` without an answer.
    async fn claim_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<Claimed>;

    /// The same, but takes the claim over from another request. Returns whose claim it was; `None` too without an answer.
    async fn take_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<KeyClaim>;

    /// The claim of the id of a keyed send; `None` too without an answer.
    async fn claimed_key(&self, send: SendId, at: At) -> Option<KeyClaim>;

    /// Those of these logs that have entries. A log that gives no answer is not among them.
    async fn unwritten(&self, logs: &[LogId]) -> UnwrittenLogs;

    /// Entries of each of these logs, the oldest first, within bounds for each: none without all that were accepted before it,
    /// except what is in a store that gives no answer. Gives the writer a lease on these logs until it removes entries of theirs
    /// or releases them, or for [`WRITER_LEASE_MS`]; until then they are busy for other writers.
    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs;

    /// Removes what a writer has written, and ends its lease on the logs of these entries. Returns those of them that have more
    /// entries. `None` without an answer: the entries are then read and written again, which changes nothing.
    async fn remove(&self, entries: &[LogEntry], writer: WriterId) -> Option<Vec<LogId>>;

    /// Ends the leases of a writer that could not write, on these logs, as far as they answer.
    async fn release(&self, logs: &[LogId], writer: WriterId);

    /// How much waits in all logs; `None` without an answer.
    async fn unwritten_total(&self, at: At) -> Option<Unwritten>;
}

/// Which logs have entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnwrittenLogs {
    /// Those that have some.
    pub logs: Vec<LogId>,
    /// Whether a store gave no answer, which may have more.
    pub is_silent: bool,
}

/// Who writes logs: one call, which takes a number that no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterId(pub u64);

impl WriterId {
    /// One that no log is busy for, and that takes no lease.
    pub const WITHOUT_LEASE: Self = Self(0);
}

/// How much is read of each log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The most entries.
    pub entries: usize,
    /// The most bytes of their texts, save that one entry is always read.
    pub bytes: usize,
}

/// The result of reading logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadLogs {
    /// The entries of those that are not busy, each log's oldest first.
    pub entries: Vec<LogEntry>,
    /// Those that had more than their share.
    pub more: Vec<LogId>,
    /// Others that have more, which came while they were read.
    pub grown: Vec<LogId>,
    /// Those that another writer has.
    pub busy: Vec<BusyLog>,
    /// Whether one of them gave no answer.
    pub is_silent: bool,
}

/// A log that another writer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusyLog {
    /// Which log.
    pub log: LogId,
    /// The place of its oldest entry; places only grow.
    pub(crate) first: Place,
    /// The place of its newest entry.
    pub(crate) last: Place,
}

/// When an entry was appended, in milliseconds since 1970, and its number in that millisecond.
pub(crate) type Place = (u64, u64);

impl BusyLog {
    /// Whether all that it had at an earlier reading is written.
    pub fn is_past(&self, earlier: &Self) -> bool {
        self.first > earlier.last
    }
}

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(u16);

impl LogId {
    /// The log of what is sent to a user.
    pub fn of_user(user: &UserId) -> Self {
        Self::hashed(b"user", user.as_str().as_bytes())
    }

    /// The log of what is said in a chat.
    pub fn of_chat(chat: ChatId) -> Self {
        Self::hashed(b"chat", chat.as_bytes())
    }

    /// The log of this number; `None` if there are fewer.
    pub fn from_number(number: u16) -> Option<Self> {
        (number < LOGS).then_some(Self(number))
    }

    /// Its number, which never changes.
    pub fn number(self) -> u16 {
        self.0
    }

    /// All logs.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..LOGS).map(Self)
    }

    fn hashed(kind: &[u8; 4], name: &[u8]) -> Self {
        let hash = sha256(&[kind.as_slice(), name].concat());
        Self(u16::from_be_bytes([hash[0], hash[1]]) % LOGS)
    }
}

/// Who has a key: so that a request with the same key, but another recipient or another body, finds the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyClaim {
    /// In which log the send may wait; `None` if it goes to the record.
    pub log: Option<LogId>,
    /// The first bytes of the request's fingerprint.
    pub fingerprint: [u8; 8],
}

impl KeyClaim {
    /// The claim of a request.
    pub fn new(log: Option<LogId>, fingerprint: &[u8; 32]) -> Self {
        let [first, ..] = fingerprint.as_chunks().0 else { unreachable!("32 bytes have a first 8") };
        Self { log, fingerprint: *first }
    }
}

/// The result of claiming a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It was free.
    Now,
    /// This claim was there, perhaps by an earlier call with the same request.
    Before(KeyClaim),
}

/// The result of appending to a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logged {
    /// It was appended.
    Added {
        /// How long the log's oldest entry has waited, in milliseconds; `None` if it is this one.
        oldest_ms: Option<i64>,
    },
    /// The log has this entry under the same id.
    Known(String),
    /// The log is at one of its bounds.
    Full,
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its log.
    pub log: LogId,
    /// The id under which it was appended, as the store has it.
    pub id: Vec<u8>,
    /// What was appended.
    pub text: Vec<u8>,
    /// Which of the store's instances has it.
    pub(crate) instance: usize,
    /// Its place there.
    pub(crate) place: Vec<u8>,
}

/// How much was accepted fast and is not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// How many entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long the oldest has waited, in milliseconds; 0 if there is none.
    pub oldest_ms: u64,
}

impl Unwritten {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            bytes: self.bytes.saturating_add(other.bytes),
            oldest_ms: self.oldest_ms.max(other.oldest_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_a_user_or_chat_never_changes() {
        let chat = ChatId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap();
        assert_eq!(LogId::of_user(&UserId::new("alice").unwrap()).number(), 207);
        assert_eq!(LogId::of_chat(chat).number(), 966);
    }

    #[test]
    fn only_a_number_below_the_count_is_a_log() {
        assert_eq!(LogId::from_number(LOGS - 1).map(LogId::number), Some(LOGS - 1));
        assert_eq!(LogId::from_number(LOGS), None);
        assert_eq!(LogId::all().count(), usize::from(LOGS));
    }
}
