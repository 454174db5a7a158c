//! Fast accepts: the moment first, the record shortly after, and nothing that tells the two apart but the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use harness::{TestApp, body, event, invoke, socket_event};
use serde_json::{Value, json};
use shared::chat::draft::Draft;
use shared::chat::message::Said;
use shared::chat::messages::Range;
use shared::chat::{joining, writing};
use shared::clock::At;
use shared::fast::log::{Claimed, KeyClaim, LogId, Logged, Logs, Share, WriterId};
use shared::fast::write::{Extent, LogWriter};
use shared::ids::{ChatId, SendId, UserId, Uuid};
use shared::inbox::Page;
use shared::inbox::bounds::Bounds;
use shared::sockets::push::MAX_AT_ONCE;

use crate::sending::sends;
use crate::strange_logs::{Strange, StrangeLogs};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn fast_app() -> TestApp {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    test
}

/// Sends to alice, fast and with this key.
async fn send_fast(test: &TestApp, key: &str) -> Value {
    let answer = sends(test, json!({"accept": "fast", "idempotencyKey": key, "title": key})).await;
    assert_eq!(answer.status(), 202);
    body(&answer)
}

/// How many entries wait in logs.
async fn unwritten(test: &TestApp) -> u64 {
    test.app.moment.logs.unwritten_total(test.app.clock.at()).await.unwrap().entries
}

async fn drain(test: &TestApp) -> drain::Drained {
    // It ends once nothing is due soon.
    drain::handle(&test.app, test.clock.now_ms() + 60_000).await
}

/// The titles in alice's inbox, newest first.
async fn titles(test: &TestApp) -> Vec<String> {
    let listed = test.app.record.inbox.list(&user("alice"), &Page::default(), test.app.clock.at()).await.unwrap();
    listed.notifications.iter().map(|notification| notification.content.title.clone()).collect()
}

#[tokio::test]
async fn a_fast_send_is_answered_before_it_is_in_the_record_and_told_at_once() {
    let test = fast_app().await;
    test.connect("alice", &["phone"]).await;
    let sent = send_fast(&test, "a").await;
    assert_eq!((&sent["durability"], &sent["status"]), (&json!("redis"), &json!("accepted")));
    assert_eq!(test.record.round_trips(), 1, "the record is only read");
    assert_eq!(unwritten(&test).await, 1);
    let [(connection, frame)] = test.push.taken().try_into().unwrap();
    assert_eq!(connection, "phone");
    assert_eq!(frame["notification"]["id"], sent["notifications"][0]["id"]);
    for member in ["cursor", "prev", "unreadCount"] {
        assert_eq!(frame[member], Value::Null, "{member}");
    }
    assert_eq!(frame["notification"]["cursor"], Value::Null);

    assert_eq!(drain(&test).await.persisted, 1);
    assert_eq!(unwritten(&test).await, 0);
    let [(_, numbered)] = test.push.taken().try_into().unwrap();
    assert_eq!(numbered["notification"]["id"], frame["notification"]["id"]);
    assert_eq!(numbered["unreadCount"], 1);
    assert_eq!(numbered["notification"]["createdAt"], frame["notification"]["createdAt"]);
    assert!(numbered["cursor"].as_str().unwrap().ends_with(".1"));
    assert_eq!(drain(&test).await.persisted, 0);
}

#[tokio::test]
async fn fast_accepts_are_durable_until_every_process_knows_of_them() {
    let test = TestApp::new().await;
    assert_eq!(send_fast(&test, "a").await["durability"], "durable");
    test.clock.advance(std::time::Duration::from_secs(29));
    assert_eq!(send_fast(&test, "b").await["durability"], "durable");
    test.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(send_fast(&test, "c").await["durability"], "redis");
    assert_eq!(titles(&test).await, ["c", "b", "a"]);
}

#[tokio::test]
async fn a_user_alone_does_not_bring_fast_accepts_into_use() {
    let test = TestApp::new().await;
    let chat = chat(&test).await;
    for n in 0..3 {
        assert!(say(&test, chat, "alice", &n.to_string(), "fast").await.seq().is_some());
        test.clock.advance(std::time::Duration::from_secs(60));
    }
    assert_eq!(test.app.record.fast.fast_since().await.unwrap(), None);
}

#[tokio::test]
async fn a_durable_request_that_takes_a_key_over_before_the_entry_is_appended_is_the_first() {
    let test = fast_app().await;
    // As another process would have, between this one's claim and its append.
    let logs = Overtaken { logs: test.app.moment.logs.clone(), claims: AtomicUsize::new(0) };
    let logs = Arc::new(StrangeLogs(logs));
    let mut overtaken = test.app.clone();
    overtaken.moment.logs = logs.clone();
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    let body_of = |title: &str| {
        json!({"type": "like", "userId": "alice", "title": title, "accept": "fast",
        "idempotencyKey": "k"})
    };
    sending["body"] = body_of("mine").to_string().into();
    let answer = invoke(&overtaken, send::handle, sending).await;
    assert_eq!(logs.0.claims.load(Ordering::Relaxed), 1);
    // It is stored durably, or from the log: once, and under its key.
    assert_eq!(answer.status(), 202);
    assert_eq!(titles(&test).await, ["mine"]);
    assert_eq!(unwritten(&test).await, 0);
    let other = sends(&test, json!({"title": "other", "idempotencyKey": "k"})).await;
    assert_eq!(other.status(), 422);
}

/// Logs whose keys are taken over as soon as they are claimed.
struct Overtaken {
    logs: Arc<dyn Logs>,
    claims: AtomicUsize,
}

#[async_trait]
impl Strange for Overtaken {
    fn logs(&self) -> &Arc<dyn Logs> {
        &self.logs
    }

    /// Twice, as after a connection that broke before its answer.
    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged> {
        self.logs.append(log, id, text, at).await;
        self.logs.append(log, id, text, at).await
    }

    async fn claim_key(&self, send: SendId, claim: KeyClaim, at: At) -> Option<Claimed> {
        let claimed = self.logs.claim_key(send, claim, at).await;
        self.claims.fetch_add(1, Ordering::Relaxed);
        self.logs.take_key(send, KeyClaim { log: None, ..claim }, at).await;
        claimed
    }
}

/// Logs of which a drain writes everything just before something is appended.
struct JustWritten {
    logs: Arc<dyn Logs>,
    writer: LogWriter,
}

#[async_trait]
impl Strange for JustWritten {
    fn logs(&self) -> &Arc<dyn Logs> {
        &self.logs
    }

    async fn append(&self, log: LogId, id: Uuid, text: &str, at: At) -> Option<Logged> {
        self.writer.write(&[log], Extent::Everything, Duration::from_secs(10), at).await;
        self.logs.append(log, id, text, at).await
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_on_the_way_makes_no_repeat_of_a_send_without_a_key() {
    let test = fast_app().await;
    test.connect("alice", &["phone"]).await;
    let mut again = test.app.clone();
    let logs = Overtaken { logs: test.app.moment.logs.clone(), claims: AtomicUsize::new(0) };
    again.moment.logs = Arc::new(StrangeLogs(logs));
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "like", "userId": "alice", "title": "a", "accept": "fast"}).to_string().into();
    let answer = invoke(&again, send::handle, sending).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("idempotency-replayed")), (202, None));
    assert_eq!(test.push.taken().len(), 1);
    assert_eq!(drain(&test).await.persisted, 1);
}

#[tokio::test]
async fn whoever_reads_an_inbox_finds_what_was_accepted_fast_in_its_order() {
    let test = fast_app().await;
    send_fast(&test, "a").await;
    // A durable send to the same user comes after it.
    sends(&test, json!({"title": "b"})).await;
    send_fast(&test, "c").await;
    assert_eq!(unwritten(&test).await, 1);
    assert_eq!(titles(&test).await, ["c", "b", "a"]);
    assert_eq!(unwritten(&test).await, 0);

    let sent = send_fast(&test, "d").await;
    let mut reading = event("read");
    reading["headers"]["authorization"] = test.bearer("alice", "").into();
    let id = sent["notifications"][0]["id"].as_str().unwrap();
    reading["rawPath"] = format!("/api/notifications/{id}/read").into();
    reading["pathParameters"]["id"] = id.into();
    assert_eq!(invoke(&test.app, inbox::handle, reading).await.status(), 204);
    let position = test.app.record.inbox.position(&user("alice"), test.app.clock.at()).await.unwrap();
    assert_eq!((position.head, position.unread), (5, 3));
}

#[tokio::test]
async fn a_repeat_gets_its_first_answer_before_and_after_it_was_written() {
    let test = fast_app().await;
    let first = sends(&test, json!({"accept": "fast", "idempotencyKey": "a"})).await;
    for accept in ["fast", "durable", "fast"] {
        let repeat = sends(&test, json!({"accept": accept, "idempotencyKey": "a"})).await;
        assert_eq!(repeat.headers()["idempotency-replayed"], "true", "{accept}");
        assert_eq!(repeat.body(), first.body(), "{accept}");
    }
    drain(&test).await;
    // And from durable to fast.
    let first = sends(&test, json!({"accept": "durable", "idempotencyKey": "b"})).await;
    let repeat = sends(&test, json!({"accept": "fast", "idempotencyKey": "b"})).await;
    assert_eq!((repeat.body(), body(&first)["durability"].as_str()), (first.body(), Some("durable")));
    assert_eq!(titles(&test).await.len(), 2);
}

#[tokio::test]
async fn a_repeat_gets_its_first_answer_although_that_is_written_meanwhile() {
    let mut test = fast_app().await;
    let first = sends(&test, json!({"accept": "fast", "idempotencyKey": "a"})).await;
    let (logs, record) = (test.app.moment.logs.clone(), &test.app.record);
    let writer = LogWriter::new(record.fast.clone(), record.dead_letters.clone(), logs.clone());
    test.uses_logs(Arc::new(StrangeLogs(JustWritten { logs, writer })));
    test.accepts_fast().await;
    let repeat = sends(&test, json!({"accept": "fast", "idempotencyKey": "a"})).await;
    assert_eq!(repeat.body(), first.body());
    assert_eq!(repeat.headers().get("idempotency-replayed").map(|value| value.as_bytes()), Some(&b"true"[..]));
    drain(&test).await;
    assert_eq!(titles(&test).await.len(), 1);
}

#[tokio::test]
async fn a_key_that_waits_in_a_log_is_refused_for_another_body_or_recipient() {
    for accept in ["fast", "durable"] {
        for other in [json!({"title": "Other"}), json!({"userId": "bob"})] {
            let test = fast_app().await;
            send_fast(&test, "a").await;
            let mut members = json!({"title": "a", "accept": accept, "idempotencyKey": "a"});
            members.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
            let answer = sends(&test, members.clone()).await;
            assert_eq!(answer.status(), 422, "{members}");
            assert_eq!(body(&answer)["error"]["code"], "idempotency_key_reused");
            assert_eq!(titles(&test).await, ["a"]);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_accepted_fast_is_durable_and_says_so() {
    let test = fast_app().await;
    // A frame of more than 31 KB; the data alone is as large as it may be.
    let large = json!({"data": {"text": "x".repeat(16_000)}, "body": "\u{1f514}".repeat(4_000)});
    for (status, members) in
        [("scheduled", json!({"delayMs": 60_000})), ("accepted", json!({"collapseKey": "c"})), ("accepted", large)]
    {
        let mut fast = json!({"accept": "fast"});
        fast.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let sent = body(&sends(&test, fast).await);
        assert_eq!((&sent["durability"], &sent["status"]), (&json!("durable"), &json!(status)), "{sent}");
    }
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    let to_two = json!({"type": "like", "userIds": ["alice", "bob"], "title": "Hi", "accept": "fast"});
    sending["body"] = to_two.to_string().into();
    assert_eq!(body(&invoke(&test.app, send::handle, sending).await)["durability"], "durable");
    assert_eq!(unwritten(&test).await, 0);
}

#[tokio::test]
async fn past_its_bound_a_log_takes_no_more_and_accepts_are_durable_behind_it() {
    let mut test = TestApp::with(&[
        ("JWT_SECRET", "a secret of at least thirty-two bytes"),
        ("RATE_LIMIT_SEND_TYPES", "like=off"),
    ])
    .await;
    test.accepts_fast().await;
    send_fast(&test, "a").await;
    // No drain came for as long as an entry may wait.
    test.clock.advance(std::time::Duration::from_millis(10_000));
    assert_eq!(send_fast(&test, "b").await["durability"], "durable");
    assert_eq!(titles(&test).await, ["b", "a"]);
    assert_eq!(send_fast(&test, "c").await["durability"], "redis");
}

#[tokio::test]
async fn without_the_record_nothing_is_accepted_fast() {
    let test = fast_app().await;
    test.record.goes_away().await;
    let answer = sends(&test, json!({"accept": "fast"})).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(unwritten(&test).await, 0);
}

#[tokio::test]
async fn a_limit_refuses_a_fast_send_but_never_its_repeat() {
    let mut test =
        TestApp::with(&[("JWT_SECRET", "a secret of at least thirty-two bytes"), ("RATE_LIMIT_SEND", "1/60s")]).await;
    test.accepts_fast().await;
    let first = sends(&test, json!({"accept": "fast", "idempotencyKey": "a"})).await;
    assert_eq!(sends(&test, json!({"accept": "fast"})).await.status(), 429);
    let repeat = sends(&test, json!({"accept": "fast", "idempotencyKey": "a"})).await;
    assert_eq!((repeat.status().as_u16(), repeat.body()), (202, first.body()));
}

/// A chat of a user and bob, who has not accepted it.
async fn asks(test: &TestApp, name: &str) -> ChatId {
    let asked = json!({"kind": "direct", "participantIds": ["bob"]});
    let asked = joining::Request::read(asked.as_object().unwrap().clone(), &user(name)).unwrap();
    joining::create(&test.app, &user(name), &asked).await.unwrap().chat.chat.id
}

/// A chat of alice and bob, who has accepted it.
pub(crate) async fn chat(test: &TestApp) -> ChatId {
    let chat = asks(test, "alice").await;
    joining::change(&test.app, &user("bob"), chat, &shared::chat::chats::Change::Accept).await.unwrap();
    test.push.taken();
    chat
}

pub(crate) async fn say(test: &TestApp, chat: ChatId, name: &str, text: &str, accept: &str) -> Said {
    let draft = json!({"clientId": text, "body": text, "accept": accept});
    let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
    writing::write(&test.app, &user(name), chat, &draft).await.unwrap().message
}

/// What was said, by place.
async fn said(test: &TestApp, chat: ChatId) -> Vec<(i64, String)> {
    let history =
        test.app.record.messages.history(chat, &user("bob"), Range::Last, Bounds::default(), &[]).await.unwrap();
    history.unwrap().messages.into_iter().map(|message| (message.seq, message.body)).collect()
}

#[tokio::test]
async fn a_fast_message_is_told_without_a_place_and_once_more_with_it() {
    let test = fast_app().await;
    let chat = chat(&test).await;
    test.connect("bob", &["tablet"]).await;
    let message = say(&test, chat, "alice", "hi", "fast").await;
    assert_eq!(message.seq(), None);
    let [(_, frame)] = test.push.taken().try_into().unwrap();
    assert_eq!((&frame["seq"], &frame["message"]["durability"]), (&Value::Null, &json!("redis")));
    assert_eq!(frame["message"], serde_json::to_value(&message).unwrap());
    drain(&test).await;
    let [(_, numbered)] = test.push.taken().try_into().unwrap();
    assert_eq!((&numbered["seq"], &numbered["message"]["durability"]), (&json!(1), &json!("durable")));
    assert_eq!(numbered["message"]["id"], frame["message"]["id"]);
}

#[tokio::test]
async fn many_messages_are_pushed_in_parts_that_one_push_attempts() {
    let test = fast_app().await;
    let chat = chat(&test).await;
    for name in ["alice", "bob"] {
        let sockets: Vec<String> = (0..20).map(|n| format!("{name} {n}")).collect();
        test.connect(name, &sockets.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    for n in 0..5 {
        say(&test, chat, "alice", &n.to_string(), "fast").await;
    }
    test.push.taken();
    drain(&test).await;
    let frames = test.push.taken();
    assert_eq!(frames.len(), 5 * 40);
    // Of more, the last may fail unattempted, and a whole group would be sent the message again.
    assert!(test.push.most_at_once() <= MAX_AT_ONCE);
    // Once they would be due again, they are not.
    test.clock.advance(Duration::from_secs(10));
    drain(&test).await;
    assert!(test.push.taken().is_empty());
}

#[tokio::test]
async fn fast_and_durable_messages_keep_the_order_of_their_accepts() {
    let test = fast_app().await;
    let chat = chat(&test).await;
    let mut expected = Vec::new();
    for (n, accept) in (1..).zip(["fast", "fast", "durable", "fast", "durable", "durable", "fast"]) {
        say(&test, chat, ["alice", "bob"][n as usize % 2], &n.to_string(), accept).await;
        expected.push((n, n.to_string()));
    }
    assert_eq!(said(&test, chat).await, expected);
    assert_eq!(unwritten(&test).await, 0);
}

#[tokio::test]
async fn a_repeated_fast_message_gets_the_first_and_another_body_is_refused() {
    let test = fast_app().await;
    let chat = chat(&test).await;
    let first = serde_json::to_value(say(&test, chat, "alice", "hi", "fast").await).unwrap();
    assert_eq!(serde_json::to_value(say(&test, chat, "alice", "hi", "fast").await).unwrap(), first);
    let draft = json!({"clientId": "hi", "body": "other", "accept": "fast"});
    let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
    let reused = writing::write(&test.app, &user("alice"), chat, &draft).await.unwrap_err();
    assert_eq!(reused.code(), "idempotency_key_reused");
    // A durable repeat writes it first.
    let Said::Stored(stored) = say(&test, chat, "alice", "hi", "durable").await else { panic!() };
    assert_eq!((stored.seq, stored.id.to_string()), (1, first["id"].as_str().unwrap().to_owned()));
    assert_eq!(said(&test, chat).await, [(1, "hi".to_owned())]);
}

#[tokio::test]
async fn only_members_of_an_accepted_chat_write_fast() {
    let test = fast_app().await;
    let pending = asks(&test, "carol").await;
    for n in 1..=3 {
        assert_eq!(say(&test, pending, "carol", &n.to_string(), "fast").await.seq(), Some(n));
    }
    let draft = json!({"clientId": "4", "body": "4", "accept": "fast"});
    let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
    for (name, code) in [("carol", "forbidden"), ("mallory", "not_found")] {
        let refused = writing::write(&test.app, &user(name), pending, &draft).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}");
    }
    assert_eq!(unwritten(&test).await, 0);
}

#[tokio::test]
async fn lists_and_syncs_of_chats_count_what_was_accepted_fast() {
    let test = fast_app().await;
    let chat = chat(&test).await;
    say(&test, chat, "alice", "hi", "fast").await;
    let summaries = test.app.record.chats.summaries(&user("bob"), 10).await.unwrap();
    assert_eq!((summaries[0].last_seq, summaries[0].unread), (1, 1));
    say(&test, chat, "alice", "you", "fast").await;
    let own = test.app.record.chats.find(chat, &user("bob")).await.unwrap().unwrap();
    assert_eq!((own.unread, own.last_message.unwrap().body.as_str()), (2, "you"));
}

#[tokio::test]
async fn a_socket_gets_the_message_without_its_place() {
    let test = fast_app().await;
    let chat = chat(&test).await;
    test.connect("alice", &["PJqB0fHsqRcCHlw="]).await;
    let mut frame = event("message");
    frame["body"] = json!({"action": "sendMessage", "ref": "m", "chatId": chat.to_string(), "clientId": "1",
        "body": "hi", "accept": "fast"})
    .to_string()
    .into();
    let reply = message::handle(&test.app, socket_event(frame)).await;
    let reply = serde_json::to_value(reply).unwrap();
    let reply: Value = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
    assert_eq!((&reply["type"], &reply["message"]["seq"]), (&json!("sent"), &Value::Null));
    assert_eq!(reply["message"]["durability"], "redis");
}

#[tokio::test]
async fn a_drain_writes_logs_of_which_the_queue_has_nothing() {
    let mut test = fast_app().await;
    test.loses_its_queue();
    send_fast(&test, "a").await;
    assert_eq!(drain(&test).await.persisted, 1);
    assert_eq!(titles(&test).await, ["a"]);
}

#[tokio::test]
async fn a_log_whose_writer_died_is_written_by_the_next() {
    let test = fast_app().await;
    send_fast(&test, "a").await;
    let log = LogId::of_user(&user("alice"));
    let read =
        test.app.moment.logs.read(&[log], Share { entries: 10, bytes: 10 }, WriterId(1), test.app.clock.at()).await;
    assert_eq!(read.entries.len(), 1);
    test.clock.advance(std::time::Duration::from_millis(500));
    assert_eq!(titles(&test).await, ["a"]);
}

#[tokio::test]
async fn what_no_version_wrote_is_dead_lettered_and_the_rest_is_written() {
    let test = fast_app().await;
    let log = LogId::of_user(&user("alice"));
    let foreign = shared::ids::EventId::random().as_uuid();
    test.app.moment.logs.append(log, foreign, "{\"later\":{}}", test.app.clock.at()).await.unwrap();
    send_fast(&test, "a").await;
    assert_eq!(titles(&test).await, ["a"]);
    let dead = test.app.record.dead_letters.page(None, 10).await.unwrap().letters;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].error, "its stored value cannot be read");
    assert_eq!(unwritten(&test).await, 0);
}

#[tokio::test]
async fn metrics_tell_what_waits_and_for_how_long() {
    let test = fast_app().await;
    send_fast(&test, "a").await;
    test.clock.advance(std::time::Duration::from_millis(700));
    send_fast(&test, "b").await;
    let metrics = shared::telemetry::metrics::metrics(&test.app).await;
    assert_eq!((metrics.persist_lag_ms, metrics.backlog.entries), (700, 2));
    assert!((500..2_000).contains(&metrics.backlog.bytes), "{metrics:?}");
    drain(&test).await;
    let metrics = shared::telemetry::metrics::metrics(&test.app).await;
    assert_eq!((metrics.persist_lag_ms, metrics.backlog.entries, metrics.backlog.bytes), (0, 0, 0));
}
