//! The promise of the moment to record what happens: hints for other programs, counts for operators, and the outcome of
//! each push. Losing any of it loses nothing that the record needs.

pub(crate) mod cloud_watch;
pub mod gauges;
pub mod health;
pub mod histogram;
pub mod invocation;
pub mod metrics;
pub mod names;
#[cfg_attr(not(feature = "otlp"), path = "no_otlp.rs")]
pub mod otlp;
pub mod spans;
pub mod trace;
pub(crate) mod waits;

use async_trait::async_trait;

use crate::clock::At;
use crate::ids::{ChatId, ConnectionId, EventId, NotificationId, UserId};
use crate::sockets::push::Outcome;
use crate::telemetry::histogram::Histogram;

/// The window of the counts, in milliseconds: the current minute and the 59 before it.
pub const COUNTS_WINDOW_MS: i64 = 60 * 60 * 1_000;
/// How long the outcome of a push is kept, in milliseconds.
pub const OUTCOME_RETENTION_MS: i64 = 24 * 60 * 60 * 1_000;
/// The most outcomes that are kept of one notification: the latest.
pub const MAX_OUTCOMES: usize = 100;

/// Counts, outcomes and hints, any of which may be lost.
#[async_trait]
pub trait Telemetry: Send + Sync {
    /// Records a report, in one pipeline. Never fails, and takes no longer than the moment's timeout. An empty report
    /// has no effect.
    ///
    /// The report as a whole is not atomic. Each hint, the counts together, and the outcomes of each notification are
    /// recorded completely or not at all. With the moment unavailable nothing is recorded; if it becomes unavailable
    /// during the call, part of the report may be. If the connection breaks during the call, the report is sent once
    /// more, so that part of it may be recorded twice.
    ///
    /// Counts are added to the minute of `at`, which for [`At::Server`] is the minute of this process's clock: if the
    /// clocks of processes differ, a count may be in a neighbouring minute. Outcomes are recorded at `at` itself.
    async fn report(&self, report: &Report<'_>, at: At);

    /// The sums over all processes of the counts of the current minute and the 59 before it: of the last 59 to 60
    /// minutes. 0 if nothing was counted. `None` if the moment is unavailable or keeps no counts, whatever happened.
    ///
    /// Of the counts of one concurrent report, either all are included or none.
    async fn counts(&self, at: At) -> Option<Counts>;

    /// The outcomes of the pushes of a notification in the last [`OUTCOME_RETENTION_MS`], oldest first, and of one
    /// millisecond in the order of their reports; at most the latest [`MAX_OUTCOMES`]. Empty if there were none or they
    /// were lost. `None` if the moment is unavailable or keeps no outcomes.
    async fn outcomes(&self, id: NotificationId, at: At) -> Option<Vec<PushAttempt>>;
}

/// What one call reports.
#[derive(Debug, Default)]
pub struct Report<'a> {
    /// What other programs may hear of.
    pub hints: Vec<Hint<'a>>,
    /// What to add to the counts of the current minute.
    pub counts: Counts,
    /// The outcomes of pushes, in order. Their time is that of the report.
    pub outcomes: Vec<(NotificationId, &'a ConnectionId, Outcome)>,
}

impl Report<'_> {
    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.hints.is_empty() && self.counts == Counts::default() && self.outcomes.is_empty()
    }
}

/// What other programs may hear of, by its ids and without content. It is published at once and not stored, so programs that
/// are not subscribed at that time miss it.
#[derive(Debug, Clone, Copy)]
pub enum Hint<'a> {
    /// A notification was accepted.
    Notification {
        /// The recipient.
        user: &'a UserId,
        /// The notification.
        id: NotificationId,
        /// Its type.
        kind: &'a str,
    },
    /// A message was said in a chat.
    Message {
        /// The chat.
        chat: ChatId,
        /// Its place there; `None` if it was accepted fast.
        seq: Option<i64>,
        /// Who said it; `None` if that user was erased.
        sender: Option<&'a UserId>,
    },
    /// An event was emitted.
    Emitted {
        /// The event.
        id: EventId,
        /// Its type.
        kind: &'static str,
        /// Its name, if it has one.
        name: Option<&'a str>,
    },
    /// A user came online or went offline.
    Presence {
        /// The user.
        user: &'a UserId,
        /// Whether it is online now.
        online: bool,
    },
}

/// How often things happened and how long they took: in one call as part of a [`Report`], or in a window of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Notifications whose send was stored, including those of scheduled sends. A repeated send counts nothing.
    pub accepted: u64,
    /// Notifications that were offered to every open connection of their user, of which there was at least one. A
    /// notification that is offered again, because that could not be recorded, counts again.
    pub delivered: u64,
    /// Notifications that the drain pushed because an earlier push had not reached every connection. Each attempt
    /// counts.
    pub retried: u64,
    /// Recipients who were refused because of a rate limit.
    pub rate_limited: u64,
    /// Responses that report a server fault: 5xx over HTTP, and `error` frames with the code of such an error.
    pub errors: u64,
    /// For each stored send, the milliseconds from reading the call until the record had stored it, by the clock of the
    /// process.
    pub accept_ms: Histogram,
    /// For each of the `delivered` notifications, the milliseconds from its `createdAt`, by the record's clock, until
    /// all pushes of the same call had been answered, by the clock of the process.
    pub deliver_ms: Histogram,
}

impl Counts {
    /// Adds other counts to these. Sums saturate.
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

/// The outcome of one push of a notification to a connection. Pushing again to a connection that is not open yet,
/// within the same attempt, is part of the same push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAttempt {
    /// The connection that it was pushed to.
    pub connection: ConnectionId,
    /// The last outcome. Stores keep only its name, so `retry_after_ms` may be 0.
    pub outcome: Outcome,
    /// When it was recorded, by the store's clock, in milliseconds since 1970.
    pub at_ms: i64,
}
