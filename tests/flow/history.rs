//! The history of sends and the trace of a notification, through the whole system.

use harness::World;
use serde_json::json;

#[tokio::test]
async fn a_sender_can_follow_its_sends() {
    let world = World::new().await;
    let (shop, alice, ops) = (world.service("shop"), world.user("alice"), world.caller("ops", "notify:admin", 60));
    let mut tab = alice.connects().await;
    let id = shop.rings(&["alice", "bob"], "Hi").await;
    tab.sees("Hi").await;
    // The routes must not read `history` as a notification id, or a trace as a notification.
    let history = shop.gets("/api/notifications/history").await.expect(200);
    let states = json!({"waiting": 1, "offered": 1, "settled": 0, "expired": 0, "dead": 0});
    assert_eq!((&history["items"][0]["states"], &history["items"][0]["recipients"]), (&states, &json!(2)));
    assert_eq!(history["nextCursor"], json!(null));
    let trace = format!("/api/notifications/{id}/trace");
    for caller in [&alice, &ops] {
        let steps = caller.gets(&trace).await.expect(200)["steps"].clone();
        let names: Vec<&str> = steps.as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
        assert_eq!((names.first(), names.last()), (Some(&"accepted"), Some(&"offered")));
    }
    let refused = shop.posts("/api/notifications/history", json!({})).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET"));
    assert_eq!(alice.posts(&trace, json!({})).await.header("allow"), "GET");

    alice.posts(&format!("/api/notifications/{id}/read"), json!({})).await.expect(204);
    let settled = shop.gets("/api/notifications/history?state=settled").await.expect(200);
    assert_eq!(settled["items"][0]["states"]["settled"], 1);
    assert_eq!(alice.gets("/api/notifications/history").await.code(), "forbidden");
    assert_eq!(shop.gets(&trace).await.code(), "not_found");
    world.stops().await;
}
