//! Concurrent operations on one inbox: whatever their order, every offset is taken by exactly one change.

use std::collections::HashSet;

use shared::inbox::{Change, Changed, CurrentState};

use crate::record::{Record, at, concurrently, id};

on_each_record! {
    read_all_races_appends,
    read_all_races_read_all,
    deleting_races_reading_the_same_row,
    all_changes_race_each_other,
    reads_see_one_consistent_state_while_others_write,
}

/// How often each race is repeated.
const ROUNDS: usize = 20;

const ALL: Change = Change::ReadAll { kind: None, before: None };

/// The head before and after an operation.
type Span = (i64, i64);

fn span(changed: &Changed) -> Span {
    let span = (changed.prev.offset, changed.cursor.offset);
    let rows = i64::try_from(changed.ids.len()).unwrap();
    assert_eq!(span.1 - span.0, rows, "one offset for each changed row");
    span
}

/// Sends one notification to alice. She has a connection, so that the delivery shows which offset it took.
async fn ring(record: &Record, key: &str) -> Span {
    let deliveries = record.ring(&[key], "alice", at(0)).await;
    let offset = deliveries[0].notification.cursor.offset;
    (offset - 1, offset)
}

/// Asserts that the spans cover the offsets up to the head without gap or overlap, and that what is read agrees.
async fn assert_consistent(record: &Record, mut spans: Vec<Span>) {
    let position = record.position("alice").await;
    spans.retain(|(from, to)| from != to);
    spans.sort_unstable();
    let mut reached = 0;
    for (from, to) in spans {
        assert_eq!(from, reached, "an offset was taken twice or not at all");
        reached = to;
    }
    assert_eq!(reached, position.head);

    let history = record.history("alice").await;
    let versions: HashSet<i64> = history.iter().map(CurrentState::version).collect();
    assert_eq!(versions.len(), history.len(), "two rows have one version");
    assert!(versions.iter().all(|version| (1..=position.head).contains(version)));
    let unread = history
        .iter()
        .filter(
            |present| matches!(present, CurrentState::Present { notification, .. } if notification.read_at.is_none()),
        )
        .count();
    assert_eq!(position.unread, i64::try_from(unread).unwrap());
    let present = history.iter().filter(|present| matches!(present, CurrentState::Present { .. })).count();
    assert_eq!(record.listed("alice").await.len(), present);
}

async fn read_all_races_appends(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let mut spans = Vec::new();
    for round in 0..ROUNDS {
        let raced = concurrently(4, |n| {
            let record = record.clone();
            async move {
                if n % 2 == 0 {
                    ring(&record, &format!("{round} {n}")).await
                } else {
                    span(&record.change("alice", ALL, at(1)).await)
                }
            }
        });
        spans.extend(raced.await);
    }
    assert_consistent(&record, spans).await;
    assert_eq!(record.listed("alice").await.len(), 2 * ROUNDS);
}

async fn read_all_races_read_all(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let mut spans = Vec::new();
    for round in 0..ROUNDS {
        for n in 0..3 {
            spans.push(ring(&record, &format!("{round} {n}")).await);
        }
        let changed = concurrently(4, |_| {
            let record = record.clone();
            async move { record.change("alice", ALL, at(1)).await }
        })
        .await;
        let counts: Vec<usize> = changed.iter().map(|changed| changed.ids.len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 3, "each row is read once");
        assert_eq!(changed.iter().map(|changed| changed.unread).max(), Some(0));
        spans.extend(changed.iter().map(span));
    }
    assert_consistent(&record, spans).await;
}

async fn deleting_races_reading_the_same_row(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let mut spans = Vec::new();
    for round in 0..ROUNDS {
        let key = round.to_string();
        spans.push(ring(&record, &key).await);
        let changed = concurrently(4, |n| {
            let (record, named) = (record.clone(), vec![id(&key, "alice")]);
            async move {
                let change = if n % 2 == 0 { Change::Delete(named) } else { Change::Read(named) };
                record.change("alice", change, at(1)).await
            }
        })
        .await;
        let deletions = changed[0].ids.len() + changed[2].ids.len();
        assert_eq!(deletions, 1, "it is deleted once");
        assert_eq!((changed[0].known, changed[2].known), (1, 1));
        let reads = changed[1].ids.len() + changed[3].ids.len();
        assert!(reads <= 1, "it is read once, or not at all if it was deleted first");
        spans.extend(changed.iter().map(span));
    }
    assert_consistent(&record, spans).await;
    assert!(record.listed("alice").await.is_empty());
    assert_eq!(record.position("alice").await.unread, 0);
}

async fn all_changes_race_each_other(record: Record) {
    const ACTORS: usize = 8;
    const EACH: usize = 15;
    record.connect("alice", "tab", at(0)).await;
    let spans = concurrently(ACTORS, |n| {
        let record = record.clone();
        async move {
            let mut spans = Vec::new();
            for m in 0..EACH {
                // The notifications of other actors, which may or may not have arrived yet.
                let named = vec![
                    id(&format!("{} {m}", (n + 1) % ACTORS), "alice"),
                    id(&format!("{} {}", (n + 2) % ACTORS, m / 2), "alice"),
                ];
                spans.push(ring(&record, &format!("{n} {m}")).await);
                let change = match (n + m) % 4 {
                    0 => Change::Read(named),
                    1 => Change::Unread(named),
                    2 => Change::Delete(named),
                    _ => ALL,
                };
                spans.push(span(&record.change("alice", change, at(1)).await));
            }
            spans
        }
    })
    .await;
    assert_consistent(&record, spans.concat()).await;
}

async fn reads_see_one_consistent_state_while_others_write(record: Record) {
    concurrently(4, |n| {
        let record = record.clone();
        async move {
            for m in 0..30 {
                if n < 2 {
                    record.ring(&[&format!("{n} {m}")], "alice", at(0)).await;
                    record.change("alice", ALL, at(1)).await;
                    continue;
                }
                let changes = record.changes("alice", None, usize::MAX).await.unwrap();
                let last = changes.changes.last().map_or(0, CurrentState::version);
                assert_eq!(last, changes.position.head, "torn between two states");
                let unread = changes
                    .changes
                    .iter()
                    .filter(|present| {
                        matches!(present, CurrentState::Present { notification, .. } if notification.read_at.is_none())
                    })
                    .count();
                assert_eq!(changes.position.unread, i64::try_from(unread).unwrap());
            }
        }
    })
    .await;
}
