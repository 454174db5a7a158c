//! The history of sends, and the trace of one notification.

use std::sync::Arc;
use std::time::Duration;

use harness::{HttpAnswer, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::moment::none::NoMoment;
use shared::sockets::push::Outcome;

const START: &str = "2027-01-15T08:00:00.000Z";

/// Sends a notification of this type; returns the ids of the send and of its first notification.
async fn sends(test: &TestApp, sub: &str, kind: &str, users: &[&str]) -> (Value, Value) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer(sub, "notify:send").into();
    sending["body"] = json!({"type": kind, "userIds": users, "title": "Hi"}).to_string().into();
    let answer = invoke(&test.app, send::handle, sending).await;
    assert_eq!(answer.status(), 202, "{answer:?}");
    let sent = body(&answer);
    (sent["sendId"].clone(), sent["notifications"][0]["id"].clone())
}

/// Requests the history with this query.
async fn history(test: &TestApp, sub: &str, scope: &str, query: &str) -> HttpAnswer {
    let mut http_event = event("history");
    http_event["headers"]["authorization"] = test.bearer(sub, scope).into();
    http_event["rawQueryString"] = query.into();
    invoke(&test.app, history::handle, http_event).await
}

async fn read_history(test: &TestApp, sub: &str, scope: &str, query: &str) -> Value {
    let answer = history(test, sub, scope, query).await;
    assert_eq!(answer.status(), 200, "{query}: {answer:?}");
    body(&answer)
}

async fn trace(test: &TestApp, sub: &str, scope: &str, id: &str, query: &str) -> HttpAnswer {
    let mut http_event = event("trace");
    http_event["headers"]["authorization"] = test.bearer(sub, scope).into();
    http_event["rawQueryString"] = query.into();
    http_event["pathParameters"]["id"] = id.into();
    invoke(&test.app, history::handle, http_event).await
}

fn refusal(answer: &HttpAnswer) -> (u16, String) {
    (answer.status().as_u16(), body(answer)["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn send_ids(list: &Value) -> Vec<Value> {
    list["items"].as_array().unwrap().iter().map(|item| item["sendId"].clone()).collect()
}

#[tokio::test]
async fn a_sender_sees_its_own_sends_and_an_administrator_sees_all() {
    let test = TestApp::new().await;
    let (first, _) = sends(&test, "reports", "REPORT_APPROVED", &["alice", "bob"]).await;
    test.clock.advance(Duration::from_millis(1));
    let (second, _) = sends(&test, "shop", "like", &["alice"]).await;

    let list = read_history(&test, "reports", "notify:send", "limit=2&type=REPORT_APPROVED").await;
    let states = json!({"waiting": 2, "offered": 0, "settled": 0, "expired": 0, "dead": 0});
    let item = json!({"sendId": first, "type": "REPORT_APPROVED", "title": "Hi", "createdAt": START, "recipients": 2,
        "states": states});
    assert_eq!(list, json!({"items": [item], "nextCursor": null}));
    assert_eq!(send_ids(&read_history(&test, "shop", "notify:send", "").await), std::slice::from_ref(&second));
    for scope in ["notify:admin", "notify:send notify:admin"] {
        assert_eq!(send_ids(&read_history(&test, "ops", scope, "").await), [second.clone(), first.clone()]);
    }
    assert_eq!(refusal(&history(&test, "alice", "", "").await), (403, "forbidden".into()));
    // The scope is checked before the query.
    assert_eq!(refusal(&history(&test, "alice", "", "x=y").await), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_history_continues_from_its_cursor() {
    let test = TestApp::new().await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.insert(0, sends(&test, "shop", "like", &["alice"]).await.0);
        test.clock.advance(Duration::from_millis(1));
    }
    let (mut found, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let list = read_history(&test, "shop", "notify:send", &query).await;
        found.extend(send_ids(&list));
        let Some(next) = list["nextCursor"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(found, sent);
}

#[tokio::test]
async fn a_history_is_filtered_by_user_type_and_state() {
    let test = TestApp::new().await;
    let (both, id) = sends(&test, "shop", "like", &["alice", "bob"]).await;
    let (bobs, _) = sends(&test, "shop", "reply", &["bob"]).await;
    let mut reading = event("read");
    reading["headers"]["authorization"] = test.bearer("alice", "").into();
    reading["pathParameters"]["id"] = id;
    assert_eq!(invoke(&test.app, inbox::handle, reading).await.status(), 204);
    for (query, expected) in [
        ("userId=alice", vec![&both]),
        ("type=reply", vec![&bobs]),
        ("state=settled", vec![&both]),
        ("userId=bob&state=waiting&type=like", vec![&both]),
        ("state=dead", vec![]),
        ("userId=carol", vec![]),
    ] {
        let list = read_history(&test, "shop", "notify:send", query).await;
        assert_eq!(send_ids(&list).iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

#[tokio::test]
async fn an_invalid_parameter_of_a_history_is_named_in_the_error() {
    let test = TestApp::new().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("state=lost", "state"),
        ("state=Waiting", "state"),
        ("type=", "type"),
        ("userId=", "userId"),
        ("userId=%E2%80%AEx", "userId"),
        ("sender=shop", "sender"),
        ("limit=1&limit=2", "limit"),
    ] {
        let answer = history(&test, "shop", "notify:send", query).await;
        assert_eq!(refusal(&answer), (422, "validation_failed".into()), "{query}");
        assert_eq!(body(&answer)["error"]["fields"], json!([field]), "{query}");
    }
    // The last three decode to a time that is no number, an id that is none, and the cursor of an inbox.
    for cursor in [
        "",
        "x",
        "%00",
        "MTAw",
        "eC44MjE0MTM0Yi01Nzg0LThjYTQtYmFmMy04ZGU0MGFlMjQyMTE",
        "MS54",
        "MDAwMDAwMDAwMDAwMDBhYS43",
    ] {
        let answer = history(&test, "shop", "notify:send", &format!("cursor={cursor}")).await;
        assert_eq!(refusal(&answer), (400, "bad_request".into()), "{cursor}");
    }
}

#[tokio::test]
async fn a_trace_lists_the_steps_in_order() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let (_, id) = sends(&test, "shop", "like", &["alice", "bob"]).await;
    let id = id.as_str().unwrap();
    test.clock.advance(Duration::from_millis(1_500));
    let mut reading = event("read");
    reading["headers"]["authorization"] = test.bearer("alice", "").into();
    reading["pathParameters"]["id"] = id.into();
    assert_eq!(invoke(&test.app, inbox::handle, reading.clone()).await.status(), 204);
    let traced = trace(&test, "alice", "", id, "").await;
    assert_eq!((traced.status().as_u16(), &body(&traced)["id"]), (200, &json!(id)));
    let accepted = json!({"step": "accepted", "at": START});
    let mut steps = vec![
        accepted,
        json!({"step": "pushed", "at": START, "connectionId": "phone", "status": "offered"}),
        json!({"step": "offered", "at": START}),
        json!({"step": "read", "at": "2027-01-15T08:00:01.500Z"}),
    ];
    assert_eq!((&body(&traced)["steps"], &body(&traced)["complete"]), (&json!(steps), &json!(true)));

    test.clock.advance(Duration::from_millis(1));
    reading["routeKey"] = "ANY /api/notifications/{id}".into();
    reading["requestContext"]["routeKey"] = "ANY /api/notifications/{id}".into();
    reading["requestContext"]["http"]["method"] = "DELETE".into();
    assert_eq!(invoke(&test.app, inbox::handle, reading).await.status(), 204);
    steps.push(json!({"step": "deleted", "at": "2027-01-15T08:00:01.501Z"}));
    for (sub, scope) in [("alice", ""), ("ops", "notify:admin")] {
        let traced = trace(&test, sub, scope, id, "").await;
        assert_eq!(body(&traced)["steps"], json!(steps), "{sub}");
    }
}

#[tokio::test]
async fn a_trace_lists_the_outcome_of_each_push() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "tab"]).await;
    test.clock.advance(Duration::from_secs(20));
    test.push.will("phone", &[Outcome::Gone]);
    test.push.will("tab", &[Outcome::Failed]);
    let (_, id) = sends(&test, "shop", "like", &["alice"]).await;
    test.clock.advance(Duration::from_secs(6));
    assert!(!drain::handle(&test.app, i64::MAX).await.failed);
    let traced = body(&trace(&test, "alice", "", id.as_str().unwrap(), "").await);
    let steps = traced["steps"].as_array().unwrap().iter();
    let steps: Vec<Vec<&str>> = steps
        .map(|step| ["at", "step", "connectionId", "status"].iter().filter_map(|name| step[name].as_str()).collect())
        .collect();
    let expected: [&[&str]; 5] = [
        &["2027-01-15T08:00:20.000Z", "accepted"],
        &["2027-01-15T08:00:20.000Z", "pushed", "phone", "gone"],
        &["2027-01-15T08:00:20.000Z", "pushed", "tab", "failed"],
        &["2027-01-15T08:00:26.000Z", "pushed", "tab", "offered"],
        &["2027-01-15T08:00:26.000Z", "offered"],
    ];
    assert_eq!((steps, &traced["complete"]), (expected.map(<[&str]>::to_vec).to_vec(), &json!(true)));

    // A day later, the outcomes are gone.
    test.clock.advance(Duration::from_secs(24 * 60 * 60));
    let traced = body(&trace(&test, "alice", "", id.as_str().unwrap(), "").await);
    assert_eq!((traced["steps"].as_array().unwrap().len(), &traced["complete"]), (2, &json!(false)));
}

#[tokio::test]
async fn a_trace_without_the_moment_has_only_the_steps_in_the_record() {
    let mut test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let (_, id) = sends(&test, "shop", "like", &["alice"]).await;
    test.app.moment.telemetry = Arc::new(NoMoment::default());
    let traced = body(&trace(&test, "alice", "", id.as_str().unwrap(), "").await);
    let steps = json!([{"step": "accepted", "at": START}, {"step": "offered", "at": START}]);
    assert_eq!((&traced["steps"], &traced["complete"]), (&steps, &json!(false)));
}

#[tokio::test]
async fn a_trace_is_found_only_by_its_recipient_and_administrators() {
    let test = TestApp::new().await;
    let (send, id) = sends(&test, "shop", "like", &["alice"]).await;
    let (send, id) = (send.as_str().unwrap(), id.as_str().unwrap());
    for (sub, scope, id) in [
        ("bob", "", id),
        // The sender sees the state in the history instead.
        ("shop", "notify:send", id),
        ("alice", "", send),
        ("ops", "notify:admin", send),
        ("ops", "notify:admin", "7"),
        ("ops", "notify:admin", &id.to_uppercase()),
    ] {
        let answer = trace(&test, sub, scope, id, "").await;
        assert_eq!(refusal(&answer), (404, "not_found".into()), "{sub} {id}");
    }
    assert_eq!(refusal(&trace(&test, "alice", "", id, "x=y").await), (422, "validation_failed".into()));
    assert_eq!(trace(&test, "alice", "", id, "").await.status(), 200);
}

#[tokio::test]
async fn an_administrator_finds_a_notification_whose_chunk_is_waiting() {
    let test = TestApp::new().await;
    let users: Vec<String> = (0..201).map(|n| format!("user {n}")).collect();
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("shop", "notify:send").into();
    sending["body"] = json!({"type": "like", "userIds": users, "title": "Hi"}).to_string().into();
    let sent = body(&invoke(&test.app, send::handle, sending).await);
    let id = sent["notifications"][200]["id"].as_str().unwrap();
    assert_eq!(trace(&test, "user 200", "", id, "").await.status(), 404);
    let traced = body(&trace(&test, "ops", "notify:admin", id, "").await);
    assert_eq!(traced["steps"], json!([{"step": "accepted", "at": START}]));

    test.clock.advance(Duration::from_millis(20));
    assert!(!drain::handle(&test.app, i64::MAX).await.failed);
    let traced = body(&trace(&test, "user 200", "", id, "").await);
    let materialised = json!({"step": "materialised", "at": "2027-01-15T08:00:00.020Z"});
    assert_eq!(traced["steps"], json!([{"step": "accepted", "at": START}, materialised]));
}
