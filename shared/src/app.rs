//! What a function holds between calls: its configuration, its clock, and the stores behind the promises.

use std::sync::Arc;

use crate::auth::{RevokedUsers, Tokens};
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::queue::{Added, Entry};
use crate::delivery::wake::Wake;
use crate::moment::Moment;
use crate::presence::renewals::Renewals;
use crate::record::Record;
use crate::sockets::flood::Flood;
use crate::sockets::push::Push;
use crate::telemetry::{Counts, Report};

/// Built once per process and handed to every call. Clones share everything.
#[derive(Clone)]
pub struct App {
    /// The configuration from the environment.
    pub config: Arc<Config>,
    /// The present time.
    pub clock: Clock,
    /// Verifies bearer tokens; `None` without `JWT_SECRET` and `JWT_JWKS_URL`, in functions that have no callers.
    pub tokens: Option<Arc<Tokens>>,
    /// What must outlive everything.
    pub record: Record,
    /// What may vanish at any time without loss.
    pub moment: Moment,
    /// The way to the sockets.
    pub push: Arc<dyn Push>,
    /// The users whose tokens were revoked, as this process knows them.
    pub revoked_users: Arc<RevokedUsers>,
    /// The connections whose frames this process ignores.
    pub flood: Arc<Flood>,
    /// The leases that this process has renewed lately.
    pub renewals: Arc<Renewals>,
    /// The way to the drain. Without one, the drain's schedule (once a minute) is soon enough.
    pub wake: Option<Arc<dyn Wake>>,
}

impl App {
    /// An app on these stores, with the system clock and without a way to wake the drain.
    pub fn new(config: Config, record: Record, moment: Moment, push: Arc<dyn Push>) -> Self {
        Self {
            tokens: Tokens::new(&config).map(Arc::new),
            config: Arc::new(config),
            clock: Clock::system(),
            record,
            moment,
            push,
            revoked_users: Arc::default(),
            flood: Arc::default(),
            renewals: Arc::default(),
            wake: None,
        }
    }

    /// Enqueues work and wakes the drain if none is awake. Without entries it only wakes, for work that the record alone
    /// knows about. Returns how many entries the queue refused, or may have; the record finds what it knows of.
    pub async fn enqueue_and_wake(&self, entries: &[Entry]) -> usize {
        let Added { refused, drain_is_awake: is_awake } = self.moment.queue.add(entries, self.clock.at()).await;
        if is_awake != Some(true)
            && let Some(wake) = &self.wake
        {
            wake.wake_drain(is_awake == Some(false)).await;
        }
        refused
    }

    /// Counts a response that reports a server error.
    pub async fn report_error(&self) {
        let counts = Counts { errors: 1, ..Counts::default() };
        self.moment.telemetry.report(&Report { counts, ..Report::default() }, self.clock.at()).await;
    }
}
