//! What calls cost in statements to the record.

use std::sync::Arc;
use std::time::Duration;

use harness::{TestApp, body, event, postgres_server, request, socket_event};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use shared::chat::draft::Draft;
use shared::chat::writing::{self, Written};
use shared::chat::{MAX_SMALL, joining, reading};
use shared::clock::Time;
use shared::config::{Pooler, Secret};
use shared::ids::{SendId, UserId};
use shared::inbox::sends::Cancelled;
use shared::record::postgres::PostgresRecord;
use shared::sockets::push::Outcome;

use crate::wire::Wire;

/// What a drain without work costs.
const IDLE_DRAIN: usize = 11;

/// An app on Postgres, with a wire between them that counts.
struct Measured {
    test: TestApp,
    wire: Wire,
}

impl Measured {
    async fn new() -> Self {
        Self::of(&postgres_server::database().await, Pooler::None).await
    }

    /// The same on this database, as if it were behind this pooler.
    async fn of(database: &Secret, pooler: Pooler) -> Self {
        let (wire, url) = Wire::before(database).await;
        let mut test = TestApp::new().await;
        // One connection, as a function has; each statement is prepared on it once.
        test.uses_record(Arc::new(PostgresRecord::new(&url, 1).unwrap().behind(pooler)));
        Self { test, wire }
    }

    /// Calls twice, and asserts that the second call costs this many statements and as many round trips.
    async fn costs(&self, statements: usize, call: impl AsyncFn()) {
        call().await;
        self.costs_prepared(statements, call()).await;
    }

    /// The same for a single call whose statements are already prepared.
    async fn costs_prepared(&self, statements: usize, call: impl Future<Output = ()>) {
        self.wire.taken();
        call.await;
        let report = self.wire.taken();
        let found = (report.statements.len(), report.round_trips);
        assert_eq!(found, (statements, statements), "{:#?}", report.statements);
    }

    /// Sends; returns the id of the first recipient's notification.
    async fn sends(&self, users: &[&str], key: Option<&str>) -> String {
        let mut send_event = event("send");
        send_event["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        let mut request_body = json!({"type": "like", "userIds": users, "title": "Hi"});
        if let Some(key) = key {
            request_body["idempotencyKey"] = key.into();
        }
        send_event["body"] = request_body.to_string().into();
        let answer = send::handle(&self.test.app, request(send_event)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        body(&answer)["notifications"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Sends this body; returns the send's id.
    async fn sends_body(&self, send: Value) -> SendId {
        let mut send_event = event("send");
        send_event["headers"]["authorization"] = self.test.bearer("reports", "notify:send").into();
        send_event["body"] = send.to_string().into();
        let answer = send::handle(&self.test.app, request(send_event)).await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        SendId::parse(body(&answer)["sendId"].as_str().unwrap()).unwrap()
    }

    /// Calls a route of the inbox as alice.
    async fn calls(&self, method: &str, route: &str, id: &str, query: &str, tag: Option<&str>) -> Value {
        let mut call = event(if method == "GET" { "sync" } else { "read" });
        let path = route.replace("{id}", id);
        call["routeKey"] = format!("ANY {route}").into();
        call["rawPath"] = path.as_str().into();
        call["rawQueryString"] = query.into();
        call["pathParameters"] = json!({"id": id});
        call["requestContext"]["routeKey"] = format!("ANY {route}").into();
        call["requestContext"]["http"]["method"] = method.into();
        call["requestContext"]["http"]["path"] = path.as_str().into();
        call["headers"]["authorization"] = self.test.bearer("alice", "").into();
        if let Some(tag) = tag {
            call["headers"]["if-none-match"] = tag.into();
        }
        let answer = inbox::handle(&self.test.app, request(call)).await;
        let is_expected = if tag.is_some() { answer.status() == 304 } else { answer.status().is_success() };
        assert!(is_expected, "{method} {path}: {answer:?}");
        body(&answer)
    }

    async fn gets(&self, route: &str, id: &str, query: &str) -> Value {
        self.calls("GET", route, id, query, None).await
    }

    /// Opens a socket for alice.
    async fn connects(&self, ticket: &str, connection: &str) {
        let mut connect_event = event("connect");
        connect_event["queryStringParameters"]["ticket"] = ticket.into();
        connect_event["multiValueQueryStringParameters"]["ticket"] = json!([ticket]);
        connect_event["requestContext"]["connectionId"] = connection.into();
        let reply = connect::handle(&self.test.app, socket_event(connect_event)).await;
        assert_eq!(serde_json::to_value(&reply).unwrap()["statusCode"], 200);
    }

    /// Opens an event stream for alice, and reads until its first pong; it lasts as long as what is returned.
    async fn streams(&self, ticket: &str, since: Option<&str>) -> (stream::Body, Value) {
        let mut call = event("events");
        call["queryStringParameters"] = json!({"ticket": ticket});
        call["multiValueQueryStringParameters"] = json!({"ticket": [ticket]});
        if let Some(since) = since {
            call["headers"]["last-event-id"] = since.into();
            call["multiValueHeaders"]["last-event-id"] = json!([since]);
        }
        let mut body = stream::handle(&self.test.app, request(call)).await.into_body();
        loop {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let text = std::str::from_utf8(&frame).unwrap();
            if let Some((_, data)) = text.split_once("data: ")
                && let pong @ Value::Object(_) = serde_json::from_str(data).unwrap()
                && pong["type"] == "pong"
            {
                return (body, pong);
            }
        }
    }

    /// Sends a frame on a socket.
    async fn sends_frame(&self, connection: &str, frame: Value) {
        let mut frame_event = event("message");
        frame_event["requestContext"]["connectionId"] = connection.into();
        frame_event["body"] = frame.to_string().into();
        let reply = message::handle(&self.test.app, socket_event(frame_event)).await;
        let reply = serde_json::to_value(&reply).unwrap();
        assert_eq!(reply["statusCode"], 200);
        assert!(!reply.to_string().contains("error"), "{frame}: {reply}");
    }

    async fn drains(&self) {
        assert!(!drain::handle(&self.test.app, i64::MAX).await.failed);
    }

    /// Waits until alice has no stream: dropping one forgets it in the background.
    async fn forgets_streams(&self) {
        let alice = UserId::new("alice").unwrap();
        while !self
            .test
            .app
            .record
            .connections
            .of(std::slice::from_ref(&alice), self.test.app.clock.at())
            .await
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ticket(&self) -> String {
        let mut call = event("ticket");
        call["headers"]["authorization"] = self.test.bearer("alice", "").into();
        let answer = tickets::handle(&self.test.app, request(call)).await;
        assert_eq!(answer.status(), 201, "{answer:?}");
        body(&answer)["ticket"].as_str().unwrap().to_owned()
    }
}

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
async fn a_stream_costs_two_statements_to_open_three_to_begin_and_one_more_if_something_was_missed() {
    let measured = Measured::new().await;
    let (first, pong) = measured.streams(&measured.ticket().await, None).await;
    let head = pong["cursor"].as_str().unwrap().to_owned();
    drop(first);
    measured.sends(&["alice"], None).await;
    let (second, pong) = measured.streams(&measured.ticket().await, Some(&head)).await;
    let head = pong["cursor"].as_str().unwrap().to_owned();
    // Coming back acknowledges what was shown. From here on that is done, and all statements are prepared.
    let (third, _) = measured.streams(&measured.ticket().await, Some(&head)).await;
    drop((second, third));
    measured.forgets_streams().await;
    for (since, missed, costs) in [(None, 0, 5), (Some(&head), 0, 5), (Some(&head), 1, 6)] {
        for _ in 0..missed {
            measured.sends(&["alice"], None).await;
        }
        let ticket = measured.ticket().await;
        let opened = std::cell::RefCell::new(None);
        let opening = async { *opened.borrow_mut() = Some(measured.streams(&ticket, since.map(String::as_str)).await) };
        measured.costs_prepared(costs, opening).await;
        drop(opened);
        measured.forgets_streams().await;
    }
}

#[tokio::test]
async fn a_socket_costs_one_statement_for_its_ticket_two_to_open_and_one_to_close() {
    let measured = Measured::new().await;
    measured.costs(1, async || drop(measured.ticket().await)).await;
    for (n, prepared) in [false, true].into_iter().enumerate() {
        let (ticket, connection) = (measured.ticket().await, n.to_string());
        let opening = measured.connects(&ticket, &connection);
        if prepared { measured.costs_prepared(2, opening).await } else { opening.await }
    }
    measured
        .costs(1, async || {
            disconnect::handle(&measured.test.app, socket_event(event("disconnect"))).await;
        })
        .await;
}

#[tokio::test]
async fn a_frame_costs_the_look_up_of_its_connection_and_its_action() {
    let measured = Measured::new().await;
    measured.test.connect("alice", &["phone"]).await;
    // The first one makes its user online, as opening the socket would have.
    measured.sends_frame("phone", json!({"action": "ping"})).await;
    let id = measured.sends(&["alice"], None).await;
    let cursor = measured.gets("/api/sync", "", "").await["cursor"].clone();
    for (frame, statements) in [
        // Inbox and chats.
        (json!({"action": "ping"}), 3),
        (json!({"action": "sync"}), 3),
        (json!({"action": "ack", "cursor": cursor}), 2),
        (json!({"action": "read", "ids": [id]}), 2),
        (json!({"action": "readAll"}), 2),
    ] {
        measured.costs(statements, async || measured.sends_frame("phone", frame.clone()).await).await;
    }
}

#[tokio::test]
async fn a_message_costs_one_statement_to_append_and_one_after_the_push_to_any_number_of_members() {
    let measured = Measured::new().await;
    let alice = UserId::new("alice").unwrap();
    let next = std::cell::Cell::new(0);
    let says = async |chat| {
        next.set(next.get() + 1);
        measured.test.clock.advance(Duration::from_secs(1));
        let draft = json!({"clientId": next.get().to_string(), "body": "Hi"});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        let Written { .. } = writing::write(&measured.test.app, &alice, chat, &draft).await.unwrap();
    };
    for others in [1, 18] {
        let names: Vec<String> = (0..others).map(|n| format!("of {others}: {n}")).collect();
        let asked = json!({"kind": "group", "participantIds": names});
        let asked = joining::Request::read(asked.as_object().unwrap().clone(), &alice).unwrap();
        let chat = joining::create(&measured.test.app, &alice, &asked).await.unwrap().chat.chat.id;
        measured.costs(1, async || says(chat).await).await;
        for name in &names {
            measured.test.connect(name, &[name]).await;
        }
        measured.test.push.taken();
        measured.costs(2, async || says(chat).await).await;
        assert!(measured.test.push.taken().len() >= others, "each member's device gets a frame");
        let reads = async || assert_eq!(reading::read(&measured.test.app, &alice, chat, 1).await, Ok(0));
        measured.costs(1, reads).await;
    }
}

#[tokio::test]
async fn in_a_large_chat_a_message_that_waits_costs_one_statement_and_the_drain_pushes_only_the_last() {
    let measured = Measured::new().await;
    let alice = UserId::new("alice").unwrap();
    let names: Vec<String> = (0..MAX_SMALL).map(|n| format!("member {n}")).collect();
    let asked = json!({"kind": "group", "participantIds": names});
    let asked = joining::Request::read(asked.as_object().unwrap().clone(), &alice).unwrap();
    let chat = joining::create(&measured.test.app, &alice, &asked).await.unwrap().chat.chat.id;
    measured.test.connect(&names[0], &["phone"]).await;
    let next = std::cell::Cell::new(0);
    let says = async || {
        next.set(next.get() + 1);
        let draft = json!({"clientId": next.get().to_string(), "body": "Hi"});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        writing::write(&measured.test.app, &alice, chat, &draft).await.unwrap();
    };
    let pushed = || measured.test.push.taken().into_iter().map(|(_, frame)| frame["seq"].clone()).collect::<Vec<_>>();
    says().await;
    measured.drains().await;
    measured.test.clock.advance(Duration::from_secs(1));
    measured.costs_prepared(2, says()).await;
    assert_eq!(pushed(), [1, 2]);
    for _ in 0..4 {
        measured.costs_prepared(1, says()).await;
    }
    assert_eq!(pushed(), [0; 0]);
    measured.test.clock.advance(Duration::from_secs(1));
    // The message is marked as pushed, and the drain looks for more.
    measured.costs_prepared(IDLE_DRAIN + 2, measured.drains()).await;
    assert_eq!(pushed(), [6]);
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
    // As much as with a role that has timeouts.
    measured.costs(IDLE_DRAIN, async || measured.drains().await).await;
    measured.drains().await;
    let statements = measured.wire.taken().statements;
    let begun = statements.iter().find(|statement| statement.starts_with("BEGIN")).unwrap();
    for timeout in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        assert!(begun.contains(&format!("SET LOCAL {timeout} = ")), "{begun}");
    }
}

#[tokio::test]
async fn a_drain_without_work_costs_nine_queries_and_one_transaction() {
    let measured = Measured::new().await;
    // Connections, chunks, expired notifications, rows, messages, the next due time, and three kinds of purges. The query
    // for chunks locks them in a transaction, so its beginning and its end are two more.
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
    // Two chunks at four statements each, in addition to a drain without work.
    measured.costs_prepared(IDLE_DRAIN + 2 * 4, measured.drains()).await;
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
    // Two chunks at four statements each, in addition to a drain without work. The first chunk also starts the send.
    measured.costs_prepared(IDLE_DRAIN + 2 * 4 + 1, measured.drains()).await;
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
    // pushed notification is marked as offered.
    measured.costs_prepared(IDLE_DRAIN + 5 + 1, measured.drains()).await;
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
    // After that transaction, the drain queries once more for expired notifications.
    measured.costs_prepared(IDLE_DRAIN + 4 + 1, measured.drains()).await;
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
    measured.costs_prepared(IDLE_DRAIN + 4 + 1 + 1, measured.drains()).await;
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
