//! The moment in Redis: limits that many processes share, notes of what they do, and the queue of what is left. Where
//! Redis is away, limits are kept in this process, nothing is noted and nothing waits; everything returns by itself.

mod breaker;
mod delivery;
mod failure;
mod keys;
mod limits;
mod link;
mod scripts;
mod setup;
mod telemetry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use async_trait::async_trait;
use tokio::time::timeout;

use self::delivery::Adding;
use self::keys::Keys;
use self::limits::Spends;
use self::link::{Link, Stats, Timeouts};
use self::telemetry::Telling;
use crate::clock::{At, Clock};
use crate::config::RedisConfig;
use crate::delivery::fair_share::FairShare;
use crate::delivery::queue::{AWAKE_MS, Added, Claims, Depth, Entry, Queue, Resolution};
use crate::ids::NotificationId;
use crate::limits::gcra::Buckets;
use crate::limits::{Limits, Rate, Spend, Verdict};
use crate::telemetry::health::{BreakerState, Health, Instance, Instances, Mode, Status};
use crate::telemetry::{Counts, PushAttempt, Report, Telemetry};

/// Keeps the promises of the moment in one Redis.
///
/// No request waits for it longer than 150 ms; an outage slows two calls, together by 250 ms at most.
#[derive(Debug)]
pub struct RedisMoment {
    keys: Arc<Keys>,
    link: Arc<Link>,
    /// Of whoever empties the queue. A Redis that is full takes nothing, but gives, and so gets room: what it refuses to
    /// others must not keep a drain from asking. Connects with the first claim, so in drains alone.
    drains: Arc<Link>,
    /// Of the claims of this process.
    fair_share: FairShare,
    /// What there is of limits while Redis is away.
    buckets: Buckets,
    /// Values under our keys that are none of ours, so far.
    foreign: AtomicU64,
    /// Hints that an access list forbade, so far.
    forbidden: AtomicU64,
}

/// Redis cannot be used as it was named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The URL says nothing about where Redis is.
    #[error("REDIS_URL must read redis://[user:password@]host[:port][/database], or rediss:// for TLS")]
    Url,
    /// The prefix would not stay what it is in a key.
    #[error("REDIS_KEY_PREFIX must be 1 to 64 visible ASCII characters without braces")]
    Prefix,
    /// The authorities that `rediss://` is to trust cannot be read.
    #[error("SSL_CERT_FILE must name a readable file of PEM certificates")]
    Authorities,
}

impl RedisMoment {
    /// Touches no network: the first call connects. `clock` tells how long Redis has been away.
    pub fn new(config: &RedisConfig, clock: Clock) -> Result<Self, SetupError> {
        Self::with_timeouts(config, clock, Timeouts::REQUEST)
    }

    /// One that waits this long for each answer: for tests of what it answers, on a machine that has much to do.
    pub fn with_timeout(config: &RedisConfig, clock: Clock, longest: Duration) -> Result<Self, SetupError> {
        Self::with_timeouts(config, clock, Timeouts::of(longest))
    }

    fn with_timeouts(config: &RedisConfig, clock: Clock, timeouts: Timeouts) -> Result<Self, SetupError> {
        let keys = Arc::new(Keys::new(&config.prefix).ok_or(SetupError::Prefix)?);
        let link = Link::new(config, timeouts, Arc::clone(&keys), clock.clone())?;
        let drains = Link::new(config, timeouts, Arc::clone(&keys), clock)?;
        Ok(Self {
            keys,
            link: Arc::new(link),
            drains: Arc::new(drains),
            fair_share: FairShare::default(),
            buckets: Buckets::default(),
            foreign: AtomicU64::new(0),
            forbidden: AtomicU64::new(0),
        })
    }

    /// How many values were found under our keys that somebody else wrote, since this process began.
    pub fn foreign_values(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    fn met_foreign(&self, values: u64) {
        if values > 0 {
            let so_far = self.foreign.fetch_add(values, Ordering::Relaxed) + values;
            tracing::warn!(so_far, "{values} values under our keys in Redis were written by somebody else");
        }
    }

    /// Counts a drain as awake for so long, or none; returns what there is new.
    async fn hold(&self, awake_ms: i64, at: At) -> Option<u64> {
        let keys = &self.keys;
        let question = |mut connection| async move { delivery::hold(&mut connection, keys, awake_ms, at).await };
        let (generation, foreign) = self.drains.ask(question).await?;
        self.met_foreign(foreign);
        Some(generation)
    }

    /// What Redis answers, also where it is found to be back just now, within the bound of one call.
    async fn patiently<T, F>(&self, question: impl Fn(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let answer = async {
            match self.link.ask(&question).await {
                None if self.link.is_back().await => self.link.ask(&question).await,
                answer => answer,
            }
        };
        timeout(self.link.bound(), answer).await.ok().flatten()
    }
}

#[async_trait]
impl Limits for RedisMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        if spends.is_empty() {
            return Vec::new();
        }
        let asked = Spends::new(&self.keys, spends, at);
        let asked = &asked;
        let spent = self.link.ask(|mut connection| async move { asked.ask(&mut connection).await }).await;
        let Some(spent) = spent else {
            return self.buckets.spend(spends, at.process_ms());
        };
        self.met_foreign(spent.foreign);
        spent.verdicts
    }
}

#[async_trait]
impl Telemetry for RedisMoment {
    async fn report(&self, report: &Report<'_>, at: At) {
        if report.is_empty() {
            return;
        }
        let telling = Telling::new(&self.keys, report, at);
        let telling = &telling;
        let told = self.link.ask(|mut connection| async move { telling.tell(&mut connection).await }).await;
        let Some(told) = told else { return };
        self.met_foreign(told.foreign);
        if told.forbidden > 0 && self.forbidden.fetch_add(told.forbidden, Ordering::Relaxed) == 0 {
            let channel = self.keys.notification_events();
            tracing::warn!("Redis does not let us publish hints: its access list must allow the channel {channel}");
        }
    }

    async fn counts(&self, at: At) -> Option<Counts> {
        let keys = &self.keys;
        let question = |mut connection| async move { telemetry::counts(&mut connection, keys, at).await };
        let (counts, foreign) = self.patiently(question).await?;
        self.met_foreign(foreign);
        Some(counts)
    }

    async fn outcomes(&self, id: NotificationId, at: At) -> Option<Vec<PushAttempt>> {
        let keys = &self.keys;
        let question = |mut connection| async move { telemetry::outcomes(&mut connection, keys, id, at).await };
        let (pushes, foreign) = self.patiently(question).await?;
        self.met_foreign(foreign);
        Some(pushes)
    }
}

#[async_trait]
impl Queue for RedisMoment {
    async fn add(&self, entries: &[Entry], at: At) -> Added {
        let adding = Adding::new(&self.keys, entries, at);
        let adding = &adding;
        let added = self.link.ask(|mut connection| async move { adding.ask(&mut connection).await }).await;
        let Some((added, foreign)) = added else { return Added { refused: entries.len(), drain_is_awake: None } };
        self.met_foreign(foreign);
        added
    }

    async fn claim(&self, limit: usize, at: At) -> Option<Claims> {
        let (keys, fair_share) = (&self.keys, &self.fair_share);
        let question =
            |mut connection| async move { delivery::claim(&mut connection, keys, fair_share, limit, at).await };
        let (claims, foreign) = self.drains.ask(question).await?;
        self.met_foreign(foreign);
        Some(claims)
    }

    async fn settle(&self, settled: &[Resolution], at: At) -> bool {
        let keys = &self.keys;
        let question = |mut connection| async move { delivery::settle(&mut connection, keys, settled, at).await };
        let foreign = self.drains.ask(question).await;
        self.met_foreign(foreign.unwrap_or_default());
        foreign.is_some()
    }

    async fn heartbeat(&self, at: At) -> Option<u64> {
        self.hold(AWAKE_MS, at).await
    }

    async fn sign_off(&self, at: At) -> Option<u64> {
        self.hold(0, at).await
    }

    async fn depth(&self, at: At) -> Option<Depth> {
        let keys = &self.keys;
        let question = |mut connection| async move { delivery::depth(&mut connection, keys, at).await };
        let (depth, foreign) = self.patiently(question).await?;
        self.met_foreign(foreign);
        Some(depth)
    }
}

#[async_trait]
impl Health for RedisMoment {
    async fn check(&self) -> Status {
        // Whether it takes what calls bring, not only whether it is there.
        let keys = &self.keys;
        let question = |mut connection| async move {
            probe(&mut connection, keys).await?;
            setup::warning(&mut connection).await
        };
        match self.patiently(question).await {
            Some(None) => Status::Ok,
            Some(Some(warning)) => Status::Warned(warning),
            None => Status::Away,
        }
    }

    async fn instances(&self) -> Instances {
        let standing = self.patiently(|mut connection| async move { setup::standing(&mut connection).await }).await;
        let breaker = self.link.breaker();
        let (role, used_memory_bytes) = standing.unwrap_or_default();
        let Stats { operations, errors, took_us, last_error } = self.link.stats();
        let percentile_ms = |percent| took_us.percentile(percent) as f64 / 1_000.0;
        let instance = Instance {
            name: "redis-1".into(),
            healthy: standing.is_some() && breaker == BreakerState::Closed,
            role,
            operations,
            errors,
            p50_ms: percentile_ms(50),
            p99_ms: percentile_ms(99),
            used_memory_bytes,
            breaker,
            last_error,
        };
        Instances { mode: Mode::Single, instances: vec![instance] }
    }
}

/// Does once what calls do, with a budget that is never empty: reads, writes, and leaves the script there.
async fn probe(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<()> {
    let spend = Spend { bucket: "probe".into(), rate: Rate { count: 100_000, window_ms: 1_000 } };
    Spends::new(keys, &[spend], At::Server).ask(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn named(url: &str, prefix: &str) -> Result<RedisMoment, SetupError> {
        let config = RedisConfig {
            url: Secret::new(url),
            prefix: prefix.into(),
            connect_timeout: Duration::from_millis(100),
            attempts: 1,
            authorities: None,
        };
        RedisMoment::new(&config, Clock::standing(0))
    }

    // No runtime: whatever touched the network, or started a task, would panic.
    #[test]
    fn making_one_touches_no_network() {
        for url in ["redis://127.0.0.1:1", "rediss://user:p%40ss@redis.example.com:6380/2", "redis://[::1]"] {
            assert!(named(url, "carillon").is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_secret() {
        for url in ["redis://", "redis://u:hunter2@h:port", "redis://u:hunter2@h:1/x", "hunter2", "redis://hunter2 :1"]
        {
            let error = named(url, "carillon").unwrap_err();
            assert_eq!(error, SetupError::Url, "{url}");
            assert!(error.to_string().starts_with("REDIS_URL ") && !error.to_string().contains("hunter2"));
        }
        assert_eq!(named("redis://h", "{a}").unwrap_err(), SetupError::Prefix);
        let debug = format!("{:?}", named("redis://u:hunter2@h", "carillon").unwrap());
        assert!(!debug.contains("hunter2"), "{debug}");
    }

    #[tokio::test]
    async fn where_nobody_listens_every_answer_comes_from_this_process() {
        let moment = named("redis://127.0.0.1:1", "carillon").unwrap();
        let spends = [Spend { bucket: "send A alice".into(), rate: Rate { count: 1, window_ms: 1_000 } }];
        assert_eq!(moment.spend(&spends, At::Fixed(0)).await, [Verdict::Admitted]);
        let limited = Verdict::Limited { retry_after_ms: 1_000 };
        assert_eq!(moment.spend(&spends, At::Fixed(0)).await, [limited]);
        assert_eq!(moment.check().await, Status::Away);
    }
}
