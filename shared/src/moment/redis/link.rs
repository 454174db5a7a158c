//! The one connection of a process to Redis, made and made again beside the calls: no call waits for it, or for an
//! answer, longer than its bound.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError,
    RedisResult, TlsCertificates,
};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::SetupError;
use super::breaker::{Breaker, Cooldown, Permit};
use super::failure::{self, Failure, log_text};
use super::keys::Keys;
use super::setup;
use crate::clock::Clock;
use crate::config::RedisConfig;
use crate::telemetry::health::BreakerState;
use crate::telemetry::histogram::Histogram;

/// How long the kernel keeps a connection whose peer acknowledges nothing.
#[cfg(target_os = "linux")]
const DEAD_PEER: Duration = Duration::from_secs(5);
/// Between the first two attempts of a connection; doubled for each further one, up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Why the breaker opens when nobody says why.
const SILENT: &str = "no answer in time";

/// How long calls wait for Redis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// A call, and the next one after it had no answer; then the breaker opens.
    pub(crate) bounds: [Duration; 2],
    /// Calls beside others: then one of them waits on and the rest do not, so that an outage slows one at a time.
    pub(crate) beside: Duration,
    /// Calls that begin while one waits on.
    pub(crate) suspecting: Duration,
}

impl Timeouts {
    /// A call waits 150 ms, an outage that says nothing costs 250 ms: less what a late timer adds.
    pub(crate) const REQUEST: Self = Self {
        bounds: [Duration::from_millis(145), Duration::from_millis(95)],
        beside: Duration::from_millis(50),
        suspecting: Duration::from_millis(10),
    };

    /// The same patience for every call.
    pub(crate) fn of(longest: Duration) -> Self {
        Self { bounds: [longest; 2], beside: longest, suspecting: longest }
    }
}

/// Asks Redis where a breaker lets it.
pub(crate) struct Link {
    client: Client,
    settings: AsyncConnectionConfig,
    attempts: u32,
    timeouts: Timeouts,
    /// Of what a probe touches.
    keys: Arc<Keys>,
    clock: Clock,
    /// Changes when a connection comes or goes, an attempt ends, or the breaker opens or closes.
    standing: watch::Sender<LinkState>,
    /// The right to wait for the whole bound.
    waiting: Semaphore,
    stats: Mutex<Stats>,
}

/// What became of the questions of this process so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats {
    /// How many were put.
    pub(crate) operations: u64,
    /// How many had no answer, or none in time.
    pub(crate) errors: u64,
    /// How long answers took, in microseconds.
    pub(crate) took_us: Histogram,
    /// Why there was no answer, or no connection, the last time that there was none.
    pub(crate) last_error: Option<String>,
}

struct LinkState {
    connection: Option<Live>,
    connecting: bool,
    breaker: Breaker,
    /// Why the breaker is open.
    reason: String,
    /// Whether its setup was looked at.
    looked_at: bool,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    id: Uuid,
}

/// Why a call has no answer.
enum Unanswered {
    /// It waited for its whole bound.
    TimedOut,
    /// Another one waits already, or has waited in vain.
    Beside,
    Failed(RedisError),
}

impl Link {
    /// Connects to nothing yet.
    pub(crate) fn new(
        config: &RedisConfig,
        timeouts: Timeouts,
        keys: Arc<Keys>,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        let client = client(config)?;
        // Every question has a bound of its own.
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(None);
        let standing = LinkState {
            connection: None,
            connecting: false,
            breaker: Breaker::new(timeouts.bounds),
            reason: String::new(),
            looked_at: false,
        };
        Ok(Self {
            client,
            settings,
            attempts: config.attempts,
            timeouts,
            keys,
            clock,
            standing: watch::Sender::new(standing),
            waiting: Semaphore::new(1),
            stats: Mutex::default(),
        })
    }

    /// What Redis answers to a question, within the bound; `None` where there is no answer or none was asked for. On a
    /// connection that turns out to be of no use the question is put once more on a new one.
    pub(crate) async fn ask<T, F>(self: &Arc<Self>, question: impl Fn(MultiplexedConnection) -> F) -> Option<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        // Not in the `match`, which would hold the lock until its end.
        let leave = self.standing.borrow().breaker.permit(self.clock.now_ms());
        let bound = match leave {
            Permit::Ask(bound) => bound,
            Permit::Denied => return None,
            Permit::Probe => {
                // Beside this call, which does not wait for it.
                self.connect_beside();
                return None;
            }
        };
        let begun = Instant::now();
        let answer = tokio::select! {
            biased;
            answer = self.answer(&question) => answer.map_err(Unanswered::Failed),
            () = self.opens() => Err(Unanswered::Beside),
            unanswered = self.times_out(bound) => Err(unanswered),
        };
        self.count(begun.elapsed(), answer.is_ok());
        match answer {
            Ok(answer) => {
                self.standing.send_if_modified(|standing| {
                    standing.breaker.answered();
                    false
                });
                Some(answer)
            }
            Err(Unanswered::Beside) => None,
            Err(Unanswered::TimedOut) => {
                self.give_up(SILENT, SILENT, |breaker, now_ms, jitter| breaker.unanswered(now_ms, jitter));
                None
            }
            Err(Unanswered::Failed(error)) => {
                self.failed(&error);
                None
            }
        }
    }

    /// How long a call waits at most.
    pub(crate) fn bound(&self) -> Duration {
        self.timeouts.bounds[0]
    }

    /// Whether Redis may be asked again, once a probe that is under way has ended.
    pub(crate) async fn is_back(&self) -> bool {
        let mut standing = self.standing.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        standing.wait_for(|standing| !standing.connecting).await.is_ok_and(|standing| !standing.breaker.is_open())
    }

    /// What became of the questions so far.
    pub(crate) fn stats(&self) -> Stats {
        // A panic while it was held left at worst one question half counted.
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether Redis is asked.
    pub(crate) fn breaker(&self) -> BreakerState {
        let standing = self.standing.borrow();
        match (standing.breaker.is_open(), standing.connecting) {
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
                self.standing.send_if_modified(|standing| {
                    let is_it = standing.connection.as_ref().is_some_and(|now| now.id == live.id);
                    if is_it {
                        standing.connection = None;
                    }
                    is_it
                });
                question(self.connected().await?.connection).await
            }
            answer => answer,
        }
    }

    /// The connection, once there is one.
    async fn connected(self: &Arc<Self>) -> RedisResult<Live> {
        self.connect_beside();
        let mut standing = self.standing.subscribe();
        let live = standing.wait_for(|standing| standing.connection.is_some()).await;
        let live = live.ok().and_then(|standing| standing.connection.clone());
        live.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    async fn opens(&self) {
        // As in `is_back`, the channel cannot close.
        let _ = self.standing.subscribe().wait_for(|standing| standing.breaker.is_open()).await;
    }

    async fn times_out(&self, bound: Duration) -> Unanswered {
        let begun = Instant::now();
        let one_waits = self.waiting.available_permits() == 0;
        let beside = if one_waits { self.timeouts.suspecting } else { self.timeouts.beside };
        sleep_until(begun + beside.min(bound)).await;
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Unanswered::Beside;
        };
        sleep_until(begun + bound).await;
        Unanswered::TimedOut
    }

    /// Begins to connect, where there is no connection and nobody is at it.
    fn connect_beside(self: &Arc<Self>) {
        let mut is_ours = false;
        self.standing.send_if_modified(|standing| {
            is_ours = standing.connection.is_none() && !standing.connecting;
            standing.connecting |= is_ours;
            false
        });
        if is_ours {
            let connecting = Connecting(Arc::clone(self));
            tokio::spawn(async move { connecting.0.connect().await });
        }
    }

    /// Connects, in several attempts. The breaker opens after the first that fails, so that nobody waits for the others.
    async fn connect(&self) {
        for attempt in 0..self.attempts {
            if attempt > 0 {
                sleep((FIRST_PAUSE * 2_u32.pow((attempt - 1).min(5))).min(Duration::from_secs(1))).await;
            }
            let error = match self.attempt().await {
                Ok(connection) => return self.look_at_setup(connection).await,
                Err(error) => error,
            };
            self.failed(&error);
            if Failure::of(&error) == Failure::Refused {
                return;
            }
        }
    }

    /// One attempt; where the breaker is open also the probe: what calls do, done once.
    async fn attempt(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&self.settings).await?;
        let mut is_probed = false;
        loop {
            let (mut was_open, mut needs_probe) = (false, false);
            self.standing.send_if_modified(|standing| {
                was_open = standing.breaker.is_open();
                needs_probe = was_open && !is_probed;
                if !needs_probe {
                    // Only a probe closes it: one that greets may have no answers all the same.
                    if is_probed {
                        standing.breaker.close();
                    }
                    standing.connection = Some(Live { connection: connection.clone(), id: Uuid::new_v4() });
                }
                !needs_probe
            });
            if !needs_probe {
                if was_open {
                    tracing::info!("Redis is back");
                }
                return Ok(connection);
            }
            let probe = super::probe(&mut connection, &self.keys);
            timeout(self.timeouts.bounds[0], probe).await.map_err(std::io::Error::from)??;
            is_probed = true;
        }
    }

    /// Warns of a server that may drop what is kept in it, once a process.
    async fn look_at_setup(&self, mut connection: MultiplexedConnection) {
        let mut is_first = false;
        self.standing.send_if_modified(|standing| {
            is_first = !std::mem::replace(&mut standing.looked_at, true);
            false
        });
        if is_first
            && let Ok(Ok(Some(warning))) = timeout(self.timeouts.bounds[0], setup::warning(&mut connection)).await
        {
            tracing::warn!("{warning}");
        }
    }

    fn failed(&self, error: &RedisError) {
        let hold = if Failure::of(error) == Failure::Refused { Cooldown::Long } else { Cooldown::Short };
        let told = if error.is_timeout() { SILENT.to_owned() } else { log_text(error) };
        let named = failure::public_text(error).unwrap_or_else(|| SILENT.to_owned());
        self.give_up(&told, &named, |breaker, now_ms, jitter| breaker.open(now_ms, hold, jitter));
    }

    /// Drops the connection, so that the next one finds its way anew, and tells the breaker. Where that opens, whoever
    /// waits is let go, and why is said once.
    fn give_up(&self, reason: &str, named: &str, tell: impl FnOnce(&mut Breaker, i64, f64)) {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).last_error = Some(named.to_owned());
        let jitter = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        let mut is_news = false;
        self.standing.send_if_modified(|standing| {
            let was_open = standing.breaker.is_open();
            standing.connection = None;
            tell(&mut standing.breaker, self.clock.now_ms(), jitter);
            if !standing.breaker.is_open() {
                return false;
            }
            // A probe that has no answer either says nothing that is not known.
            is_news = !was_open || (standing.reason != reason && reason != SILENT);
            if is_news {
                reason.clone_into(&mut standing.reason);
            }
            true
        });
        if is_news {
            tracing::warn!(
                reason,
                "Redis is away ({reason}): limits are kept in this process, nothing is noted, until it is back"
            );
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client knows the password.
        f.debug_struct("Link").field("patience", &self.timeouts).finish_non_exhaustive()
    }
}

/// Somebody is at it, until this is dropped: however that comes.
struct Connecting(Arc<Link>);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.standing.send_modify(|standing| standing.connecting = false);
    }
}

fn client(config: &RedisConfig) -> Result<Client, SetupError> {
    // What exactly is wrong with the URL might quote it.
    let info = connection_info(config).map_err(|_| SetupError::Url)?;
    let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let Some(authorities) = config.authorities.as_ref().filter(|_| is_tls) else {
        return Client::open(info).map_err(|_| SetupError::Url);
    };
    let pem = std::fs::read_to_string(authorities).map_err(|_| SetupError::Authorities)?;
    // Without any, nobody would be trusted, and Redis would be away for good without a word why.
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        return Err(SetupError::Authorities);
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.into()) };
    Client::build_with_tls(info, certificates).map_err(|_| SetupError::Authorities)
}

fn connection_info(config: &RedisConfig) -> RedisResult<ConnectionInfo> {
    let info = config.url.reveal().into_connection_info()?;
    // With RESP3 a server may speak first; a connection that it closed is seen to be closed.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let tcp = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(DEAD_PEER);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}
