//! How Postgres executes what calls, frames and drains need once there is much of everything: by indexes, and without looking
//! at many rows. All acts run against a database that has grown, and its server tells the plan of each statement.

mod acts;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::explained::{Explained, problems, statement};

/// How often each act runs: Postgres chooses between plans for given parameters and one for all after five times.
const ROUNDS: usize = 8;
/// The rows that each table should have at least. The planner reads smaller tables from end to end, and is right.
const LARGE: f32 = 40_000.0;
/// Files of statements that no hot path executes, or folders of them: metrics, recipients that the database refuses, dead letters,
/// what an operator does, and erasures.
const COLD: [&str; 8] = [
    "delivery/backlog.sql",
    "delivery/part.sql",
    "delivery/redrive.sql",
    "examine.sql",
    "functions_role.sql",
    "renew_epoch.sql",
    "role.sql",
    "users/",
];

#[tokio::test]
async fn no_statement_of_a_hot_path_reads_a_large_table_from_end_to_end() {
    let explained = Explained::after(include_str!("growth/filled.sql")).await;
    assert_eq!(explained.tables_below(LARGE).await, [""; 0]);
    let plans = explained
        .plans(async |record| {
            for round in 0..ROUNDS {
                acts::all(&record, round).await;
            }
        })
        .await;
    let problems: BTreeSet<String> = plans.iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "{}", problems.into_iter().collect::<Vec<_>>().join("\n\n"));
    assert_eq!(unexecuted(&plans), [""; 0]);
}

#[tokio::test]
async fn a_statement_without_its_index_is_noticed() {
    let explained = Explained::after("DROP INDEX messages_push_at").await;
    let plans = explained
        .plans(async |record| {
            record.deliveries.next_due().await.unwrap();
        })
        .await;
    let problems: Vec<String> = plans.iter().flat_map(problems).collect();
    assert!(problems.iter().any(|problem| problem.starts_with("Seq Scan on messages")), "{problems:#?}");
}

/// The files of statements that are part of none of these plans and should be.
fn unexecuted(plans: &[Value]) -> Vec<String> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/src/record/postgres"));
    let (mut folders, mut unexecuted) = (vec![folder.to_owned()], Vec::new());
    while let Some(some) = folders.pop() {
        for path in std::fs::read_dir(some).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".sql") && !COLD.iter().any(|cold| name.starts_with(cold)) {
                let text = std::fs::read_to_string(&path).unwrap();
                if !plans.iter().any(|plan| statement(plan).contains(&text)) {
                    unexecuted.push(name);
                }
            }
        }
    }
    unexecuted
}
