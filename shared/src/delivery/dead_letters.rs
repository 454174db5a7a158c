//! The promise of the record that what cannot be processed is set aside: it holds up nothing else, an operator finds it,
//! and it is tried again when he says so.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{DeadLetterId, NotificationId, UserId};

/// The most letters of a page.
pub const MAX_DEAD_LETTERS: usize = 200;
/// How much is kept of what could not be read, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 4_096;

/// What was set aside. The record itself sets aside what its own rows and chunks do not let it do; others, what they
/// were given.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Sets something aside, in one transaction; what is set aside already stays as it is. A row whose push is set aside
    /// is no longer due, and stays in its inbox; one that is not to be pushed any more is not set aside.
    async fn dead_letter(&self, dead: &Dead<'_>, why: Reason, at: At) -> Result<(), StoreError>;

    /// A page of letters, up to [`MAX_DEAD_LETTERS`] of them, the newest first. A letter keeps its place.
    async fn page(&self, after: Option<DeadLetterKey>, limit: usize) -> Result<DeadLetterPage, StoreError>;

    /// Lets something be tried again, and forgets its letter, in one transaction: a row is due at once unless it was read
    /// or deleted meanwhile, recipients without a row become a chunk that is due at once. Of what could not be read
    /// nothing is left to try. False where there is no such letter.
    async fn redrive(&self, id: DeadLetterId, at: At) -> Result<bool, StoreError>;

    /// Forgets a letter: what it is about will not be tried again. False where there is no such letter.
    async fn discard(&self, id: DeadLetterId) -> Result<bool, StoreError>;
}

/// What is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dead<'a> {
    /// The push of a row.
    Push {
        /// Whose it is.
        user: &'a UserId,
        /// Where it arrived in his inbox.
        offset: i64,
    },
    /// Something that waited and is nothing that was ever added; its first [`MAX_PAYLOAD_BYTES`] are kept.
    Unreadable {
        /// As it was found.
        payload: &'a str,
    },
}

/// Why something is set aside. Told without any value of a stranger's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Whoever began it never came to its end.
    Poisoned,
    /// What is stored is not what is ever written there.
    Unreadable,
    /// The database refuses the row.
    Refused,
}

impl Reason {
    /// The sentence that is stored and told.
    pub fn text(self) -> &'static str {
        match self {
            Self::Poisoned => "whoever worked on it never came to its end",
            Self::Unreadable => "what is stored of it cannot be read",
            Self::Refused => "the inbox does not take its row",
        }
    }
}

/// Something that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it stands.
    pub place: DeadLetterKey,
    /// Whose notification it is; `None` where it is that of several, or where nobody knows.
    pub user: Option<UserId>,
    /// Which it is, as `user`.
    pub notification: Option<NotificationId>,
    /// Why, as [`Reason::text`].
    pub error: String,
    /// How often it had been tried.
    pub attempts: i64,
}

/// Where a letter stands: the later and, at the same time, the greater id comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadLetterKey {
    /// When it was set aside, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its id, which follows from what it is about.
    pub id: DeadLetterId,
}

/// A page of letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// Newest first.
    pub letters: Vec<DeadLetter>,
    /// The place of the last one, where more follow.
    pub next: Option<DeadLetterKey>,
}

impl DeadLetterPage {
    /// The page, from as many letters as it may have, and one more where more follow.
    pub fn page(mut found: Vec<DeadLetter>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|letter| letter.place);
        Self { letters: found, next }
    }
}

/// What is kept of what could not be read: neither record can store U+0000 as text.
pub(crate) fn kept(payload: &str) -> String {
    let end = payload.floor_char_boundary(MAX_PAYLOAD_BYTES);
    payload[..end].replace('\0', "\u{fffd}")
}
