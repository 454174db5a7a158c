//! The promise of the record that nothing stored is forgotten on its way: what is due is found by any drain, however many
//! look at once.

use async_trait::async_trait;

use crate::clock::At;
use crate::delivery::Delivery;
use crate::delivery::work::PushWork;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::sockets::connections::Connection;

/// The longest delay until a row is pushed again, in milliseconds.
pub const MAX_PUSH_DELAY_MS: i64 = 5 * 60 * 1_000;
/// Up to how many rows of a user that are due at once get a frame each. A user with more, as after an outage, has a backlog
/// and gets a resync instead, with one frame.
pub const MAX_FRAMES_PER_USER: usize = 5;
/// The most recipients that are materialised in one transaction, unless one chunk alone has more.
pub const MAX_RECIPIENTS_TOGETHER: usize = 200;
/// The most rows of a backlog that one statement changes, so that no other transaction waits for it for long.
pub const MAX_STATEMENT_ROWS: usize = 1_000;
/// The most statements of one call that change a backlog; the rest waits for the next call.
pub const MAX_STATEMENTS: usize = 100;

/// What has yet to be materialised or pushed.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Materialises up to `limit` chunks that are due by the store's clock, those due first, in one transaction, exactly as
    /// `append` does the first chunk of a send. The first chunk of a scheduled send starts it in the same transaction.
    /// Concurrent calls never materialise the same chunk. A chunk of an expired send is settled without giving any
    /// recipient a row.
    ///
    /// Several chunks are taken together only while they have [`MAX_RECIPIENTS_TOGETHER`] recipients in total and are plain:
    /// no collapse key, no expiry in the past, nothing that the database refuses. No chunk is due if it returns 0 chunks.
    async fn materialise(&self, limit: usize, at: At) -> Result<Materialised, StoreError>;

    /// Takes up to `limit` rows whose `push_at` has passed. Each one's `push_at` moves ahead by 5 s, doubled with every time it
    /// was taken, at most [`MAX_PUSH_DELAY_MS`]; so no other worker takes it meanwhile, and the rows of a dead worker come
    /// back. Rows that were read or deleted, have expired, or whose user has no connection are no longer due and not returned.
    ///
    /// If a row belongs to a user with more than [`MAX_FRAMES_PER_USER`] due rows, all of that user's due rows are taken,
    /// beyond `limit`, and returned as one resync: [`MAX_STATEMENT_ROWS`] at a time, each time committed, and at most
    /// [`MAX_STATEMENTS`] times.
    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError>;

    /// Takes these rows whether or not they are due, in the order of users and offsets. Rows whose `push_at` is no longer the
    /// fence were taken or finished since it was read and are not returned, nor are those that `take_due` would not return.
    /// Each one's `push_at` moves ahead by 5 s and the longest backoff of its attempt, so that the row comes back after the
    /// queue would have retried it, should the queue lose it.
    async fn take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError>;

    /// Moves each row's `push_at` to 5 s after the given delay in milliseconds, unless it is no longer the fence. Returns each
    /// row's new `push_at`, in the order of `rows`; `None` for a row that was left alone.
    async fn postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError>;

    /// Marks rows as offered to every connection of their users: they are no longer due. Each row is given by its user and
    /// the offset of its arrival.
    async fn mark_offered(&self, rows: &[(&UserId, i64)], at: At) -> Result<(), StoreError>;

    /// Marks everything of these users that is due and arrived up to the given offset as offered, since every connection was
    /// told to sync. In batches as in `take_due`; what is beyond them stays as it is.
    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError>;

    /// When the first of each kind of what waits falls due.
    async fn next_due(&self) -> Result<NextDue, StoreError>;

    /// How much waits now. Costs a look at each waiting row and chunk, and nothing for settled ones.
    async fn backlog(&self, at: At) -> Result<Backlog, StoreError>;
}

/// When the first of each kind falls due, in milliseconds since 1970, possibly in the past; `None` if none of it waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NextDue {
    /// A chunk is materialised.
    pub chunk: Option<i64>,
    /// A snooze ends.
    pub snooze: Option<i64>,
    /// A row expires.
    pub expiry: Option<i64>,
    /// A row is pushed to sockets.
    pub row: Option<i64>,
    /// A message of a chat is pushed to sockets.
    pub message: Option<i64>,
    /// A notification is sent by Web Push.
    pub web_push: Option<i64>,
    /// A digest is sent by Web Push.
    pub digest: Option<i64>,
}

impl NextDue {
    /// When the first of all falls due.
    pub fn first(&self) -> Option<i64> {
        let Self { chunk, snooze, expiry, row, message, web_push, digest } = *self;
        [chunk, snooze, expiry, row, message, web_push, digest].into_iter().flatten().min()
    }
}

/// The result of materialising.
#[derive(Debug, Default)]
pub struct Materialised {
    /// How many chunks.
    pub chunks: usize,
    /// What can be pushed, in the order in which it was due.
    pub deliveries: Vec<Delivery>,
    /// When the first Web Push is due, in milliseconds since 1970; `None` if no recipient has a subscription.
    pub web_push_at_ms: Option<i64>,
}

/// A row at one point of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowKey<'a> {
    /// The owner of the inbox.
    pub user: &'a UserId,
    /// The row's arrival position.
    pub offset: i64,
    /// Its `push_at`, in milliseconds since 1970.
    pub fence_ms: i64,
}

impl<'a> From<&'a PushWork> for RowKey<'a> {
    fn from(work: &'a PushWork) -> Self {
        Self { user: &work.user, offset: work.offset, fence_ms: work.fence_ms }
    }
}

/// What was taken to be pushed.
#[derive(Debug, Default)]
pub struct Taken {
    /// One frame each, those due longest first.
    pub deliveries: Vec<Delivery>,
    /// One frame for each user with a backlog.
    pub resyncs: Vec<Resync>,
}

impl Taken {
    /// Whether there is nothing to push.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.resyncs.is_empty()
    }
}

/// A user with a backlog, who gets a resync.
#[derive(Debug, Clone)]
pub struct Resync {
    /// The owner of the inbox.
    pub user: UserId,
    /// The head when the rows were taken: a sync from now on covers everything up to it.
    pub through: i64,
    /// The user's connections, without those whose token has expired.
    pub connections: Vec<Connection>,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Notifications that have yet to be pushed, whenever that is, and recipients of due chunks.
    pub waiting: u64,
    /// Recipients of chunks that are not due yet.
    pub delayed: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// How long the oldest due item has been due, in milliseconds; 0 if nothing is.
    pub oldest_ms: u64,
}

/// How many of these chunks, from the first on, fit into one transaction. A chunk is given by its number of recipients, or
/// `None` if it must be on its own.
pub(crate) fn batch_size(chunks: impl Iterator<Item = Option<usize>>) -> usize {
    let mut recipients = 0;
    let fits = |chunk: &Option<usize>| {
        recipients += chunk.unwrap_or(MAX_RECIPIENTS_TOGETHER + 1);
        recipients <= MAX_RECIPIENTS_TOGETHER
    };
    chunks.take_while(fits).count()
}
