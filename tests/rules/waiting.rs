//! Whatever is asked of Postgres is waited for in time: a server that hangs would be waited for without end.

use crate::tree::{self, Text};

/// What asks the database, by the libraries' names.
const ASKING: [&str; 7] =
    [".fetch_one(", ".fetch_all(", ".fetch_optional(", ".execute(", ".begin(", ".commit(", ".rollback("];

/// What is not followed by `in_time`, with its line.
fn endless(text: &Text) -> Vec<String> {
    let mut found: Vec<(usize, &str)> = ASKING
        .iter()
        .flat_map(|asking| text.text.match_indices(asking))
        .filter(|(at, asking)| {
            let inside = &text.text[at + asking.len()..];
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
        .map(|(at, asking)| format!("{}:{}: {asking}", text.path, 1 + text.text[..at].matches('\n').count()))
        .collect()
}

#[test]
fn nobody_waits_for_postgres_without_end() {
    let texts = tree::rust_under(&["shared/src/record/postgres"]);
    let asks: usize = texts.iter().flat_map(|text| ASKING.map(|asking| text.text.matches(asking).count())).sum();
    assert!(asks > 50, "{asks}");
    let found: Vec<String> = texts.iter().flat_map(endless).collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn an_endless_wait_is_reported_with_its_line() {
    let text = |text: &str| Text { path: "a.rs".into(), text: text.into() };
    let good = "db.begin().in_time().await?;\nquery.fetch_all(&mut *db(1).await?)\n    .in_time()\n    .await";
    assert_eq!(endless(&text(good)), [""; 0]);
    let bad = "tx.commit().await?;\nquery\n    .fetch_one(&mut *self.connection().in_time().await?)\n    .await";
    assert_eq!(endless(&text(bad)), ["a.rs:1: .commit(", "a.rs:3: .fetch_one("]);
}
