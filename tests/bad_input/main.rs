//! Bad input: one row for each thing that a stranger may send, with the answer that it must get. After every row the
//! system still works, and its victim has got nothing.
//!
//! Without arguments all rows are tried; arguments choose rows by id (`S036`) or groups by letter (`D`). `--list`, which
//! test runners pass, chooses none. Rows that wait for a feature and rows that were left out are printed with their
//! reason and are no failures; a row whose feature exists must be filled in.

#![allow(clippy::unwrap_used, reason = "a panic fails the row")]
#![allow(clippy::print_stdout, reason = "the report goes to stdout")]

mod bodies;
mod exposure;
mod forgery;
mod identities;
mod journal;
mod limits;
mod outgoing;
mod pushing;
mod raw;
mod ringing;
mod row;
mod shown;
mod socket;
mod sockets;
mod strangers;
mod tokens;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use futures_util::FutureExt;
use harness::World;

use crate::row::{Group, Row};

/// The user to whom the bad sends of all rows are addressed, and who must not get any of them.
const VICTIM: &str = "victim";

/// In the order in which they are tried: exposure is last, because it looks through what the others left in the log.
fn groups() -> Vec<Group> {
    vec![
        tokens::group(),
        sockets::group(),
        strangers::group(),
        bodies::group(),
        identities::group(),
        outgoing::group(),
        shown::group(),
        limits::group(),
        ringing::group(),
        exposure::group(),
    ]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 4)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    journal::start();
    let words: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut report = Report::default();
    for mut group in groups() {
        let letter = group.letter.to_string();
        let is_chosen = |row: &Row| {
            words.is_empty() || words.iter().any(|word| word.eq_ignore_ascii_case(row.id) || **word == letter)
        };
        group.rows.retain(is_chosen);
        if !group.rows.is_empty() {
            attempt_all(group, &mut report).await;
        }
    }
    report.print();
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn attempt_all(group: Group, report: &mut Report) {
    println!("\n{}. {}", group.letter, group.title);
    let world = World::with(group.variables).await;
    for row in group.rows {
        if let Some(reason) = row.skipped {
            println!("  {}  -     {}: {reason}", row.id, row.sent);
            report.skipped.entry(reason.kind()).or_default().push(row.id);
            continue;
        }
        let begun = Instant::now();
        let stored = world.user(VICTIM).inbox().await.len();
        let attempt = async {
            row.attempt(&world).await;
            assert_unharmed(&world, stored).await;
        };
        let passed = AssertUnwindSafe(attempt).catch_unwind().await.is_ok();
        let outcome = if passed { "ok  " } else { "FAIL" };
        println!("  {}  {outcome}  {} ({} ms)", row.id, row.sent, begun.elapsed().as_millis());
        if let Some(note) = row.note {
            println!("              {note}");
        }
        if passed { report.passed += 1 } else { report.failed.push(row.id) }
    }
    world.stops().await;
}

/// What no row may change: the system works, and the victim has what it had.
async fn assert_unharmed(world: &World, stored: usize) {
    let health = world.call("GET", "/health", &[], "").await.expect(200);
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!(world.user(VICTIM).inbox().await.len(), stored, "a refused send was stored");
}

#[derive(Default)]
struct Report {
    passed: usize,
    failed: Vec<&'static str>,
    /// The ids of skipped rows, by kind of reason.
    skipped: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Report {
    fn print(&self) {
        println!("\n{} rows passed, {} failed {}", self.passed, self.failed.len(), self.failed.join(" "));
        for (kind, ids) in &self.skipped {
            println!("skipped: {} rows {kind} ({})", ids.len(), ids.join(" "));
        }
    }
}
