//! A Redis Cluster: which server holds a partition, as the cluster says, found anew whenever that turns out to have changed.
//!
//! Each server has a link of its own, so that one that is away delays two calls, and only those of its partitions.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::slots::{self, Address, Range, slot};
use crate::config::RedisInstance;
use crate::moment::redis::client::SetupError;
use crate::moment::redis::failure::log_text;
use crate::moment::redis::keys::Partition;
use crate::moment::redis::link::{Link, Linking, Patience};
use crate::moment::redis::setup;
use crate::moment::redis::sockets::listener::Listener;
use crate::moment::redis::steps::{Answer, Step, is_redirection, perform_in_cluster};
use crate::moment::redis::timeouts::Timeouts;
use crate::telemetry::health::BreakerState;

/// How many servers are asked for the slots: after a failover some may not know of it yet.
const ASKED: usize = 3;
/// How long after the slots were read they may be read again; doubled each time that nothing has changed.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// How long it may be unknown to other processes that slots have moved.
const SETTLED: Duration = Duration::from_secs(15);
/// How often a step is asked for while its partition moves.
const ATTEMPTS: u32 = 3;
/// Before the second attempt at a step of which some keys have moved and others have not.
const MOVING_PAUSE: Duration = Duration::from_millis(5);
/// How much later than its links a call gives up.
const SLACK: Duration = Duration::from_millis(10);

/// The servers of a cluster.
pub(crate) struct Cluster {
    linking: Linking,
    /// Where the configuration says that the cluster is: asked first, and when no other server answers.
    entry: Arc<Link>,
    /// All servers that hold slots, or to which one is moving.
    servers: Mutex<HashMap<Address, Arc<Server>>>,
    /// All servers that there have been; the place of each gives it its name.
    known: Mutex<Vec<Address>>,
    state: watch::Sender<State>,
    /// Whether it was logged that a server does not say who holds what.
    is_refusal_logged: AtomicBool,
}

/// One server.
pub(crate) struct Server {
    pub(crate) link: Arc<Link>,
    /// Hears what is published there. Connects with the first event stream.
    pub(crate) listener: Listener,
}

struct State {
    /// `None` until a server has said it.
    map: Option<Arc<Map>>,
    is_reading: bool,
    /// When the map was read last.
    read_at: Option<Instant>,
    /// When it may be read again, and the pause before that.
    next_read: Option<Instant>,
    pause: Duration,
    /// When this process last noticed that slots have moved.
    moved_at: Option<Instant>,
}

/// Who holds which slots.
struct Map {
    ranges: Vec<Range>,
    /// The primary of each range.
    primaries: Vec<Arc<Server>>,
}

impl Map {
    fn owner(&self, partition: Partition) -> Option<&Arc<Server>> {
        let slot = slot(partition);
        let after = self.ranges.partition_point(|range| range.first <= slot);
        let range = after.checked_sub(1)?;
        (slot <= self.ranges[range].last).then(|| &self.primaries[range])
    }

    /// The primaries, each once, in the order of their slots.
    fn servers(&self) -> Vec<&Arc<Server>> {
        let mut servers: Vec<&Arc<Server>> = Vec::new();
        for server in &self.primaries {
            if !servers.iter().any(|other| Arc::ptr_eq(other, server)) {
                servers.push(server);
            }
        }
        servers
    }
}

/// Where a step is to be performed.
#[derive(Clone)]
struct Place {
    server: Arc<Server>,
    /// Whether its slot is still moving there.
    is_asking: bool,
}

impl Cluster {
    /// Connects with the first call.
    pub(crate) fn new(linking: Linking) -> Result<Self, SetupError> {
        let probe = linking.probe(Partition::FIRST).tolerating(is_redirection);
        let entry = linking.link("redis".into(), &linking.config.instances[0], probe)?;
        let state =
            State { map: None, is_reading: false, read_at: None, next_read: None, pause: MIN_PAUSE, moved_at: None };
        Ok(Self {
            linking,
            entry: Arc::new(entry),
            servers: Mutex::default(),
            known: Mutex::default(),
            state: watch::Sender::new(state),
            is_refusal_logged: AtomicBool::new(false),
        })
    }

    /// Performs steps, in one pipeline per server. A step that finds its partition moved is asked for again where it went.
    pub(crate) async fn ask(self: &Arc<Self>, steps: &[Step], patience: Patience) -> Vec<Answer> {
        let mut answers: Vec<Answer> = steps.iter().map(|_| None).collect();
        let begun = Instant::now();
        let Some(map) = self.map().await else { return answers };
        let owned = |(n, step): (usize, &Step)| {
            let server = map.owner(step.partition())?;
            Some((n, Place { server: Arc::clone(server), is_asking: false }))
        };
        let mut open: Vec<(usize, Place)> = steps.iter().enumerate().filter_map(owned).collect();
        if open.len() < steps.len() {
            self.read_in_background();
        }
        // A call that waited for the map, or was sent elsewhere, waits no longer than others.
        let deadline = begun + self.entry.bound() + SLACK;
        for _ in 0..ATTEMPTS {
            let groups = groups(open).into_iter().map(|(place, places)| async {
                let group: Vec<&Step> = places.iter().map(|n| &steps[*n]).collect();
                let performed = timeout_at(deadline, perform_at(&place, &group, patience)).await.ok().flatten();
                (place, places, performed)
            });
            let performed = join_all(groups).await;
            let (mut redirected, mut is_half_moved) = (Vec::new(), false);
            for (place, places, performed) in performed {
                let Some(performed) = performed else {
                    // It may be gone for good, and another hold its slots.
                    self.read_in_background();
                    continue;
                };
                for (n, answer) in places.into_iter().zip(performed) {
                    match answer.as_ref().err().filter(|error| !steps[n].is_tolerated(error)) {
                        None => answers[n] = Some(answer),
                        Some(error) => {
                            is_half_moved |= error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain);
                            redirected.extend(self.redirection(&place, error).map(|place| (n, place)));
                        }
                    }
                }
            }
            if redirected.is_empty() {
                break;
            }
            if is_half_moved {
                sleep(MOVING_PAUSE).await;
            }
            open = redirected;
        }
        answers
    }

    /// A link to each server that holds slots; `None` before any is known.
    pub(crate) async fn links(self: &Arc<Self>) -> Option<Vec<Arc<Link>>> {
        let map = self.map().await?;
        Some(map.servers().into_iter().map(|server| Arc::clone(&server.link)).collect())
    }

    /// Where the configuration says that the cluster is.
    pub(crate) fn entry(&self) -> &Arc<Link> {
        &self.entry
    }

    /// Which share of the partitions of users and chats a server holds.
    pub(crate) fn share(&self, link: &Arc<Link>) -> f64 {
        let Some(map) = self.state.borrow().map.clone() else { return 0.0 };
        Partition::share(|partition| map.owner(partition).is_some_and(|server| Arc::ptr_eq(&server.link, link)))
    }

    /// The server that holds a partition.
    pub(crate) async fn owner(self: &Arc<Self>, partition: Partition) -> Option<Arc<Server>> {
        self.map().await?.owner(partition).cloned()
    }

    /// Whether other processes know who holds what: this one has seen no slot move for a while.
    pub(crate) fn is_settled(&self) -> bool {
        self.state.borrow().moved_at.is_none_or(|at| at.elapsed() > SETTLED)
    }

    /// Reads the slots again if that was not done lately, for those who only listen.
    pub(crate) fn read_if_older_than(self: &Arc<Self>, age: Duration) {
        if self.state.borrow().read_at.is_none_or(|at| at.elapsed() > age) {
            self.read_in_background();
        }
    }

    /// Who holds which slots. The first call waits for it as long as for an answer, others meanwhile not so long.
    async fn map(self: &Arc<Self>) -> Option<Arc<Map>> {
        if let Some(map) = self.state.borrow().map.clone() {
            return Some(map);
        }
        let mut state = self.state.subscribe();
        let Timeouts { calls, concurrent, .. } = self.linking.timeouts;
        let longest = if self.read_in_background() { calls[0] } else { concurrent };
        let read = timeout(longest, state.wait_for(|state| state.map.is_some() || !state.is_reading));
        // The sender lives in `self`, so the channel cannot close while this waits.
        read.await.ok()?.ok()?.map.clone()
    }

    /// Begins to read the slots, unless that is being done, or has just been; returns whether it began.
    pub(crate) fn read_in_background(self: &Arc<Self>) -> bool {
        let mut is_ours = false;
        self.state.send_if_modified(|state| {
            is_ours = !state.is_reading && state.next_read.is_none_or(|at| Instant::now() >= at);
            state.is_reading |= is_ours;
            false
        });
        if is_ours {
            let reading = Reading(Arc::clone(self));
            tokio::spawn(async move { reading.0.read().await });
        }
        is_ours
    }

    async fn read(&self) {
        let known = self.state.borrow().map.clone();
        let mut asked: Vec<Arc<Link>> =
            known.iter().flat_map(|map| map.servers()).map(|server| Arc::clone(&server.link)).collect();
        asked.retain(|link| link.breaker() == BreakerState::Closed);
        fastrand::shuffle(&mut asked);
        asked.truncate(ASKED);
        let mut said = self.ask_for_slots(&asked).await;
        if said.is_empty() {
            said = self.ask_for_slots(std::slice::from_ref(&self.entry)).await;
        }
        // What most of them say; of two, what covers more.
        let votes = |ranges: &Vec<Range>| said.iter().filter(|other| *other == ranges).count();
        let covered =
            |ranges: &[Range]| ranges.iter().map(|range| u32::from(range.last - range.first) + 1).sum::<u32>();
        if let Some(ranges) = said.iter().max_by_key(|ranges| (votes(ranges), covered(ranges))) {
            self.apply(ranges.clone());
        }
    }

    /// What servers say about the slots.
    async fn ask_for_slots(&self, links: &[Arc<Link>]) -> Vec<Vec<Range>> {
        let host = self.linking.config.instances[0].host();
        let needs_names = self.linking.config.instances[0].is_tls();
        // A refusal says nothing about what else the server does.
        let question = |mut connection: MultiplexedConnection| async move {
            match setup::slots(&mut connection).await {
                Err(error) if error.code().is_some() => Ok(Err(error)),
                answer => answer.map(Ok),
            }
        };
        let asked = links.iter().map(|link| async move { link.ask(question, Patience::Short).await });
        let said = join_all(asked).await.into_iter().flatten();
        let ranges = said.filter_map(|answer| match answer {
            Ok(answer) => slots::parse(answer, &host, needs_names),
            Err(error) => {
                if !self.is_refusal_logged.swap(true, Ordering::Relaxed) {
                    let reason = log_text(&error);
                    tracing::error!(reason, "the slots of the Redis Cluster cannot be read: {reason}");
                }
                None
            }
        });
        ranges.collect()
    }

    fn apply(&self, ranges: Vec<Range>) {
        let is_same = self.state.borrow().map.as_ref().is_some_and(|map| map.ranges == ranges);
        let map = (!is_same).then(|| {
            let primaries = ranges.iter().filter_map(|range| self.server(&range.primary, &ranges)).collect();
            Arc::new(Map { ranges, primaries })
        });
        // Without all of them it would be no map.
        let map = map.filter(|map| map.primaries.len() == map.ranges.len());
        if let Some(map) = &map {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            servers.retain(|_, server| map.primaries.iter().any(|primary| Arc::ptr_eq(primary, server)));
        }
        self.state.send_modify(|state| {
            state.read_at = Some(Instant::now());
            let Some(map) = map else { return };
            state.pause = MIN_PAUSE;
            if state.map.replace(map).is_some() {
                tracing::info!("slots of the Redis Cluster have moved");
                state.moved_at = Some(Instant::now());
            }
        });
    }

    /// The server at an address; `None` if it cannot be connected to as it is configured.
    fn server(&self, address: &Address, ranges: &[Range]) -> Option<Arc<Server>> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = servers.get(address) {
            return Some(Arc::clone(server));
        }
        let Linking { config, renewal, .. } = &self.linking;
        let instance: RedisInstance = config.instances[0].at(&address.host, address.port);
        let is_own = |partition: &Partition| {
            let slot = slot(*partition);
            ranges.iter().any(|range| (range.first..=range.last).contains(&slot) && range.primary == *address)
        };
        // Of a partition that it holds. If its slot has moved, the server says so, which tells that it serves.
        let own = Partition::hashed().find(is_own).unwrap_or(Partition::FIRST);
        let probe = self.linking.probe(own).tolerating(is_redirection);
        let made = self.linking.link(self.name(address), &instance, probe).and_then(|link| {
            Ok(Arc::new(Server { link: Arc::new(link), listener: Listener::new(config, &instance, renewal.clone())? }))
        });
        let server =
            made.inspect_err(|error| tracing::error!(%error, "a server of the Redis Cluster cannot be used")).ok()?;
        servers.insert(address.clone(), Arc::clone(&server));
        Some(server)
    }

    /// What a server is called, also when it comes back: `redis-1` and so on.
    fn name(&self, address: &Address) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known.iter().position(|other| other == address).unwrap_or_else(|| {
            known.push(address.clone());
            known.len() - 1
        });
        format!("redis-{}", place + 1)
    }

    /// Where a step that a server did not perform is to be asked for; `None` if the server did not say.
    fn redirection(self: &Arc<Self>, from: &Place, error: &RedisError) -> Option<Place> {
        if error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain) {
            return Some(from.clone());
        }
        let is_asking = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
        self.state.send_modify(|state| {
            state.moved_at = Some(Instant::now());
            if !is_asking {
                (state.next_read, state.pause) = (None, MIN_PAUSE);
            }
        });
        if !is_asking {
            self.read_in_background();
        }
        let (address, _) = error.redirect_node()?;
        let address = Address::parse(address, &self.linking.config.instances[0].host())?;
        Some(Place { server: self.server(&address, &[])?, is_asking })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// A task that reads the slots; dropping it, for whatever reason, lets the next one begin.
struct Reading(Arc<Cluster>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| {
            state.is_reading = false;
            state.next_read = Some(Instant::now() + state.pause);
            state.pause = (state.pause * 2).min(MAX_PAUSE);
        });
    }
}

/// Steps by the places where they are to be performed.
fn groups(open: Vec<(usize, Place)>) -> Vec<(Place, Vec<usize>)> {
    let mut groups: Vec<(Place, Vec<usize>)> = Vec::new();
    for (n, place) in open {
        let group = groups
            .iter_mut()
            .find(|(other, _)| Arc::ptr_eq(&other.server, &place.server) && other.is_asking == place.is_asking);
        match group {
            Some((_, places)) => places.push(n),
            None => groups.push((place, vec![n])),
        }
    }
    groups
}

async fn perform_at(
    place: &Place,
    steps: &[&Step],
    patience: Patience,
) -> Option<Vec<redis::RedisResult<redis::Value>>> {
    let question = |mut connection: MultiplexedConnection| async move {
        perform_in_cluster(&mut connection, steps, place.is_asking).await
    };
    place.server.link.ask(question, patience).await
}
