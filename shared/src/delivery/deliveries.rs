//! The promise of the record that nothing stored is forgotten on its way: what is due is found by whoever
//! looks, however many look at once.

use async_trait::async_trait;

use crate::clock::At;
use crate::delivery::queue::Work;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::{Changed, Delivery};
use crate::sockets::connections::Connection;

/// The longest that a row waits for its next push.
pub const MAX_PUSH_DELAY_MS: i64 = 5 * 60 * 1_000;
/// For how many rows that are due at once a user gets a frame each. Of whom more is due, as after an outage, is told to
/// sync instead: one frame.
pub const MAX_FRAMES_PER_USER: usize = 5;
/// How many recipients are materialised in one transaction, unless one chunk alone has more.
pub const MAX_RECIPIENTS_TOGETHER: usize = 200;
/// How many rows of users who are told to sync one statement changes at most, so that nobody waits long for it.
pub const MAX_STATEMENT_ROWS: usize = 1_000;
/// How many such statements one call makes at most; what is beyond waits for the next.
pub const MAX_STATEMENTS: usize = 100;

/// What still has to be materialised or pushed.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Materialises up to `limit` chunks that are due by the store's clock, those first that are due first, in one
    /// transaction, exactly as `append` does the first chunk of a send. The first chunk of a scheduled send starts it, in
    /// the same transaction. Two that call it at once never materialise the same chunk. One of a send that has expired is
    /// settled without a row for anybody: it returns nothing to push.
    ///
    /// Several go together only as far as they have [`MAX_RECIPIENTS_TOGETHER`] recipients, and nothing about them takes more than
    /// that: no collapse key, no expiry that has passed, nothing that is refused. None are due where it says 0 chunks.
    async fn materialise(&self, limit: usize, at: At) -> Result<Materialised, StoreError>;

    /// Materialises one chunk that is due; `None` where there is none.
    async fn materialise_next(&self, at: At) -> Result<Option<Vec<Delivery>>, StoreError> {
        let Materialised { chunks, deliveries } = self.materialise(1, at).await?;
        Ok((chunks > 0).then_some(deliveries))
    }

    /// Takes up to `limit` rows whose `push_at` has passed. Each one's `push_at` moves ahead (5 s, doubled
    /// with every time it was taken, at most 5 min), so that nobody else takes it meanwhile and a dead taker's
    /// rows come back. Rows that were read or deleted or have expired, or whose user has no connection, are no
    /// longer due and not returned.
    ///
    /// Where one of them is a user's of whom more than [`MAX_FRAMES_PER_USER`] rows are due, all of his are taken, beyond
    /// `limit`, and returned as one: in steps of [`MAX_STATEMENT_ROWS`], each committed by itself, and at most [`MAX_STATEMENTS`].
    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError>;

    /// Takes these rows, whether or not they are due by themselves: those whose `push_at` is the fence, so that nobody
    /// took or finished them since it was read. The others are not returned, nor are those that `take_due` would not
    /// return. Each one's `push_at` moves ahead by 5 s and [`max_backoff_ms`] of how often it was pushed before: where
    /// whoever takes it leaves it to the queue, and the queue loses it, it comes back that much later. In the order of
    /// users and offsets.
    async fn take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError>;

    /// Leaves rows alone for so many milliseconds each, as somebody asked: each one's `push_at` moves to 5 s after that.
    /// For whoever holds them: those whose `push_at` is not the fence stay as they are. Returns, in the order of `rows`,
    /// each one's new `push_at`; `None` for one that stayed.
    async fn postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError>;

    /// Notes that every connection of these rows' users was offered them: they are no longer due. The pairs
    /// are a user and the offset at which the notification arrived.
    async fn mark_offered(&self, rows: &[(&UserId, i64)], at: At) -> Result<(), StoreError>;

    /// Notes that every connection of these users was told to sync: whatever was to be pushed and arrived up to the
    /// offset beside each is offered. In the steps of `take_due`; what is beyond them stays as it is.
    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError>;

    /// Makes tombstones of up to `limit` notifications that have expired, those first that expired first: each takes
    /// the next offset of its inbox. Returns whose inbox changed and how. None are left where it returns nothing, unless
    /// another is at work on them.
    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError>;

    /// When the next chunk or row falls due or expires, in milliseconds since 1970; `None` where nothing waits. May lie
    /// in the past.
    async fn next_due(&self) -> Result<Option<i64>, StoreError>;

    /// How much waits now. Each row and chunk that waits is looked at: what is settled costs nothing.
    async fn backlog(&self, at: At) -> Result<Backlog, StoreError>;
}

/// What was materialised.
#[derive(Debug, Default)]
pub struct Materialised {
    /// How many chunks.
    pub chunks: usize,
    /// What is to be pushed, in the order in which they were due.
    pub deliveries: Vec<Delivery>,
}

/// A row, and how it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey<'a> {
    /// Whose it is.
    pub user: &'a UserId,
    /// Where it arrived in his inbox.
    pub offset: i64,
    /// Its `push_at`, in milliseconds since 1970.
    pub fence_ms: i64,
}

impl<'a> From<&'a Work> for RowKey<'a> {
    fn from(work: &'a Work) -> Self {
        Self { user: &work.user, offset: work.offset, fence_ms: work.fence_ms }
    }
}

/// Within how many milliseconds a row is tried again that was pushed `attempt` times before this time: 100, doubled each
/// time, at most a minute.
pub fn max_backoff_ms(attempt: u32) -> i64 {
    100 * (1 << attempt.min(10)).min(600)
}

/// What was taken to be pushed.
#[derive(Debug, Default)]
pub struct Taken {
    /// A frame each: what was due longest first.
    pub deliveries: Vec<Delivery>,
    /// A frame for all that is due.
    pub resyncs: Vec<Resync>,
}

impl Taken {
    /// Whether there is nothing to push.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.resyncs.is_empty()
    }
}

/// A user of whom so much is due that he is told to sync instead.
#[derive(Debug, Clone)]
pub struct Resync {
    /// Whose inbox it is.
    pub user: UserId,
    /// Its head when the rows were taken: whoever syncs from then on learns of all that had arrived.
    pub through: i64,
    /// Where to; those whose token has ended are left out.
    pub connections: Vec<Connection>,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Notifications that still have to be pushed, whenever that is, and recipients of chunks that are due.
    pub waiting: u64,
    /// Recipients of chunks that are not due yet.
    pub delayed: u64,
    /// Letters about what was set aside.
    pub dead_letters: u64,
    /// For how long the first of what is due has been due, in milliseconds; 0 where nothing is.
    pub oldest_ms: u64,
}

/// How many of these chunks, from the first on, go into one transaction: each has so many recipients, or must go by itself.
pub(crate) fn together(chunks: impl Iterator<Item = Option<usize>>) -> usize {
    let mut recipients = 0;
    let fits = |chunk: &Option<usize>| {
        recipients += chunk.unwrap_or(MAX_RECIPIENTS_TOGETHER + 1);
        recipients <= MAX_RECIPIENTS_TOGETHER
    };
    chunks.take_while(fits).count()
}
