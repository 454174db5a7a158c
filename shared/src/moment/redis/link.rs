//! The connection of a process to one Redis instance, which is made in the background: no call waits for it, or for an
//! answer, longer than its timeout.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisError, RedisResult};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::breaker::{Breaker, Cooldown, Permit};
use super::client::{Access, SetupError};
use super::failure::{self, Failure, is_refusal, log_text};
use super::keys::{Keys, Partition};
use super::setup::{self, Setups};
use super::steps::{Step, perform};
use super::timeouts::Timeouts;
use crate::clock::Clock;
use crate::config::{RedisConfig, RedisInstance};
use crate::secrets::Renewal;
use crate::telemetry::health::BreakerState;
use crate::telemetry::histogram::Histogram;
use crate::telemetry::invocation::{act_on, wait_for};
use crate::telemetry::waits::Place;

/// The pause before the second attempt to connect; doubled for each further one.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How long an instance that came back is watched before it gets its partitions again: one that keeps coming and going would
/// move them each time.
const WATCHED: Duration = Duration::from_secs(5);

/// A timer that is later than this tells that the process had no processor.
const LATE: Duration = Duration::from_millis(10);
/// How long a process that had none reads what has arrived.
const READING: Duration = Duration::from_millis(2);

/// The reason for an open breaker when there was no error, only silence.
const SILENT: &str = "no answer in time";

/// How long a caller waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It can go on without one, and gives up early while another call waits already.
    Short,
    /// The whole timeout: an order or a key depends on the answer.
    Long,
    /// Hardly at all: another link to the same server has just had no answer.
    Brief,
    /// The same, and it asks once more if a probe finds the instance back meanwhile: for callers that only read.
    Retrying,
}

/// What the links of a process have in common.
#[derive(Debug, Clone)]
pub(crate) struct Linking {
    pub(crate) config: RedisConfig,
    /// Reads the credentials again; `None` if no secret has them.
    pub(crate) renewal: Option<Renewal>,
    pub(crate) timeouts: Timeouts,
    pub(crate) clock: Clock,
    /// What this process knows of the instances.
    pub(crate) setups: Arc<Setups>,
    pub(crate) keys: Arc<Keys>,
    /// What happens while an instance is away, for the log.
    pub(crate) meanwhile: &'static str,
    /// Makes the step of a partition that shows whether an instance serves.
    pub(crate) probe: fn(&Keys, Partition) -> Step,
}

impl Linking {
    /// A step of this partition that shows whether an instance serves.
    pub(crate) fn probe(&self, partition: Partition) -> Step {
        (self.probe)(&self.keys, partition)
    }

    /// A link to an instance, which connects with the first call. `probe`: what an instance must perform before an open
    /// breaker closes.
    pub(crate) fn link(&self, name: String, instance: &RedisInstance, probe: Step) -> Result<Link, SetupError> {
        let config = &self.config;
        let access = Access::new(config, instance, ProtocolVersion::RESP3, self.renewal.clone())?;
        // Each call has its own timeout.
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(None);
        let state = LinkState {
            connection: None,
            is_connecting: false,
            breaker: Breaker::new(self.timeouts.calls),
            reason: String::new(),
            is_setup_checked: false,
            connections: 0,
            back_since: None,
        };
        Ok(Link {
            name,
            meanwhile: self.meanwhile,
            access,
            settings,
            attempts: config.attempts,
            timeouts: self.timeouts,
            probe,
            clock: self.clock.clone(),
            state: watch::Sender::new(state),
            patient_call: Semaphore::new(1),
            stats: Mutex::default(),
            setups: Arc::clone(&self.setups),
        })
    }
}

/// Asks one instance, as far as its breaker permits.
pub(crate) struct Link {
    /// What logs, metrics and operators call it: `redis-1`.
    name: String,
    /// What happens while it is away.
    meanwhile: &'static str,
    access: Access,
    settings: AsyncConnectionConfig,
    /// How often connecting is attempted.
    attempts: u32,
    timeouts: Timeouts,
    /// What must work before an open breaker closes.
    probe: Step,
    clock: Clock,
    /// Changes when a connection comes or goes, an attempt ends, or the breaker opens or closes.
    state: watch::Sender<LinkState>,
    /// The right of one call to wait for its whole timeout.
    patient_call: Semaphore,
    stats: Mutex<Stats>,
    /// What is known of this and the other instances.
    setups: Arc<Setups>,
}

/// The calls of this process so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    /// How many there were.
    pub(crate) operations: u64,
    /// How many had no answer, or none in time.
    pub(crate) errors: u64,
    /// How long answers took, in microseconds.
    pub(crate) took_us: Histogram,
    /// Why a call had no answer, or connecting failed, the last time that happened.
    pub(crate) last_error: Option<String>,
}

struct LinkState {
    connection: Option<Live>,
    is_connecting: bool,
    breaker: Breaker,
    /// Why the breaker is open.
    reason: String,
    /// Whether this process has checked the server's setup.
    is_setup_checked: bool,
    /// How many connections there were, which tells one from the next.
    connections: u64,
    /// When it last came back; `None` if it was never away.
    back_since: Option<Instant>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    id: u64,
}

/// Why a call has no answer.
enum NoAnswer {
    /// It waited for its whole timeout.
    TimedOut,
    /// It gave up because another call waits already, or has waited without success.
    GaveUp,
    Failed(RedisError),
}

impl Link {
    /// The answer to a question, within the timeout; `None` if there is none or the breaker did not permit asking.
    pub(crate) async fn ask<T, F>(
        self: &Arc<Self>,
        question: impl Fn(MultiplexedConnection) -> F,
        patience: Patience,
    ) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        if patience != Patience::Retrying {
            return self.ask_once(&question, patience).await;
        }
        let answer = async {
            match self.ask_once(&question, patience).await {
                None if self.is_back().await => self.ask_once(&question, patience).await,
                answer => answer,
            }
        };
        timeout(self.bound(), answer).await.ok().flatten()
    }

    /// The same, without looking for a probe. If the connection turns out to be useless, the question is asked once more on a new
    /// one.
    async fn ask_once<T, F>(
        self: &Arc<Self>,
        question: impl Fn(MultiplexedConnection) -> F,
        patience: Patience,
    ) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        // Not inside the `match`, which would hold the lock until its end.
        let permit = self.state.borrow().breaker.permit(self.clock.now_ms());
        let call_timeout = match permit {
            Permit::Ask(timeout) => timeout,
            Permit::Denied => return None,
            Permit::Probe => {
                // In the background: this call does not wait for it.
                self.connect_in_background();
                return None;
            }
        };
        let begun = Instant::now();
        let (_acting, _waiting) = (act_on(Place::Moment), wait_for(Place::Moment));
        let answer = tokio::select! {
            biased;
            answer = self.answer(&question) => answer.map_err(NoAnswer::Failed),
            () = self.breaker_opens() => Err(NoAnswer::GaveUp),
            no_answer = self.times_out(call_timeout, patience) => Err(no_answer),
        };
        self.count(begun.elapsed(), answer.is_ok());
        match answer {
            Ok(answer) => {
                self.state.send_if_modified(|state| {
                    state.breaker.answered();
                    false
                });
                Some(answer)
            }
            Err(NoAnswer::GaveUp) => None,
            Err(NoAnswer::TimedOut) => {
                self.disconnect(SILENT, SILENT, |breaker, now_ms, jitter| breaker.unanswered(now_ms, jitter));
                None
            }
            Err(NoAnswer::Failed(error)) => {
                self.failed(&error);
                None
            }
        }
    }

    /// What operators call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether partitions are to be kept here: it is not away, and has not just come back.
    pub(crate) fn is_steady(&self) -> bool {
        let state = self.state.borrow();
        !state.breaker.is_open() && state.back_since.is_none_or(|at| at.elapsed() >= WATCHED)
    }

    /// Whether it is known to give no answer at all.
    pub(crate) fn is_silent(&self) -> bool {
        let state = self.state.borrow();
        state.breaker.is_open() && state.reason == SILENT
    }

    /// Begins to connect if this process never has.
    pub(crate) fn warm_up(self: &Arc<Self>) {
        let is_new = {
            let state = self.state.borrow();
            state.connections == 0 && !state.breaker.is_open()
        };
        if is_new {
            self.connect_in_background();
        }
    }

    /// Begins a probe if one is due: without calls that ask it, nothing else would find out that an instance is back.
    pub(crate) fn probe_if_due(self: &Arc<Self>) {
        let permit = self.state.borrow().breaker.permit(self.clock.now_ms());
        if permit == Permit::Probe {
            self.connect_in_background();
        }
    }

    /// What it must perform before an open breaker closes.
    pub(crate) fn probe(&self) -> &Step {
        &self.probe
    }

    /// The longest that a call waits.
    pub(crate) fn bound(&self) -> Duration {
        self.timeouts.calls[0]
    }

    /// Whether the breaker is closed, after any probe that is running has ended.
    pub(crate) async fn is_back(&self) -> bool {
        let _waiting = wait_for(Place::Moment);
        let mut state = self.state.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        state.wait_for(|state| !state.is_connecting).await.is_ok_and(|state| !state.breaker.is_open())
    }

    pub(crate) fn stats(&self) -> Stats {
        // A panic while the lock was held left at worst one call half counted.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        let state = self.state.borrow();
        match (state.breaker.is_open(), state.is_connecting) {
            (false, _) => BreakerState::Closed,
            (true, false) => BreakerState::Open,
            (true, true) => BreakerState::Probing,
        }
    }

    fn count(&self, took: Duration, is_answered: bool) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.operations += 1;
        if is_answered {
            stats.took_us.add(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
        } else {
            stats.errors += 1;
        }
    }

    async fn answer<T, F>(self: &Arc<Self>, question: &impl Fn(MultiplexedConnection) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let live = self.connected().await?;
        match question(live.connection).await {
            Err(error) if Failure::of(&error) == Failure::Connection => {
                self.state.send_if_modified(|state| {
                    let is_current = state.connection.as_ref().is_some_and(|now| now.id == live.id);
                    if is_current {
                        state.connection = None;
                    }
                    is_current
                });
                question(self.connected().await?.connection).await
            }
            answer => answer,
        }
    }

    /// The connection, as soon as there is one.
    async fn connected(self: &Arc<Self>) -> RedisResult<Live> {
        self.connect_in_background();
        let mut state = self.state.subscribe();
        let live = state.wait_for(|state| state.connection.is_some()).await;
        let live = live.ok().and_then(|state| state.connection.clone());
        live.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    async fn breaker_opens(&self) {
        // As in `is_back`, the channel cannot close.
        let _ = self.state.subscribe().wait_for(|state| state.breaker.is_open()).await;
    }

    /// Returns when a call must stop waiting. Of concurrent calls only one tells the breaker, for one stall is no outage.
    async fn times_out(&self, call_timeout: Duration, patience: Patience) -> NoAnswer {
        let begun = Instant::now();
        if patience == Patience::Brief {
            sleep_until(begun + self.timeouts.suspicious.min(call_timeout)).await;
            return NoAnswer::GaveUp;
        }
        let is_another_waiting = self.patient_call.available_permits() == 0;
        let short = if is_another_waiting { self.timeouts.suspicious } else { self.timeouts.concurrent };
        sleep_until(begun + short.min(call_timeout)).await;
        let tells = self.patient_call.try_acquire();
        if tells.is_err() && patience == Patience::Short {
            return NoAnswer::GaveUp;
        }
        sleep_until(begun + call_timeout).await;
        if begun.elapsed() > call_timeout + LATE {
            // This process did not run, and what Redis has answered meanwhile has not been read yet.
            sleep(READING).await;
        }
        if tells.is_ok() { NoAnswer::TimedOut } else { NoAnswer::GaveUp }
    }

    /// Begins to connect, unless there is a connection or another task is connecting.
    fn connect_in_background(self: &Arc<Self>) {
        let mut is_ours = false;
        self.state.send_if_modified(|state| {
            is_ours = state.connection.is_none() && !state.is_connecting;
            state.is_connecting |= is_ours;
            false
        });
        if is_ours {
            let connecting = Connecting(Arc::clone(self));
            tokio::spawn(async move { connecting.0.connect().await });
        }
    }

    /// Connects, in several attempts. The breaker opens after the first failure, so that no call waits for the others.
    async fn connect(&self) {
        for attempt in 0..self.attempts {
            if attempt > 0 {
                sleep((MIN_PAUSE * 2_u32.pow((attempt - 1).min(5))).min(MAX_PAUSE)).await;
            }
            let error = match self.attempt().await {
                Ok(connection) => return self.check_setup(connection).await,
                Err(error) => error,
            };
            self.failed(&error);
            if is_refusal(&error) {
                return;
            }
        }
    }

    /// One attempt to connect, and another one if the server refuses credentials that have been replaced. Calls wait for both.
    async fn attempt(&self) -> RedisResult<MultiplexedConnection> {
        let attempted = self.attempt_as_known().await;
        let is_refused = attempted.as_ref().is_err_and(is_refusal);
        if is_refused && self.access.is_renewed().await { self.attempt_as_known().await } else { attempted }
    }

    /// One attempt with the credentials that are known. While the breaker is open, the attempt includes the probe.
    async fn attempt_as_known(&self) -> RedisResult<MultiplexedConnection> {
        let client = self.access.client();
        let mut connection = client.get_multiplexed_async_connection_with_config(&self.settings).await?;
        let mut is_probed = false;
        loop {
            let (mut was_open, mut needs_probe) = (false, false);
            self.state.send_if_modified(|state| {
                was_open = state.breaker.is_open();
                needs_probe = was_open && !is_probed;
                if !needs_probe {
                    // Only a probe closes the breaker: a server that greets may still answer nothing.
                    if is_probed {
                        state.breaker.close();
                        state.back_since = Some(Instant::now());
                    }
                    state.connections += 1;
                    state.connection = Some(Live { connection: connection.clone(), id: state.connections });
                }
                !needs_probe
            });
            if !needs_probe {
                if was_open {
                    tracing::info!(instance = self.name, "Redis is back");
                }
                return Ok(connection);
            }
            let probed = [&self.probe];
            timeout(self.timeouts.calls[0], perform(&mut connection, &probed))
                .await
                .map_err(std::io::Error::from)??;
            is_probed = true;
        }
    }

    /// Warns once per process if an operator should look at the server.
    async fn check_setup(&self, mut connection: MultiplexedConnection) {
        let mut is_first = false;
        self.state.send_if_modified(|state| {
            is_first = !std::mem::replace(&mut state.is_setup_checked, true);
            false
        });
        if is_first && let Ok(Ok(server)) = timeout(self.timeouts.calls[0], setup::ask(&mut connection)).await {
            for warning in self.setups.add(&self.name, server) {
                tracing::warn!(instance = self.name, "{}", warning.text);
            }
        }
    }

    fn failed(&self, error: &RedisError) {
        let cooldown = if is_refusal(error) { Cooldown::Long } else { Cooldown::Short };
        let reason = if error.is_timeout() { SILENT.to_owned() } else { log_text(error) };
        let public = failure::public_text(error).unwrap_or_else(|| SILENT.to_owned());
        self.disconnect(&reason, &public, |breaker, now_ms, jitter| breaker.open(now_ms, cooldown, jitter));
    }

    /// Drops the connection, so that the next one resolves and connects from scratch, and updates the breaker. If that opens,
    /// waiting calls give up, and the reason is logged once.
    fn disconnect(&self, reason: &str, public: &str, update: impl FnOnce(&mut Breaker, i64, f64)) {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(public.to_owned());
        let mut is_new = false;
        self.state.send_if_modified(|state| {
            let was_open = state.breaker.is_open();
            state.connection = None;
            update(&mut state.breaker, self.clock.now_ms(), fastrand::f64());
            if !state.breaker.is_open() {
                return false;
            }
            // A probe without an answer says nothing new either.
            is_new = !was_open || (state.reason != reason && reason != SILENT);
            if is_new {
                reason.clone_into(&mut state.reason);
            }
            true
        });
        if is_new {
            let meanwhile = self.meanwhile;
            tracing::warn!(instance = self.name, reason, "Redis is unavailable ({reason}): {meanwhile}");
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client contains the password.
        f.debug_struct("Link").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

/// A task that is connecting; dropping it, for whatever reason, lets the next one begin.
struct Connecting(Arc<Link>);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.is_connecting = false);
    }
}
