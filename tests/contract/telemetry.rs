//! The suite of `shared::telemetry::Telemetry`: counts of the last hour, and what became of pushes in the last day.

use std::sync::Arc;

use shared::ids::{ConnectionId, NotificationId};
use shared::sockets::push::Outcome;
use shared::telemetry::{COUNTS_WINDOW_MS, Counts, MAX_OUTCOMES, OUTCOME_RETENTION_MS, PushAttempt, Report, Telemetry};

use crate::record::{START_MS, at, id, together};

on_each_notes! {
    before_the_first_everything_is_zero_and_nothing_is_remembered,
    what_is_noted_adds_up,
    a_minute_is_counted_for_sixty,
    minutes_add_up_and_end_one_by_one,
    latencies_add_up,
    many_at_once_are_all_counted,
    a_clock_that_goes_back_loses_nothing,
    pushes_are_told_oldest_first,
    pushes_are_remembered_for_a_day,
    only_the_last_hundred_pushes_are_remembered,
    each_notification_has_pushes_of_its_own,
    an_outcome_and_a_connection_stay_what_they_are,
    noting_nothing_changes_nothing,
}

type Store = Arc<dyn Telemetry>;

const MINUTE_MS: i64 = 60_000;

async fn accept(notes: &Store, accepted: u64, now_ms: i64) {
    let counts = Counts { accepted, ..Counts::default() };
    notes.report(&Report { counts, ..Report::default() }, at(now_ms)).await;
}

async fn counts(notes: &Store, now_ms: i64) -> Counts {
    notes.counts(at(now_ms)).await.expect("it is there")
}

async fn accepted(notes: &Store, now_ms: i64) -> u64 {
    counts(notes, now_ms).await.accepted
}

/// Notes pushes of a notification, all at one instant.
async fn push(notes: &Store, id: NotificationId, pushes: &[(&str, Outcome)], now_ms: i64) {
    let pushes: Vec<(ConnectionId, Outcome)> =
        pushes.iter().map(|(connection, outcome)| (ConnectionId::new(*connection), *outcome)).collect();
    let outcomes = pushes.iter().map(|(connection, outcome)| (id, connection, *outcome)).collect();
    notes.report(&Report { outcomes, ..Report::default() }, at(now_ms)).await;
}

async fn pushed(notes: &Store, id: NotificationId, now_ms: i64) -> Vec<PushAttempt> {
    notes.outcomes(id, at(now_ms)).await.expect("it is there")
}

/// The connections that a notification was pushed to.
async fn reached(notes: &Store, id: NotificationId, now_ms: i64) -> Vec<String> {
    pushed(notes, id, now_ms).await.into_iter().map(|push| push.connection.to_string()).collect()
}

async fn before_the_first_everything_is_zero_and_nothing_is_remembered(notes: Store) {
    assert_eq!(counts(&notes, 0).await, Counts::default());
    assert_eq!(pushed(&notes, id("1", "alice"), 0).await, []);
    accept(&notes, 1, 0).await;
    assert_eq!(pushed(&notes, id("1", "alice"), 0).await, []);
}

async fn what_is_noted_adds_up(notes: Store) {
    let mut all = Counts { accepted: 1, delivered: 2, retried: 3, rate_limited: 4, errors: 5, ..Counts::default() };
    all.accept_ms.add(7);
    all.deliver_ms.add(8);
    notes.report(&Report { counts: all.clone(), ..Report::default() }, at(0)).await;
    assert_eq!(counts(&notes, 0).await, all);
    let mut twice = all.clone();
    twice.add_all(&all);
    notes.report(&Report { counts: all, ..Report::default() }, at(1)).await;
    let found = counts(&notes, 1).await;
    assert_eq!(found, twice);
    let Counts { accepted, delivered, retried, rate_limited, errors, .. } = found;
    assert_eq!([accepted, delivered, retried, rate_limited, errors], [2, 4, 6, 8, 10]);
}

async fn a_minute_is_counted_for_sixty(notes: Store) {
    // The beginning is the beginning of a minute.
    assert_eq!(START_MS % MINUTE_MS, 0);
    accept(&notes, 1, 0).await;
    accept(&notes, 1, MINUTE_MS - 1).await;
    for now_ms in [MINUTE_MS - 1, MINUTE_MS, 59 * MINUTE_MS, COUNTS_WINDOW_MS - 1] {
        assert_eq!(accepted(&notes, now_ms).await, 2, "at {now_ms} ms");
    }
    for now_ms in [COUNTS_WINDOW_MS, COUNTS_WINDOW_MS + 1, 2 * COUNTS_WINDOW_MS, 24 * COUNTS_WINDOW_MS] {
        assert_eq!(accepted(&notes, now_ms).await, 0, "at {now_ms} ms");
    }
}

async fn minutes_add_up_and_end_one_by_one(notes: Store) {
    for minute in 0..90 {
        accept(&notes, 1, minute * MINUTE_MS + 59_999).await;
        let expected = (minute + 1).min(60);
        assert_eq!(accepted(&notes, (minute + 1) * MINUTE_MS - 1).await, u64::try_from(expected).unwrap());
    }
    for minute in 89..160 {
        let expected = u64::try_from((149 - minute).max(0)).unwrap();
        assert_eq!(accepted(&notes, minute * MINUTE_MS).await, expected, "in minute {minute}");
    }
}

async fn latencies_add_up(notes: Store) {
    let mut expected = Counts::default();
    for (minute, ms) in [(0, 0), (0, 3), (1, 3), (1, 17), (2, 250), (2, 99_999), (3, i64::MAX), (3, -5)] {
        let mut counts = Counts::default();
        counts.accept_ms.add(ms);
        counts.deliver_ms.add(ms / 2);
        expected.add_all(&counts);
        notes.report(&Report { counts, ..Report::default() }, at(minute * MINUTE_MS)).await;
    }
    let found = counts(&notes, 3 * MINUTE_MS).await;
    assert_eq!(found, expected);
    assert_eq!((found.accept_ms.percentile(50), found.deliver_ms.percentile(50)), (3, 1));
}

async fn many_at_once_are_all_counted(notes: Store) {
    together(50, |n| {
        let notes = Arc::clone(&notes);
        async move {
            accept(&notes, n as u64, 0).await;
            push(&notes, id("1", "alice"), &[("phone", Outcome::Offered)], 0).await;
        }
    })
    .await;
    assert_eq!(accepted(&notes, 0).await, 49 * 50 / 2);
    assert_eq!(pushed(&notes, id("1", "alice"), 0).await.len(), 50);
}

async fn a_clock_that_goes_back_loses_nothing(notes: Store) {
    accept(&notes, 1, 10 * MINUTE_MS).await;
    accept(&notes, 2, 5 * MINUTE_MS).await;
    assert_eq!(accepted(&notes, 5 * MINUTE_MS).await, 2);
    assert_eq!(accepted(&notes, 10 * MINUTE_MS).await, 3);
    push(&notes, id("1", "alice"), &[("later", Outcome::Offered)], 1_000).await;
    push(&notes, id("1", "alice"), &[("earlier", Outcome::Failed)], 0).await;
    assert_eq!(reached(&notes, id("1", "alice"), 1_000).await, ["earlier", "later"]);
}

async fn pushes_are_told_oldest_first(notes: Store) {
    let alices = id("1", "alice");
    push(&notes, alices, &[("phone", Outcome::Failed), ("desk", Outcome::Gone), ("tab", Outcome::Offered)], 0).await;
    push(&notes, alices, &[("phone", Outcome::Failed)], 5_000).await;
    push(&notes, alices, &[("phone", Outcome::Offered)], 15_000).await;
    let expected = [
        ("phone", Outcome::Failed, 0),
        ("desk", Outcome::Gone, 0),
        ("tab", Outcome::Offered, 0),
        ("phone", Outcome::Failed, 5_000),
        ("phone", Outcome::Offered, 15_000),
    ];
    let expected = expected.map(|(connection, outcome, after_ms)| PushAttempt {
        connection: ConnectionId::new(connection),
        outcome,
        at_ms: START_MS + after_ms,
    });
    assert_eq!(pushed(&notes, alices, 15_000).await, expected);
}

async fn pushes_are_remembered_for_a_day(notes: Store) {
    let alices = id("1", "alice");
    push(&notes, alices, &[("first", Outcome::Failed)], 0).await;
    push(&notes, alices, &[("second", Outcome::Offered)], 1_000).await;
    for (now_ms, expected) in [
        (OUTCOME_RETENTION_MS - 1, ["first", "second"].as_slice()),
        (OUTCOME_RETENTION_MS, &["second"]),
        (OUTCOME_RETENTION_MS + 999, &["second"]),
        (OUTCOME_RETENTION_MS + 1_000, &[]),
    ] {
        assert_eq!(reached(&notes, alices, now_ms).await, expected, "at {now_ms} ms");
    }
}

async fn only_the_last_hundred_pushes_are_remembered(notes: Store) {
    let alices = id("1", "alice");
    let names: Vec<String> = (0..MAX_OUTCOMES + 50).map(|n| n.to_string()).collect();
    for (n, name) in names[..MAX_OUTCOMES + 20].iter().enumerate() {
        push(&notes, alices, &[(name, Outcome::Failed)], n as i64).await;
    }
    assert_eq!(reached(&notes, alices, 1_000).await, names[20..MAX_OUTCOMES + 20]);
    // Also more than that in one note.
    let all: Vec<(&str, Outcome)> = names.iter().map(|name| (name.as_str(), Outcome::Gone)).collect();
    push(&notes, alices, &all, 500).await;
    assert_eq!(reached(&notes, alices, 1_000).await, names[50..]);
}

async fn each_notification_has_pushes_of_its_own(notes: Store) {
    let (alices, bobs) = (id("1", "alice"), id("1", "bob"));
    let (phone, desk) = (ConnectionId::new("phone"), ConnectionId::new("desk"));
    let outcomes =
        vec![(alices, &phone, Outcome::Offered), (bobs, &desk, Outcome::Failed), (alices, &desk, Outcome::Gone)];
    notes.report(&Report { outcomes, ..Report::default() }, at(0)).await;
    assert_eq!(reached(&notes, alices, 0).await, ["phone", "desk"]);
    assert_eq!(reached(&notes, bobs, 0).await, ["desk"]);
    assert!(pushed(&notes, id("2", "alice"), 0).await.is_empty());
}

async fn an_outcome_and_a_connection_stay_what_they_are(notes: Store) {
    for (n, connection) in ["PJqB0fHsqRcCHlw=", "a b", "", " ", "🔔", "a\r\nb"].into_iter().enumerate() {
        for outcome in Outcome::ALL {
            let id = id(&format!("{n} {outcome:?}"), "alice");
            push(&notes, id, &[(connection, outcome)], 0).await;
            let expected = PushAttempt { connection: ConnectionId::new(connection), outcome, at_ms: START_MS };
            assert_eq!(pushed(&notes, id, 0).await, [expected], "{connection:?}");
        }
    }
}

async fn noting_nothing_changes_nothing(notes: Store) {
    accept(&notes, 1, 0).await;
    notes.report(&Report::default(), at(0)).await;
    assert_eq!(counts(&notes, 0).await, Counts { accepted: 1, ..Counts::default() });
}
