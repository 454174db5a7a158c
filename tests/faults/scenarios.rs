//! All scenarios, with their ids from the fault matrix.

use std::pin::Pin;
use std::time::Duration;

use crate::checker::FastPromise;
use crate::servers::Redis;
use crate::testbed::Testbed;
use crate::{
    backlog, baseline, cluster_faults, failovers, gateway_faults, load_faults, postgres_faults, random_mix,
    redis_faults, soak, web_push_faults, worker_faults,
};

/// A fault test.
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// How many services send from the start.
    pub(crate) services: usize,
    /// Whether every test run includes it.
    pub(crate) is_selected: bool,
    pub(crate) run: Run,
}

impl Scenario {
    /// Why it makes no sense on such servers; `None` if it does.
    pub(crate) fn left_out_on(&self, redis: Redis) -> Option<&'static str> {
        match redis {
            Redis::Instances(_) if ON_CLUSTERS.contains(&self.id) => Some("only on a cluster"),
            Redis::Cluster if NOT_ON_CLUSTERS.contains(&self.id) => Some("not on a cluster"),
            Redis::Instances(1) | Redis::Cluster if self.id == ON_SEVERAL => Some("only on several instances"),
            Redis::Instances(_) | Redis::Cluster => None,
        }
    }
}

impl Scenario {
    pub(crate) fn fast_promise(&self) -> FastPromise {
        if LOSING_REDIS.contains(&self.id) {
            FastPromise::BestEffort
        } else if MISSING_REDIS.contains(&self.id) {
            FastPromise::Stored
        } else {
            FastPromise::InOrder
        }
    }

    /// Whether sends must be accepted fast if that is asked for. Redis serves before the fault, or comes back.
    pub(crate) fn sends_fast(&self) -> bool {
        !WITHOUT_SENDS.contains(&self.id)
    }

    /// The same of messages.
    pub(crate) fn talks_fast(&self) -> bool {
        self.sends_fast() && self.id != WITHOUT_TALK
    }
}

type Run = for<'a> fn(&'a mut Testbed) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub(crate) const RANDOM_MIX: &str = "F60";
/// Takes an hour, so it runs only if it is chosen.
pub(crate) const SOAK: &str = "soak";
/// The default number of services, and how long each pauses after a send.
pub(crate) const SERVICES: usize = 4;
pub(crate) const PAUSE_AFTER_SEND: Duration = Duration::from_millis(25);

macro_rules! scenario {
    ($id:expr, $title:literal, $run:path) => {
        scenario!($id, $title, $run, SERVICES)
    };
    ($id:expr, $title:literal, $run:path, $services:expr) => {
        Scenario {
            id: $id,
            title: $title,
            services: $services,
            is_selected: false,
            run: |testbed| Box::pin($run(testbed)),
        }
    };
}

/// All scenarios, in the order in which they run.
pub(crate) fn all() -> Vec<Scenario> {
    let scenarios = vec![
        scenario!("list", "other design: a Redis list with pop", baseline::list, 0),
        scenario!("first", "other design: Redis first, the database later", baseline::stream, 0),
        scenario!("calm", "no fault", worker_faults::no_fault),
        scenario!("F01", "Redis is killed and restarts with its data", redis_faults::killed),
        scenario!("F02", "Redis loses power, and with it its last second", redis_faults::power_lost),
        scenario!("F03", "Redis loses everything and restarts empty", redis_faults::wiped),
        scenario!("F04", "Redis hangs for 1, 5 and 30 s", redis_faults::hung),
        scenario!("F05", "Redis answers with delays of 50, 200 and 1,000 ms", redis_faults::slow),
        scenario!("F06", "answers of Redis are lost after execution", redis_faults::answers_lost),
        scenario!("F07", "answers of Redis are sliced, cut and garbled", redis_faults::answers_cut),
        scenario!("F08", "a replica takes over that had lost its primary 3 s ago", failovers::behind),
        scenario!("F09", "two primaries at once, with clients at both", failovers::split),
        scenario!("F10", "primary and replica change places, three times", failovers::switched),
        scenario!("F11", "a primary of the cluster is killed, and its replica takes over", cluster_faults::killed),
        scenario!("F12", "slots of the cluster move, and some are left half moved", cluster_faults::moved),
        scenario!("F13", "replicas of the cluster take over by force, there and back", cluster_faults::taken_over),
        scenario!(
            "F14",
            "a primary of the cluster is cut off from the others, not from clients",
            cluster_faults::isolated
        ),
        scenario!("F15", "Redis is full", redis_faults::full),
        scenario!("F16", "Redis evicts any key", redis_faults::evicting),
        scenario!("F17", "Redis is loading its data", redis_faults::loading),
        scenario!("F18", "Redis is busy with an endless script", redis_faults::busy),
        scenario!("F19", "Redis forgets its scripts and functions", redis_faults::scripts_forgotten),
        scenario!("F20", "Redis is flushed", redis_faults::flushed),
        scenario!("F21", "the password of Redis changes", redis_faults::password_changed),
        scenario!("F22", "Redis accepts no further connection", redis_faults::no_more_clients),
        scenario!("F23", "one of several Redis is down for 20 s", redis_faults::one_of_several_down),
        scenario!("moved", "an instance of Redis is added, and another taken away", failovers::list_changed),
        scenario!("F24", "Postgres is killed with all its backends", postgres_faults::killed),
        scenario!("F26", "Postgres hangs", postgres_faults::hung),
        scenario!("F27", "the Postgres connection breaks at each step", postgres_faults::cut_at_every_step, 0),
        scenario!("F28", "Postgres backends are terminated", postgres_faults::terminated),
        scenario!("F30", "the row of one chat is locked for 10 s", postgres_faults::chat_locked),
        scenario!("F31", "deadlocks and serialization failures", postgres_faults::transactions_lost),
        scenario!("F35", "send, chats and drain are killed at each step", worker_faults::killed_at_every_step, 0),
        scenario!("F36", "the drain is killed every 0.35 s", worker_faults::drains_killed),
        scenario!("F38", "busy drain and send processes are frozen for 6 s", worker_faults::frozen),
        scenario!("F39", "ten concurrent drains", worker_faults::ten_schedules),
        scenario!("F41", "send, drain and disconnect are invoked twice", worker_faults::repeated_events),
        scenario!("F42", "410 for 30 % of all frames to open sockets", gateway_faults::gone),
        scenario!("F43", "410 for sockets that were just opened", gateway_faults::gone_when_new),
        scenario!("F44", "429 for half of all frames, then for all, 20 s", gateway_faults::throttled),
        scenario!("F45", "500, 503 or no answer for half of all frames", gateway_faults::failing),
        scenario!("F46", "200 for 10 % of all frames, which are dropped", gateway_faults::dropping),
        scenario!("F47", "frames are reordered and duplicated", gateway_faults::disordered),
        scenario!("F48", "$disconnect is never delivered", gateway_faults::never_disconnected),
        scenario!("F50", "100,000 notifications are due after an outage", backlog::after_an_outage, 0),
        scenario!("F51", "the queue contains unreadable entries", worker_faults::poisoned),
        scenario!("F52", "ten times the load", load_faults::overload),
        scenario!("F53", "the clock of Redis jumps by an hour, there and back", redis_faults::clock_jumps),
        scenario!("F55", "one key in four calls at once while Redis flaps", load_faults::one_key_at_once),
        scenario!("F56", "one key in four calls at once, different bodies", load_faults::one_key_other_body),
        scenario!("F57", "push services refuse, hang and redirect", web_push_faults::answers_in_turn, 0),
        scenario!(RANDOM_MIX, "a random mix of all faults", random_mix::run),
        scenario!(SOAK, "the random mix until a million are accepted", soak::run),
    ];
    scenarios
        .into_iter()
        .map(|scenario| Scenario { is_selected: SELECTED.contains(&scenario.id), ..scenario })
        .collect()
}

/// The scenarios of every test run; they take at most three minutes together.
const SELECTED: [&str; 9] = ["list", "first", "calm", "F03", "F24", "F28", "F36", "F46", "F47"];

/// Those in which Redis loses data: emptied, or replaced by a replica that was behind.
const LOSING_REDIS: [&str; 12] =
    ["F02", "F03", "F08", "F09", "F10", "F11", "F13", "F14", "F16", "F20", RANDOM_MIX, SOAK];
/// Those in which Redis is away, or cannot be written to, and loses nothing.
const MISSING_REDIS: [&str; 15] =
    ["F01", "F04", "F05", "F06", "F07", "F12", "F15", "F17", "F18", "F21", "F22", "F23", "moved", "F53", "F55"];
/// Other designs, whose senders do not call Carillon.
const WITHOUT_SENDS: [&str; 2] = ["list", "first"];
/// The one in which no user talks.
const WITHOUT_TALK: &str = "F57";
/// The one that needs several instances.
const ON_SEVERAL: &str = "F23";
/// Those that only a Redis Cluster can have.
const ON_CLUSTERS: [&str; 4] = ["F11", "F12", "F13", "F14"];
/// Those that put a proxy before Redis, which the servers of a cluster bypass, write to one server what another would hold, or give
/// one a replica.
const NOT_ON_CLUSTERS: [&str; 10] = ["list", "first", "F05", "F06", "F07", "F08", "F09", "F10", "moved", "F51"];
