//! Revoking the tokens of a user.

use std::sync::Arc;
use std::time::Duration;

use harness::{HttpAnswer, TestApp, body, event, invoke, socket_event};
use serde_json::{Value, json};
use shared::app::App;

async fn revokes(test: &TestApp, scope: &str, payload: Value) -> HttpAnswer {
    let mut revoking = event("revoke");
    revoking["headers"]["authorization"] = test.bearer("ops", scope).into();
    revoking["body"] = payload.to_string().into();
    invoke(&test.app, users::handle, revoking).await
}

async fn lists(app: &App, bearer: &str) -> (u16, Value) {
    let mut listing = event("list");
    listing["headers"]["authorization"] = bearer.into();
    let answer = invoke(app, inbox::handle, listing).await;
    (answer.status().as_u16(), body(&answer)["error"]["code"].clone())
}

/// Another process on the same stores, which has served before.
async fn another_process(test: &TestApp) -> App {
    let mut app = test.app.clone();
    app.revoked_users = Arc::default();
    app.revoked_users.refresh(&*app.record.revocations, app.clock.now_ms()).await;
    app
}

#[tokio::test]
async fn tokens_issued_before_are_refused_and_later_ones_are_not() {
    let test = TestApp::new().await;
    let (old, of_bob) = (test.bearer("alice", ""), test.bearer("bob", ""));
    assert_eq!(lists(&test.app, &old).await.0, 200);
    test.clock.advance(Duration::from_millis(1_500));
    let same_second = test.bearer("alice", "");
    assert_eq!(revokes(&test, "notify:admin", json!({"userId": "alice"})).await.status(), 204);
    for bearer in [&old, &same_second] {
        assert_eq!(lists(&test.app, bearer).await, (401, json!("invalid_token")));
    }
    assert_eq!(lists(&test.app, &of_bob).await.0, 200);
    test.clock.advance(Duration::from_secs(1));
    assert_eq!(lists(&test.app, &test.bearer("alice", "")).await.0, 200);
    assert_eq!(lists(&test.app, &old).await.0, 401);
}

#[tokio::test]
async fn other_processes_refuse_them_within_10_seconds_and_cost_one_statement_in_that_time() {
    let mut test = TestApp::new().await;
    // Otherwise the record is asked for that as often.
    test.accepts_fast().await;
    let other = another_process(&test).await;
    let old = test.bearer("alice", "");
    test.clock.advance(Duration::from_secs(1));
    revokes(&test, "notify:admin", json!({"userId": "alice"})).await;
    test.clock.advance(Duration::from_secs(9));
    assert_eq!(lists(&other, &old).await.0, 401);
    // A cold process asks at once.
    let mut cold = test.app.clone();
    cold.revoked_users = Arc::default();
    assert_eq!(lists(&cold, &old).await.0, 401);
    let bearer = test.bearer("bob", "");
    test.record.round_trips();
    for _ in 0..9 {
        assert_eq!(lists(&other, &bearer).await.0, 200);
        test.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(test.record.round_trips(), 9);
    test.clock.advance(Duration::from_secs(1));
    lists(&other, &bearer).await;
    assert_eq!(test.record.round_trips(), 2);
}

#[tokio::test]
async fn sockets_are_closed_at_once_and_tickets_spent() {
    let test = TestApp::new().await;
    test.connect("alice", &["PJqB0fHsqRcCHlw=", "tab"]).await;
    test.connect("bob", &["bob's"]).await;
    let issues = async |app: &App, bearer: &str| {
        let mut asking = event("ticket");
        asking["headers"]["authorization"] = bearer.into();
        invoke(app, tickets::handle, asking).await
    };
    let bearer = test.bearer("alice", "");
    let ticket = body(&issues(&test.app, &bearer).await)["ticket"].clone();
    let other = another_process(&test).await;
    revokes(&test, "notify:admin", json!({"userId": "alice"})).await;
    let mut told: Vec<(String, Value)> =
        test.push.taken().into_iter().map(|(connection, frame)| (connection, frame["code"].clone())).collect();
    told.sort_by(|left, right| left.0.cmp(&right.0));
    assert_eq!(told, [("PJqB0fHsqRcCHlw=".into(), json!("token_expired")), ("tab".into(), json!("token_expired"))]);
    assert_eq!(test.push.closed().len(), 2);
    // A frame that was under way, a ticket that was issued before, and a process that has not heard of it.
    let reply = serde_json::to_value(message::handle(&test.app, socket_event(event("message"))).await).unwrap();
    assert_eq!(reply.get("body"), None);
    assert_eq!(test.push.taken()[0].1["code"], "invalid_ticket");
    let mut opening = event("connect");
    opening["queryStringParameters"]["ticket"] = ticket.clone();
    opening["multiValueQueryStringParameters"]["ticket"] = json!([ticket]);
    let refused = serde_json::to_value(connect::handle(&test.app, socket_event(opening)).await).unwrap();
    assert_eq!(refused["statusCode"], 401);
    let refused = issues(&other, &bearer).await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["code"]), (401, &json!("invalid_token")));
}

#[tokio::test]
async fn only_administrators_revoke_and_invalid_calls_are_refused() {
    let test = TestApp::new().await;
    let bearer = test.bearer("alice", "");
    for scope in ["", "notify:send"] {
        assert_eq!(revokes(&test, scope, json!({"userId": "alice"})).await.status(), 403);
    }
    for payload in [json!({}), json!({"userId": ""}), json!({"userId": 7}), json!({"userId": "a", "x": 1})] {
        assert_eq!(revokes(&test, "notify:admin", payload.clone()).await.status(), 422, "{payload}");
    }
    assert_eq!(lists(&test.app, &bearer).await.0, 200);
    // Twice is harmless, also for a user whom nobody knows, and for oneself.
    for user in ["nobody", "nobody", "ops"] {
        assert_eq!(revokes(&test, "notify:admin", json!({ "userId": user })).await.status(), 204);
    }
    assert_eq!(revokes(&test, "notify:admin", json!({"userId": "alice"})).await.status(), 401);
}

#[tokio::test]
async fn without_the_record_the_last_list_applies() {
    let test = TestApp::new().await;
    let (old, of_bob) = (test.bearer("alice", "notify:admin"), test.bearer("bob", "notify:admin"));
    revokes(&test, "notify:admin", json!({"userId": "alice"})).await;
    assert_eq!(lists(&test.app, &old).await.0, 401);
    test.record.goes_away().await;
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(lists(&test.app, &old).await.0, 401);
    assert_eq!(lists(&test.app, &of_bob).await, (503, json!("store_unavailable")));
}
