//! What breaks while Carillon works, on real servers with real processes, and the count of what was lost: `make faults`.
//!
//! A row breaks something while services send and devices listen, mends it, lets everything come to rest, and compares
//! what services were promised with the database and with what every device shows. Without words the selection of every
//! test run is played; `all` plays everything; other words choose rows by number. `ONLY=F03,F24` chooses too, and
//! `SEED=n DURATION_S=n` plays the random mix alone, for so many seconds.

#![allow(clippy::unwrap_used, reason = "a harness that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod backlog;
mod baseline;
mod checker;
mod device;
mod dice;
mod ending;
mod gateway_faults;
mod lambda;
mod load_faults;
mod management;
mod mix;
mod postgres_faults;
mod proxy;
mod redis_faults;
mod report;
mod rows;
mod sender;
mod servers;
mod stage;
mod steps;
mod trap;
mod worker_faults;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures_util::FutureExt;

use crate::report::Report;
use crate::rows::{MIX, REST, Row};
use crate::servers::Servers;
use crate::stage::Stage;

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let rows = chosen();
    if rows.is_empty() {
        return ExitCode::SUCCESS;
    }
    let seed = number("SEED").unwrap_or(1);
    harness::binaries::built(harness::binaries::Profile::Dev);
    let mut servers = Some(Servers::start().await);
    let (mut reports, mut holds): (Vec<Report>, bool) = (Vec::new(), true);
    for row in &rows {
        let own = match servers.take() {
            Some(servers) => servers,
            None => Servers::start().await,
        };
        // On this thread: servers end with the thread that started them.
        match AssertUnwindSafe(play(row, own, seed)).catch_unwind().await {
            Ok((own, report)) => {
                report.print();
                holds &= report.holds();
                reports.push(report);
                servers = Some(own);
            }
            Err(_) => {
                println!("{} {}: the harness itself failed", row.number, row.what);
                holds = false;
            }
        }
    }
    report::table(&reports);
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn play(row: &Row, servers: Servers, seed: u64) -> (Servers, Report) {
    servers.are_durable().await;
    let mut stage = Stage::set(servers, seed).await;
    if row.services > 0 {
        stage.sends("s", row.services, REST);
    }
    (row.play)(&mut stage).await;
    stage.ends(row).await
}

/// The rows that the environment and the words of the command line choose.
fn chosen() -> Vec<Row> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let flags = words.iter().any(|word| word == "--list");
    let words: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let only = std::env::var("ONLY").unwrap_or_default();
    let only: Vec<&str> = only.split(',').map(str::trim).filter(|number| !number.is_empty()).collect();
    let mut rows = rows::all();
    rows.retain(|row| {
        if flags {
            false
        } else if only.is_empty() && number("DURATION_S").is_some() {
            row.number == MIX
        } else if !only.is_empty() {
            only.iter().any(|number| number.eq_ignore_ascii_case(row.number))
        } else if words.is_empty() {
            row.is_selected
        } else {
            words.iter().any(|word| *word == "all" || word.eq_ignore_ascii_case(row.number))
        }
    });
    rows
}

/// A whole number of the environment; `None` where it is not set.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a whole number")))
}
