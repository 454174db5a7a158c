//! The suite of `shared::telemetry::Telemetry`: counts of the last hour, and what became of pushes in the last day.

use std::sync::Arc;

use shared::ids::{ConnectionId, NotificationId};
use shared::sockets::push::Outcome;
use shared::telemetry::{COUNTS_WINDOW_MS, Counts, MAX_OUTCOMES, OUTCOME_RETENTION_MS, PushAttempt, Report, Telemetry};

use crate::record::{START_MS, at, concurrently, id};

on_each_moment! {
    counts_are_zero_and_no_push_is_remembered_before_the_first_report,
    reported_counts_add_up,
    a_minute_counts_for_sixty_minutes,
    minutes_add_up_and_expire_one_by_one,
    latencies_add_up,
    concurrent_reports_are_all_counted,
    a_clock_that_goes_back_loses_nothing,
    pushes_are_returned_oldest_first,
    pushes_are_remembered_for_a_day,
    only_the_last_hundred_pushes_are_remembered,
    each_notification_has_its_own_pushes,
    outcomes_and_connection_ids_come_back_unchanged,
    an_empty_report_changes_nothing,
}

type Store = Arc<dyn Telemetry>;

const MINUTE_MS: i64 = 60_000;

async fn accept(telemetry: &Store, accepted: u64, now_ms: i64) {
    let counts = Counts { accepted, ..Counts::default() };
    telemetry.report(&Report { counts, ..Report::default() }, at(now_ms)).await;
}

async fn counts(telemetry: &Store, now_ms: i64) -> Counts {
    telemetry.counts(at(now_ms)).await.expect("the moment is available")
}

async fn accepted(telemetry: &Store, now_ms: i64) -> u64 {
    counts(telemetry, now_ms).await.accepted
}

/// Reports pushes of a notification, all at one instant.
async fn push(telemetry: &Store, id: NotificationId, pushes: &[(&str, Outcome)], now_ms: i64) {
    let pushes: Vec<(ConnectionId, Outcome)> =
        pushes.iter().map(|(connection, outcome)| (ConnectionId::new(*connection), *outcome)).collect();
    let outcomes = pushes.iter().map(|(connection, outcome)| (id, connection, *outcome)).collect();
    telemetry.report(&Report { outcomes, ..Report::default() }, at(now_ms)).await;
}

async fn pushed(telemetry: &Store, id: NotificationId, now_ms: i64) -> Vec<PushAttempt> {
    telemetry.outcomes(id, at(now_ms)).await.expect("the moment is available")
}

/// The connections to which a notification was pushed.
async fn reached(telemetry: &Store, id: NotificationId, now_ms: i64) -> Vec<String> {
    pushed(telemetry, id, now_ms).await.into_iter().map(|push| push.connection.to_string()).collect()
}

async fn counts_are_zero_and_no_push_is_remembered_before_the_first_report(telemetry: Store) {
    assert_eq!(counts(&telemetry, 0).await, Counts::default());
    assert_eq!(pushed(&telemetry, id("1", "alice"), 0).await, []);
    accept(&telemetry, 1, 0).await;
    assert_eq!(pushed(&telemetry, id("1", "alice"), 0).await, []);
}

async fn reported_counts_add_up(telemetry: Store) {
    let mut all = Counts { accepted: 1, delivered: 2, retried: 3, rate_limited: 4, errors: 5, ..Counts::default() };
    all.accept_ms.add(7);
    all.deliver_ms.add(8);
    telemetry.report(&Report { counts: all.clone(), ..Report::default() }, at(0)).await;
    assert_eq!(counts(&telemetry, 0).await, all);
    let mut twice = all.clone();
    twice.add_all(&all);
    telemetry.report(&Report { counts: all, ..Report::default() }, at(1)).await;
    let found = counts(&telemetry, 1).await;
    assert_eq!(found, twice);
    let Counts { accepted, delivered, retried, rate_limited, errors, .. } = found;
    assert_eq!([accepted, delivered, retried, rate_limited, errors], [2, 4, 6, 8, 10]);
}

async fn a_minute_counts_for_sixty_minutes(telemetry: Store) {
    // The tests begin at the start of a minute.
    assert_eq!(START_MS % MINUTE_MS, 0);
    accept(&telemetry, 1, 0).await;
    accept(&telemetry, 1, MINUTE_MS - 1).await;
    for now_ms in [MINUTE_MS - 1, MINUTE_MS, 59 * MINUTE_MS, COUNTS_WINDOW_MS - 1] {
        assert_eq!(accepted(&telemetry, now_ms).await, 2, "at {now_ms} ms");
    }
    for now_ms in [COUNTS_WINDOW_MS, COUNTS_WINDOW_MS + 1, 2 * COUNTS_WINDOW_MS, 24 * COUNTS_WINDOW_MS] {
        assert_eq!(accepted(&telemetry, now_ms).await, 0, "at {now_ms} ms");
    }
}

async fn minutes_add_up_and_expire_one_by_one(telemetry: Store) {
    for minute in 0..90 {
        accept(&telemetry, 1, minute * MINUTE_MS + 59_999).await;
        let expected = (minute + 1).min(60);
        assert_eq!(accepted(&telemetry, (minute + 1) * MINUTE_MS - 1).await, u64::try_from(expected).unwrap());
    }
    for minute in 89..160 {
        let expected = u64::try_from((149 - minute).max(0)).unwrap();
        assert_eq!(accepted(&telemetry, minute * MINUTE_MS).await, expected, "in minute {minute}");
    }
}

async fn latencies_add_up(telemetry: Store) {
    let mut expected = Counts::default();
    for (minute, ms) in [(0, 0), (0, 3), (1, 3), (1, 17), (2, 250), (2, 99_999), (3, i64::MAX), (3, -5)] {
        let mut counts = Counts::default();
        counts.accept_ms.add(ms);
        counts.deliver_ms.add(ms / 2);
        expected.add_all(&counts);
        telemetry.report(&Report { counts, ..Report::default() }, at(minute * MINUTE_MS)).await;
    }
    let found = counts(&telemetry, 3 * MINUTE_MS).await;
    assert_eq!(found, expected);
    assert_eq!((found.accept_ms.percentile(50), found.deliver_ms.percentile(50)), (3, 1));
}

async fn concurrent_reports_are_all_counted(telemetry: Store) {
    concurrently(50, |n| {
        let telemetry = Arc::clone(&telemetry);
        async move {
            accept(&telemetry, n as u64, 0).await;
            push(&telemetry, id("1", "alice"), &[("phone", Outcome::Offered)], 0).await;
        }
    })
    .await;
    assert_eq!(accepted(&telemetry, 0).await, 49 * 50 / 2);
    assert_eq!(pushed(&telemetry, id("1", "alice"), 0).await.len(), 50);
}

async fn a_clock_that_goes_back_loses_nothing(telemetry: Store) {
    accept(&telemetry, 1, 10 * MINUTE_MS).await;
    accept(&telemetry, 2, 5 * MINUTE_MS).await;
    assert_eq!(accepted(&telemetry, 5 * MINUTE_MS).await, 2);
    assert_eq!(accepted(&telemetry, 10 * MINUTE_MS).await, 3);
    push(&telemetry, id("1", "alice"), &[("later", Outcome::Offered)], 1_000).await;
    push(&telemetry, id("1", "alice"), &[("earlier", Outcome::Failed)], 0).await;
    assert_eq!(reached(&telemetry, id("1", "alice"), 1_000).await, ["earlier", "later"]);
}

async fn pushes_are_returned_oldest_first(telemetry: Store) {
    let alice_id = id("1", "alice");
    push(&telemetry, alice_id, &[("phone", Outcome::Failed), ("desk", Outcome::Gone), ("tab", Outcome::Offered)], 0)
        .await;
    push(&telemetry, alice_id, &[("phone", Outcome::Failed)], 5_000).await;
    push(&telemetry, alice_id, &[("phone", Outcome::Offered)], 15_000).await;
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
    assert_eq!(pushed(&telemetry, alice_id, 15_000).await, expected);
}

async fn pushes_are_remembered_for_a_day(telemetry: Store) {
    let alice_id = id("1", "alice");
    push(&telemetry, alice_id, &[("first", Outcome::Failed)], 0).await;
    push(&telemetry, alice_id, &[("second", Outcome::Offered)], 1_000).await;
    for (now_ms, expected) in [
        (OUTCOME_RETENTION_MS - 1, ["first", "second"].as_slice()),
        (OUTCOME_RETENTION_MS, &["second"]),
        (OUTCOME_RETENTION_MS + 999, &["second"]),
        (OUTCOME_RETENTION_MS + 1_000, &[]),
    ] {
        assert_eq!(reached(&telemetry, alice_id, now_ms).await, expected, "at {now_ms} ms");
    }
}

async fn only_the_last_hundred_pushes_are_remembered(telemetry: Store) {
    let alice_id = id("1", "alice");
    let names: Vec<String> = (0..MAX_OUTCOMES + 50).map(|n| n.to_string()).collect();
    for (n, name) in names[..MAX_OUTCOMES + 20].iter().enumerate() {
        push(&telemetry, alice_id, &[(name, Outcome::Failed)], n as i64).await;
    }
    assert_eq!(reached(&telemetry, alice_id, 1_000).await, names[20..MAX_OUTCOMES + 20]);
    // The same if a single report holds more than that.
    let all: Vec<(&str, Outcome)> = names.iter().map(|name| (name.as_str(), Outcome::Gone)).collect();
    push(&telemetry, alice_id, &all, 500).await;
    assert_eq!(reached(&telemetry, alice_id, 1_000).await, names[50..]);
}

async fn each_notification_has_its_own_pushes(telemetry: Store) {
    let (alice_id, bob_id) = (id("1", "alice"), id("1", "bob"));
    let (phone, desk) = (ConnectionId::new("phone"), ConnectionId::new("desk"));
    let outcomes =
        vec![(alice_id, &phone, Outcome::Offered), (bob_id, &desk, Outcome::Failed), (alice_id, &desk, Outcome::Gone)];
    telemetry.report(&Report { outcomes, ..Report::default() }, at(0)).await;
    assert_eq!(reached(&telemetry, alice_id, 0).await, ["phone", "desk"]);
    assert_eq!(reached(&telemetry, bob_id, 0).await, ["desk"]);
    assert!(pushed(&telemetry, id("2", "alice"), 0).await.is_empty());
}

async fn outcomes_and_connection_ids_come_back_unchanged(telemetry: Store) {
    for (n, connection) in ["PJqB0fHsqRcCHlw=", "a b", "", " ", "🔔", "a\r\nb"].into_iter().enumerate() {
        for outcome in Outcome::ALL {
            let id = id(&format!("{n} {outcome:?}"), "alice");
            push(&telemetry, id, &[(connection, outcome)], 0).await;
            let expected = PushAttempt { connection: ConnectionId::new(connection), outcome, at_ms: START_MS };
            assert_eq!(pushed(&telemetry, id, 0).await, [expected], "{connection:?}");
        }
    }
}

async fn an_empty_report_changes_nothing(telemetry: Store) {
    accept(&telemetry, 1, 0).await;
    telemetry.report(&Report::default(), at(0)).await;
    assert_eq!(counts(&telemetry, 0).await, Counts { accepted: 1, ..Counts::default() });
}
