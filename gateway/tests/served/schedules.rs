//! Schedules, with a clock that the tests advance.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::Served;

const MINUTE: Duration = Duration::from_secs(60);

async fn started() -> Served {
    Served::start_with(include_str!("template.yaml"), |mut options| {
        options.fire_at_start = true;
        options
    })
    .await
}

#[tokio::test]
async fn an_enabled_schedule_fires_at_the_start_and_then_at_its_times() {
    let served = started().await;
    let mut event = served.tick.event().await;
    event["id"].take();
    let expected = json!({
        "version": "0", "id": null, "detail-type": "Scheduled Event", "source": "aws.events", "account": "123456789012",
        "time": "2023-11-29T08:04:01Z", "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/minute"], "detail": {},
    });
    assert_eq!(event, expected);
    for time in ["2023-11-29T08:05:01Z", "2023-11-29T08:06:01Z"] {
        served.clock.advance(MINUTE);
        assert_eq!(served.tick.event().await["time"], time);
    }
}

#[tokio::test]
async fn at_most_one_call_waits_while_another_is_running() {
    let served = started().await;
    let permits = Arc::new(Semaphore::new(0));
    served.tick.event().await;
    let gate = Arc::clone(&permits);
    served.tick.does(move |_| {
        let permits = Arc::clone(&gate);
        async move {
            permits.acquire().await.unwrap().forget();
            Ok(Bytes::from_static(b"null"))
        }
    });
    served.clock.advance(MINUTE);
    assert_eq!(served.tick.event().await["time"], "2023-11-29T08:05:01Z");
    served.clock.advance(5 * MINUTE);
    tokio::task::yield_now().await;
    assert!(served.tick.has_no_events().await, "a second call started while the first was running");
    permits.add_permits(2);
    served.tick.event().await;
    tokio::task::yield_now().await;
    assert!(served.tick.has_no_events().await, "five missed times were made up for by more than one call");
}

#[tokio::test]
async fn a_schedule_continues_after_a_failed_call() {
    let served = started().await;
    served.tick.event().await;
    served.tick.fails();
    for _ in 0..2 {
        served.clock.advance(MINUTE);
        served.tick.event().await;
    }
}

#[tokio::test]
async fn a_schedule_is_fired_by_name_with_its_input() {
    let served = Served::start().await;
    served.tick.answers(json!({ "done": 3 }));
    assert_eq!(served.gateway.fire("TickNoon").await.unwrap(), r#"{"done":3}"#);
    assert_eq!(served.tick.event().await, json!({ "noon": true }));
    assert!(served.gateway.fire("midnight").await.is_err());
}

#[tokio::test]
async fn an_asynchronous_call_returns_without_waiting() {
    let served = Served::start().await;
    served.gateway.invoke_async("Tick", Bytes::from_static(b"{\"wake\":true}")).unwrap();
    assert_eq!(served.tick.event().await, json!({ "wake": true }));
    assert!(served.gateway.invoke_async("Unknown", Bytes::new()).is_err());
}
