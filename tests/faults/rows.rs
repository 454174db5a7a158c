//! The rows, by their numbers in the fault matrix.

use std::pin::Pin;
use std::time::Duration;

use crate::stage::Stage;
use crate::{backlog, baseline, gateway_faults, load_faults, mix, postgres_faults, redis_faults, worker_faults};

/// One fault.
pub(crate) struct Row {
    pub(crate) number: &'static str,
    pub(crate) what: &'static str,
    /// How many services send from the beginning.
    pub(crate) services: usize,
    /// Whether it is of the selection for every test run.
    pub(crate) is_selected: bool,
    pub(crate) play: Play,
}

type Play = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The random mix.
pub(crate) const MIX: &str = "F60";
/// How many services send where a row does not say otherwise, and how long each rests after a send.
const SERVICES: usize = 4;
pub(crate) const REST: Duration = Duration::from_millis(25);

macro_rules! row {
    ($number:expr, $what:literal, $play:path) => {
        row!($number, $what, $play, SERVICES)
    };
    ($number:expr, $what:literal, $play:path, $services:expr) => {
        Row {
            number: $number,
            what: $what,
            services: $services,
            is_selected: false,
            play: |stage| Box::pin($play(stage)),
        }
    };
}

/// All of them, in their order.
pub(crate) fn all() -> Vec<Row> {
    let rows = vec![
        row!("list", "another design: a Redis list with pop", baseline::list, 0),
        row!("first", "another design: Redis first, the database later", baseline::stream, 0),
        row!("calm", "nothing is broken", worker_faults::nothing),
        row!("F01", "Redis is killed and comes back with its file", redis_faults::killed),
        row!("F03", "Redis loses everything and comes back empty", redis_faults::wiped),
        row!("F04", "Redis hangs for 1, 5 and 30 s", redis_faults::hung),
        row!("F05", "Redis answers 50, 200 and 1,000 ms later", redis_faults::slow),
        row!("F06", "Redis' answers are lost after the command was done", redis_faults::answers_lost),
        row!("F07", "Redis' answers are sliced, cut and garbled", redis_faults::answers_cut),
        row!("F15", "Redis is full", redis_faults::full),
        row!("F17", "Redis is loading its data", redis_faults::loading),
        row!("F19", "Redis forgets scripts and functions", redis_faults::scripts_forgotten),
        row!("F20", "Redis is flushed", redis_faults::flushed),
        row!("F24", "Postgres and everybody in it is killed", postgres_faults::killed),
        row!("F26", "Postgres hangs", postgres_faults::hung),
        row!("F27", "Postgres' connection ends at every step of a send", postgres_faults::cut_at_every_step, 0),
        row!("F28", "Postgres' backends are terminated", postgres_faults::terminated),
        row!("F35", "send and drain are killed at every step", worker_faults::killed_at_every_step, 0),
        row!("F36", "the drain is killed each 0.35 s", worker_faults::drains_are_killed),
        row!("F38", "drain and send freeze at work and thaw", worker_faults::frozen),
        row!("F39", "ten schedules at once", worker_faults::ten_schedules),
        row!("F41", "every event comes twice", worker_faults::repeated_events),
        row!("F42", "410 for 30 % of all frames to living sockets", gateway_faults::gone),
        row!("F43", "410 for sockets that have just been opened", gateway_faults::gone_when_new),
        row!("F44", "429 for half of all frames, then for all for 20 s", gateway_faults::limited),
        row!("F45", "500, 503 and no answer for half of all frames", gateway_faults::failing),
        row!("F46", "200 for frames that are dropped, 10 %", gateway_faults::lossy),
        row!("F47", "frames are overtaken and doubled", gateway_faults::disorderly),
        row!("F48", "$disconnect never comes", gateway_faults::never_disconnected),
        row!("F50", "100,000 are due at once after an outage", backlog::after_an_outage, 0),
        row!("F51", "the queue holds what nobody can read", worker_faults::poisoned),
        row!("F52", "ten times the load", load_faults::overload),
        row!("F55", "one key by four at once while Redis flaps", load_faults::one_key_at_once),
        row!("F56", "one key with four bodies at once", load_faults::one_key_other_body),
        row!(MIX, "a random mix of all that", mix::random),
    ];
    rows.into_iter().map(|row| Row { is_selected: SELECTED.contains(&row.number), ..row }).collect()
}

/// What every test run plays: at most three minutes.
const SELECTED: [&str; 9] = ["list", "first", "calm", "F03", "F24", "F28", "F36", "F46", "F47"];
