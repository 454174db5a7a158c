//! A drain whose statements take longer than it may linger.

use std::time::{Duration, Instant};

use harness::{World, postgres_server};
use serde_json::json;
use shared::clock::Clock;

#[tokio::test]
async fn a_drain_that_may_not_linger_does_what_is_due() {
    let database = postgres_server::database().await;
    let world = World::on(&[("DATABASE_URL", database.reveal()), ("DRAIN_LINGER_MS", "0")], Clock::system()).await;
    let reminder = json!({"type": "reminder", "userIds": ["alice"], "title": "due", "delayMs": 1});
    world.service("shop").posts("/api/notifications/send", reminder).await.expect(202);
    let (alice, asked_at) = (world.user("alice"), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // The schedule may run another drain, which has it then.
        world.drains().await;
        let list = alice.gets("/api/notifications").await.expect(200);
        if list["items"].as_array().is_some_and(|items| !items.is_empty()) {
            break;
        }
        assert!(asked_at.elapsed() < Duration::from_secs(10), "{list}");
    }
    world.stops().await;
}
