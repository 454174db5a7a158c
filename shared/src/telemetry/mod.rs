//! The promise of the moment to note what happens: hints for programs beside us, counts for operators, and what became
//! of each push.

pub mod health;
pub mod histogram;
pub mod metrics;

use async_trait::async_trait;

use crate::clock::At;
use crate::ids::{ConnectionId, NotificationId, UserId};
use crate::sockets::push::Outcome;
use crate::telemetry::histogram::Histogram;

/// How long counts are told, in milliseconds: of the present minute and the 59 before it.
pub const COUNTS_WINDOW_MS: i64 = 60 * 60 * 1_000;
/// How long a push is remembered, in milliseconds.
pub const OUTCOME_RETENTION_MS: i64 = 24 * 60 * 60 * 1_000;
/// How many pushes of one notification are remembered: the last ones.
pub const MAX_OUTCOMES: usize = 100;

/// Notes that may be lost: the record has what must not be.
#[async_trait]
pub trait Telemetry: Send + Sync {
    /// Notes everything, in one pipeline. Never fails and never takes longer than the moment's own bound; where the
    /// moment is away, nothing is noted, and where it goes away meanwhile, perhaps a part. Nothing is noted twice, but
    /// for what a connection took with it when it ended, of which nobody knows whether it arrived.
    ///
    /// The minute of the counts is that of `at`; for [`At::Server`] that of this process, so that clocks which disagree
    /// put a count into a neighbouring minute.
    async fn report(&self, report: &Report<'_>, at: At);

    /// The sums over all processes of what was noted in this minute and the 59 before it, so of 59 to 60 minutes; what
    /// nobody noted is 0. `None` where the moment is away or keeps nothing.
    async fn counts(&self, at: At) -> Option<Counts>;

    /// What became of the pushes of a notification in the last [`OUTCOME_RETENTION_MS`], oldest first, at most the last
    /// [`MAX_OUTCOMES`]; empty where there was none, or where it was forgotten. `None` where the moment is away or
    /// keeps nothing.
    async fn outcomes(&self, id: NotificationId, at: At) -> Option<Vec<PushAttempt>>;
}

/// What one call has to note.
#[derive(Debug, Default)]
pub struct Report<'a> {
    /// What was accepted, for programs beside us.
    pub hints: Vec<Hint<'a>>,
    /// What is added to the counts of this minute.
    pub counts: Counts,
    /// What became of pushes, in order; each is of the instant at which it is noted.
    pub outcomes: Vec<(NotificationId, &'a ConnectionId, Outcome)>,
}

impl Report<'_> {
    /// Whether there is nothing to note.
    pub fn is_empty(&self) -> bool {
        self.hints.is_empty() && self.counts == Counts::default() && self.outcomes.is_empty()
    }
}

/// One accepted notification: ids only, no content. Published at once, and kept nowhere.
#[derive(Debug, Clone, Copy)]
pub struct Hint<'a> {
    /// Whose it is.
    pub user: &'a UserId,
    /// Which it is.
    pub id: NotificationId,
    /// Its type.
    pub kind: &'a str,
}

/// How often things happened, and how long they took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Notifications that were stored; repeats are none.
    pub accepted: u64,
    /// Notifications that every open connection of their user has taken, at least one.
    pub delivered: u64,
    /// Notifications that the drain pushed since nobody had finished that.
    pub retried: u64,
    /// Recipients who were refused.
    pub rate_limited: u64,
    /// Answers that were a fault of ours: 5xx over HTTP, and `error` frames with the codes of one.
    pub errors: u64,
    /// For each send that was stored: milliseconds from when its call was read until the record had it, by the clock of
    /// the process.
    pub accept_ms: Histogram,
    /// For each notification that was delivered: milliseconds from `createdAt`, which the record's clock gave, until
    /// the pushes that went out together with it had been answered, by the clock of the process.
    pub deliver_ms: Histogram,
}

impl Counts {
    /// Adds other ones to these.
    pub fn add_all(&mut self, other: &Self) {
        let Self { accepted, delivered, retried, rate_limited, errors, accept_ms, deliver_ms } = other;
        for (sum, count) in [
            (&mut self.accepted, accepted),
            (&mut self.delivered, delivered),
            (&mut self.retried, retried),
            (&mut self.rate_limited, rate_limited),
            (&mut self.errors, errors),
        ] {
            *sum = sum.saturating_add(*count);
        }
        self.accept_ms.add_all(accept_ms);
        self.deliver_ms.add_all(deliver_ms);
    }
}

/// A push of a notification to a connection. A second try a moment later is the same push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAttempt {
    /// To whom.
    pub connection: ConnectionId,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was noted, in milliseconds since 1970.
    pub at_ms: i64,
}
