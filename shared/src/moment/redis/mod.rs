//! The moment in Redis: rate limits that all processes share, telemetry, and the queue. While Redis is unavailable, limits are kept
//! in each process, nothing is counted and nothing is queued. Everything returns on its own.

mod breaker;
mod delivery;
mod failure;
mod keys;
mod limits;
mod link;
mod router;
mod setup;
mod steps;
mod telemetry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use self::delivery::queue::{self as queueing, Adding, Inspected, Plan};
use self::keys::Keys;
use self::limits::gcra::{self, Spending};
pub use self::link::SetupError;
use self::link::{Link, Stats, Timeouts};
use self::router::{Retry, Router};
use self::telemetry::Reporting;
use crate::clock::{At, Clock};
use crate::config::RedisConfig;
use crate::delivery::fair_share::FairShare;
use crate::delivery::queue::{AWAKE_MS, Added, Claims, Depth, Entry, Queue, Resolution};
use crate::ids::NotificationId;
use crate::limits::gcra::Buckets;
use crate::limits::{Limits, Spend, Verdict};
use crate::telemetry::health::{BreakerState, Health, Instance, Instances, Mode, Status};
use crate::telemetry::{Counts, PushAttempt, Report, Telemetry};

/// Keeps the promises of the moment in Redis.
///
/// No request waits for it longer than 150 ms; an outage delays two calls of a process, by 250 ms in total at most.
#[derive(Debug)]
pub struct RedisMoment {
    keys: Arc<Keys>,
    router: Router,
    /// The instances as the drain asks them, over a link of its own: a full Redis refuses what others add, and that must not
    /// keep the drain from emptying it. Connects with the first claim, so only in drains.
    drain_router: Router,
    /// Shares the claims of this process fairly.
    fair_share: FairShare,
    /// Limits while Redis is unavailable.
    buckets: Buckets,
    /// How many values under our keys were not ours, so far.
    foreign: AtomicU64,
    /// How many hints the access list forbade, so far.
    forbidden: AtomicU64,
}

impl RedisMoment {
    /// Touches no network: the first call connects. `clock` measures how long Redis has been away.
    pub fn new(config: &RedisConfig, clock: Clock) -> Result<Self, SetupError> {
        Self::with_timeouts(config, clock, Timeouts::REQUEST)
    }

    /// Waits this long for every answer: for tests of the answers, on a busy machine.
    pub fn with_timeout(config: &RedisConfig, clock: Clock, timeout: Duration) -> Result<Self, SetupError> {
        Self::with_timeouts(config, clock, Timeouts::all(timeout))
    }

    fn with_timeouts(config: &RedisConfig, clock: Clock, timeouts: Timeouts) -> Result<Self, SetupError> {
        let keys = Arc::new(Keys::new(&config.prefix).ok_or(SetupError::Prefix)?);
        let link = Link::new(config, timeouts, gcra::probe(&keys), clock.clone())?;
        let drain_link = Link::new(config, timeouts, gcra::probe(&keys), clock)?;
        Ok(Self {
            keys,
            router: Router::new(link),
            drain_router: Router::new(drain_link),
            fair_share: FairShare::default(),
            buckets: Buckets::default(),
            foreign: AtomicU64::new(0),
            forbidden: AtomicU64::new(0),
        })
    }

    /// How many values under our keys were written by someone else, since this process began.
    pub fn foreign_values(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    fn count_foreign(&self, values: u64) {
        if values > 0 {
            // An answer may claim any number.
            let add = |so_far: u64| Some(so_far.saturating_add(values));
            let before = self.foreign.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or_default();
            let so_far = before.saturating_add(values);
            tracing::warn!(so_far, "{values} values under our keys in Redis were not written by Carillon");
        }
    }

    /// Passes on a result, and counts foreign values.
    fn counted<T>(&self, (result, foreign): (T, u64)) -> T {
        self.count_foreign(foreign);
        result
    }

    /// Keeps a drain counted as awake for so long, or ends that with 0; returns the generation.
    async fn keep_awake(&self, awake_ms: i64, at: At) -> Option<u64> {
        let steps = [queueing::heartbeat(&self.keys, awake_ms, at)];
        let answer = self.drain_router.ask(&steps, Retry::Never).await.pop()?;
        queueing::read_heartbeat(answer).map(|generation| self.counted(generation))
    }
}

#[async_trait]
impl Limits for RedisMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        let spending = Spending::new(&self.keys, spends, at);
        let answers = self.router.ask(&spending.steps, Retry::Never).await;
        let spent = spending.result(answers);
        self.count_foreign(spent.foreign);
        // What no instance decided, this process does.
        let undecided = spends.iter().zip(&spent.verdicts).filter(|(_, verdict)| verdict.is_none());
        let undecided: Vec<Spend> = undecided.map(|(spend, _)| spend.clone()).collect();
        let mut own = self.buckets.spend(&undecided, at.process_ms()).into_iter();
        let verdicts = spent.verdicts.into_iter();
        verdicts.map(|verdict| verdict.or_else(|| own.next()).unwrap_or(Verdict::Admitted)).collect()
    }

    async fn give_back(&self, spends: &[Spend], at: At) {
        let refund = Spending::refund(&self.keys, spends, at);
        let answers = self.router.ask(&refund.steps, Retry::Never).await;
        let given = refund.result(answers);
        self.count_foreign(given.foreign);
        let not_given = spends.iter().zip(&given.verdicts).filter(|(_, verdict)| verdict.is_none());
        let not_given: Vec<Spend> = not_given.map(|(spend, _)| spend.clone()).collect();
        self.buckets.give_back(&not_given);
    }
}

#[async_trait]
impl Telemetry for RedisMoment {
    async fn report(&self, report: &Report<'_>, at: At) {
        let reporting = Reporting::new(&self.keys, report, at);
        let answers = self.router.ask(&reporting.steps, Retry::Never).await;
        let reported = reporting.result(answers);
        self.count_foreign(reported.foreign);
        if reported.forbidden > 0 && self.forbidden.fetch_add(reported.forbidden, Ordering::Relaxed) == 0 {
            let channel = self.keys.notification_events();
            let channel = channel.name();
            tracing::warn!("Redis denies publishing hints: its access list must allow the channel {channel}");
        }
    }

    async fn counts(&self, at: At) -> Option<Counts> {
        let answers = self.router.ask(&telemetry::counts(&self.keys, at), Retry::AfterProbe).await;
        telemetry::read_counts(answers).map(|counts| self.counted(counts))
    }

    async fn outcomes(&self, id: NotificationId, at: At) -> Option<Vec<PushAttempt>> {
        let steps = [telemetry::outcomes(&self.keys, id)];
        let answer = self.router.ask(&steps, Retry::AfterProbe).await.pop()?;
        telemetry::read_outcomes(answer, at).map(|outcomes| self.counted(outcomes))
    }
}

#[async_trait]
impl Queue for RedisMoment {
    async fn add(&self, entries: &[Entry], at: At) -> Added {
        let adding = Adding::new(&self.keys, entries, at);
        let answers = self.router.ask(&adding.steps, Retry::Never).await;
        self.counted(adding.result(answers))
    }

    /// One round trip to look at all shards, and one to claim if there is something.
    async fn claim(&self, limit: usize, at: At) -> Option<Claims> {
        let answers = self.drain_router.ask(&queueing::inspect(&self.keys, at), Retry::Never).await;
        let inspected = self.counted(Inspected::read(answers)?);
        let mut plan = inspected.plan(&self.fair_share, limit, true);
        let (mut claimed, foreign) =
            plan.claimed(self.drain_router.ask(&plan.steps(&self.keys, at), Retry::Never).await);
        self.count_foreign(foreign);
        let is_recovered = matches!(plan, Plan::Recover(_)) && !claimed.is_empty();
        if matches!(plan, Plan::Recover(_)) && claimed.is_empty() {
            // Another drain has recovered it first.
            plan = inspected.plan(&self.fair_share, limit, false);
            let answers = self.drain_router.ask(&plan.steps(&self.keys, at), Retry::Never).await;
            claimed = self.counted(plan.claimed(answers));
        }
        Some(inspected.claims(claimed, is_recovered))
    }

    async fn settle(&self, resolutions: &[Resolution], at: At) -> bool {
        let steps = queueing::settle(&self.keys, resolutions, at);
        self.counted(queueing::read_settled(self.drain_router.ask(&steps, Retry::Never).await))
    }

    async fn heartbeat(&self, at: At) -> Option<u64> {
        self.keep_awake(AWAKE_MS, at).await
    }

    async fn sign_off(&self, at: At) -> Option<u64> {
        self.keep_awake(0, at).await
    }

    async fn depth(&self, at: At) -> Option<Depth> {
        let answers = self.router.ask(&queueing::depth(&self.keys, at), Retry::AfterProbe).await;
        queueing::read_depth(answers).map(|depth| self.counted(depth))
    }
}

#[async_trait]
impl Health for RedisMoment {
    async fn check(&self) -> Status {
        // Whether it accepts what calls send, not only whether it is there.
        let probe = gcra::probe(&self.keys);
        let probe: Vec<&steps::Step> = probe.iter().collect();
        let probe = &probe;
        let question = |mut connection| async move {
            steps::perform(&mut connection, probe).await?;
            setup::warning(&mut connection).await
        };
        let mut warnings = Vec::new();
        for (_, answer) in self.router.ask_each(question).await {
            match answer {
                Some(warning) => warnings.extend(warning),
                None => return Status::Unavailable,
            }
        }
        if warnings.is_empty() { Status::Ok } else { Status::Warned(warnings.join("; ")) }
    }

    async fn instances(&self) -> Instances {
        let question = |mut connection| async move { setup::role_and_memory(&mut connection).await };
        let asked = self.router.ask_each(question).await;
        let instances = asked.into_iter().zip(1..).map(|((link, answer), n)| {
            let breaker = link.breaker();
            let (role, used_memory_bytes) = answer.unwrap_or_default();
            let Stats { operations, errors, took_us, last_error } = link.stats();
            let percentile_ms = |percent| took_us.percentile(percent) as f64 / 1_000.0;
            Instance {
                name: format!("redis-{n}"),
                healthy: answer.is_some() && breaker == BreakerState::Closed,
                role,
                operations,
                errors,
                p50_ms: percentile_ms(50),
                p99_ms: percentile_ms(99),
                used_memory_bytes,
                breaker,
                last_error,
            }
        });
        Instances { mode: Mode::Single, instances: instances.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::limits::Rate;

    fn named(url: &str, prefix: &str) -> Result<RedisMoment, SetupError> {
        let config = RedisConfig {
            url: Secret::new(url),
            prefix: prefix.into(),
            connect_timeout: Duration::from_millis(100),
            attempts: 1,
            authorities: None,
        };
        RedisMoment::new(&config, Clock::manual(0))
    }

    // There is no runtime: anything that touched the network or started a task would panic.
    #[test]
    fn making_one_touches_no_network() {
        for url in ["redis://127.0.0.1:1", "rediss://user:p%40ss@redis.example.com:6380/2", "redis://[::1]"] {
            assert!(named(url, "carillon").is_ok(), "{url}");
        }
    }

    #[test]
    fn a_wrong_setting_is_named_without_the_secret() {
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
    async fn without_a_server_every_verdict_comes_from_this_process() {
        let moment = named("redis://127.0.0.1:1", "carillon").unwrap();
        let spends = [Spend { bucket: "send A alice".into(), rate: Rate { count: 1, window_ms: 1_000 } }];
        assert_eq!(moment.spend(&spends, At::Fixed(0)).await, [Verdict::Admitted]);
        let limited = Verdict::Limited { retry_after_ms: 1_000 };
        assert_eq!(moment.spend(&spends, At::Fixed(0)).await, [limited]);
        assert_eq!(moment.check().await, Status::Unavailable);
    }
}
