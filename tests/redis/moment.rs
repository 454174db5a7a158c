//! The vocabulary of these tests: a moment, and budgets by name.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::redis_server::RedisServer;
use shared::clock::{At, Clock};
use shared::config::RedisConfig;
use shared::limits::{Limits, Rate, Spend, Verdict};
use shared::moment::redis::RedisMoment;
use shared::telemetry::health::{Health, Status};
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// The key prefix of most tests, each of which has its own server.
pub(crate) const PREFIX: &str = "carillon";

/// Less than the time of a call that waits for Redis, but more than that of one that does not wait on a busy machine.
pub(crate) const MAX_IN_FLIGHT: Duration = Duration::from_millis(130);

/// One spend, and the next an hour later.
pub(crate) const ONE: Rate = Rate { count: 1, window_ms: 3_600_000 };
/// More than any test spends.
pub(crate) const PLENTY: Rate = Rate { count: 100_000, window_ms: 3_600_000 };

/// A moment as functions use it. Clones share it.
#[derive(Clone)]
pub(crate) struct Moment(pub(crate) Arc<RedisMoment>);

impl Moment {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        Self(Arc::new(RedisMoment::new(config, Clock::system()).unwrap()))
    }

    /// A moment that is connected to this server.
    pub(crate) async fn on(server: &RedisServer) -> Self {
        let moment = Self::new(&server.config(PREFIX));
        moment.becomes_healthy_within(Duration::from_secs(10)).await;
        moment
    }

    /// A moment with a timeout that even a busy machine does not exceed, for tests of answers rather than of timing.
    pub(crate) async fn with_long_timeout(server: &RedisServer) -> Self {
        Self::patient(&server.config(PREFIX)).await
    }

    /// The same on any servers.
    pub(crate) async fn patient(config: &RedisConfig) -> Self {
        let moment = RedisMoment::with_timeout(config, Clock::system(), Duration::from_secs(30)).unwrap();
        let moment = Self(Arc::new(moment));
        moment.becomes_healthy_within(Duration::from_secs(10)).await;
        moment
    }

    pub(crate) async fn spends(&self, bucket: &str, rate: Rate) -> Verdict {
        let spend = Spend { bucket: bucket.into(), rate };
        self.0.spend(&[spend], At::Server).await[0]
    }

    /// Spends, and returns how long that took.
    pub(crate) async fn times(&self, bucket: &str, rate: Rate) -> Duration {
        let begun = Instant::now();
        assert_eq!(self.spends(bucket, rate).await, Verdict::Admitted);
        begun.elapsed()
    }

    /// Whether both moments use the same budget. Without a server, each would admit one on its own.
    pub(crate) async fn shares_budgets_with(&self, other: &Self, bucket: &str) -> bool {
        let first = self.spends(bucket, ONE).await;
        assert_eq!(first, Verdict::Admitted, "{bucket} had been spent from already");
        matches!(other.spends(bucket, ONE).await, Verdict::Limited { .. })
    }

    pub(crate) async fn check(&self) -> Status {
        self.0.check().await
    }

    /// Waits until the moment is healthy, with a check every few milliseconds; returns how long that took.
    pub(crate) async fn becomes_healthy_within(&self, longest: Duration) -> Duration {
        let begun = Instant::now();
        while self.check().await != Status::Ok {
            assert!(begun.elapsed() < longest, "the moment was not healthy within {longest:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begun.elapsed()
    }
}

/// What was logged on this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures the log of this thread until the guard is dropped.
    pub(crate) fn of_this_thread() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(Level::WARN).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn said(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
