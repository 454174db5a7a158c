//! The promise of the record to keep dead letters: what cannot be processed blocks nothing else, and an operator can find,
//! redrive or discard it.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, UserId};
use crate::page_key::PageKey;

/// The most dead letters of a page.
pub const MAX_DEAD_LETTERS: usize = 200;
/// The most bytes that are stored of what the queue or a log held: more than an entry of a log has.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1_024;

/// What cannot be processed. The record dead-letters its own rows and chunks, and drains what they cannot process.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Dead-letters something, in one transaction; repeating it changes nothing. A row stays in its inbox but is no longer
    /// due. A row that is no longer to be pushed is not dead-lettered.
    async fn dead_letter(&self, dead: &Dead<'_>, reason: Reason, at: At) -> Result<(), StoreError>;

    /// A page of up to [`MAX_DEAD_LETTERS`], newest first. A dead letter keeps its place.
    async fn page(&self, after: Option<PageKey<DeadLetterId>>, limit: usize) -> Result<DeadLetterPage, StoreError>;

    /// Retries a dead letter and deletes it, in one transaction: a row becomes due at once unless it was read or deleted
    /// meanwhile, and recipients without a row become a chunk that is due at once. What the queue or a log held is nowhere else,
    /// so it stays, for the caller to process and then to discard.
    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<Redriven, StoreError>;

    /// Deletes a dead letter, which will never be retried. False if there is no such dead letter.
    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError>;
}

/// What is dead-lettered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dead<'a> {
    /// The push of a row.
    Push {
        /// The owner of the inbox.
        user: &'a UserId,
        /// The row's arrival position.
        offset: i64,
    },
    /// What the queue or a log held; its first [`MAX_PAYLOAD_BYTES`] are stored.
    Held {
        /// As it was found.
        payload: &'a str,
    },
}

/// Why something is dead-lettered. Never contains anything that a caller sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Every attempt ended without a result.
    Poisoned,
    /// The stored value is not one that is ever written there.
    Unreadable,
    /// The database refuses the row.
    Refused,
    /// No version that ran for a day knows this kind of work.
    Unknown,
}

impl Reason {
    /// The text that is stored and shown.
    pub fn text(self) -> &'static str {
        match self {
            Self::Poisoned => "every attempt to process it ended without a result",
            Self::Unreadable => "its stored value cannot be read",
            Self::Refused => "the database refuses its row",
            Self::Unknown => "no running version knows this kind of work",
        }
    }
}

/// What became of a redrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redriven {
    /// The dead letter is deleted, and what it was about is due.
    Done,
    /// There is no such dead letter.
    Missing,
    /// It stays. This is what the queue or a log held.
    Held(String),
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the list.
    pub key: PageKey<DeadLetterId>,
    /// The user concerned; `None` if there are several, or if it is unknown.
    pub user: Option<UserId>,
    /// The notification concerned; `None` as for `user`.
    pub notification: Option<NotificationId>,
    /// The reason, as [`Reason::text`].
    pub error: String,
    /// How often it had been attempted.
    pub attempts: i64,
}

/// A page of dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// Newest first.
    pub letters: Vec<DeadLetter>,
    /// The place of the last one, if more follow.
    pub next: Option<PageKey<DeadLetterId>>,
}

impl DeadLetterPage {
    /// The page, from up to `limit` dead letters and one more if more follow.
    pub fn new(mut found: Vec<DeadLetter>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|letter| letter.key);
        Self { letters: found, next }
    }
}

/// A payload as both databases can store it: truncated, and without U+0000.
pub(crate) fn storable(payload: &str) -> String {
    let end = payload.floor_char_boundary(MAX_PAYLOAD_BYTES);
    payload[..end].replace('\0', "\u{fffd}")
}
