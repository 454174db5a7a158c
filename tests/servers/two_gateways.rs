//! Several gateways on the same stores, concurrently and one after the other.

use std::time::Duration;

use futures_util::future::join_all;
use harness::world::START_MS;
use serde_json::json;
use shared::clock::Clock;

use crate::load::stored;
use crate::stores::Stores;

/// Longer than the drain leaves a row to the invocation that pushes it.
const GRACE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn rate_limits_are_shared() {
    let stores = Stores::new().await;
    let (limit, clock) = ([("RATE_LIMIT_SEND", "4/60s")], Clock::manual(START_MS));
    let here = stores.gateway_with(&limit, clock.clone()).await;
    let there = stores.gateway_with(&limit, clock.clone()).await;
    let body = json!({"type": "greeting", "userIds": ["alice"], "title": "Hello"});
    let sends = [&here, &there].repeat(6).into_iter().map(|world| {
        let (service, body) = (world.service("shop"), body.clone());
        async move { service.posts("/api/notifications/send", body).await.status }
    });
    let mut statuses = join_all(sends).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [&[202; 4][..], &[429; 8]].concat());
    clock.advance(Duration::from_secs(15));
    there.service("shop").posts("/api/notifications/send", body.clone()).await.expect(202);
    here.service("shop").posts("/api/notifications/send", body).await.expect(429);
    here.stops().await;
    there.stops().await;
}

#[tokio::test]
async fn a_frame_goes_through_the_gateway_that_has_the_socket() {
    let stores = Stores::new().await;
    // A drain that lingers until the row is due would race with the one that the test runs.
    let (linger, clock) = (("DRAIN_LINGER_MS", "0"), Clock::manual(START_MS));
    let here = stores.gateway_with(&[linger], clock.clone()).await;
    let endpoint = format!("http://{}/live", here.address());
    let there = stores.gateway_with(&[linger, ("WS_ENDPOINT", &endpoint)], clock.clone()).await;
    let elsewhere = stores.gateway_with(&[linger], clock.clone()).await;
    let mut device = here.user("alice").connects().await;

    // A gateway whose `WS_ENDPOINT` points to the sockets pushes to them.
    there.service("shop").rings(&["alice"], "from there").await;
    device.sees("from there").await;
    // A gateway that cannot reach a young socket leaves the notification to one that can.
    elsewhere.service("shop").rings(&["alice"], "from elsewhere").await;
    device.sees_nothing().await;
    clock.advance(GRACE);
    here.drains().await;
    device.sees("from elsewhere").await;
    device.sees_nothing().await;
    for world in [here, there, elsewhere] {
        world.stops().await;
    }
}

#[tokio::test]
async fn concurrent_gateways_leave_no_gaps_in_offsets_and_share_idempotency_keys() {
    let stores = Stores::new().await;
    let worlds = [stores.gateway().await, stores.gateway().await];
    // Every key is sent twice, mostly at the same time and mostly to different gateways.
    let senders = (0..8).map(|sender| {
        let service = worlds[sender % 2].service("shop");
        async move {
            let mut answers = Vec::new();
            for n in 0..25 {
                let key = format!("{}/{n}", sender / 2);
                let body = json!({"type": "order", "userIds": ["alice"], "title": key, "idempotencyKey": key});
                answers.push(service.posts("/api/notifications/send", body).await.expect(202));
            }
            answers
        }
    });
    let answers = join_all(senders).await;
    let mut accepted = Vec::new();
    for pair in answers.chunks(2) {
        assert_eq!(pair[0], pair[1], "the same key must get the same answer");
        accepted.extend(pair[0].iter().map(|sent| sent["notifications"][0]["id"].as_str().unwrap().to_owned()));
    }
    accepted.sort_unstable();
    for world in worlds {
        assert_eq!(stored(&world.user("alice")).await, accepted);
        world.stops().await;
    }
}

#[tokio::test]
async fn a_later_gateway_finds_the_inboxes_keys_and_cursors_of_an_earlier_one() {
    let stores = Stores::new().await;
    let world = stores.gateway().await;
    let body = r#"{"type":"paid","userIds":["alice"],"title":"Paid","idempotencyKey":"invoice-7"}"#;
    let headers = [("content-type", "application/json")];
    let first = world.service("shop").calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let (sync, inbox) = (world.user("alice").gets("/api/sync").await, world.user("alice").inbox().await);
    world.stops().await;

    // The new gateway has another data folder and another port, and shares only the stores.
    let world = stores.gateway().await;
    assert_eq!(world.user("alice").gets("/api/sync").await.text, sync.text);
    let repeat = world.service("shop").calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!((repeat.text, repeat.headers["idempotency-replayed"].to_str().unwrap()), (first.text, "true"));
    let since = sync.json()["cursor"].as_str().unwrap().to_owned();
    world.service("shop").rings(&["alice"], "later").await;
    let later = world.user("alice").gets(&format!("/api/sync?since={since}")).await.expect(200);
    assert_eq!(later["notifications"].as_array().unwrap().len(), 1, "{later}");
    assert_eq!(world.user("alice").inbox().await[1..], inbox);
    world.stops().await;
}
