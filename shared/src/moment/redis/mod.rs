//! The moment in Redis: rate limits that all processes share, telemetry, presence, the last messages of chats,
//! and the queue. While Redis is unavailable, limits are kept in each process, nothing is counted, queued or cached, and no one
//! knows who is online. Everything returns on its own.

mod breaker;
mod chat;
mod client;
mod delivery;
mod emit;
pub mod examine;
mod failure;
mod fast;
mod health;
pub mod inspect;
mod keys;
mod limits;
mod link;
mod presence;
mod routing;
mod setup;
mod sockets;
mod steps;
mod telemetry;
mod timeouts;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::value::RawValue;
use uuid::Uuid;

use self::chat::{audience, messages as cached_messages};
pub use self::client::SetupError;
use self::delivery::queue::{self as queueing, Adding, Inspected, Plan};
use self::emit::{self as emitting, Finding};
use self::health::{meanwhile, mode};
use self::keys::{Channel, Keys};
use self::limits::gcra::{self, Spending};
use self::link::{Linking, Patience};
use self::presence::Asking;
use self::routing::Router;
use self::sockets::Listeners;
use self::telemetry::Reporting;
use self::timeouts::Timeouts;
use crate::chat::audience::{Audience, Audiences};
use crate::chat::cache::{MessageCache, Room};
use crate::chat::message::Message;
use crate::chat::messages::Range;
use crate::clock::{At, Clock};
use crate::config::RedisConfig;
use crate::delivery::fair_share::FairShare;
use crate::delivery::queue::{AWAKE_MS, Added, Claims, Depth, Entry, Queue, Resolution};
use crate::emit::{Addressees, Emitted, Kept, MAX_KEPT, Newest};
use crate::fast::log::{
    Claimed, KeyClaim, LogEntry, LogId, Logged, Logs, ReadLogs, Share, Unwritten, UnwrittenLogs, WriterId,
};
use crate::ids::{ChatId, ConnectionId, EventId, NotificationId, SendId, UserId};
use crate::limits::gcra::Buckets;
use crate::limits::{Limits, Spend, Verdict};
use crate::presence::{Left, Presence, Renewed, Settled};
use crate::protocol::Frame;
use crate::secrets::Renewal;
use crate::sockets::push::Outcome;
use crate::sockets::streams::{Listening, Streams};
use crate::telemetry::health::{Health, Instances, Mode, Status};
use crate::telemetry::{Counts, PushAttempt, Report, Telemetry};

/// Keeps the promises of the moment in Redis.
///
/// No request waits for it longer than 150 ms; an outage delays two calls of a process, by 250 ms in total at most.
#[derive(Debug)]
pub struct RedisMoment {
    mode: Mode,
    keys: Arc<Keys>,
    router: Router,
    /// The instances as the drain asks them, over a link of its own: a full Redis refuses what others add, and that must not
    /// keep the drain from emptying it. Connects with the first claim, so only in drains.
    drain_router: Router,
    /// Hears what is published to the event streams of this process. Connects with the first of them.
    listeners: Listeners,
    /// Shares the claims of this process fairly, at each instance.
    fair_shares: Vec<FairShare>,
    /// Which instance the next claim begins with.
    next_claim: AtomicUsize,
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
        Self::with_renewal(config, clock, None)
    }

    /// The same with credentials that may be replaced while they are in use.
    pub fn with_renewal(config: &RedisConfig, clock: Clock, renewal: Option<Renewal>) -> Result<Self, SetupError> {
        Self::with_timeouts(config, clock, Timeouts::REQUEST, renewal)
    }

    /// Waits this long for every answer: for tests of the answers, on a busy machine.
    pub fn with_timeout(config: &RedisConfig, clock: Clock, timeout: Duration) -> Result<Self, SetupError> {
        Self::with_timeouts(config, clock, Timeouts::all(timeout), None)
    }

    /// The same, but of concurrent calls that can go on without an answer all save one wait only for `concurrent`.
    pub fn with_timeout_of_one(
        config: &RedisConfig,
        clock: Clock,
        timeout: Duration,
        concurrent: Duration,
    ) -> Result<Self, SetupError> {
        let timeouts = Timeouts { concurrent, suspicious: concurrent, ..Timeouts::all(timeout) };
        Self::with_timeouts(config, clock, timeouts, None)
    }

    fn with_timeouts(
        config: &RedisConfig,
        clock: Clock,
        timeouts: Timeouts,
        renewal: Option<Renewal>,
    ) -> Result<Self, SetupError> {
        let keys = Arc::new(Keys::new(&config.prefix).ok_or(SetupError::Prefix)?);
        let router = || {
            let (config, clock, keys) = (config.clone(), clock.clone(), Arc::clone(&keys));
            let meanwhile = meanwhile(mode(&config));
            Router::new(Linking {
                config,
                renewal: renewal.clone(),
                timeouts,
                clock,
                setups: Arc::default(),
                keys,
                meanwhile,
                probe: gcra::probe,
            })
        };
        let (router, drain_router) = (router()?, router()?);
        Ok(Self {
            mode: mode(config),
            listeners: Listeners::new(config, renewal.as_ref(), &router)?,
            fair_shares: router.instances().map(|_| FairShare::default()).collect(),
            router,
            drain_router,
            next_claim: AtomicUsize::new(0),
            keys,
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

    /// Those of these events that are kept, in the same order.
    async fn find_events(&self, ids: &[EventId], at: At) -> Vec<Box<RawValue>> {
        let finding = Finding::new(&self.keys, ids, at);
        let answers = self.router.ask(&finding.steps, Patience::Short).await;
        self.counted(finding.result(answers))
    }

    /// Keeps a drain counted as awake for so long, or ends that with 0; returns the generation.
    async fn keep_awake(&self, awake_ms: i64, at: At) -> Option<u64> {
        let steps = [queueing::heartbeat(&self.keys, awake_ms, at)];
        let answers = self.drain_router.ask_everywhere(&steps, Patience::Short).await;
        let generations = answers.into_iter().filter_map(|mut answers| queueing::read_heartbeat(answers.pop()?));
        generations.map(|generation| self.counted(generation)).reduce(u64::wrapping_add)
    }

    /// Claims at one instance, where this was found.
    async fn claim_at(&self, instance: usize, inspected: Inspected, limit: usize, at: At) -> Claims {
        let claim = async |plan: &Plan| {
            let answers = self.drain_router.ask_at(instance, &plan.steps(&self.keys, at), Patience::Short).await;
            self.counted(plan.claimed(instance, answers))
        };
        let fair_share = &self.fair_shares[instance];
        let mut plan = inspected.plan(fair_share, limit, true);
        let mut claimed = claim(&plan).await;
        let is_recovered = matches!(plan, Plan::Recover(_)) && !claimed.is_empty();
        if matches!(plan, Plan::Recover(_)) && claimed.is_empty() {
            // Another drain has recovered it first.
            plan = inspected.plan(fair_share, limit, false);
            claimed = claim(&plan).await;
        }
        inspected.claims(claimed, is_recovered)
    }
}

#[async_trait]
impl Limits for RedisMoment {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        let spending = Spending::new(&self.keys, spends, at);
        let answers = self.router.ask(&spending.steps, Patience::Short).await;
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
        let answers = self.router.ask(&refund.steps, Patience::Short).await;
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
        let answers = self.router.ask(&reporting.steps, Patience::Short).await;
        let reported = reporting.result(answers);
        self.count_foreign(reported.foreign);
        if reported.forbidden > 0 && self.forbidden.fetch_add(reported.forbidden, Ordering::Relaxed) == 0 {
            let channels = [Channel::NotificationEvents, Channel::ChatMessages, Channel::UserPresence];
            let [events, messages, presence] = channels.map(|channel| self.keys.channel(channel).name().to_owned());
            tracing::warn!(
                "Redis denies publishing hints: its access list must allow the channels {events}, {messages} and {presence}"
            );
        }
    }

    async fn counts(&self, at: At) -> Option<Counts> {
        // While an instance is away, others count in its place.
        let answers = self.router.ask_everywhere(&telemetry::counts(&self.keys, at), Patience::Retrying).await;
        let counts = answers.into_iter().filter_map(telemetry::read_counts).map(|counts| self.counted(counts));
        counts.reduce(|mut sum, other| {
            sum.add_all(&other);
            sum
        })
    }

    async fn outcomes(&self, id: NotificationId, at: At) -> Option<Vec<PushAttempt>> {
        let steps = [telemetry::outcomes(&self.keys, id)];
        let answers = self.router.ask_everywhere(&steps, Patience::Retrying).await;
        let outcomes = answers.into_iter().filter_map(|mut answers| telemetry::read_outcomes(answers.pop()?, at));
        let mut outcomes = outcomes.map(|outcomes| self.counted(outcomes)).reduce(|mut all, other| {
            all.extend(other);
            all
        })?;
        // Stable: pushes of one millisecond stay in the order in which they were reported.
        outcomes.sort_by_key(|push| push.at_ms);
        Some(outcomes)
    }
}

#[async_trait]
impl Presence for RedisMoment {
    async fn renew(&self, user: &UserId, connection: &ConnectionId, lease_ms: i64, at: At) -> Option<Renewed> {
        let steps = [presence::renew(&self.keys, user, connection, lease_ms, at)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop()?;
        presence::read_renewed(answer).map(|renewed| self.counted(renewed))
    }

    async fn leave(&self, user: &UserId, connection: &ConnectionId, at: At) -> Option<Left> {
        let steps = [presence::leave(&self.keys, user, connection, at)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop()?;
        presence::read_left(answer).map(|left| self.counted(left))
    }

    async fn settle(&self, user: &UserId, at: At) -> Option<Settled> {
        let steps = [presence::settle(&self.keys, user, at)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop()?;
        presence::read_settled(answer).map(|settled| self.counted(settled))
    }

    async fn forget_user(&self, user: &UserId) {
        let steps = [presence::forget(&self.keys, user)];
        self.router.ask(&steps, Patience::Short).await;
    }

    async fn online(&self, users: &[UserId], at: At) -> Option<Vec<bool>> {
        let asking = Asking::new(&self.keys, users, at);
        let answers = self.router.ask(&asking.steps, Patience::Retrying).await;
        asking.result(answers).map(|online| self.counted(online))
    }
}

#[async_trait]
impl MessageCache for RedisMoment {
    async fn keep(&self, chat: ChatId, messages: &[&Message], room: Room, _: At) {
        let steps = [cached_messages::keep(&self.keys, chat, messages, room)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop().flatten();
        self.count_foreign(cached_messages::read_kept(answer));
    }

    async fn run(&self, chat: ChatId, range: Range, limit: usize, _: At) -> Vec<Message> {
        let steps = [cached_messages::run(&self.keys, chat, range, limit)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop().flatten();
        self.counted(cached_messages::read_run(answer, chat))
    }

    async fn forget(&self, chat: ChatId) {
        let steps = [cached_messages::forget(&self.keys, chat)];
        self.router.ask(&steps, Patience::Short).await;
    }
}

#[async_trait]
impl Emitted for RedisMoment {
    async fn keep(&self, id: EventId, event: &RawValue, at: At) -> Option<Kept> {
        let steps = [emitting::keep(&self.keys, id, event, at)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop()?;
        emitting::read_kept(answer).map(|kept| self.counted(kept))
    }

    async fn address(&self, id: EventId, audience: Addressees<'_>, at: At) {
        let steps = emitting::address(&self.keys, id, audience, at);
        self.count_foreign(emitting::read_addressed(self.router.ask(&steps, Patience::Short).await));
    }

    async fn find(&self, id: EventId, at: At) -> Option<Box<RawValue>> {
        self.find_events(&[id], at).await.pop()
    }

    async fn newest(&self, user: &UserId, at: At) -> Option<Newest> {
        let answers = self.router.ask(&emitting::list(&self.keys, user, 1, at), Patience::Short).await;
        emitting::read_list(answers).map(|list| emitting::newest(&self.counted(list)))
    }

    /// One round trip for the ids, and one for the events if there are any.
    async fn list(&self, user: &UserId, at: At) -> Vec<Box<RawValue>> {
        let answers = self.router.ask(&emitting::list(&self.keys, user, MAX_KEPT, at), Patience::Short).await;
        let ids = emitting::read_list(answers).map(|list| self.counted(list)).unwrap_or_default();
        let mut events = if ids.is_empty() { Vec::new() } else { self.find_events(&ids, at).await };
        events.reverse();
        events
    }
}

#[async_trait]
impl Audiences for RedisMoment {
    async fn remember(&self, chat: ChatId, read: &Audience, age_ms: i64, at: At) {
        let steps = [audience::remember(&self.keys, chat, read, age_ms, at)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop().flatten();
        self.count_foreign(audience::read_written(answer));
    }

    async fn recall(&self, chat: ChatId, max_age_ms: i64, at: At) -> Option<Audience> {
        let steps = [audience::recall(&self.keys, chat, at)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop().flatten();
        self.counted(audience::read_recalled(answer, max_age_ms))
    }

    async fn change(&self, chat: ChatId, version: i64, at: At) {
        let steps = [audience::change(&self.keys, chat, version, at)];
        let answer = self.router.ask(&steps, Patience::Short).await.pop().flatten();
        self.count_foreign(audience::read_written(answer));
    }
}

#[async_trait]
impl Streams for RedisMoment {
    async fn publish(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        let is_cluster = self.mode == Mode::Cluster;
        let steps = frames.iter().map(|(stream, frame)| sockets::publish(&self.keys, stream, frame, is_cluster));
        let steps: Vec<steps::Step> = steps.collect();
        let answers = self.router.ask(&steps, Patience::Short).await;
        let mut outcomes: Vec<Outcome> = answers.into_iter().map(sockets::read_published).collect();
        if is_cluster && outcomes.contains(&Outcome::Gone) {
            let unheard = outcomes.iter_mut().zip(frames).filter(|(outcome, _)| **outcome == Outcome::Gone);
            let (unheard, streams): (Vec<&mut Outcome>, Vec<&ConnectionId>) =
                unheard.map(|(outcome, (stream, _))| (outcome, stream)).unzip();
            let elsewhere = sockets::find_elsewhere(&self.router, &self.keys, &streams).await;
            unheard.into_iter().zip(elsewhere).for_each(|(outcome, found)| *outcome = found);
        }
        outcomes
    }

    async fn listen(&self, stream: &ConnectionId) -> Option<Box<dyn Listening>> {
        self.listeners.listen(&self.keys.stream(stream)).await
    }
}

#[async_trait]
impl Queue for RedisMoment {
    async fn add(&self, entries: &[Entry], at: At) -> Added {
        let adding = Adding::new(&self.keys, entries, at);
        let answers = self.router.ask_in_order(&adding.steps, Patience::Short).await;
        self.counted(adding.result(answers))
    }

    /// One round trip to look at all shards of all instances, and one more to those that have something.
    async fn claim(&self, limit: usize, at: At) -> Option<Claims> {
        let answers = self.drain_router.ask_everywhere(&queueing::inspect(&self.keys, at), Patience::Short).await;
        let found = answers.into_iter().zip(0..).filter_map(|(answers, n)| Some((n, Inspected::read(answers)?)));
        let mut found: Vec<(usize, Inspected)> = found.map(|(n, inspected)| (n, self.counted(inspected))).collect();
        // Each is the first in turn, which matters if less may be claimed than there are instances.
        let first = self.next_claim.fetch_add(1, Ordering::Relaxed) % found.len().max(1);
        found.rotate_left(first);
        let wanted: Vec<usize> = found.iter().map(|(_, inspected)| inspected.wanted()).collect();
        let limits = queueing::divide(limit, &wanted);
        let claiming = found.into_iter().zip(limits);
        let claiming = claiming.map(|((instance, inspected), limit)| self.claim_at(instance, inspected, limit, at));
        queueing::together(join_all(claiming).await.into_iter())
    }

    async fn settle(&self, resolutions: &[Resolution], at: At) -> bool {
        let settling = self.drain_router.instances().map(|instance| async move {
            let own = resolutions.iter().filter(|resolution| resolution.id().instance == instance);
            let steps = queueing::settle(&self.keys, &own.collect::<Vec<_>>(), at);
            self.counted(queueing::read_settled(self.drain_router.ask_at(instance, &steps, Patience::Short).await))
        });
        join_all(settling).await.into_iter().all(|is_settled| is_settled)
    }

    async fn heartbeat(&self, at: At) -> Option<u64> {
        self.keep_awake(AWAKE_MS, at).await
    }

    async fn hear_of_work(&self) -> Option<Box<dyn Listening>> {
        self.listeners.listen(&self.keys.work_channel()).await
    }

    async fn sign_off(&self, at: At) -> Option<u64> {
        self.keep_awake(0, at).await
    }

    async fn depth(&self, at: At) -> Option<Depth> {
        let answers = self.router.ask_everywhere(&queueing::depth(&self.keys, at), Patience::Retrying).await;
        let depths = answers.into_iter().filter_map(queueing::read_depth).map(|depth| self.counted(depth));
        depths.reduce(queueing::add_depth)
    }
}

#[async_trait]
impl Logs for RedisMoment {
    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged> {
        let steps = [fast::append(&self.keys, log, id, text, at)];
        let answer = self.router.ask(&steps, Patience::Long).await.pop()?;
        fast::read_appended(answer).map(|appended| self.counted(appended))
    }

    async fn claim_key(&self, send: SendId, claim: KeyClaim, _: At) -> Option<Claimed> {
        let steps = [fast::claim_key(&self.keys, send, &claim)];
        let before = fast::read_claim(self.router.ask(&steps, Patience::Long).await.pop()?)?;
        Some(before.map_or(Claimed::Now, Claimed::Before))
    }

    async fn take_key(&self, send: SendId, claim: KeyClaim, _: At) -> Option<KeyClaim> {
        let steps = [fast::take_key(&self.keys, send, &claim)];
        fast::read_claim(self.router.ask(&steps, Patience::Long).await.pop()?)?
    }

    async fn claimed_key(&self, send: SendId, _: At) -> Option<KeyClaim> {
        let steps = [fast::claimed_key(&self.keys, send)];
        fast::read_claim(self.router.ask(&steps, Patience::Long).await.pop()?)?
    }

    /// Like all that empties logs, over the links of drains: a full Redis refuses what others append.
    async fn unwritten(&self, logs: &[LogId]) -> UnwrittenLogs {
        let steps = fast::exist(&self.keys, logs);
        // A call that has waited for the same server already waits no longer than an outage may delay it.
        let asked = self.drain_router.instances().map(|instance| {
            let patience = self.router.patience(instance);
            self.drain_router.ask_at(instance, &steps, patience)
        });
        let answers = join_all(asked).await;
        let mut unwritten = UnwrittenLogs::default();
        for answers in answers {
            fast::read_exist(logs, answers, &mut unwritten);
        }
        unwritten.logs.sort_unstable();
        unwritten.logs.dedup();
        unwritten
    }

    async fn read(&self, logs: &[LogId], share: Share, writer: WriterId, at: At) -> ReadLogs {
        self.counted(fast::read_logs(&self.drain_router, &self.keys, logs, share, writer, at).await)
    }

    async fn remove(&self, entries: &[LogEntry], writer: WriterId) -> Option<Vec<LogId>> {
        let removing = self.drain_router.instances().map(|instance| async move {
            let own: Vec<&LogEntry> = entries.iter().filter(|entry| entry.instance == instance).collect();
            let steps = fast::remove(&self.keys, &own, writer);
            let answers = self.drain_router.ask_at(instance, &steps, Patience::Long).await;
            self.counted(fast::read_removed(&own, answers))
        });
        let left = join_all(removing).await.into_iter().collect::<Option<Vec<Vec<LogId>>>>()?;
        Some(left.concat())
    }

    async fn release(&self, logs: &[LogId], writer: WriterId) {
        self.drain_router.ask_everywhere(&fast::release(&self.keys, logs, writer), Patience::Long).await;
    }

    async fn unwritten_total(&self, at: At) -> Option<Unwritten> {
        let answers = self.router.ask_everywhere(&fast::size(&self.keys, at), Patience::Retrying).await;
        let sizes = answers.into_iter().filter_map(fast::read_size).map(|size| self.counted(size));
        sizes.reduce(Unwritten::and)
    }
}

#[async_trait]
impl Health for RedisMoment {
    async fn check(&self) -> Status {
        health::check(&self.router, self.mode).await
    }

    async fn instances(&self) -> Instances {
        health::instances(&self.router, self.mode).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RedisInstance, Secret};
    use crate::limits::Rate;

    fn named(url: &str, prefix: &str) -> Result<RedisMoment, SetupError> {
        let config = RedisConfig {
            instances: vec![RedisInstance { url: Secret::new(url), weight: 1 }],
            prefix: prefix.into(),
            connect_timeout: Duration::from_millis(100),
            attempts: 1,
            is_cluster: false,
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
