//! The promise of the moment that waiting work is processed soon and in order of priority. The queue only speeds things
//! up: the record knows everything that the queue knows, so it may vanish at any time without loss.

use async_trait::async_trait;

use super::work::{Malformed, Work};
use crate::clock::At;
use crate::sockets::streams::Listening;

/// The most entries of one shard; more are refused.
pub const MAX_SHARD_ENTRIES: usize = 16_384;
/// How long a claim lasts, in milliseconds: 15 s longer than any drain may run, so a running worker keeps its claims.
pub const CLAIM_MS: i64 = 105_000;
/// The maximum number of attempts. An entry that was claimed more often probably crashes its workers: it is poisoned.
pub const MAX_ATTEMPTS: u32 = 5;
/// How long a drain counts as awake after its last heartbeat, in milliseconds.
pub const AWAKE_MS: i64 = 3_000;
/// How long a drain counts as awake after a caller was asked to wake it, in milliseconds.
pub const WAKING_MS: i64 = 1_000;
/// How long returned work waits for a drain that knows its kind, in milliseconds, before it is claimed again.
pub const RETURN_MS: i64 = 60_000;
/// How old work of an unknown kind becomes before it is dead-lettered, in milliseconds: longer than a deployment takes.
pub const MAX_UNKNOWN_AGE_MS: i64 = 24 * 60 * 60 * 1_000;

/// Work that waits for a drain.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds entries, and moves the queue to its next generation even if there are none, so that a waiting drain also hears
    /// of work that only the record knows.
    ///
    /// Never fails, and takes no longer than the moment's timeout. A full shard refuses entries and never drops any; with
    /// the moment away, all are refused. A refusal only costs time, because the record finds the work. Adding delayed work
    /// that already waits moves it to the new delay.
    async fn add(&self, entries: &[Entry], at: At) -> Added;

    /// Claims up to `limit` due entries, for [`CLAIM_MS`] or until they are settled. No other drain gets them meanwhile.
    ///
    /// Critical entries come first. Over all claims of this process, 8 of 15 entries are critical, 4 high, 2 normal and 1
    /// low, as long as there are that many, so that no priority starves. Entries of one user and priority come in the
    /// order in which they fell due.
    ///
    /// An entry whose claim lapsed is claimed alone, since it may be what ended its worker, and in turn with other entries.
    /// Claiming counts as a heartbeat. `None` if the moment is unavailable or has no queue.
    async fn claim(&self, limit: usize, at: At) -> Option<Claims>;

    /// Settles claims, each atomically. A claim that lapsed and was taken by another drain is left to that one. False if
    /// the moment is away; the entries then come back when their claims lapse.
    async fn settle(&self, resolutions: &[Resolution], at: At) -> bool;

    /// Keeps a drain counted as awake for [`AWAKE_MS`], and returns the queue's generation. Cheap enough to call many times
    /// a second. `None` if the moment is unavailable or has no queue.
    async fn heartbeat(&self, at: At) -> Option<u64>;

    /// Hears of work that is added from now on: a frame whenever the queue moves to its next generation, of which some may be
    /// missed. `None` if the moment cannot tell, so that a waiting drain must look by itself.
    async fn hear_of_work(&self) -> Option<Box<dyn Listening>>;

    /// Ends the drain's heartbeat: none counts as awake until the next one. Returns the generation as read after that. If
    /// it differs from the last claim's, there is new work that no other drain was woken for.
    async fn sign_off(&self, at: At) -> Option<u64>;

    /// How much work there is; `None` if the moment is unavailable or has no queue.
    async fn depth(&self, at: At) -> Option<Depth>;
}

/// Work, and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The task.
    pub work: Work,
    /// Its delay, in milliseconds; due at once if 0 or less.
    pub wait_ms: i64,
}

/// The result of adding entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// How many entries were refused, or may have been.
    pub refused: usize,
    /// Whether a drain is awake, or was to be woken within the last [`WAKING_MS`], and so will find the entries. The caller
    /// that gets `false` must wake one. `None` if unknown.
    pub drain_is_awake: Option<bool>,
}

/// The result of claiming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The claimed entries, critical ones first.
    pub claimed: Vec<Claimed>,
    /// Milliseconds until more work is due; 0 if there is more now, lapsed claims included. `None` if nothing waits.
    /// Claims of other drains do not count: the record finds their rows much sooner.
    pub next_in_ms: Option<i64>,
    /// The generation as read just before claiming.
    pub generation: u64,
}

/// An entry that one drain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Settles it.
    pub id: ClaimId,
    /// The task, or what is stored in its place.
    pub work: Result<Work, Malformed>,
    /// How often it was claimed, this time included.
    pub attempts: u32,
    /// When it first fell due, in milliseconds since 1970; 0 if the store does not know.
    pub due_ms: i64,
}

impl Claimed {
    /// Whether it had all its attempts without success and must be dead-lettered instead.
    pub fn is_poisoned(&self) -> bool {
        self.attempts > MAX_ATTEMPTS
    }
}

/// Identifies one claim of an entry, within the store that made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimId {
    /// Which of the store's instances has it.
    pub(crate) instance: usize,
    pub(crate) shard: usize,
    pub(crate) name: Vec<u8>,
}

/// How a claim is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The work is done.
    Done(ClaimId),
    /// This is left of it. It must belong to the same shard.
    Retry(ClaimId, Entry),
    /// This version does not know the work: it is left as it is, for [`RETURN_MS`], and its next claim is its first attempt.
    Return(ClaimId),
}

impl Resolution {
    /// The claim that it settles.
    pub fn id(&self) -> &ClaimId {
        match self {
            Self::Done(id) | Self::Retry(id, _) | Self::Return(id) => id,
        }
    }
}

/// How much work is in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries that are due and not claimed.
    pub waiting: u64,
    /// Entries that are claimed, or were returned by a drain that does not know their kind.
    pub processing: u64,
    /// Entries that are not due yet.
    pub delayed: u64,
    /// How long the oldest waiting entry has been due, in milliseconds; 0 if none waits.
    pub oldest_ms: u64,
}
