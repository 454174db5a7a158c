//! How fast it rings: the release build of the local gateway as a process of its own, clients in this one, one
//! table. Nothing passes or fails, except that a delivery that was lost or doubled ends the run: a wrong figure is
//! worse than none. Words after `--` choose topics: `make bench ARGS="ringing size"`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has nothing to measure")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod audience;
mod build;
mod carillon;
mod client;
mod cold_start;
mod fanout;
mod lateness;
mod machine;
mod memory;
mod queue;
mod report;
mod ringing;
mod sending;
mod size;
mod start;
mod stores;

use std::process::ExitCode;

use crate::stores::Stores;

/// What can be measured, each a module of that name; those with a hyphen are measured on Postgres and Redis.
const TOPICS: [&str; 13] = [
    "ringing",
    "sending",
    "lateness",
    "queue",
    "ringing-servers",
    "sending-servers",
    "lateness-servers",
    "queue-servers",
    "fanout",
    "memory",
    "start",
    "cold_start",
    "size",
];

/// Those that measure nothing of the gateway.
const WITHOUT_GATEWAY: [&str; 4] = ["queue", "queue-servers", "cold_start", "size"];

// One thread: the clients take at most one core from what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Cargo adds `--bench` of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |topic: &str| words.is_empty() || words.iter().any(|word| topic.contains(word.as_str()));
    if !TOPICS.into_iter().any(chosen) {
        eprintln!("there is no such topic; there are {}", TOPICS.join(", "));
        return ExitCode::FAILURE;
    }
    let gateway = if TOPICS.into_iter().any(|topic| !WITHOUT_GATEWAY.contains(&topic) && chosen(topic)) {
        build::release("gateway")
    } else {
        Default::default()
    };

    machine::introduce();
    report::heading();
    for topic in TOPICS.into_iter().filter(|topic| chosen(topic)) {
        match topic {
            "ringing" => ringing::measure(&gateway, Stores::Here).await,
            "sending" => sending::measure(&gateway, Stores::Here).await,
            "ringing-servers" => ringing::measure(&gateway, Stores::Servers).await,
            "sending-servers" => sending::measure(&gateway, Stores::Servers).await,
            "lateness" => lateness::measure(&gateway, Stores::Here).await,
            "lateness-servers" => lateness::measure(&gateway, Stores::Servers).await,
            "queue" => queue::measure(Stores::Here).await,
            "queue-servers" => queue::measure(Stores::Servers).await,
            "fanout" => fanout::measure(&gateway).await,
            "memory" => memory::measure(&gateway).await,
            "start" => start::measure(&gateway).await,
            "cold_start" => cold_start::measure().await,
            "size" => size::measure(),
            other => unreachable!("{other} is no topic"),
        }
    }
    machine::take_leave();
    ExitCode::SUCCESS
}
