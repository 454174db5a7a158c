//! F60: a random sequence of the faults of all scenarios, some of them at the same time. The same seed injects the same
//! faults in the same order; their timing depends on the machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use harness::redis_cluster::is_replica;

use crate::management_api::Behaviour;
use crate::postgres_faults::lock_chat;
use crate::proxy::Mode;
use crate::random::Random;
use crate::servers::{PRIMARIES, cut_off};
use crate::testbed::{Testbed, pause};

/// The duration if `DURATION_S` is not set.
const DURATION_S: u64 = 40;

const FAULTS: [Fault; 14] = [
    Fault::RedisKilled,
    Fault::RedisWiped,
    Fault::RedisHangs,
    Fault::RedisFlushed,
    Fault::RedisFull,
    Fault::RedisCut,
    Fault::PostgresKilled,
    Fault::PostgresHangs,
    Fault::PostgresCut,
    Fault::BackendsTerminated,
    Fault::ChatLocked,
    Fault::ProcessesKilled,
    Fault::ProcessesFreeze,
    Fault::DevicesCutOff,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    RedisKilled,
    RedisWiped,
    RedisHangs,
    RedisFlushed,
    RedisFull,
    RedisCut,
    PostgresKilled,
    PostgresHangs,
    PostgresCut,
    BackendsTerminated,
    ChatLocked,
    ProcessesKilled,
    ProcessesFreeze,
    DevicesCutOff,
}

/// The functions whose processes are killed and frozen.
const FUNCTIONS: [&str; 5] = ["send", "drain", "message", "inbox", "chats"];

/// F60: injects random faults for `DURATION_S` seconds.
pub(crate) async fn run(testbed: &mut Testbed) {
    let (mut mix, started) = (Mix::new(testbed.seed), Instant::now());
    let duration = Duration::from_secs(crate::env_number("DURATION_S").unwrap_or(DURATION_S));
    while started.elapsed() < duration {
        mix.inject_one(testbed).await;
        pause(mix.random.below(1_500) as u64).await;
    }
    testbed.end_fault();
    testbed.note(format!("seed {}, {} s, faults: {}", testbed.seed, duration.as_secs(), mix.injected()));
}

/// A random sequence of faults.
pub(crate) struct Mix {
    pub(crate) random: Random,
    injected: BTreeMap<Fault, usize>,
}

impl Mix {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), injected: BTreeMap::new() }
    }

    /// Injects one fault for a random time and ends it. Half of the time, pushes fail meanwhile, too.
    pub(crate) async fn inject_one(&mut self, testbed: &mut Testbed) {
        let fault = FAULTS[self.random.below(FAULTS.len())];
        *self.injected.entry(fault).or_default() += 1;
        if self.random.chance(0.5) {
            testbed.management.set_behaviour(behaviour(&self.random));
        }
        inject(testbed, fault, &self.random).await;
        testbed.management.set_behaviour(Behaviour::Normal);
    }

    /// How many faults of each kind were injected.
    pub(crate) fn injected(&self) -> String {
        let each = self.injected.iter().map(|(fault, times)| format!("{fault:?} {times}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// Injects one fault for a random time and ends it.
async fn inject(testbed: &mut Testbed, fault: Fault, random: &Random) {
    let duration_ms = 300 + random.below(2_000) as u64;
    if loses_memory(testbed, fault) {
        testbed.expect_losses(1).await;
    }
    match fault {
        Fault::RedisKilled | Fault::RedisWiped => {
            if fault == Fault::RedisKilled {
                testbed.servers.redis.is_killed();
            } else {
                testbed.servers.redis.is_wiped();
            }
            pause(duration_ms).await;
            testbed.servers.redis.is_back();
        }
        Fault::RedisHangs => {
            testbed.servers.redis.hangs();
            pause(duration_ms).await;
            testbed.servers.redis.goes_on();
        }
        Fault::RedisFlushed => {
            let flushed = testbed.servers.redis.answers::<String>(&["FLUSHALL"]);
            assert!(flushed.is_ok() || is_replica(&testbed.servers.redis), "{flushed:?}");
            testbed.servers.redis.does(&["SCRIPT", "FLUSH"]);
        }
        Fault::RedisFull => {
            testbed.servers.redis.does(&["CONFIG", "SET", "maxmemory", "1"]);
            pause(duration_ms).await;
            testbed.servers.redis.does(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        Fault::RedisCut if testbed.servers.is_cluster => {
            // Clients reach the servers of a cluster without the proxy.
            let server = testbed.servers.first_primary(random.below(PRIMARIES));
            cut_off(server);
            pause(duration_ms).await;
            server.goes_on();
        }
        Fault::RedisCut => {
            testbed.redis.set_mode(mode(random));
            pause(duration_ms).await;
            testbed.redis.set_mode(Mode::Pass);
        }
        Fault::PostgresKilled => {
            testbed.servers.postgres.is_killed();
            pause(duration_ms).await;
            testbed.servers.postgres.is_back();
        }
        Fault::PostgresHangs => {
            testbed.servers.postgres.hangs();
            pause(duration_ms).await;
            testbed.servers.postgres.goes_on();
        }
        Fault::PostgresCut => {
            testbed.postgres.set_mode(mode(random));
            pause(duration_ms).await;
            testbed.postgres.set_mode(Mode::Pass);
        }
        Fault::BackendsTerminated => {
            testbed.terminate_backends().await;
        }
        Fault::ChatLocked => {
            let chat = testbed.chats[random.below(testbed.chats.len())].id.clone();
            lock_chat(testbed.database.clone(), chat, duration_ms as f64 / 1_000.0).await;
        }
        Fault::ProcessesKilled => {
            for _ in 0..10 {
                testbed.lambda.kill_busy(FUNCTIONS[random.below(FUNCTIONS.len())]);
                pause(duration_ms / 10).await;
            }
        }
        Fault::ProcessesFreeze => {
            let frozen = testbed.lambda.freeze_busy(FUNCTIONS[random.below(FUNCTIONS.len())]);
            pause(duration_ms * 3).await;
            frozen.iter().for_each(|process| process.thaw());
        }
        Fault::DevicesCutOff => {
            let device = random.below(testbed.devices.len());
            testbed.devices[device].cut_off();
        }
    }
}

/// Whether a Redis server may lose what it has: one that is killed loses what it could not write to its file yet, while the disk is
/// busy, and one that is away for longer is replaced in a cluster.
fn loses_memory(testbed: &Testbed, fault: Fault) -> bool {
    match fault {
        Fault::RedisKilled | Fault::RedisWiped | Fault::RedisFlushed => true,
        Fault::RedisHangs | Fault::RedisCut => testbed.servers.is_cluster,
        _ => false,
    }
}

fn mode(random: &Random) -> Mode {
    let modes = [
        Mode::Hold,
        Mode::Reset,
        Mode::Delay(Duration::from_millis(200)),
        Mode::Slice,
        Mode::LoseAnswers(0.2),
        Mode::CutAnswers(0.2),
    ];
    modes[random.below(modes.len())]
}

fn behaviour(random: &Random) -> Behaviour {
    let behaviours = [
        Behaviour::Gone(0.3),
        Behaviour::Throttled(0.5),
        Behaviour::Throttled(1.0),
        Behaviour::Failing(0.3),
        Behaviour::Dropping(0.1),
        Behaviour::Disordered,
        Behaviour::GoneWhenNew(Duration::from_millis(500)),
    ];
    behaviours[random.below(behaviours.len())]
}
