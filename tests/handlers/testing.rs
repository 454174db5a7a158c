//! The test page and the test sends, which exist only while `ENABLE_TEST_ENDPOINTS` is on.

use harness::{TestApp, body, event, invoke};
use serde_json::{Value, json};

const PATHS: [&str; 3] = ["/api/test/redis-notification", "/api/notifications/test", "/api/test/sse-notification"];

/// The event of a POST to one of the paths.
fn posted(path: &str, bearer: &str, payload: &str) -> Value {
    let mut event = event("test");
    event["headers"]["authorization"] = bearer.into();
    event["routeKey"] = format!("ANY {path}").into();
    event["requestContext"]["routeKey"] = event["routeKey"].clone();
    event["body"] = payload.into();
    event
}

#[tokio::test]
async fn a_test_notification_goes_to_its_caller_or_to_the_named_user() {
    let test = TestApp::new().await;
    let admin = test.bearer("operator", "notify:admin");
    for (payload, user, title, kind) in [
        ("", "operator", "A test", "TEST"),
        ("{}", "operator", "A test", "TEST"),
        (r#"{"userId":"alice"}"#, "alice", "A test", "TEST"),
        (r#"{"userIds":["bob"],"title":"Hello","type":"X","priority":"low"}"#, "bob", "Hello", "X"),
        (r#"{"data":{"title":"Inside"}}"#, "operator", "Inside", "TEST"),
    ] {
        let sent = invoke(&test.app, testing::handle, posted(PATHS[0], &admin, payload)).await;
        assert_eq!(sent.status(), 202, "{payload}: {sent:?}");
        let sent = body(&sent);
        assert_eq!(sent["notifications"][0]["userId"], user, "{payload}");
        let mut list = event("list");
        list["headers"]["authorization"] = test.bearer(user, "").into();
        // The query of the recorded event would filter the list.
        (list["rawQueryString"], list["queryStringParameters"]) = ("".into(), json!({}));
        let listed = body(&invoke(&test.app, inbox::handle, list).await);
        let newest = &listed["items"][0];
        assert_eq!(newest["id"], sent["notifications"][0]["id"], "{payload}");
        assert_eq!((&newest["title"], &newest["type"]), (&json!(title), &json!(kind)), "{payload}");
    }
}

#[tokio::test]
async fn a_test_send_behaves_like_any_send() {
    let test = TestApp::new().await;
    let admin = test.bearer("operator", "notify:admin");
    let call = async |payload: &str| invoke(&test.app, testing::handle, posted(PATHS[1], &admin, payload)).await;
    let payload = r#"{"type":"like","userId":"alice","title":"Hi","idempotencyKey":"k"}"#;
    let first = call(payload).await;
    assert_eq!(first.status(), 202);
    let again = call(payload).await;
    assert_eq!((again.status().as_u16(), again.headers()["idempotency-replayed"].to_str().unwrap()), (202, "true"));
    assert_eq!(body(&again), body(&first));

    let refused = call("{}").await;
    let fields = &body(&refused)["error"]["fields"];
    assert_eq!((refused.status().as_u16(), fields), (422, &json!(["type", "title"])));
    // Without recipients it goes to the caller.
    let own = call(r#"{"type":"like","title":"Hi"}"#).await;
    assert_eq!((own.status().as_u16(), &body(&own)["notifications"][0]["userId"]), (202, &json!("operator")));
    assert_eq!(body(&call("[]").await)["error"]["code"], "invalid_json");
}

#[tokio::test]
async fn the_test_endpoint_also_returns_the_metrics() {
    let test = TestApp::new().await;
    let admin = test.bearer("operator", "notify:admin");
    invoke(&test.app, testing::handle, posted(PATHS[0], &admin, "")).await;
    let mut http_event = posted(PATHS[0], &admin, "");
    http_event["requestContext"]["http"]["method"] = "GET".into();
    let metrics = invoke(&test.app, testing::handle, http_event).await;
    assert_eq!((metrics.status().as_u16(), &body(&metrics)["accepted"]), (200, &json!(1)));
}

#[tokio::test]
async fn a_test_over_event_streams_is_checked_like_an_emitted_event() {
    let test = TestApp::new().await;
    let admin = test.bearer("operator", "notify:admin");
    let user = "x".repeat(257);
    for (payload, refused) in [
        (json!({"userId": "alice", "userIds": ["bob"]}), json!(["userId"])),
        (json!({"userId": user}), json!(["userIds[0]"])),
        (json!({"userIds": []}), json!(["userIds"])),
        (json!({"type": "like", "title": "a\nb", "delayMs": 1}), json!(["type", "title", "delayMs"])),
    ] {
        let answer = invoke(&test.app, testing::handle, posted(PATHS[2], &admin, &payload.to_string())).await;
        let mut fields = body(&answer)["error"]["fields"].as_array().unwrap().clone();
        fields.sort_by_key(|field| refused.as_array().unwrap().iter().position(|wanted| wanted == field));
        assert_eq!((answer.status().as_u16(), json!(fields)), (422, refused), "{payload}");
    }
}

#[tokio::test]
async fn only_admins_may_use_the_test_endpoints() {
    let test = TestApp::new().await;
    for path in PATHS {
        for (bearer, status) in [("", 401), (test.bearer("shop", "notify:send").as_str(), 403)] {
            let refused = invoke(&test.app, testing::handle, posted(path, bearer, "{}")).await;
            assert_eq!(refused.status(), status, "{path}");
        }
        let mut other = posted(path, "", "");
        other["requestContext"]["http"]["method"] = "DELETE".into();
        assert_eq!(invoke(&test.app, testing::handle, other).await.status(), 405, "{path}");
    }
}

#[tokio::test]
async fn switched_off_test_endpoints_are_not_found() {
    let mut test = TestApp::new().await;
    let admin = test.bearer("operator", "notify:admin");
    assert!(test.app.config.test_endpoints, "the test endpoints are on by default in this app");
    let mut config = (*test.app.config).clone();
    config.test_endpoints = false;
    test.app.config = config.into();
    for path in PATHS {
        let nothing = invoke(&test.app, testing::handle, posted(path, &admin, "{}")).await;
        assert_eq!((nothing.status().as_u16(), &body(&nothing)["error"]["code"]), (404, &json!("not_found")), "{path}");
    }
    assert_eq!(invoke(&test.app, |app, request| page::handle(&app.config, request), event("page")).await.status(), 404);
}

#[tokio::test]
async fn the_page_takes_its_user_from_the_query_and_no_other_parameter() {
    let test = TestApp::new().await;
    for (path, query, status) in [
        ("", "user=alice", 200),
        ("", "user=alice&x=1", 422),
        ("", "user=alice&user=bob", 422),
        ("/page.js", "", 200),
        ("/page.js", "user=alice", 422),
    ] {
        let mut event = event("page");
        event["routeKey"] = format!("ANY /test/redis-notification{path}").into();
        event["requestContext"]["routeKey"] = event["routeKey"].clone();
        event["rawQueryString"] = query.into();
        let answer = invoke(&test.app, |app, request| page::handle(&app.config, request), event).await;
        assert_eq!(answer.status(), status, "{path}?{query}");
    }
}

#[tokio::test]
async fn the_page_may_run_only_its_own_scripts_and_call_only_its_own_server() {
    let test = TestApp::new().await;
    let mut config = (*test.app.config).clone();
    config.events_url = Some("https://streams.example/events/api/events".into());
    let page = invoke(&test.app, |_, request| page::handle(&config, request), event("page")).await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    for allowed in [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self' ws://localhost https://streams.example;",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(allowed), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (file, kind) in [
        ("page.js", "text/javascript; charset=utf-8"),
        ("push-worker.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
    ] {
        let mut event = event("page");
        event["routeKey"] = format!("ANY /test/redis-notification/{file}").into();
        event["requestContext"]["routeKey"] = event["routeKey"].clone();
        let answer = invoke(&test.app, |app, request| page::handle(&app.config, request), event).await;
        assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, kind));
    }
}
