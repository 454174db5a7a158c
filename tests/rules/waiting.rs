//! Every query to Postgres has a timeout: without one, a server that hangs would block its caller forever.

use crate::tree::{self, Text};

/// The methods of sqlx that wait for the database.
const WAITING_CALLS: [&str; 7] =
    [".fetch_one(", ".fetch_all(", ".fetch_optional(", ".execute(", ".begin(", ".commit(", ".rollback("];

/// The calls that are not followed by `in_time`, with their lines.
fn without_timeout(text: &Text) -> Vec<String> {
    let mut found: Vec<(usize, &str)> = WAITING_CALLS
        .iter()
        .flat_map(|call| text.text.match_indices(call))
        .filter(|(at, call)| {
            let inside = &text.text[at + call.len()..];
            let mut depth = 1;
            let end = inside.find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            let after = end.map_or("", |end| inside[end + 1..].trim_start());
            !after.starts_with(".in_time()")
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
    let calls: usize = texts.iter().flat_map(|text| WAITING_CALLS.map(|call| text.text.matches(call).count())).sum();
    assert!(calls > 50, "only {calls} calls found");
    let found: Vec<String> = texts.iter().flat_map(without_timeout).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_wait_without_a_timeout_is_reported_with_its_line() {
    let text = |text: &str| Text { path: "a.rs".into(), text: text.into() };
    let good = "db.begin().in_time().await?;\nquery.fetch_all(&mut *db(1).await?)\n    .in_time()\n    .await";
    assert_eq!(without_timeout(&text(good)), [""; 0]);
    let bad = "tx.commit().await?;\nquery\n    .fetch_one(&mut *self.connection().in_time().await?)\n    .await";
    assert_eq!(without_timeout(&text(bad)), ["a.rs:1: .commit(", "a.rs:3: .fetch_one("]);
}
