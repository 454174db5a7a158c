//! Every query to Postgres has a timeout: without one, a server that hangs would block its caller forever.

use crate::tree::{self, Text};

/// The methods of sqlx that wait for the database.
const WAITING_CALLS: [&str; 7] =
    [".fetch_one(", ".fetch_all(", ".fetch_optional(", ".execute(", ".begin(", ".commit(", ".rollback("];

/// What an answer is awaited with.
const TIMEOUTS: [&str; 2] = ["with_timeout(", "with_long_timeout("];

/// The calls that are not an argument of one of these, with their lines.
fn without_timeout(text: &Text) -> Vec<String> {
    let mut found: Vec<(usize, &str)> = WAITING_CALLS
        .iter()
        .flat_map(|call| text.text.match_indices(call))
        .filter(|(at, _)| {
            let before = &text.text[..*at];
            let statement = &before[before.rfind([';', '{', '}']).map_or(0, |end| end + 1)..];
            !TIMEOUTS.iter().any(|timeout| statement.contains(timeout))
        })
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .map(|(at, call)| format!("{}:{}: {call}", text.path, 1 + text.text[..at].matches('\n').count()))
        .collect()
}

#[test]
fn every_wait_for_postgres_has_a_timeout() {
    let texts = tree::rust_under(&["shared/src/record/postgres"]);
    for call in WAITING_CALLS {
        assert!(texts.iter().any(|text| text.text.contains(call)), "{call} is not found anywhere");
    }
    let found: Vec<String> = texts.iter().flat_map(without_timeout).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_wait_without_a_timeout_is_reported_with_its_line() {
    let text = |text: &str| Text { path: "a.rs".into(), text: text.into() };
    let good = "with_timeout(db.begin()).await?;\nwith_timeout(\n    query.fetch_all(db),\n)\n.await";
    assert_eq!(without_timeout(&text(good)), [""; 0]);
    let bad = "tx.commit().await?;\nwith_timeout(other).await?;\nquery.fetch_one(db).await";
    assert_eq!(without_timeout(&text(bad)), ["a.rs:1: .commit(", "a.rs:3: .fetch_one("]);
}
