//! Repeats of sends spend nothing from the budgets of their recipients.

use harness::TestApp;
use serde_json::json;
use shared::config::Secret;
use shared::record::postgres::PostgresRecord;

use crate::sending::sends;

async fn with_rate(rate: &str) -> TestApp {
    let mut test = TestApp::new().await;
    let mut config = (*test.app.config).clone();
    config.rate_limit_send = rate.parse().unwrap();
    test.app.config = config.into();
    test
}

#[tokio::test]
async fn a_repeat_and_a_reused_key_spend_nothing() {
    let test = with_rate("3/60s").await;
    let first = json!({"idempotencyKey": "1"});
    assert_eq!(sends(&test, first.clone()).await.status(), 202);
    for _ in 0..10 {
        let again = sends(&test, first.clone()).await;
        assert_eq!(
            (again.status().as_u16(), &again.headers()["idempotency-replayed"]),
            (202, &"true".parse().unwrap())
        );
        let other = json!({"idempotencyKey": "1", "body": "another"});
        assert_eq!(sends(&test, other).await.status(), 422);
    }
    for key in ["2", "3"] {
        assert_eq!(sends(&test, json!({ "idempotencyKey": key })).await.status(), 202);
    }
    assert_eq!(sends(&test, json!({"idempotencyKey": "4"})).await.status(), 429);
    // At the limit, too, a repeat is answered and neither spends nor gives back.
    assert_eq!(sends(&test, first).await.status(), 202);
    assert_eq!(sends(&test, json!({"idempotencyKey": "4"})).await.status(), 429);
}

#[tokio::test]
async fn a_send_that_cannot_be_stored_spends_nothing() {
    let mut test = with_rate("2/60s").await;
    let record = test.app.record.clone();
    // Nobody listens there.
    let nowhere = PostgresRecord::new(&Secret::new("postgres://x:x@127.0.0.1:1/x"), 1).unwrap();
    test.uses_record(std::sync::Arc::new(nowhere));
    for _ in 0..5 {
        assert_eq!(sends(&test, json!({})).await.status(), 503);
    }
    test.app.record = record;
    for _ in 0..2 {
        assert_eq!(sends(&test, json!({})).await.status(), 202);
    }
    assert_eq!(sends(&test, json!({})).await.status(), 429);
}
