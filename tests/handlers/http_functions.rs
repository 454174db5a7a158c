//! The functions behind the HTTP API.

use std::sync::Arc;

use async_trait::async_trait;
use harness::{TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::record::postgres::PostgresRecord;
use shared::telemetry::health::{BreakerState, Health, Instance, Instances, Mode, Persistence, Server, Status};

/// A recorded event of `tests/events` with this `Authorization` header.
fn by(bearer: &str, name: &str) -> Value {
    let mut event = event(name);
    event["headers"]["authorization"] = bearer.into();
    event
}

#[tokio::test]
async fn a_send_is_accepted_and_listed() {
    let test = TestApp::new().await;
    let sent = invoke(&test.app, send::handle, by(&test.bearer("reports", "notify:send"), "send")).await;
    assert_eq!(sent.status(), 202);
    assert_eq!(sent.headers()["x-request-id"], "ATfSmjLgPHcESJw=");
    let answer = body(&sent);
    assert_eq!((&answer["status"], &answer["durability"]), (&json!("accepted"), &json!("durable")));

    let listed = invoke(&test.app, inbox::handle, by(&test.bearer("user-123", ""), "list")).await;
    let list = body(&listed);
    let item = &list["items"][0];
    assert_eq!(item["id"], answer["notifications"][0]["id"]);
    assert_eq!((&item["title"], &item["data"]), (&json!("Report Approved"), &json!({"reportId": "123"})));
    assert_eq!((&list["unreadCount"], &list["nextCursor"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn the_key_may_be_repeated_in_the_header_if_both_are_equal() {
    let test = TestApp::new().await;
    let mut event = by(&test.bearer("reports", "notify:send"), "send");
    event["headers"]["idempotency-key"] = "another".into();
    let refused = invoke(&test.app, send::handle, event.clone()).await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["fields"]), (422, &json!(["idempotencyKey"])));
    event["headers"]["idempotency-key"] = "report-123-approved".into();
    assert_eq!(invoke(&test.app, send::handle, event).await.status(), 202);
}

#[tokio::test]
async fn a_body_may_be_base64_encoded() {
    let test = TestApp::new().await;
    let mut event = by(&test.bearer("reports", "notify:send"), "send");
    event["body"] = "eyJ0eXBlIjoibGlrZSIsInVzZXJJZCI6ImFsaWNlIiwidGl0bGUiOiJIaSJ9".into();
    event["isBase64Encoded"] = true.into();
    assert_eq!(invoke(&test.app, send::handle, event).await.status(), 202);
}

#[tokio::test]
async fn marking_as_read_changes_a_notification_and_an_unknown_one_is_not_found() {
    let test = TestApp::new().await;
    let sent = invoke(&test.app, send::handle, by(&test.bearer("reports", "notify:send"), "send")).await;
    let id = body(&sent)["notifications"][0]["id"].clone();
    let bearer = test.bearer("user-123", "");
    let unknown = invoke(&test.app, inbox::handle, by(&bearer, "read")).await;
    assert_eq!(unknown.status(), 404);
    let mut event = by(&bearer, "read");
    event["pathParameters"]["id"] = id;
    assert_eq!(invoke(&test.app, inbox::handle, event).await.status(), 204);
    let sync = invoke(&test.app, inbox::handle, by(&bearer, "sync")).await;
    assert_eq!(body(&sync)["unreadCount"], 0);
    assert_eq!(body(&sync)["notifications"][0]["readAt"], "2027-01-15T08:00:00.000Z");
}

#[tokio::test]
async fn a_ticket_expires_no_later_than_its_token() {
    let test = TestApp::new().await;
    let bearer = test.bearer("alice", "");
    let issued = invoke(&test.app, tickets::handle, by(&bearer, "ticket")).await;
    assert_eq!(issued.status(), 201);
    let ticket = body(&issued);
    assert_eq!(
        (&ticket["expiresAt"], &ticket["url"]),
        (&json!("2027-01-15T08:00:30.000Z"), &json!("ws://localhost/live"))
    );
    assert_eq!(ticket["ticket"].as_str().unwrap().len(), 22);
    test.clock.advance(std::time::Duration::from_secs(3_590));
    let late = invoke(&test.app, tickets::handle, by(&bearer, "ticket")).await;
    assert_eq!(body(&late)["expiresAt"], "2027-01-15T09:00:00.000Z");
}

#[tokio::test]
async fn health_names_the_migration_that_the_database_lacks() {
    let mut test = TestApp::new().await;
    let database = harness::postgres_server::database().await;
    test.uses_record(Arc::new(PostgresRecord::new(&database, 2).unwrap()));
    harness::postgres_server::does(&database, "DELETE FROM _sqlx_migrations WHERE version = 2").await;
    let answer = invoke(&test.app, health::handle, event("health")).await;
    let (status, health) = (answer.status().as_u16(), body(&answer));
    assert_eq!((status, &health["dependencies"]["database"]), (503, &json!("outdated")), "{health}");
    assert_eq!(health["schema"]["missing"], "0002_history", "{health}");
    let undone = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (2, 'history', true, '', 0)";
    harness::postgres_server::does(&database, undone).await;
    let answer = invoke(&test.app, health::handle, event("health")).await;
    assert_eq!((answer.status().as_u16(), &body(&answer)["schema"]["missing"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_database_that_takes_no_more_clients_is_overloaded_and_not_away() {
    let mut test = TestApp::new().await;
    let database = harness::postgres_server::database().await;
    let limit = async |clients: i32| {
        let name = database.reveal().rsplit('/').next().unwrap();
        let altered = format!("ALTER DATABASE {name} CONNECTION LIMIT {clients}");
        harness::postgres_server::does(&database, &altered).await;
    };
    // The limit is not for superusers.
    let as_functions = harness::postgres_server::as_functions(&database).await;
    test.uses_record(Arc::new(PostgresRecord::new(&as_functions, 2).unwrap()));
    limit(0).await;
    let refused = invoke(&test.app, send::handle, by(&test.bearer("reports", "notify:send"), "send")).await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["code"]), (503, &json!("overloaded")));
    assert_eq!(
        (refused.headers()["retry-after"].as_bytes(), body(&refused)["error"]["retryAfterMs"].as_i64()),
        (&b"1"[..], Some(1_000))
    );
    let answer = invoke(&test.app, health::handle, event("health")).await;
    let (status, health) = (answer.status().as_u16(), body(&answer));
    let database = &health["dependencies"]["database"];
    assert_eq!((status, &health["status"], database), (200, &json!("degraded"), &json!("overloaded")));
    limit(-1).await;
    test.clock.advance(std::time::Duration::from_secs(1));
    let accepted = invoke(&test.app, send::handle, by(&test.bearer("reports", "notify:send"), "send")).await;
    assert_eq!(accepted.status(), 202);
    assert!(!accepted.headers().contains_key("idempotency-replayed"), "the refused one was not stored");
}

#[tokio::test]
async fn health_warns_of_a_redis_that_loses_fast_accepts_with_a_restart() {
    let warnings = async |test: &TestApp| {
        let health = body(&invoke(&test.app, health::handle, event("health")).await);
        let warnings = health["warnings"].as_array().cloned().unwrap_or_default();
        (health["status"].clone(), warnings.iter().map(|warning| warning["name"].clone()).collect::<Vec<_>>())
    };
    let mut test = TestApp::new().await;
    test.app.moment.health = Arc::new(Snapshotting { replication_lag_ms: None });
    assert_eq!(warnings(&test).await, (json!("ok"), vec![]), "fast accepts are not in use");
    test.accepts_fast().await;
    assert_eq!(warnings(&test).await, (json!("degraded"), vec![json!("no_append_only_file")]));
    test.app.moment.health = Arc::new(Snapshotting { replication_lag_ms: Some(1_000) });
    assert_eq!(warnings(&test).await, (json!("ok"), vec![]), "a replica takes over");
}

/// A Redis that writes snapshots alone.
struct Snapshotting {
    replication_lag_ms: Option<u64>,
}

#[async_trait]
impl Health for Snapshotting {
    async fn check(&self) -> Status {
        Status::Ok
    }

    async fn instances(&self) -> Instances {
        let persistence = Some(Persistence::Snapshots);
        let instance = Instance {
            name: "redis-1".into(),
            healthy: true,
            server: Server { persistence, replication_lag_ms: self.replication_lag_ms, ..Server::default() },
            share: 1.0,
            operations: 0,
            errors: 0,
            p50_ms: 0.0,
            p99_ms: 0.0,
            breaker: BreakerState::Closed,
            last_error: None,
        };
        Instances { mode: Mode::Single, instances: vec![instance] }
    }
}

#[tokio::test]
async fn health_and_unknown_paths_need_no_token() {
    let test = TestApp::new().await;
    let answer = invoke(&test.app, health::handle, event("health")).await;
    assert_eq!(answer.status(), 200);
    let schema = &body(&answer)["schema"];
    assert!(schema["needed"].as_i64().is_some_and(|needed| needed > 0), "{schema}");
    assert_eq!((&schema["found"], &schema["missing"]), (&schema["needed"], &Value::Null));
    let missing = invoke(&test.app, |_, request| notfound::handle(request), event("notfound")).await;
    assert_eq!((missing.status().as_u16(), &body(&missing)["error"]["code"]), (404, &json!("not_found")));
}

/// Bodies just below 256 KB that are wrong in as many places as possible.
fn hostile_bodies() -> Vec<String> {
    let good = r#""type":"like","title":"Hi","userId":"alice""#;
    let many = |item: fn(usize) -> String, bytes: usize| {
        let mut items = Vec::new();
        let mut length = 0;
        for n in 0.. {
            let item = item(n);
            length += item.len() + 1;
            if length > bytes {
                break;
            }
            items.push(item);
        }
        items.join(",")
    };
    let deep = format!("{}{}{}", r#"{"\u202e\"":"#.repeat(28), r#""\u0001""#, "}".repeat(28));
    vec![
        format!("{{{good},{}}}", many(|n| format!("\"{n}\":1"), 250_000)),
        format!("{{{good},{}}}", many(|n| format!("\"{}{n}\":1", "🔔".repeat(58)), 250_000)),
        format!("{{{good},{}}}", many(|n| format!("\"{}{n}\":1", "\\\"".repeat(58)), 250_000)),
        format!("{{{good},\"{}\":1}}", "x".repeat(250_000)),
        format!("{{\"type\":\"like\",\"title\":\"Hi\",\"userIds\":[{}]}}", many(|n| n.to_string(), 250_000)),
        format!("{{\"type\":\"like\",\"title\":\"Hi\",\"userIds\":[{}]}}", many(|n| format!("\"\\u202e{n}\""), 9_000)),
        format!("{{{good},\"data\":{{\"a\":[{}]}}}}", many(|_| "[[[[[[[[[]]]]]]]]]".into(), 250_000)),
        format!("{{{good},\"data\":{{\"a\":{deep}}}}}"),
    ]
}

#[tokio::test]
async fn an_error_is_small_however_large_the_body() {
    let test = TestApp::new().await;
    for text in hostile_bodies() {
        let mut sending = by(&test.bearer("reports", "notify:send"), "send");
        sending["body"] = text.clone().into();
        let refused = invoke(&test.app, send::handle, sending).await;
        let lambda_http::Body::Text(error) = refused.body() else { panic!() };
        let fields = body(&refused)["error"]["fields"].as_array().map_or(0, Vec::len);
        assert_eq!(refused.status(), 422, "{text:.100}");
        assert!(
            error.len() <= 4_096 && (1..=20).contains(&fields),
            "{} bytes, {fields} fields: {text:.100}",
            error.len()
        );
    }
}

#[tokio::test]
async fn the_path_of_a_refused_string_is_printable() {
    let test = TestApp::new().await;
    let mut sending = by(&test.bearer("reports", "notify:send"), "send");
    sending["body"] = r#"{"type":"like","title":"Hi","userId":"a","data":{"a":[1,{"\u202eb":{"c":"\u0001"}}]}}"#.into();
    let refused = invoke(&test.app, send::handle, sending).await;
    assert_eq!(body(&refused)["error"]["fields"], json!(["data.a[1].(unprintable name).c"]));
}

#[tokio::test]
async fn only_who_came_by_tls_is_told_to_keep_to_it() {
    let test = TestApp::new().await;
    let mut listing = by(&test.bearer("alice", ""), "list");
    let answer = invoke(&test.app, inbox::handle, listing.clone()).await;
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    listing["headers"]["x-forwarded-proto"] = "http".into();
    let answer = invoke(&test.app, inbox::handle, listing).await;
    assert!(!answer.headers().contains_key("strict-transport-security"));
}
