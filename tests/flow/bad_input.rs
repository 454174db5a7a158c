//! Invalid input gets the documented error, stores nothing and breaks nothing.

use harness::World;
use serde_json::json;

const SEND: &str = "/api/notifications/send";
const GOOD: &str = r#"{"type":"like","userIds":["alice"],"title":"Hi"}"#;

#[tokio::test]
async fn checks_run_in_the_documented_order() {
    let world = World::new().await;
    let (user, shop) = (world.user("eve"), world.service("shop"));
    let json = [("content-type", "application/json")];
    let too_large = format!(r#"{{"type":"like","title":"{}"}}"#, "x".repeat(256 * 1_024));

    let missing = world.call("GET", "/api/nowhere", &[], "").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "not_found"));
    let method = world.call("PUT", SEND, &[], "x").await;
    assert_eq!((method.status, method.header("allow")), (405, "POST"));
    assert_eq!(method.code(), "method_not_allowed");
    let anonymous = world.call("POST", SEND, &[], "x").await;
    assert_eq!((anonymous.status, anonymous.code().as_str()), (401, "token_missing"));
    assert_eq!(anonymous.header("www-authenticate"), "Bearer");
    let forged = world.call("POST", SEND, &[("authorization", "Bearer x.y.z")], "x").await;
    assert_eq!((forged.status, forged.code().as_str()), (401, "invalid_token"));
    assert_eq!(user.calls("POST", SEND, &[], "x").await.code(), "forbidden");
    assert_eq!(shop.calls("POST", SEND, &[], &too_large).await.code(), "unsupported_media_type");
    let large = shop.calls("POST", SEND, &json, &too_large).await;
    assert_eq!((large.status, large.code().as_str()), (413, "payload_too_large"));
    assert_eq!(shop.calls("POST", SEND, &json, "{").await.code(), "invalid_json");
    let invalid = shop.calls("POST", SEND, &json, r#"{"type":"","tenant":"x"}"#).await;
    assert_eq!((invalid.status, invalid.code().as_str()), (422, "validation_failed"));
    assert_eq!(invalid.json()["error"]["fields"], json!(["userIds", "type", "title", "tenant"]));
    world.stops().await;
}

#[tokio::test]
async fn a_body_must_be_strict_json_in_utf_8() {
    let world = World::new().await;
    let shop = world.service("shop");
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{} {}",
        "\u{feff}{}",
        r#"{"type":"a","type":"b"}"#,
        r#"{"data":{"a":1,"a":2}}"#,
        r#"{"title":"\ud800"}"#,
        r#"{"data":{"n":1e309}}"#,
        r#"{"type":"a",}"#,
    ] {
        let answer = shop.calls("POST", SEND, &[("content-type", "application/json")], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_json"), "{body}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"] {
        let answer = shop.calls("POST", SEND, &[("content-type", content_type)], GOOD).await;
        assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"), "{content_type}");
    }
    let compressed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(shop.calls("POST", SEND, &compressed, GOOD).await.status, 415);
    assert!(world.user("alice").inbox().await.is_empty());
    world.stops().await;
}

#[tokio::test]
async fn a_key_in_the_header_must_be_visible_ascii() {
    let world = World::new().await;
    let shop = world.service("shop");
    for key in ["a b", "", "clé", "🔔", &"k".repeat(256)] {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        let answer = shop.calls("POST", SEND, &headers, GOOD).await;
        assert_eq!(answer.json()["error"]["fields"], json!(["idempotencyKey"]), "{key:?}: {}", answer.text);
    }
    assert!(world.user("alice").inbox().await.is_empty());
    world.stops().await;
}

#[tokio::test]
async fn duplicate_recipients_count_once() {
    let world = World::new().await;
    let shop = world.service("shop");
    let body = |users: Vec<String>| json!({"type": "like", "userIds": users, "title": "Hi"});
    let repeated = (0..1_001).map(|n| format!("user-{}", n % 3)).collect();
    let sent = shop.posts(SEND, body(repeated)).await.expect(202);
    assert_eq!(sent["notifications"].as_array().map(Vec::len), Some(3));
    let many = (0..1_001).map(|n| format!("user-{n}")).collect();
    assert_eq!(shop.posts(SEND, body(many)).await.code(), "validation_failed");
    world.stops().await;
}

#[tokio::test]
async fn hostile_user_ids_are_treated_as_any_other_or_refused() {
    let world = World::new().await;
    let shop = world.service("shop");
    let hostile =
        ["a:b", "{x}", "{}", "a}b", "*", "../..", "%2F", "'; DROP TABLE sends;--", "a\"b", "\\", "用户", "🔔"];
    shop.rings(&hostile, "hi").await;
    for user in hostile {
        assert_eq!(world.user(user).inbox().await.len(), 1, "{user}");
    }
    for refused in ["", "a\nb", "a\r\nFLUSHALL\r\n", "a\u{0}b", "\u{202e}evil", "e\u{301}", &"x".repeat(257)] {
        let body = json!({"type": "like", "userIds": ["alice", refused], "title": "Hi"});
        let answer = shop.posts(SEND, body).await;
        assert_eq!(answer.json()["error"]["fields"], json!(["userIds[1]"]), "{refused:?}");
        assert!(!answer.text.contains("FLUSHALL"));
    }
    assert!(world.user("alice").inbox().await.is_empty());
    world.stops().await;
}

#[tokio::test]
async fn a_query_is_checked_like_a_body() {
    let world = World::new().await;
    let alice = world.user("alice");
    for (path, code) in [
        ("/api/notifications?limit=0", "validation_failed"),
        ("/api/notifications?limit=-1", "validation_failed"),
        ("/api/notifications?limit=201", "validation_failed"),
        ("/api/notifications?limit=1e2", "validation_failed"),
        ("/api/notifications?limit=", "validation_failed"),
        ("/api/notifications?limit=5&limit=6", "validation_failed"),
        ("/api/notifications?userId=bob", "validation_failed"),
        ("/api/notifications?unread=maybe", "validation_failed"),
        ("/api/notifications?cursor=x", "bad_request"),
        ("/api/sync?since=x", "bad_request"),
        ("/api/sync?since=", "bad_request"),
        ("/api/sync?limit=501", "validation_failed"),
        ("/api/notifications/7", "not_found"),
        ("/api/notifications/D9A24CC6-F5C2-8BB7-A2A6-3E0D1D39D4B1", "not_found"),
        ("/api/notifications/unread-count?x=1", "validation_failed"),
        ("/health?token=x", "validation_failed"),
    ] {
        assert_eq!(alice.gets(path).await.code(), code, "{path}");
    }
    for path in ["/api/ws/ticket?x=1", "/api/notifications/read-all?x=1"] {
        assert_eq!(alice.posts(path, json!({})).await.code(), "validation_failed", "{path}");
        assert_eq!(alice.calls("POST", path, &[], "").await.code(), "validation_failed", "{path}");
    }
    for (body, code) in [
        (json!({}), "validation_failed"),
        (json!({"cursor": 7}), "validation_failed"),
        (json!({"cursor": "NaN"}), "bad_request"),
        (json!({"cursor": "-1"}), "bad_request"),
    ] {
        assert_eq!(alice.posts("/api/ack", body.clone()).await.code(), code, "{body}");
    }
    world.stops().await;
}

#[tokio::test]
async fn every_answer_has_its_request_id_and_is_not_cached() {
    let world = World::new().await;
    for answer in [
        world.user("alice").gets("/api/notifications").await,
        world.call("GET", "/api/notifications", &[], "").await,
        world.call("GET", "/nowhere", &[], "").await,
        world.call("GET", "/health", &[], "").await,
    ] {
        assert_eq!(answer.header("x-request-id").len(), 16, "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        let in_body = answer.json()["error"]["requestId"].as_str().map(str::to_owned);
        assert!(in_body.is_none_or(|id| id == answer.header("x-request-id")));
    }
    let health = world.call("GET", "/health", &[], "").await.expect(200);
    assert_eq!((&health["status"], &health["dependencies"]["database"]), (&json!("ok"), &json!("ok")));
    world.stops().await;
}

#[tokio::test]
async fn only_allowed_origins_may_read_an_answer() {
    let world = World::new().await;
    let alice = world.user("alice");
    let from = |origin: &'static str| {
        let alice = alice.clone();
        async move { alice.calls("GET", "/api/notifications", &[("origin", origin)], "").await }
    };
    let allowed = from("http://localhost:5173").await;
    assert_eq!(allowed.header("access-control-allow-origin"), "http://localhost:5173");
    assert!(allowed.header("access-control-expose-headers").contains("x-request-id"));
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    assert_eq!(from("https://evil.example.com").await.header("access-control-allow-origin"), "");
    let preflight = [
        ("origin", "http://localhost:5173"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,idempotency-key"),
    ];
    let answer = world.call("OPTIONS", SEND, &preflight, "").await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("access-control-allow-headers").contains("idempotency-key"));
    world.stops().await;
}
