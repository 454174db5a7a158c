//! Two gateways at once on the same stores, and one after the other.

use std::time::Duration;

use futures_util::future::join_all;
use harness::world::START_MS;
use serde_json::json;
use shared::clock::Clock;

use crate::load::stored;
use crate::stores::Stores;

/// Longer than a push is waited for until the drain takes it over.
const GRACE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn budgets_are_shared() {
    let stores = Stores::new().await;
    let (limit, clock) = ([("RATE_LIMIT_SEND", "4/60s")], Clock::standing(START_MS));
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
    clock.turn(Duration::from_secs(15));
    there.service("shop").posts("/api/notifications/send", body.clone()).await.expect(202);
    here.service("shop").posts("/api/notifications/send", body).await.expect(429);
    here.stops().await;
    there.stops().await;
}

#[tokio::test]
async fn a_frame_goes_through_the_gateway_that_has_the_socket() {
    let stores = Stores::new().await;
    // No drain waits for what is due later, which would be a race to it.
    let (linger, clock) = (("DRAIN_LINGER_MS", "0"), Clock::standing(START_MS));
    let here = stores.gateway_with(&[linger], clock.clone()).await;
    let endpoint = format!("http://{}/live", here.address());
    let there = stores.gateway_with(&[linger, ("WS_ENDPOINT", &endpoint)], clock.clone()).await;
    let elsewhere = stores.gateway_with(&[linger], clock.clone()).await;
    let mut device = here.user("alice").connects().await;

    // One that knows where the sockets are pushes there.
    there.service("shop").rings(&["alice"], "from there").await;
    device.sees("from there").await;
    // One that does not leaves it, as long as the socket is young, to one that does.
    elsewhere.service("shop").rings(&["alice"], "from elsewhere").await;
    device.sees_nothing().await;
    clock.turn(GRACE);
    here.drains().await;
    device.sees("from elsewhere").await;
    device.sees_nothing().await;
    for world in [here, there, elsewhere] {
        world.stops().await;
    }
}

#[tokio::test]
async fn offsets_have_no_gaps_whoever_takes_them_and_keys_are_known_to_all() {
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
        assert_eq!(pair[0], pair[1], "one key, two answers");
        accepted.extend(pair[0].iter().map(|sent| sent["notifications"][0]["id"].as_str().unwrap().to_owned()));
    }
    accepted.sort_unstable();
    for world in worlds {
        assert_eq!(stored(&world.user("alice")).await, accepted);
        world.stops().await;
    }
}

#[tokio::test]
async fn a_gateway_that_comes_later_knows_inboxes_keys_and_cursors() {
    let stores = Stores::new().await;
    let world = stores.gateway().await;
    let body = r#"{"type":"paid","userIds":["alice"],"title":"Paid","idempotencyKey":"invoice-7"}"#;
    let headers = [("content-type", "application/json")];
    let first = world.service("shop").calls("POST", "/api/notifications/send", &headers, body).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let (sync, inbox) = (world.user("alice").gets("/api/sync").await, world.user("alice").inbox().await);
    world.stops().await;

    // Another folder, another port: all it shares are the stores.
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
