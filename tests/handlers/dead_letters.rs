//! Dead letters over HTTP: list, redrive and delete.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use harness::{HttpAnswer, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::delivery::dead_letters::{Dead, Reason};
use shared::delivery::wake::Wake;
use shared::delivery::work::Work;
use shared::fast::logged::LoggedSend;
use shared::ids::UserId;
use shared::sockets::push::Outcome;

use crate::frames::logged_send;

async fn call(test: &TestApp, scope: &str, method: &str, path: &str, id: &str, query: Value) -> HttpAnswer {
    let mut http_event = event("dead_letters");
    http_event["headers"]["authorization"] = test.bearer("ops", scope).into();
    let route = format!("ANY {path}");
    http_event["routeKey"] = route.as_str().into();
    http_event["requestContext"]["routeKey"] = route.into();
    let path = path.replace("{id}", id);
    http_event["rawPath"] = path.as_str().into();
    http_event["requestContext"]["http"]["path"] = path.into();
    http_event["requestContext"]["http"]["method"] = method.into();
    http_event["pathParameters"] = json!({ "id": id });
    let pairs = query.as_object().unwrap().iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap()));
    http_event["rawQueryString"] = pairs.collect::<Vec<_>>().join("&").into();
    http_event["queryStringParameters"] = query;
    invoke(&test.app, deadletters::handle, http_event).await
}

const LIST: &str = "/api/dead-letters";
const ONE: &str = "/api/dead-letters/{id}";
const REDRIVE: &str = "/api/dead-letters/{id}/redrive";

async fn list(test: &TestApp, query: Value) -> Value {
    let answer = call(test, "notify:admin", "GET", LIST, "", query).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    body(&answer)
}

/// Dead-letters a push to alice's phone; returns the ids of the dead letter and of the notification.
async fn dead_letter(test: &TestApp) -> (String, Value) {
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "like", "userId": "alice", "title": "Hi"}).to_string().into();
    let sent = body(&invoke(&test.app, send::handle, sending).await);
    test.push.taken();
    let dead = Dead::Push { user: &UserId::new("alice").unwrap(), offset: 1 };
    test.app.record.dead_letters.dead_letter(&dead, Reason::Poisoned, test.app.clock.at()).await.unwrap();
    let id = list(test, json!({})).await["items"][0]["id"].as_str().unwrap().to_owned();
    (id, sent["notifications"][0]["id"].clone())
}

#[tokio::test]
async fn a_listed_dead_letter_has_the_documented_members() {
    let test = TestApp::new().await;
    assert_eq!(list(&test, json!({})).await, json!({"items": [], "nextCursor": null}));
    let (id, notification) = dead_letter(&test).await;
    let listed = list(&test, json!({"limit": "1"})).await;
    let at = shared::clock::Time(test.clock.now_ms()).to_string();
    let expected = json!({"id": id, "userId": "alice", "notificationId": notification, "error": Reason::Poisoned.text(),
        "attempts": 0, "at": at});
    assert_eq!(listed, json!({"items": [expected], "nextCursor": null}));
    let metrics = shared::telemetry::metrics::metrics(&test.app).await;
    assert_eq!((metrics.queue.dead_letters, metrics.queue.waiting), (1, 0));
}

#[tokio::test]
async fn redriving_a_dead_letter_wakes_the_drain_which_pushes_it() {
    struct Counting(AtomicUsize);
    #[async_trait]
    impl Wake for Counting {
        async fn wake_drain(&self, _: bool) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut test = TestApp::new().await;
    let woken = Arc::new(Counting(AtomicUsize::new(0)));
    let (id, notification) = dead_letter(&test).await;
    test.app.wake = Some(woken.clone());
    test.clock.advance(Duration::from_secs(600));
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert!(test.push.taken().is_empty(), "a dead letter is not retried");
    let redriven = call(&test, "notify:admin", "POST", REDRIVE, &id, json!({})).await;
    assert_eq!((redriven.status().as_u16(), woken.0.load(Ordering::Relaxed)), (202, 1));
    let has_body = !matches!(redriven.body(), lambda_http::Body::Empty);
    assert_eq!((has_body, redriven.headers().contains_key("content-type")), (false, false));
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!(test.push.taken()[0].1["notification"]["id"], notification);
    for (method, path) in [("POST", REDRIVE), ("DELETE", ONE)] {
        assert_eq!(call(&test, "notify:admin", method, path, &id, json!({})).await.status(), 404, "{method}");
    }
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "a call that finds no dead letter wakes nothing");
}

#[tokio::test]
async fn a_deleted_dead_letter_is_gone() {
    let test = TestApp::new().await;
    let (id, _) = dead_letter(&test).await;
    assert_eq!(call(&test, "notify:admin", "DELETE", ONE, &id, json!({})).await.status(), 204);
    assert_eq!(call(&test, "notify:admin", "DELETE", ONE, &id, json!({})).await.status(), 404);
    assert_eq!(list(&test, json!({})).await["items"], json!([]));
}

#[tokio::test]
async fn pages_continue_from_their_cursor() {
    let test = TestApp::new().await;
    for n in 0..3 {
        let dead = Dead::Held { payload: &n.to_string() };
        test.app.record.dead_letters.dead_letter(&dead, Reason::Unreadable, test.app.clock.at()).await.unwrap();
        test.clock.advance(Duration::from_millis(1));
    }
    let all = list(&test, json!({})).await["items"].clone();
    let first = list(&test, json!({"limit": "2"})).await;
    let second = list(&test, json!({"limit": "2", "cursor": first["nextCursor"]})).await;
    assert_eq!((&first["items"][0], &first["items"][1], &second["items"][0]), (&all[0], &all[1], &all[2]));
    assert_eq!((&second["nextCursor"], &all[0]["userId"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn only_admins_have_access_and_invalid_calls_are_refused() {
    let test = TestApp::new().await;
    let (id, _) = dead_letter(&test).await;
    for (method, path) in [("GET", LIST), ("POST", REDRIVE), ("DELETE", ONE)] {
        let forbidden = call(&test, "notify:send", method, path, &id, json!({})).await;
        assert_eq!((forbidden.status().as_u16(), &body(&forbidden)["error"]["code"]), (403, &json!("forbidden")));
        assert_eq!(call(&test, "notify:admin", "PUT", path, &id, json!({})).await.status(), 405, "{path}");
    }
    for id in ["7", "00000000-0000-8000-8000-000000000000"] {
        assert_eq!(call(&test, "notify:admin", "POST", REDRIVE, id, json!({})).await.status(), 404, "{id}");
        assert_eq!(call(&test, "notify:admin", "DELETE", ONE, id, json!({})).await.status(), 404, "{id}");
    }
    for (query, status) in [
        (json!({"cursor": "x"}), 400),
        (json!({"limit": "0"}), 422),
        (json!({"limit": "201"}), 422),
        (json!({"x": "1"}), 422),
    ] {
        let refused = call(&test, "notify:admin", "GET", LIST, "", query.clone()).await;
        assert_eq!(refused.status(), status, "{query}");
    }
    let with_unknown_parameter = call(&test, "notify:admin", "POST", REDRIVE, &id, json!({"x": "1"})).await;
    assert_eq!(with_unknown_parameter.status(), 422);
}

#[tokio::test]
async fn what_was_accepted_fast_and_then_refused_is_stored_by_a_redrive() {
    let test = TestApp::new().await;
    let alice = UserId::new("alice").unwrap();
    let accepted = LoggedSend { recipient: alice.clone(), ..logged_send() };
    let id = held(&test, &accepted.text(), Reason::Refused).await;
    for _ in 0..2 {
        // The second time as if the first could not discard it.
        let redriven = call(&test, "notify:admin", "POST", REDRIVE, &id, json!({})).await;
        assert_eq!(redriven.status(), 202, "{redriven:?}");
        assert_eq!(list(&test, json!({})).await["items"], json!([]));
        let position = test.app.record.inbox.position(&alice, test.app.clock.at()).await.unwrap();
        assert_eq!(position.unread, 1);
        held(&test, &accepted.text(), Reason::Refused).await;
    }
    // What another request has taken since stays.
    let other = LoggedSend { fingerprint: [8; 32], ..accepted };
    let id = held(&test, &other.text(), Reason::Refused).await;
    refuses(&test, &id, "another request was stored under its id").await;
}

#[tokio::test]
async fn work_of_a_kind_that_is_known_by_now_is_queued_by_a_redrive() {
    let test = TestApp::new().await;
    let work = Work::Presence(UserId::new("alice").unwrap());
    let id = held(&test, &work.text(), Reason::Unknown).await;
    assert_eq!(call(&test, "notify:admin", "POST", REDRIVE, &id, json!({})).await.status(), 202);
    assert_eq!(list(&test, json!({})).await["items"], json!([]));
    let claims = test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap();
    assert_eq!(claims.claimed.into_iter().map(|claimed| claimed.work).collect::<Vec<_>>(), [Ok(work)]);
}

#[tokio::test]
async fn what_cannot_be_retried_stays_until_it_is_deleted() {
    let test = TestApp::new().await;
    for (text, reason) in
        [("x", "it cannot be read; discard it"), ("later/1 2 {}", "this version does not know this kind of work")]
    {
        let id = held(&test, text, Reason::Unreadable).await;
        refuses(&test, &id, reason).await;
        assert_eq!(call(&test, "notify:admin", "DELETE", ONE, &id, json!({})).await.status(), 204);
    }
}

/// Dead-letters what the queue or a log held; returns the id of the dead letter.
async fn held(test: &TestApp, payload: &str, reason: Reason) -> String {
    test.app.record.dead_letters.dead_letter(&Dead::Held { payload }, reason, test.app.clock.at()).await.unwrap();
    list(test, json!({})).await["items"][0]["id"].as_str().unwrap().to_owned()
}

/// A redrive is a conflict, and the dead letter stays.
async fn refuses(test: &TestApp, id: &str, message: &str) {
    let refused = call(test, "notify:admin", "POST", REDRIVE, id, json!({})).await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["message"]), (409, &json!(message)));
    assert_eq!(list(test, json!({})).await["items"][0]["id"], json!(id));
}
