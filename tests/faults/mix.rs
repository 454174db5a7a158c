//! F60: faults of all rows, one after the other and some at once, as chance has it. The same seed breaks the same things
//! in the same order; what the machine makes of it is its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::management::Day;
use crate::proxy::Mode;
use crate::stage::{Stage, pause};

/// For how long where nobody says otherwise.
const DURATION_S: u64 = 40;

/// What may break.
const FAULTS: [Fault; 13] = [
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
    ProcessesKilled,
    ProcessesFreeze,
    DevicesCutOff,
}

/// The functions whose processes die and freeze.
const FUNCTIONS: [&str; 4] = ["send", "drain", "message", "inbox"];

/// F60: until its time is over.
pub(crate) async fn random(stage: &mut Stage) {
    let (dice, begun) = (Dice::new(stage.seed), Instant::now());
    let duration = Duration::from_secs(crate::number("DURATION_S").unwrap_or(DURATION_S));
    let mut played: BTreeMap<Fault, usize> = BTreeMap::new();
    while begun.elapsed() < duration {
        let fault = FAULTS[dice.below(FAULTS.len())];
        *played.entry(fault).or_default() += 1;
        if dice.falls(0.5) {
            stage.management.has(day(&dice));
        }
        breaks(stage, fault, &dice).await;
        stage.management.has(Day::Good);
        pause(dice.below(1_500) as u64).await;
    }
    stage.heals();
    let played: Vec<String> = played.iter().map(|(fault, times)| format!("{fault:?} {times}")).collect();
    stage.remarks(format!("seed {}, {} s: {}", stage.seed, duration.as_secs(), played.join(", ")));
}

/// One fault, for some while, and what it broke is mended.
async fn breaks(stage: &mut Stage, fault: Fault, dice: &Dice) {
    let while_ms = 300 + dice.below(2_000) as u64;
    match fault {
        Fault::RedisKilled | Fault::RedisWiped => {
            if fault == Fault::RedisKilled {
                stage.servers.redis.is_killed();
            } else {
                stage.servers.redis.is_wiped();
            }
            pause(while_ms).await;
            stage.servers.redis.is_back();
        }
        Fault::RedisHangs => {
            stage.servers.redis.hangs();
            pause(while_ms).await;
            stage.servers.redis.goes_on();
        }
        Fault::RedisFlushed => {
            stage.servers.redis.does(&["FLUSHALL"]);
            stage.servers.redis.does(&["SCRIPT", "FLUSH"]);
        }
        Fault::RedisFull => {
            stage.servers.redis.does(&["CONFIG", "SET", "maxmemory", "1"]);
            pause(while_ms).await;
            stage.servers.redis.does(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        Fault::RedisCut => {
            stage.redis.does(mode(dice));
            pause(while_ms).await;
            stage.redis.does(Mode::Pass);
        }
        Fault::PostgresKilled => {
            stage.servers.postgres.is_killed();
            pause(while_ms).await;
            stage.servers.postgres.is_back();
        }
        Fault::PostgresHangs => {
            stage.servers.postgres.hangs();
            pause(while_ms).await;
            stage.servers.postgres.goes_on();
        }
        Fault::PostgresCut => {
            stage.postgres.does(mode(dice));
            pause(while_ms).await;
            stage.postgres.does(Mode::Pass);
        }
        Fault::BackendsTerminated => {
            stage.ends_backends().await;
        }
        Fault::ProcessesKilled => {
            for _ in 0..10 {
                stage.lambda.kills_busy(FUNCTIONS[dice.below(FUNCTIONS.len())]);
                pause(while_ms / 10).await;
            }
        }
        Fault::ProcessesFreeze => {
            let frozen = stage.lambda.freezes_busy(FUNCTIONS[dice.below(FUNCTIONS.len())]);
            pause(while_ms * 3).await;
            frozen.iter().for_each(|process| process.thaws());
        }
        Fault::DevicesCutOff => {
            let device = dice.below(stage.devices.len());
            stage.devices[device].is_cut_off();
        }
    }
}

fn mode(dice: &Dice) -> Mode {
    let modes = [
        Mode::Hold,
        Mode::Reset,
        Mode::Delay(Duration::from_millis(200)),
        Mode::Slice,
        Mode::LoseAnswers(0.2),
        Mode::CutAnswers(0.2),
    ];
    modes[dice.below(modes.len())]
}

fn day(dice: &Dice) -> Day {
    let days = [
        Day::Gone(0.3),
        Day::Limited(0.5),
        Day::Limited(1.0),
        Day::Failing(0.3),
        Day::Lossy(0.1),
        Day::Disorderly,
        Day::Unborn(Duration::from_millis(500)),
    ];
    days[dice.below(days.len())]
}
