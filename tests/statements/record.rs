//! What calls cost at the record.

use std::sync::Arc;
use std::time::Duration;

use harness::{TestApp, body, event, postgres_server, request, socket_event};
use serde_json::{Value, json};
use shared::clock::Time;
use shared::ids::{SendId, UserId};
use shared::inbox::Cancelled;
use shared::record::postgres::PostgresRecord;
use shared::sockets::push::Outcome;

use crate::wire::Wire;

/// An app on Postgres, and the wire between them.
struct Measured {
    test: TestApp,
    wire: Wire,
}

impl Measured {
    async fn new() -> Self {
        let (wire, url) = Wire::before(&postgres_server::database().await).await;
        let mut test = TestApp::new().await;
        // One connection, as a function has; each statement is prepared on it once.
        test.uses_record(Arc::new(PostgresRecord::new(&url, 1).unwrap()));
        Self { test, wire }
    }

    /// The second of two calls costs so many statements, and no round trip besides.
    async fn costs(&self, statements: usize, call: impl AsyncFn()) {
        call().await;
        self.costs_first(statements, call()).await;
    }

    /// The same of a call whose statements are prepared already.
    async fn costs_first(&self, statements: usize, call: impl Future<Output = ()>) {
        self.wire.taken();
        call.await;
        let noted = self.wire.taken();
        let found = (noted.statements.len(), noted.round_trips);
        assert_eq!(found, (statements, statements), "{:#?}", noted.statements);
    }

    /// Sends; returns the id for the first recipient.
    async fn sends(&self, users: &[&str], key: Option<&str>) -> String {
        let mut sending = event("send");
        sending["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        let mut asked = json!({"type": "like", "userIds": users, "title": "Hi"});
        if let Some(key) = key {
            asked["idempotencyKey"] = key.into();
        }
        sending["body"] = asked.to_string().into();
        let answer = send::handle(&self.test.app, request(sending)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        body(&answer)["notifications"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Sends this; returns the send's id.
    async fn asks_for(&self, send: Value) -> SendId {
        let mut sending = event("send");
        sending["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        sending["body"] = send.to_string().into();
        let answer = send::handle(&self.test.app, request(sending)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        SendId::parse(body(&answer)["sendId"].as_str().unwrap()).unwrap()
    }

    /// Asks the inbox for something of alice's.
    async fn asks(&self, method: &str, route: &str, id: &str, query: &str, tag: Option<&str>) -> Value {
        let mut asking = event(if method == "GET" { "sync" } else { "read" });
        let path = route.replace("{id}", id);
        asking["routeKey"] = format!("ANY {route}").into();
        asking["rawPath"] = path.as_str().into();
        asking["rawQueryString"] = query.into();
        asking["pathParameters"] = json!({"id": id});
        asking["requestContext"]["routeKey"] = format!("ANY {route}").into();
        asking["requestContext"]["http"]["method"] = method.into();
        asking["requestContext"]["http"]["path"] = path.as_str().into();
        asking["headers"]["authorization"] = self.test.bearer("alice", "").into();
        if let Some(tag) = tag {
            asking["headers"]["if-none-match"] = tag.into();
        }
        let answer = inbox::handle(&self.test.app, request(asking)).await;
        let is_expected = if tag.is_some() { answer.status() == 304 } else { answer.status().is_success() };
        assert!(is_expected, "{method} {path}: {answer:?}");
        body(&answer)
    }

    async fn gets(&self, route: &str, id: &str, query: &str) -> Value {
        self.asks("GET", route, id, query, None).await
    }

    /// Opens a socket of alice's.
    async fn connects(&self, ticket: &str, connection: &str) {
        let mut opening = event("connect");
        opening["queryStringParameters"]["ticket"] = ticket.into();
        opening["multiValueQueryStringParameters"]["ticket"] = json!([ticket]);
        opening["requestContext"]["connectionId"] = connection.into();
        let reply = connect::handle(&self.test.app, socket_event(opening)).await;
        assert_eq!(serde_json::to_value(&reply).unwrap()["statusCode"], 200);
    }

    /// Says something on a socket.
    async fn says(&self, connection: &str, frame: Value) {
        let mut saying = event("message");
        saying["requestContext"]["connectionId"] = connection.into();
        saying["body"] = frame.to_string().into();
        let reply = message::handle(&self.test.app, socket_event(saying)).await;
        let reply = serde_json::to_value(&reply).unwrap();
        assert_eq!(reply["statusCode"], 200);
        assert!(!reply.to_string().contains("error"), "{frame}: {reply}");
    }

    async fn drains(&self) {
        assert!(!drain::handle(&self.test.app, i64::MAX).await.failed);
    }

    async fn ticket(&self) -> String {
        let mut asking = event("ticket");
        asking["headers"]["authorization"] = self.test.bearer("alice", "").into();
        let answer = tickets::handle(&self.test.app, request(asking)).await;
        assert_eq!(answer.status(), 201, "{answer:?}");
        body(&answer)["ticket"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_send_is_one_statement_where_nobody_is_connected_and_two_where_somebody_is() {
    let measured = Measured::new().await;
    let to_two = async || drop(measured.sends(&["alice", "bob"], None).await);
    measured.costs(1, to_two).await;
    measured.test.connect("alice", &["phone", "laptop"]).await;
    measured.test.connect("bob", &["tablet"]).await;
    measured.costs(2, to_two).await;
    // However many there are.
    let names: Vec<String> = (0..1_000).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    measured.costs(1, async || drop(measured.sends(&names, None).await)).await;
}

#[tokio::test]
async fn a_repeat_is_the_try_to_store_it_and_the_first_answer() {
    let measured = Measured::new().await;
    measured.sends(&["alice"], Some("invoice-7")).await;
    measured.costs(2, async || drop(measured.sends(&["alice"], Some("invoice-7")).await)).await;
}

#[tokio::test]
async fn a_read_is_one_statement() {
    let measured = Measured::new().await;
    let id = measured.sends(&["alice"], None).await;
    for (route, query) in [
        ("/api/notifications", "limit=2&type=like&unread=true"),
        ("/api/notifications/unread-count", ""),
        ("/api/notifications/{id}", ""),
        ("/api/sync", ""),
    ] {
        measured.costs(1, async || drop(measured.gets(route, &id, query).await)).await;
    }
    let synced = measured.gets("/api/sync", "", "").await;
    let tag = synced["etag"].as_str();
    measured.costs(1, async || drop(measured.asks("GET", "/api/sync", "", "", tag).await)).await;
}

#[tokio::test]
async fn a_history_and_a_trace_are_one_statement_each() {
    let measured = Measured::new().await;
    let names: Vec<String> = (0..300).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = measured.sends(&names, None).await;
    let asks = async |name, scope, query: &str, id: &str| {
        let mut asking = event(name);
        asking["headers"]["authorization"] = measured.test.bearer("reports", scope).into();
        asking["rawQueryString"] = query.into();
        asking["pathParameters"] = json!({"id": id});
        let answer = history::handle(&measured.test.app, request(asking)).await;
        assert_eq!(answer.status(), if id == ABSENT { 404 } else { 200 }, "{answer:?}");
    };
    const ABSENT: &str = "00000000-0000-8000-8000-000000000000";
    for (name, scope, query, id) in [
        ("history", "notify:send", "", ""),
        ("history", "notify:admin", "", ""),
        ("history", "notify:admin", "userId=user%201&type=like&state=waiting&limit=1", ""),
        ("trace", "notify:admin", "", id.as_str()),
        // Looked for in what is not materialised yet, too.
        ("trace", "notify:admin", "", ABSENT),
        ("trace", "", "", ABSENT),
    ] {
        measured.costs(1, async || asks(name, scope, query, id).await).await;
    }
}

#[tokio::test]
async fn a_sync_settles_what_is_news_with_one_statement_more() {
    let measured = Measured::new().await;
    let mut cursors = Vec::new();
    for _ in 0..2 {
        measured.sends(&["alice"], None).await;
        let synced = measured.gets("/api/sync", "", "").await;
        cursors.push(format!("since={}", synced["cursor"].as_str().unwrap()));
    }
    measured.gets("/api/sync", "", &cursors[0]).await;
    let from_the_head = async || drop(measured.gets("/api/sync", "", &cursors[1]).await);
    measured.costs_first(2, from_the_head()).await;
    measured.costs_first(1, from_the_head()).await;
}

#[tokio::test]
async fn a_change_is_one_statement_whoever_is_told() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone", "laptop"]).await;
    let id = measured.sends(&["alice"], None).await;
    measured.sends(&["alice"], None).await;
    let change = async |method, route| drop(measured.asks(method, route, &id, "", None).await);
    change("POST", "/api/notifications/{id}/read").await;
    for (method, route) in [
        ("POST", "/api/notifications/{id}/unread"),
        ("POST", "/api/notifications/{id}/read"),
        ("POST", "/api/notifications/read-all"),
        ("DELETE", "/api/notifications/{id}"),
    ] {
        measured.test.push.taken();
        measured.costs_first(1, change(method, route)).await;
        assert_eq!(measured.test.push.taken().len(), 2, "{method} {route}");
        // The second of two changes nothing.
        measured.costs_first(1, change(method, route)).await;
        assert_eq!(measured.test.push.taken(), []);
    }
}

#[tokio::test]
async fn a_socket_is_a_ticket_an_opening_and_a_look_for_one_too_many_then_one_to_close_it() {
    let measured = Measured::new().await;
    measured.costs(1, async || drop(measured.ticket().await)).await;
    for (n, prepared) in [false, true].into_iter().enumerate() {
        let (ticket, connection) = (measured.ticket().await, n.to_string());
        let opening = measured.connects(&ticket, &connection);
        if prepared { measured.costs_first(2, opening).await } else { opening.await }
    }
    measured
        .costs(1, async || {
            disconnect::handle(&measured.test.app, socket_event(event("disconnect"))).await;
        })
        .await;
}

#[tokio::test]
async fn a_frame_is_its_connection_and_what_it_asks() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone"]).await;
    let id = measured.sends(&["alice"], None).await;
    let cursor = measured.gets("/api/sync", "", "").await["cursor"].clone();
    for frame in [
        json!({"action": "ping"}),
        json!({"action": "sync"}),
        json!({"action": "ack", "cursor": cursor}),
        json!({"action": "read", "ids": [id]}),
        json!({"action": "readAll"}),
    ] {
        measured.costs(2, async || measured.says("phone", frame.clone()).await).await;
    }
}

#[tokio::test]
async fn metrics_are_what_waits_and_who_is_connected() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone"]).await;
    measured.sends(&["alice"], None).await;
    measured
        .costs(2, async || {
            let mut asking = event("metrics");
            asking["headers"]["authorization"] = measured.test.bearer("ops", "notify:admin").into();
            let answer = body(&metrics::handle(&measured.test.app, request(asking)).await);
            assert_eq!((&answer["connections"], &answer["database"]["healthy"]), (&json!(1), &json!(true)));
        })
        .await;
}

#[tokio::test]
async fn a_drain_without_work_looks_in_eight_places() {
    let measured = Measured::new().await;
    // Connections, chunks, what has expired, rows, what falls due next, and three kinds of what is too old. A chunk is
    // looked for in a transaction, which would keep it: its beginning and its end are two more.
    measured.costs(10, async || measured.drains().await).await;
}

#[tokio::test]
async fn a_chunk_is_one_transaction_of_two_statements() {
    let measured = Measured::new().await;
    let names: Vec<String> = (0..600).map(|n| format!("user {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    measured.sends(&names, None).await;
    measured.drains().await;
    measured.sends(&names, None).await;
    // Two chunks of four beside what a drain without work does.
    measured.costs_first(10 + 2 * 4, measured.drains()).await;
}

#[tokio::test]
async fn a_delayed_send_is_one_statement_and_its_start_one_more() {
    let measured = Measured::new().await;
    let names: Vec<String> = (0..300).map(|n| format!("user {n}")).collect();
    let delayed = async || {
        let mut sending = event("send");
        sending["headers"]["authorization"] = measured.test.bearer("reports", "notify:send").into();
        let asked = json!({"type": "like", "userIds": names, "title": "Hi", "delayMs": 60_000});
        sending["body"] = asked.to_string().into();
        assert_eq!(send::handle(&measured.test.app, request(sending)).await.status(), 202);
    };
    measured.costs(1, delayed).await;
    measured.test.clock.turn(Duration::from_secs(60));
    measured.drains().await;
    delayed().await;
    measured.test.clock.turn(Duration::from_secs(60));
    // Two chunks of four, beside what a drain without work does; the first of them starts the send.
    measured.costs_first(10 + 2 * 4 + 1, measured.drains()).await;
}

#[tokio::test]
async fn small_sends_that_are_due_are_one_transaction_of_three_statements_however_many() {
    let measured = Measured::new().await;
    measured.test.connect("user 7", &["phone"]).await;
    let delay = async || {
        for n in 0..50 {
            let to = format!("user {n}");
            measured.asks_for(json!({"type": "like", "userId": to, "title": "Hi", "delayMs": 60_000})).await;
        }
        measured.test.clock.turn(Duration::from_secs(60));
    };
    delay().await;
    measured.drains().await;
    delay().await;
    // Its beginning, the chunks, their start, the rows, its end; and that one was taken.
    measured.costs_first(10 + 5 + 1, measured.drains()).await;
}

#[tokio::test]
async fn a_retry_is_the_row_and_that_it_was_taken_and_a_push_to_each_device_that_is_left() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone", "laptop", "tablet"]).await;
    let is_left = async || {
        for device in ["phone", "tablet"] {
            measured.test.push.will(device, &[Outcome::Failed]);
        }
        measured.sends(&["alice"], None).await;
        // Longer than the queue waits for the second try, and less than the record does.
        measured.test.clock.turn(Duration::from_secs(1));
        measured.test.push.taken();
    };
    // Nothing was offered to everybody, so nothing is noted.
    is_left().await;
    measured.drains().await;
    measured.costs_first(1, is_left()).await;
    measured.costs_first(10 + 2, measured.drains()).await;
    let to: Vec<String> = measured.test.push.taken().into_iter().map(|(device, _)| device).collect();
    assert_eq!(to, ["phone", "tablet"]);
}

#[tokio::test]
async fn what_has_expired_is_one_transaction_of_two_statements_however_many_inboxes_it_was_in() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone"]).await;
    let names: Vec<String> = (0..100).map(|n| format!("user {n}")).collect();
    let expires = async || {
        let ends = Time(measured.test.clock.now_ms() + 1_000).to_string();
        let asked = json!({"type": "like", "userIds": names, "title": "Hi", "expiresAt": ends});
        measured.asks_for(asked).await;
        measured.test.clock.turn(Duration::from_secs(1));
    };
    expires().await;
    measured.drains().await;
    expires().await;
    // It is looked for once more after it.
    measured.costs_first(10 + 4 + 1, measured.drains()).await;
    // Whoever sends it pays nothing for it.
    let ends = Time(measured.test.clock.now_ms() + 1_000).to_string();
    let asked = json!({"type": "like", "userId": "bob", "title": "Hi", "expiresAt": ends});
    measured
        .costs(1, async || {
            measured.asks_for(asked.clone()).await;
        })
        .await;
}

#[tokio::test]
async fn one_with_a_collapse_key_locks_the_heads_in_a_transaction_before_it_is_stored() {
    let measured = Measured::new().await;
    let keyed = |more: Value| {
        let mut asked = json!({"type": "like", "userIds": ["alice", "bob"], "title": "Hi", "collapseKey": "door"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    let send = async |more: Value| {
        measured.asks_for(keyed(more)).await;
    };
    measured.costs(4, async || send(json!({})).await).await;
    // Whoever delays it locks nobody; the drain does, with one statement more for each chunk.
    measured.costs(1, async || send(json!({"delayMs": 60_000})).await).await;
    measured.test.clock.turn(Duration::from_secs(60));
    measured.drains().await;
    send(json!({"delayMs": 60_000})).await;
    measured.test.clock.turn(Duration::from_secs(60));
    measured.costs_first(10 + 4 + 1 + 1, measured.drains()).await;
}

#[tokio::test]
async fn a_cancelling_is_one_statement() {
    let measured = Measured::new().await;
    let sender = UserId::new("reports").unwrap();
    for known in [false, true] {
        measured
            .costs(1, async || {
                let delayed = json!({"type": "like", "userId": "alice", "title": "Hi", "delayMs": 60_000});
                let id = if known { measured.asks_for(delayed).await } else { SendId::random() };
                measured.wire.taken();
                let cancelled = measured.test.app.record.inbox.cancel(id, &sender).await.unwrap();
                assert_eq!(cancelled, if known { Cancelled::Done } else { Cancelled::Unknown });
            })
            .await;
    }
}

/// After each use, while nobody waits for it; before a use only where the connection has rested.
#[tokio::test]
async fn a_connection_is_tried_after_each_use_and_before_one_only_after_a_rest() {
    const USES: usize = 10;
    let measured = Measured::new().await;
    let count = async || drop(measured.gets("/api/notifications/unread-count", "", "").await);
    count().await;
    measured.wire.taken();
    for _ in 0..USES {
        count().await;
    }
    // The last one comes after its call, so that it is counted with the next.
    let tries = measured.wire.taken().tries;
    assert!((USES - 1..=USES + 1).contains(&tries), "{tries}");

    tokio::time::sleep(Duration::from_millis(1_100)).await;
    measured.wire.taken();
    count().await;
    let rested = measured.wire.taken();
    assert_eq!((rested.tries, rested.statements.len()), (1, 1));
}
