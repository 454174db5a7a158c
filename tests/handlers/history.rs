//! What became of sends, and by which steps one notification went.

use std::sync::Arc;
use std::time::Duration;

use harness::{HttpAnswer, TestApp, body, event, request};
use serde_json::{Value, json};
use shared::moment::none::NoMoment;
use shared::sockets::push::Outcome;

const START: &str = "2027-01-15T08:00:00.000Z";

/// Sends something of this type; returns the ids of the send and of its first notification.
async fn sends(test: &TestApp, sub: &str, kind: &str, users: &[&str]) -> (Value, Value) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer(sub, "notify:send").into();
    sending["body"] = json!({"type": kind, "userIds": users, "title": "Hi"}).to_string().into();
    let answer = send::handle(&test.app, request(sending)).await;
    assert_eq!(answer.status(), 202, "{answer:?}");
    let sent = body(&answer);
    (sent["sendId"].clone(), sent["notifications"][0]["id"].clone())
}

/// Asks for the history with this query.
async fn history(test: &TestApp, sub: &str, scope: &str, query: &str) -> HttpAnswer {
    let mut asking = event("history");
    asking["headers"]["authorization"] = test.bearer(sub, scope).into();
    asking["rawQueryString"] = query.into();
    history::handle(&test.app, request(asking)).await
}

async fn told(test: &TestApp, sub: &str, scope: &str, query: &str) -> Value {
    let answer = history(test, sub, scope, query).await;
    assert_eq!(answer.status(), 200, "{query}: {answer:?}");
    body(&answer)
}

async fn trace(test: &TestApp, sub: &str, scope: &str, id: &str, query: &str) -> HttpAnswer {
    let mut asking = event("trace");
    asking["headers"]["authorization"] = test.bearer(sub, scope).into();
    asking["rawQueryString"] = query.into();
    asking["pathParameters"]["id"] = id.into();
    history::handle(&test.app, request(asking)).await
}

fn refusal(answer: &HttpAnswer) -> (u16, String) {
    (answer.status().as_u16(), body(answer)["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn send_ids(list: &Value) -> Vec<Value> {
    list["items"].as_array().unwrap().iter().map(|item| item["sendId"].clone()).collect()
}

#[tokio::test]
async fn a_sender_sees_his_own_sends_and_an_administrator_all() {
    let test = TestApp::new().await;
    let (first, _) = sends(&test, "reports", "REPORT_APPROVED", &["alice", "bob"]).await;
    test.clock.turn(Duration::from_millis(1));
    let (second, _) = sends(&test, "shop", "like", &["alice"]).await;

    let list = told(&test, "reports", "notify:send", "limit=2&type=REPORT_APPROVED").await;
    let states = json!({"waiting": 2, "offered": 0, "settled": 0, "expired": 0, "dead": 0});
    let item = json!({"sendId": first, "type": "REPORT_APPROVED", "title": "Hi", "createdAt": START, "recipients": 2,
        "states": states});
    assert_eq!(list, json!({"items": [item], "nextCursor": null}));
    assert_eq!(send_ids(&told(&test, "shop", "notify:send", "").await), std::slice::from_ref(&second));
    for scope in ["notify:admin", "notify:send notify:admin"] {
        assert_eq!(send_ids(&told(&test, "ops", scope, "").await), [second.clone(), first.clone()]);
    }
    assert_eq!(refusal(&history(&test, "alice", "", "").await), (403, "forbidden".into()));
    // The scope is looked at before the query.
    assert_eq!(refusal(&history(&test, "alice", "", "x=y").await), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_history_goes_on_from_its_cursor() {
    let test = TestApp::new().await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.insert(0, sends(&test, "shop", "like", &["alice"]).await.0);
        test.clock.turn(Duration::from_millis(1));
    }
    let (mut found, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let list = told(&test, "shop", "notify:send", &query).await;
        found.extend(send_ids(&list));
        let Some(next) = list["nextCursor"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(found, sent);
}

#[tokio::test]
async fn a_history_holds_only_what_was_asked_for() {
    let test = TestApp::new().await;
    let (both, id) = sends(&test, "shop", "like", &["alice", "bob"]).await;
    let (bobs, _) = sends(&test, "shop", "reply", &["bob"]).await;
    let mut reading = event("read");
    reading["headers"]["authorization"] = test.bearer("alice", "").into();
    reading["pathParameters"]["id"] = id;
    assert_eq!(inbox::handle(&test.app, request(reading)).await.status(), 204);
    for (query, expected) in [
        ("userId=alice", vec![&both]),
        ("type=reply", vec![&bobs]),
        ("state=settled", vec![&both]),
        ("userId=bob&state=waiting&type=like", vec![&both]),
        ("state=dead", vec![]),
        ("userId=carol", vec![]),
    ] {
        let list = told(&test, "shop", "notify:send", query).await;
        assert_eq!(send_ids(&list).iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

#[tokio::test]
async fn what_a_history_cannot_be_asked_is_named() {
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
    // The last three: no number, no id, and a cursor of an inbox.
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
async fn a_trace_tells_the_steps_in_order() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let (_, id) = sends(&test, "shop", "like", &["alice", "bob"]).await;
    let id = id.as_str().unwrap();
    test.clock.turn(Duration::from_millis(1_500));
    let mut reading = event("read");
    reading["headers"]["authorization"] = test.bearer("alice", "").into();
    reading["pathParameters"]["id"] = id.into();
    assert_eq!(inbox::handle(&test.app, request(reading.clone())).await.status(), 204);
    let told = trace(&test, "alice", "", id, "").await;
    assert_eq!((told.status().as_u16(), &body(&told)["id"]), (200, &json!(id)));
    let accepted = json!({"step": "accepted", "at": START});
    let mut steps = vec![
        accepted,
        json!({"step": "pushed", "at": START, "connectionId": "phone", "status": "offered"}),
        json!({"step": "offered", "at": START}),
        json!({"step": "read", "at": "2027-01-15T08:00:01.500Z"}),
    ];
    assert_eq!((&body(&told)["steps"], &body(&told)["complete"]), (&json!(steps), &json!(true)));

    test.clock.turn(Duration::from_millis(1));
    reading["routeKey"] = "ANY /api/notifications/{id}".into();
    reading["requestContext"]["routeKey"] = "ANY /api/notifications/{id}".into();
    reading["requestContext"]["http"]["method"] = "DELETE".into();
    assert_eq!(inbox::handle(&test.app, request(reading)).await.status(), 204);
    steps.push(json!({"step": "deleted", "at": "2027-01-15T08:00:01.501Z"}));
    for (sub, scope) in [("alice", ""), ("ops", "notify:admin")] {
        let told = trace(&test, sub, scope, id, "").await;
        assert_eq!(body(&told)["steps"], json!(steps), "{sub}");
    }
}

#[tokio::test]
async fn a_trace_tells_what_became_of_each_push() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "tab"]).await;
    test.clock.turn(Duration::from_secs(20));
    test.push.will("phone", &[Outcome::Gone]);
    test.push.will("tab", &[Outcome::Failed]);
    let (_, id) = sends(&test, "shop", "like", &["alice"]).await;
    test.clock.turn(Duration::from_secs(6));
    assert!(!drain::handle(&test.app, i64::MAX).await.failed);
    let told = body(&trace(&test, "alice", "", id.as_str().unwrap(), "").await);
    let steps = told["steps"].as_array().unwrap().iter();
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
    assert_eq!((steps, &told["complete"]), (expected.map(<[&str]>::to_vec).to_vec(), &json!(true)));

    // A day later nobody remembers.
    test.clock.turn(Duration::from_secs(24 * 60 * 60));
    let told = body(&trace(&test, "alice", "", id.as_str().unwrap(), "").await);
    assert_eq!((told["steps"].as_array().unwrap().len(), &told["complete"]), (2, &json!(false)));
}

#[tokio::test]
async fn a_trace_without_the_moment_is_what_the_record_knows() {
    let mut test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let (_, id) = sends(&test, "shop", "like", &["alice"]).await;
    test.app.moment.telemetry = Arc::new(NoMoment::default());
    let told = body(&trace(&test, "alice", "", id.as_str().unwrap(), "").await);
    let steps = json!([{"step": "accepted", "at": START}, {"step": "offered", "at": START}]);
    assert_eq!((&told["steps"], &told["complete"]), (&steps, &json!(false)));
}

#[tokio::test]
async fn a_trace_is_not_found_by_those_whom_it_does_not_concern() {
    let test = TestApp::new().await;
    let (send, id) = sends(&test, "shop", "like", &["alice"]).await;
    let (send, id) = (send.as_str().unwrap(), id.as_str().unwrap());
    for (sub, scope, id) in [
        ("bob", "", id),
        // Whoever sent it sees its state in the history.
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
async fn an_administrator_finds_one_whose_chunk_waits() {
    let test = TestApp::new().await;
    let users: Vec<String> = (0..201).map(|n| format!("user {n}")).collect();
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("shop", "notify:send").into();
    sending["body"] = json!({"type": "like", "userIds": users, "title": "Hi"}).to_string().into();
    let sent = body(&send::handle(&test.app, request(sending)).await);
    let id = sent["notifications"][200]["id"].as_str().unwrap();
    assert_eq!(trace(&test, "user 200", "", id, "").await.status(), 404);
    let told = body(&trace(&test, "ops", "notify:admin", id, "").await);
    assert_eq!(told["steps"], json!([{"step": "accepted", "at": START}]));

    test.clock.turn(Duration::from_millis(20));
    assert!(!drain::handle(&test.app, i64::MAX).await.failed);
    let told = body(&trace(&test, "user 200", "", id, "").await);
    let materialised = json!({"step": "materialised", "at": "2027-01-15T08:00:00.020Z"});
    assert_eq!(told["steps"], json!([{"step": "accepted", "at": START}, materialised]));
}
