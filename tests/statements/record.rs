//! What calls cost in statements to the record.

use std::time::Duration;

use harness::app::request;
use harness::{body, event, postgres_server};
use serde_json::{Value, json};
use shared::clock::Time;
use shared::config::Pooler;
use shared::ids::{NotificationId, SendId, UserId};
use shared::inbox::Change;
use shared::inbox::sends::Cancelled;
use shared::inbox::snooze::Snoozed;
use shared::sockets::push::Outcome;

use crate::measured::{IDLE_DRAIN, Measured};

#[tokio::test]
async fn a_send_costs_one_statement_and_two_if_a_recipient_is_connected() {
    let measured = Measured::new().await;
    let to_two = async || drop(measured.sends(&["alice", "bob"], None).await);
    measured.costs(1, to_two).await;
    measured.test.connect("alice", &["phone", "laptop"]).await;
    measured.test.connect("bob", &["tablet"]).await;
    measured.costs(2, to_two).await;
    // However many recipients there are.
    let names: Vec<String> = (0..1_000).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    measured.costs(1, async || drop(measured.sends(&names, None).await)).await;
}

#[tokio::test]
async fn a_repeat_costs_the_attempt_to_store_it_and_the_look_up_of_the_first_answer() {
    let measured = Measured::new().await;
    measured.sends(&["alice"], Some("invoice-7")).await;
    measured.costs(2, async || drop(measured.sends(&["alice"], Some("invoice-7")).await)).await;
}

#[tokio::test]
async fn a_read_costs_one_statement_and_a_sync_one_more_for_the_chats() {
    let measured = Measured::new().await;
    let id = measured.sends(&["alice"], None).await;
    for (route, query) in [
        ("/api/notifications", "limit=2&type=like&unread=true"),
        ("/api/notifications/unread-count", ""),
        ("/api/notifications/unread-count", "type=like"),
        ("/api/notifications/{id}", ""),
    ] {
        measured.costs(1, async || drop(measured.gets(route, &id, query).await)).await;
    }
    measured.costs(2, async || drop(measured.gets("/api/sync", "", "").await)).await;
    let synced = measured.gets("/api/sync", "", "").await;
    let tag = synced["etag"].as_str();
    measured.costs(2, async || drop(measured.calls("GET", "/api/sync", "", "", tag).await)).await;
}

#[tokio::test]
async fn a_history_and_a_trace_cost_one_statement_each() {
    let measured = Measured::new().await;
    let names: Vec<String> = (0..300).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = measured.sends(&names, None).await;
    let calls = async |name, scope, query: &str, id: &str| {
        let mut call = event(name);
        call["headers"]["authorization"] = measured.test.bearer("reports", scope).into();
        call["rawQueryString"] = query.into();
        call["pathParameters"] = json!({"id": id});
        let answer = history::handle(&measured.test.app, request(call)).await;
        assert_eq!(answer.status(), if id == ABSENT { 404 } else { 200 }, "{answer:?}");
    };
    const ABSENT: &str = "00000000-0000-8000-8000-000000000000";
    for (name, scope, query, id) in [
        ("history", "notify:send", "", ""),
        ("history", "notify:admin", "", ""),
        ("history", "notify:admin", "userId=user%201&type=like&state=waiting&limit=1", ""),
        ("trace", "notify:admin", "", id.as_str()),
        // An unknown id is searched for in the chunks, too.
        ("trace", "notify:admin", "", ABSENT),
        ("trace", "", "", ABSENT),
    ] {
        measured.costs(1, async || calls(name, scope, query, id).await).await;
    }
}

#[tokio::test]
async fn a_sync_that_settles_anything_new_costs_one_more_statement() {
    let measured = Measured::new().await;
    let mut cursors = Vec::new();
    for _ in 0..2 {
        measured.sends(&["alice"], None).await;
        let synced = measured.gets("/api/sync", "", "").await;
        cursors.push(format!("since={}", synced["cursor"].as_str().unwrap()));
    }
    measured.gets("/api/sync", "", &cursors[0]).await;
    let from_the_head = async || drop(measured.gets("/api/sync", "", &cursors[1]).await);
    measured.costs_prepared(3, from_the_head()).await;
    measured.costs_prepared(2, from_the_head()).await;
}

#[tokio::test]
async fn a_change_costs_one_statement_however_many_devices_are_notified() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone", "laptop"]).await;
    let id = measured.sends(&["alice"], None).await;
    measured.sends(&["alice"], None).await;
    let change = async |method, route| drop(measured.calls(method, route, &id, "", None).await);
    change("POST", "/api/notifications/{id}/read").await;
    for (method, route) in [
        ("POST", "/api/notifications/{id}/unread"),
        ("POST", "/api/notifications/{id}/read"),
        ("POST", "/api/notifications/read-all"),
        ("DELETE", "/api/notifications/{id}"),
    ] {
        measured.test.push.taken();
        measured.costs_prepared(1, change(method, route)).await;
        assert_eq!(measured.test.push.taken().len(), 2, "{method} {route}");
        // Repeating the change changes nothing.
        measured.costs_prepared(1, change(method, route)).await;
        assert_eq!(measured.test.push.taken(), []);
    }
}

#[tokio::test]
async fn metrics_cost_one_statement_for_the_backlog_and_one_for_the_connections() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone"]).await;
    measured.sends(&["alice"], None).await;
    measured
        .costs(2, async || {
            let mut call = event("metrics");
            call["headers"]["authorization"] = measured.test.bearer("ops", "notify:admin").into();
            let answer = body(&metrics::handle(&measured.test.app, request(call)).await);
            assert_eq!((&answer["connections"], &answer["database"]["healthy"]), (&json!(1), &json!(true)));
        })
        .await;
}

#[tokio::test]
async fn behind_a_pooler_a_statement_is_a_transaction_in_four_round_trips() {
    let measured = Measured::of(&postgres_server::database().await, Pooler::Transaction).await;
    measured.sends(&["alice"], None).await;
    measured.wire.taken();
    measured.sends(&["alice"], None).await;
    let report = measured.wire.taken();
    // The statement is prepared each time, in a round trip of its own.
    assert_eq!((report.statements.len(), report.round_trips), (3, 4), "{:#?}", report.statements);
    assert_eq!((report.statements[0].as_str(), report.statements[2].as_str()), ("BEGIN", "COMMIT"));
    assert_eq!(report.named, Vec::<String>::new());
}

#[tokio::test]
async fn a_transaction_of_a_role_without_timeouts_sets_them_in_no_further_round_trip() {
    let database = postgres_server::database().await;
    let (_, name) = database.reveal().rsplit_once('/').unwrap();
    postgres_server::does(&database, &format!("ALTER ROLE postgres IN DATABASE {name} RESET ALL")).await;
    let measured = Measured::of(&database, Pooler::None).await;
    let names: Vec<String> = (0..300).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..2 {
        measured.sends(&names, None).await;
        measured.drains().await;
    }
    measured.sends(&names, None).await;
    // As much as with a role that has timeouts: a chunk, a look for more, and what is due next.
    measured.costs_prepared(IDLE_DRAIN + 4 + 3 + 1, measured.drains()).await;
    measured.sends(&names, None).await;
    measured.drains().await;
    let statements = measured.wire.taken().statements;
    let begun = statements.iter().find(|statement| statement.starts_with("BEGIN")).unwrap();
    for timeout in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        assert!(begun.contains(&format!("SET LOCAL {timeout} = ")), "{begun}");
    }
}

#[tokio::test]
async fn a_drain_without_work_costs_five_statements() {
    let measured = Measured::new().await;
    // Connections, when what waits falls due, and three kinds of purges.
    measured.costs(IDLE_DRAIN, async || measured.drains().await).await;
}

#[tokio::test]
async fn a_chunk_costs_one_transaction_of_two_statements() {
    let measured = Measured::new().await;
    let names: Vec<String> = (0..600).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    measured.sends(&names, None).await;
    measured.drains().await;
    measured.sends(&names, None).await;
    // Two chunks at four statements each, in addition to a drain without work; then three that find no more, and what is due
    // next.
    measured.costs_prepared(IDLE_DRAIN + 2 * 4 + 3 + 1, measured.drains()).await;
}

#[tokio::test]
async fn a_delayed_send_costs_one_statement_and_its_start_one_more() {
    let measured = Measured::new().await;
    let names: Vec<String> = (0..300).map(|n| format!("user {n}")).collect();
    let delayed = async || {
        let mut send_event = event("send");
        send_event["headers"]["authorization"] = measured.test.bearer("reports", "notify:send").into();
        let request_body = json!({"type": "like", "userIds": names, "title": "Hi", "delayMs": 60_000});
        send_event["body"] = request_body.to_string().into();
        assert_eq!(send::handle(&measured.test.app, request(send_event)).await.status(), 202);
    };
    measured.costs(1, delayed).await;
    measured.test.clock.advance(Duration::from_secs(60));
    measured.drains().await;
    delayed().await;
    measured.test.clock.advance(Duration::from_secs(60));
    // Two chunks at four statements each, in addition to a drain without work; then three that find no more, and what is due
    // next. The first chunk also starts the send.
    measured.costs_prepared(IDLE_DRAIN + 2 * 4 + 1 + 3 + 1, measured.drains()).await;
}

#[tokio::test]
async fn any_number_of_small_due_sends_cost_one_transaction_of_three_statements() {
    let measured = Measured::new().await;
    measured.test.connect("user 7", &["phone"]).await;
    let delay = async || {
        for n in 0..50 {
            let to = format!("user {n}");
            measured.sends_body(json!({"type": "like", "userId": to, "title": "Hi", "delayMs": 60_000})).await;
        }
        measured.test.clock.advance(Duration::from_secs(60));
    };
    delay().await;
    measured.drains().await;
    delay().await;
    // The transaction's beginning, the chunks, the start of their sends, the rows and the transaction's end; then the
    // pushed notification is marked as offered. Three find no more chunks, and one what is due next.
    measured.costs_prepared(IDLE_DRAIN + 5 + 1 + 3 + 1, measured.drains()).await;
}

#[tokio::test]
async fn a_retry_costs_taking_the_row_marking_it_as_offered_and_a_push_to_each_remaining_device() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone", "laptop", "tablet"]).await;
    let send_undelivered = async || {
        for device in ["phone", "tablet"] {
            measured.test.push.will(device, &[Outcome::Failed]);
        }
        measured.sends(&["alice"], None).await;
        // Longer than the queue waits before the second attempt, but less than the record does.
        measured.test.clock.advance(Duration::from_secs(1));
        measured.test.push.taken();
    };
    // Not every device took the frame, so nothing is marked as offered.
    send_undelivered().await;
    measured.drains().await;
    measured.costs_prepared(1, send_undelivered()).await;
    measured.costs_prepared(IDLE_DRAIN + 2, measured.drains()).await;
    let to: Vec<String> = measured.test.push.taken().into_iter().map(|(device, _)| device).collect();
    assert_eq!(to, ["phone", "tablet"]);
}

#[tokio::test]
async fn retries_that_are_claimed_together_cost_as_many_statements_as_one() {
    let measured = Measured::new().await;
    let names: Vec<String> = (0..64).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        measured.test.connect(name, &[name]).await;
    }
    let send_undelivered = async || {
        for name in &names {
            measured.test.push.will(name, &[Outcome::Failed]);
        }
        measured.sends(&names, None).await;
        measured.test.clock.advance(Duration::from_secs(1));
        measured.test.push.taken();
    };
    send_undelivered().await;
    measured.drains().await;
    send_undelivered().await;
    measured.costs_prepared(IDLE_DRAIN + 2, measured.drains()).await;
    assert_eq!(measured.test.push.taken().len(), names.len());
}

#[tokio::test]
async fn expiries_cost_one_transaction_of_two_statements_in_any_number_of_inboxes() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone"]).await;
    let names: Vec<String> = (0..100).map(|n| format!("user {n}")).collect();
    let expires = async || {
        let ends = Time(measured.test.clock.now_ms() + 1_000).to_string();
        let request_body = json!({"type": "like", "userIds": names, "title": "Hi", "expiresAt": ends});
        measured.sends_body(request_body).await;
        measured.test.clock.advance(Duration::from_secs(1));
    };
    expires().await;
    measured.drains().await;
    expires().await;
    // A query for the inboxes, the transaction, a query for more, and what is due next.
    measured.costs_prepared(IDLE_DRAIN + 1 + 4 + 1 + 1, measured.drains()).await;
    // A send with an expiry costs no more than one without.
    let ends = Time(measured.test.clock.now_ms() + 1_000).to_string();
    let request_body = json!({"type": "like", "userId": "bob", "title": "Hi", "expiresAt": ends});
    measured
        .costs(1, async || {
            measured.sends_body(request_body.clone()).await;
        })
        .await;
}

#[tokio::test]
async fn a_snooze_costs_one_statement_and_its_end_one_transaction_of_two_in_any_number_of_inboxes() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone", "laptop"]).await;
    let users: Vec<UserId> = ["alice", "bob", "carol", "dave"].map(|name| UserId::new(name).unwrap()).into();
    let snooze = async |send, user: &UserId, ms| {
        let until = Time(measured.test.clock.now_ms() + ms);
        let (id, at) = (NotificationId::of(send, user), measured.test.app.clock.at());
        let snoozed = measured.test.app.record.snoozes.snooze(user, id, until, at).await.unwrap();
        assert!(matches!(snoozed, Snoozed::Done(_)));
    };
    let send = async || measured.sends_body(json!({"type": "like", "userIds": users, "title": "Hi"})).await;
    let snooze_for_all = async || {
        let sent = send().await;
        for user in &users {
            snooze(sent, user, 60_000).await;
        }
        measured.test.clock.advance(Duration::from_secs(60));
        measured.test.push.taken();
    };
    snooze_for_all().await;
    measured.drains().await;
    let sent = send().await;
    // The second time it is only moved.
    for ms in [60_000, 70_000] {
        measured.costs_prepared(1, snooze(sent, &users[0], ms)).await;
    }
    let (alice, delete) = (&users[0], Change::Delete(vec![NotificationId::of(sent, &users[0])]));
    let delete =
        async || drop(measured.test.app.record.inbox.change(alice, &delete, measured.test.app.clock.at()).await);
    measured.costs(1, delete).await;
    snooze_for_all().await;
    // The query for inboxes; the transaction's beginning, the locks, the rows and the transaction's end; the pushed
    // notification is marked as offered, and the drain queries once more for snoozes, and for what is due next.
    measured.costs_prepared(IDLE_DRAIN + 1 + 4 + 1 + 1 + 1, measured.drains()).await;
    assert_eq!(measured.test.push.taken().len(), 2);
}

#[tokio::test]
async fn a_send_with_a_collapse_key_locks_the_heads_in_a_transaction_before_it_is_stored() {
    let measured = Measured::new().await;
    let keyed = |more: Value| {
        let mut request_body =
            json!({"type": "like", "userIds": ["alice", "bob"], "title": "Hi", "collapseKey": "door"});
        request_body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request_body
    };
    let send = async |more: Value| {
        measured.sends_body(keyed(more)).await;
    };
    measured.costs(4, async || send(json!({})).await).await;
    // A delayed send locks no heads. The drain does, with one more statement per chunk.
    measured.costs(1, async || send(json!({"delayMs": 60_000})).await).await;
    measured.test.clock.advance(Duration::from_secs(60));
    measured.drains().await;
    send(json!({"delayMs": 60_000})).await;
    measured.test.clock.advance(Duration::from_secs(60));
    measured.costs_prepared(IDLE_DRAIN + 4 + 1 + 1 + 3 + 1, measured.drains()).await;
}

#[tokio::test]
async fn a_cancellation_costs_one_statement() {
    let measured = Measured::new().await;
    let sender = UserId::new("reports").unwrap();
    for known in [false, true] {
        measured
            .costs(1, async || {
                let delayed = json!({"type": "like", "userId": "alice", "title": "Hi", "delayMs": 60_000});
                let id = if known { measured.sends_body(delayed).await } else { SendId::random() };
                measured.wire.taken();
                let cancelled = measured.test.app.record.sends.cancel(id, &sender).await.unwrap();
                assert_eq!(cancelled, if known { Cancelled::Done } else { Cancelled::Unknown });
            })
            .await;
    }
}

/// The check after a use delays no call. Before a use, the connection is checked only if it was idle.
#[tokio::test]
async fn a_connection_is_checked_after_each_use_and_before_a_use_only_if_it_was_idle() {
    const USES: usize = 10;
    let measured = Measured::new().await;
    let count = async || drop(measured.gets("/api/notifications/unread-count", "", "").await);
    count().await;
    measured.wire.taken();
    for _ in 0..USES {
        count().await;
    }
    // The check after the last call may be counted with the next call.
    let checks = measured.wire.taken().checks;
    assert!((USES - 1..=USES + 1).contains(&checks), "{checks}");

    tokio::time::sleep(Duration::from_millis(1_100)).await;
    measured.wire.taken();
    count().await;
    let after_idling = measured.wire.taken();
    assert_eq!((after_idling.checks, after_idling.statements.len()), (1, 1));
}
