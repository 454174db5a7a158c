//! What a function holds between calls: its configuration, its clock, and the stores behind the promises.

use std::sync::Arc;

use crate::auth::{RevokedUsers, Tokens};
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::queue::{Added, Entry};
use crate::delivery::wake::Wake;
use crate::delivery::work::Work;
use crate::fast::in_use::FastUse;
use crate::fast::log::LogId;
use crate::fast::log_first::log_first;
use crate::fast::write::LogWriter;
use crate::moment::Moment;
use crate::presence::renewals::Renewals;
use crate::record::Record;
use crate::secrets::Secrets;
use crate::sockets::flood::Flood;
use crate::sockets::push::Push;
use crate::telemetry::{Counts, Report};
use crate::web_push::service::PushServices;

/// From which age of a log's oldest entry on a drain is asked again to write it, in milliseconds.
const REMIND_AFTER_MS: i64 = 1_000;

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
    /// What may vanish at any time without loss, except for logs of fast accepts.
    pub moment: Moment,
    /// The way to the sockets.
    pub push: Arc<dyn Push>,
    /// The users whose tokens were revoked, as this process knows them.
    pub revoked_users: Arc<RevokedUsers>,
    /// Whether fast accepts are in use, as this process knows it.
    pub fast_use: Arc<FastUse>,
    /// Writes logs to the record, which `record` does before the acts of users.
    pub log_writer: LogWriter,
    /// The connections whose frames this process ignores.
    pub flood: Arc<Flood>,
    /// The leases that this process has renewed lately.
    pub renewals: Arc<Renewals>,
    /// The way to the push services of browsers; `None` in functions that send no Web Push, and without keys for it.
    pub push_services: Option<Arc<dyn PushServices>>,
    /// The way to the drain. Without one, the drain's schedule (once a minute) is soon enough.
    pub wake: Option<Arc<dyn Wake>>,
}

impl App {
    /// An app on these stores, with the system clock and without a way to wake the drain.
    pub fn new(config: Config, record: Record, moment: Moment, push: Arc<dyn Push>) -> Self {
        Self::with_clock(config, record, moment, push, Clock::system())
    }

    /// The same with this clock.
    pub fn with_clock(config: Config, record: Record, moment: Moment, push: Arc<dyn Push>, clock: Clock) -> Self {
        let (fast, dead_letters) = (Arc::clone(&record.fast), Arc::clone(&record.dead_letters));
        let log_writer = LogWriter::new(fast, dead_letters, Arc::clone(&moment.logs));
        let fast_use = Arc::default();
        Self {
            tokens: Tokens::new(&config).map(Arc::new),
            config: Arc::new(config),
            record: log_first(record, &log_writer, &fast_use, &clock),
            clock,
            moment,
            push,
            revoked_users: Arc::default(),
            fast_use,
            log_writer,
            flood: Arc::default(),
            renewals: Arc::default(),
            push_services: None,
            wake: None,
        }
    }

    /// The same, verifying tokens with secrets that may be replaced while they are in use.
    #[must_use]
    pub fn with_secrets(self, secrets: &Secrets) -> Self {
        let tokens = Tokens::with_renewal(&self.config, secrets.of_tokens());
        Self { tokens: tokens.map(Arc::new), ..self }
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

    /// Asks a drain to write a log after an append. If the log had entries, of which the oldest has waited for `oldest_ms`
    /// milliseconds, one was asked already, and is asked again only if it is late.
    pub async fn have_log_written(&self, log: LogId, oldest_ms: Option<i64>) {
        if oldest_ms.is_none_or(|oldest_ms| oldest_ms >= REMIND_AFTER_MS) {
            self.enqueue_and_wake(&[Entry { work: Work::Persist(log), wait_ms: 0 }]).await;
        }
    }

    /// Counts a response that reports a server error.
    pub async fn report_error(&self) {
        let counts = Counts { errors: 1, ..Counts::default() };
        self.moment.telemetry.report(&Report { counts, ..Report::default() }, self.clock.at()).await;
    }
}
