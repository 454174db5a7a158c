//! Cancelling scheduled sends.

use std::time::Duration;

use harness::{HttpAnswer, TestApp, body, event, invoke};
use serde_json::{Value, json};

const ABSENT: &str = "00000000-0000-8000-8000-000000000000";

/// Sends to alice with this delay; returns the answer.
async fn sends(test: &TestApp, sender: &str, delay_ms: i64) -> Value {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer(sender, "notify:send").into();
    let payload =
        json!({"type": "like", "userId": "alice", "title": "Hi", "delayMs": delay_ms, "idempotencyKey": "key"});
    sending["body"] = payload.to_string().into();
    let sent = invoke(&test.app, send::handle, sending).await;
    assert_eq!(sent.status(), 202);
    body(&sent)
}

/// A valid call that cancels a send.
fn cancelling(test: &TestApp, caller: &str, scope: &str, id: &str) -> Value {
    const ROUTE: &str = "/api/notifications/scheduled/{sendId}";
    let mut cancelling = event("read");
    let path = ROUTE.replace("{sendId}", id);
    cancelling["routeKey"] = format!("ANY {ROUTE}").into();
    cancelling["rawPath"] = path.as_str().into();
    cancelling["pathParameters"] = json!({"sendId": id});
    cancelling["requestContext"]["routeKey"] = format!("ANY {ROUTE}").into();
    cancelling["requestContext"]["http"]["method"] = "DELETE".into();
    cancelling["requestContext"]["http"]["path"] = path.into();
    cancelling["headers"]["authorization"] = test.bearer(caller, scope).into();
    cancelling
}

async fn answers(test: &TestApp, call: Value) -> HttpAnswer {
    invoke(&test.app, send::handle, call).await
}

async fn cancels(test: &TestApp, caller: &str, id: &str) -> (u16, Value) {
    let answer = answers(test, cancelling(test, caller, "notify:send", id)).await;
    (answer.status().as_u16(), body(&answer)["error"]["code"].clone())
}

async fn unread(test: &TestApp) -> i64 {
    let alice = shared::ids::UserId::new("alice").unwrap();
    test.app.record.inbox.position(&alice, test.app.clock.at()).await.unwrap().unread
}

#[tokio::test]
async fn a_cancelled_send_is_never_pushed_and_is_in_no_inbox() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let sent = sends(&test, "reports", 60_000).await;
    let id = sent["sendId"].as_str().unwrap();
    assert_eq!(cancels(&test, "reports", id).await, (204, Value::Null));
    assert_eq!(cancels(&test, "reports", id).await, (204, Value::Null), "cancelling is idempotent");
    test.clock.advance(Duration::from_secs(120));
    assert_eq!(drain::handle(&test.app, i64::MAX).await, drain::Drained::default());
    assert_eq!((test.push.taken().len(), unread(&test).await), (0, 0));
    assert_eq!(cancels(&test, "reports", id).await, (204, Value::Null));
    // A repeat of the send gets the first answer and does not undo the cancellation.
    assert_eq!(sends(&test, "reports", 60_000).await, sent);
    assert_eq!(drain::handle(&test.app, i64::MAX).await.chunks, 0);
}

#[tokio::test]
async fn cancelling_a_delivered_send_is_a_conflict() {
    let test = TestApp::new().await;
    for (sender, delay_ms) in [("reports", 60_000), ("shop", 0)] {
        let sent = sends(&test, sender, delay_ms).await;
        test.clock.advance(Duration::from_millis(delay_ms.try_into().unwrap()));
        drain::handle(&test.app, i64::MAX).await;
        let before = unread(&test).await;
        let id = sent["sendId"].as_str().unwrap();
        assert_eq!(cancels(&test, sender, id).await, (409, "conflict".into()), "{delay_ms}");
        assert_eq!(unread(&test).await, before);
    }
    assert_eq!(unread(&test).await, 2);
}

#[tokio::test]
async fn a_send_of_another_sender_or_an_unknown_one_is_not_found() {
    let test = TestApp::new().await;
    let sent = sends(&test, "reports", 60_000).await;
    let id = sent["sendId"].as_str().unwrap();
    let of_alice = sent["notifications"][0]["id"].as_str().unwrap();
    for (caller, id) in [("shop", id), ("alice", id), ("reports", ABSENT), ("reports", of_alice), ("reports", "x")] {
        assert_eq!(cancels(&test, caller, id).await, (404, "not_found".into()), "{caller}: {id}");
    }
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.chunks, 1);
}

#[tokio::test]
async fn a_cancelling_call_is_checked_like_any_other() {
    let test = TestApp::new().await;
    let sent = sends(&test, "reports", 60_000).await;
    let good = cancelling(&test, "reports", "notify:send", sent["sendId"].as_str().unwrap());
    let with = |change: &dyn Fn(&mut Value)| {
        let mut call = good.clone();
        change(&mut call);
        call
    };
    let admin = test.bearer("reports", "notify:admin");
    for (call, status, code) in [
        (with(&|call| call["requestContext"]["http"]["method"] = "GET".into()), 405, "method_not_allowed"),
        (with(&|call| drop(call["headers"].as_object_mut().unwrap().remove("authorization"))), 401, "token_missing"),
        (with(&|call| call["headers"]["authorization"] = admin.as_str().into()), 403, "forbidden"),
    ] {
        let refused = answers(&test, call).await;
        assert_eq!((refused.status().as_u16(), body(&refused)["error"]["code"].as_str()), (status, Some(code)));
    }
    let with_body = with(&|call| {
        call["headers"]["content-type"] = "application/json".into();
        call["body"] = r#"{"now":true}"#.into();
    });
    let refused = answers(&test, with_body).await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["fields"]), (422, &json!(["now"])));
    assert_eq!(answers(&test, good.clone()).await.status(), 204);
    test.record.goes_away().await;
    assert_eq!(body(&answers(&test, good).await)["error"]["code"], "store_unavailable");
}
