//! The benchmarks: the release build of the local gateway runs as a separate process, the clients run in this one, and
//! the result is one table. No figure passes or fails, but a lost or duplicated delivery aborts the run, because a wrong
//! figure is worse than none. Words after `--` select topics: `make bench ARGS="ringing size"`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot continue has nothing to measure")]
#![allow(clippy::print_stdout, reason = "the table is printed")]

mod appending;
mod audience;
mod build;
mod bulk;
mod carillon;
mod client;
mod cold_start;
mod emitting;
mod failover;
mod fanout;
mod fast;
mod growth;
mod lateness;
mod machine;
mod memory;
mod queue;
mod reading;
mod report;
mod ringing;
mod sending;
mod size;
mod soak;
mod start;
mod stores;
mod strangers;
mod streaming;
mod talking;
mod web_push;

use std::process::ExitCode;

use crate::stores::Stores;

/// The topics, each a module of the same name; the ones ending in `-servers` are measured on Postgres and Redis.
const TOPICS: [&str; 31] = [
    "ringing",
    "sending",
    "lateness",
    "queue",
    "ringing-servers",
    "sending-servers",
    "lateness-servers",
    "queue-servers",
    "reading",
    "reading-servers",
    "fanout",
    "memory",
    "start",
    "cold_start",
    "size",
    "strangers",
    "strangers-servers",
    "emitting",
    "emitting-servers",
    "streaming",
    "streaming-servers",
    "talking",
    "talking-servers",
    "appending",
    "appending-servers",
    "bulk-servers",
    "failover",
    "fast",
    "web_push",
    "growth",
    SOAK,
];

/// The topic that is measured only if it is named, since it takes a quarter of an hour.
const SOAK: &str = "soak";

/// The topics that do not need the gateway.
const WITHOUT_GATEWAY: [&str; 13] = [
    "queue",
    "queue-servers",
    "reading",
    "reading-servers",
    "cold_start",
    "size",
    "appending",
    "appending-servers",
    "bulk-servers",
    "failover",
    "fast",
    "web_push",
    "growth",
];

// One thread, so that the clients take at most one core away from the gateway.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Cargo adds `--bench` to the arguments.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |topic: &str| match words.is_empty() {
        true => topic != SOAK,
        false => words.iter().any(|word| topic.contains(word.as_str())),
    };
    if !TOPICS.into_iter().any(chosen) {
        eprintln!("no such topic; the topics are {}", TOPICS.join(", "));
        return ExitCode::FAILURE;
    }
    let gateway = if TOPICS.into_iter().any(|topic| !WITHOUT_GATEWAY.contains(&topic) && chosen(topic)) {
        build::release("gateway", "carillon")
    } else {
        Default::default()
    };

    machine::introduce();
    report::heading();
    for topic in TOPICS.into_iter().filter(|topic| chosen(topic)) {
        match topic {
            "ringing" => ringing::measure(&gateway, Stores::Local).await,
            "sending" => sending::measure(&gateway, Stores::Local).await,
            "ringing-servers" => ringing::measure(&gateway, Stores::Servers).await,
            "sending-servers" => sending::measure(&gateway, Stores::Servers).await,
            "lateness" => lateness::measure(&gateway, Stores::Local).await,
            "lateness-servers" => lateness::measure(&gateway, Stores::Servers).await,
            "queue" => queue::measure(Stores::Local).await,
            "queue-servers" => queue::measure(Stores::Servers).await,
            "reading" => reading::measure(Stores::Local).await,
            "reading-servers" => reading::measure(Stores::Servers).await,
            "fanout" => fanout::measure(&gateway).await,
            "memory" => memory::measure(&gateway).await,
            "start" => start::measure(&gateway).await,
            "cold_start" => cold_start::measure().await,
            "size" => size::measure(),
            "strangers" => strangers::measure(&gateway, Stores::Local).await,
            "strangers-servers" => strangers::measure(&gateway, Stores::Servers).await,
            "emitting" => emitting::measure(&gateway, Stores::Local).await,
            "emitting-servers" => emitting::measure(&gateway, Stores::Servers).await,
            "streaming" => streaming::measure(&gateway, Stores::Local).await,
            "streaming-servers" => streaming::measure(&gateway, Stores::Servers).await,
            "talking" => talking::measure(&gateway, Stores::Local).await,
            "talking-servers" => talking::measure(&gateway, Stores::Servers).await,
            "appending" => appending::measure(Stores::Local).await,
            "appending-servers" => appending::measure(Stores::Servers).await,
            "bulk-servers" => bulk::measure().await,
            "failover" => failover::measure().await,
            "fast" => fast::measure().await,
            "web_push" => web_push::measure().await,
            "growth" => growth::measure().await,
            SOAK => soak::measure(&gateway).await,
            other => unreachable!("{other} is not a topic"),
        }
    }
    machine::conclude();
    ExitCode::SUCCESS
}
