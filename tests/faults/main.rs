//! Fault tests on real servers and real processes, with a count of what was lost: `make faults`.
//!
//! A scenario injects faults while services send, users talk and devices listen, ends the faults, waits until no work is left,
//! and compares what senders were promised with the database and with what every device shows. Without arguments, the
//! scenarios of every test run are run; `all` runs all of them; other arguments choose scenarios by id. `ONLY=F03,F24`
//! chooses as well, `SEED=n DURATION_S=n` runs only the random mix, for that many seconds, and `ACCEPTED=n` only the soak, until
//! so many notifications are accepted; `all` does not include the soak. `INSTANCES=3` runs them on so many Redis instances, of which faults are injected into one, and `CLUSTER=true` on a Redis Cluster of six. The table at the
//! end says what was left out because it makes no sense there; a run of nothing else fails. With `ACCEPT=fast`, Redis has sends
//! and messages before the database; what it loses then is counted apart.

#![allow(clippy::unwrap_used, reason = "a panic fails the scenario")]
#![allow(clippy::print_stdout, reason = "the report goes to stdout")]

mod backlog;
mod baseline;
mod breakpoints;
mod bus;
mod checker;
mod cluster_faults;
mod device;
mod failovers;
mod finish;
mod gateway_faults;
mod lambda;
mod line;
mod load_faults;
mod management_api;
mod postgres_faults;
mod proxy;
mod random;
mod random_mix;
mod redis_faults;
mod report;
mod scenarios;
mod sender;
mod servers;
mod soak;
mod steps;
mod talk;
mod testbed;
mod web_push_faults;
mod worker_faults;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures_util::FutureExt;

use crate::report::Report;
use crate::scenarios::{PAUSE_AFTER_SEND, RANDOM_MIX, SOAK, Scenario};
use crate::servers::{Redis, Servers};
use crate::testbed::Testbed;

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let redis = match env_number("INSTANCES") {
        _ if std::env::var("CLUSTER").is_ok_and(|cluster| cluster == "true") => Redis::Cluster,
        instances => Redis::Instances(instances.unwrap_or(1).clamp(1, 16) as usize),
    };
    let scenarios = match chosen() {
        Ok(scenarios) => scenarios,
        Err(why) => {
            println!("{why}");
            return ExitCode::FAILURE;
        }
    };
    // A test runner asks for a list, or for tests of another name.
    if scenarios.is_empty() {
        return ExitCode::SUCCESS;
    }
    let (scenarios, left_out): (Vec<Scenario>, Vec<Scenario>) =
        scenarios.into_iter().partition(|scenario| scenario.left_out_on(redis).is_none());
    // Without a report: the scenario and why.
    let mut others: Vec<(&Scenario, String)> = left_out
        .iter()
        .filter_map(|scenario| Some((scenario, format!("left out: {}", scenario.left_out_on(redis)?))))
        .collect();
    if scenarios.is_empty() {
        report::print_table(&[], &others);
        return ExitCode::FAILURE;
    }
    let seed = env_number("SEED").unwrap_or(1);
    harness::binaries::built(lambda::profile());
    let mut servers = Some(Servers::start(redis).await);
    let (mut reports, mut passed): (Vec<Report>, bool) = (Vec::new(), true);
    for scenario in &scenarios {
        let current = match servers.take() {
            Some(servers) => servers,
            None => Servers::start(redis).await,
        };
        // Not spawned: servers end with the thread that started them.
        match AssertUnwindSafe(run(scenario, current, seed)).catch_unwind().await {
            Ok((current, report)) => {
                report.print();
                passed &= report.passed();
                reports.push(report);
                servers = Some(current);
            }
            Err(_) => {
                println!("{} {}: the harness itself failed", scenario.id, scenario.title);
                others.push((scenario, "FAILED: the harness itself".to_owned()));
                passed = false;
            }
        }
    }
    report::print_table(&reports, &others);
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(scenario: &Scenario, servers: Servers, seed: u64) -> (Servers, Report) {
    servers.require_durable().await;
    let accepts_fast = std::env::var("ACCEPT").is_ok_and(|accept| accept == "fast");
    let mut testbed = Testbed::start(servers, seed, accepts_fast).await;
    if scenario.services > 0 {
        testbed.start_senders("s", scenario.services, PAUSE_AFTER_SEND);
        testbed.start_talk();
    }
    (scenario.run)(&mut testbed).await;
    testbed.finish(scenario).await
}

/// The scenarios that the environment and the arguments choose, or why that cannot be done. `--list`, which test runners pass,
/// chooses none. Neither do arguments that name none: runners pass the name of a test to every program.
fn chosen() -> Result<Vec<Scenario>, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return Ok(Vec::new());
    }
    let mut scenarios = scenarios::all();
    let only = std::env::var("ONLY").unwrap_or_default();
    let only: Vec<&str> = only.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    let is_one = |id: &&&str| scenarios.iter().any(|scenario| id.eq_ignore_ascii_case(scenario.id));
    let unknown: Vec<&str> = only.iter().filter(|id| !is_one(id)).copied().collect();
    if !unknown.is_empty() {
        return Err(format!("ONLY must name scenarios, and there is none of this name: {}", unknown.join(", ")));
    }
    let ids: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    scenarios.retain(|scenario| {
        if only.is_empty() && env_number("ACCEPTED").is_some() {
            scenario.id == SOAK
        } else if only.is_empty() && env_number("DURATION_S").is_some() {
            scenario.id == RANDOM_MIX
        } else if !only.is_empty() {
            only.iter().any(|id| id.eq_ignore_ascii_case(scenario.id))
        } else if ids.is_empty() {
            scenario.is_selected
        } else {
            let is_in_all = scenario.id != SOAK;
            ids.iter().any(|id| is_in_all && *id == "all" || id.eq_ignore_ascii_case(scenario.id))
        }
    });
    if scenarios.is_empty() {
        println!("no fault scenario has the name of an argument");
    }
    Ok(scenarios)
}

/// A whole number from the environment; `None` if the variable is unset or empty.
fn env_number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a whole number")))
}
