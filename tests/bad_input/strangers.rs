//! C. Access to what belongs to others.

use futures_util::FutureExt;
use harness::World;
use serde_json::{Value, json};

use crate::row::{Expected, Feature, Group, Row, SEND, Who, call, get, invalid, post, refused, row, status};

const NOT_FOUND: Expected = refused(404, "not_found");
const FORBIDDEN: Expected = refused(403, "forbidden");

pub(crate) fn group() -> Group {
    Group { letter: 'C', title: "Access to other people's things", variables: &[], rows: rows() }
}

fn rows() -> Vec<Row> {
    let good = r#"{"type":"like","userIds":["victim"],"title":"Hi"}"#;
    vec![
        row("S061", "the notification of somebody else").script(|world| notification_of_another(world).boxed_local()),
        row("S062", "the history of somebody else")
            .call(get("/api/notifications/history?userId=bob"), FORBIDDEN)
            .call(get("/api/notifications/history"), FORBIDDEN)
            .script(|world| history_of_another(world).boxed_local()),
        row("S063", "mark all as read, for somebody else")
            .note("An unknown member is 422.")
            .script(|world| read_all_of_another(world).boxed_local()),
        row("S064", "the messages of a chat one is not in").waits_for(Feature::Chat),
        row("S065", "a message to that chat").waits_for(Feature::Chat),
        row("S066", "a message with somebody else's `senderId`").waits_for(Feature::Chat),
        row("S067", "a message of a member who was just removed").waits_for(Feature::Chat),
        row("S068", "messages from before one deleted the chat").waits_for(Feature::Chat),
        row("S069", "read mark, presence and typing of somebody else").waits_for(Feature::Chat),
        row("S070", "typing in a chat one is not in").waits_for(Feature::Chat),
        row("S071", "the push endpoint of somebody else").waits_for(Feature::WebPush),
        row("S072", "another tenant's object").left_out("one deployment serves one application"),
        row("S073", "a tenant in body or header").left_out("one deployment serves one application"),
        row("S074", "a send without the scope")
            .call(post(SEND, good), FORBIDDEN)
            .call(post(SEND, good).by(Who::User("notify:send")), FORBIDDEN),
        row("S075", "a send to another tenant's users").left_out("one deployment serves one application"),
        row("S076", "a wildcard as a recipient").script(|world| wildcards(world).boxed_local()),
        row("S077", "metrics and dead letters without the scope")
            .calls(
                ["/api/notifications/metrics/redis", "/metrics", "/api/dead-letters"]
                    .into_iter()
                    .flat_map(|path| [get(path), get(path).by(Who::Service("shop"))]),
                FORBIDDEN,
            )
            .calls(
                [
                    post("/api/dead-letters/d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1/redrive", ""),
                    call("DELETE", "/api/dead-letters/d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1"),
                    post("/api/users/revoke", r#"{"userId":"victim"}"#),
                ],
                FORBIDDEN,
            ),
        row("S078", "the idempotency key of another service").script(|world| key_of_another(world).boxed_local()),
        row("S079", "the presence of somebody one shares no chat with").waits_for(Feature::Chat),
        row("S080", "ids in order")
            .note("Ids are 128 bits of a hash: none is near another, and reading has no limit.")
            .calls(
                (0..50).map(|n| get(format!("/api/notifications/d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4{n:02x}"))),
                NOT_FOUND,
            )
            .calls((0..50).map(|n| get(format!("/api/notifications/{n}"))), NOT_FOUND),
    ]
}

async fn notification_of_another(world: &World) {
    let (bob, eve) = (world.user("bob"), world.user("eve"));
    let id = world.service("shop").rings(&["bob"], "For bob").await;
    let random = "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1";
    let without_request_id = |mut body: Value| {
        body["error"]["requestId"] = Value::Null;
        body
    };
    for (method, end) in [("GET", ""), ("DELETE", ""), ("POST", "/read"), ("POST", "/unread"), ("GET", "/trace")] {
        let path = |id: &str| format!("/api/notifications/{id}{end}");
        let (real, unreal) =
            (eve.calls(method, &path(&id), &[], "").await, eve.calls(method, &path(random), &[], "").await);
        NOT_FOUND.check(&real, method);
        assert_eq!(without_request_id(real.json()), without_request_id(unreal.json()), "{method} {end}");
    }
    let mut socket = crate::socket::Socket::of(world, "eve").await;
    for action in ["read", "delete"] {
        assert!(socket.says(json!({"action": action, "ids": [id]}).to_string()).await);
        // Unknown ids are skipped.
        assert_eq!(socket.hears().await.unwrap()["type"], "ok");
    }
    let unchanged = bob.gets(&format!("/api/notifications/{id}")).await.expect(200);
    assert_eq!(unchanged["readAt"], Value::Null);
}

async fn history_of_another(world: &World) {
    world.service("florist").rings(&["bob"], "From the florist").await;
    let baker = world.service("baker").gets("/api/notifications/history?userId=bob").await.expect(200);
    assert_eq!(baker["items"], json!([]));
    let florist = world.service("florist").gets("/api/notifications/history?userId=bob").await.expect(200);
    assert_eq!(florist["items"].as_array().map(Vec::len), Some(1));
}

async fn read_all_of_another(world: &World) {
    world.service("shop").rings(&["bob-unread"], "Hi").await;
    let eve = world.user("eve");
    let refused = eve.posts("/api/notifications/read-all", json!({"userId": "bob-unread"})).await;
    invalid(&["userId"]).check(&refused, "userId in read-all");
    eve.posts("/api/notifications/read-all", json!({})).await.expect(200);
    let count = world.user("bob-unread").gets("/api/notifications/unread-count").await.expect(200);
    assert_eq!(count["count"], 1);
}

async fn wildcards(world: &World) {
    let wildcards = ["*", "all", "%", "_", "victi_", "victim*", "/.*/", "everyone"];
    world.service("shop").rings(&wildcards, "For nobody else").await;
    for user in wildcards {
        assert_eq!(world.user(user).inbox().await.len(), 1, "{user}");
    }
    assert!(world.user("eve").inbox().await.is_empty());
}

async fn key_of_another(world: &World) {
    let body =
        json!({"type": "like", "userIds": ["keyed"], "title": "Secret of the florist", "idempotencyKey": "order-7"});
    let first = world.service("florist").posts(SEND, body.clone()).await;
    let mut other = body.clone();
    other["title"] = "From the baker".into();
    let second = world.service("baker").posts(SEND, other).await;
    assert_eq!((first.status, second.status), (202, 202), "{}", second.text);
    assert_eq!(second.header("idempotency-replayed"), "");
    assert_ne!(first.json()["sendId"], second.json()["sendId"]);
    let cancel = format!("/api/notifications/scheduled/{}", first.json()["sendId"].as_str().unwrap());
    NOT_FOUND.check(&world.service("baker").deletes(&cancel).await, "cancels the send of another");
    assert_eq!(world.user("keyed").inbox().await.len(), 2);
    status(202).check(&world.service("florist").posts(SEND, body).await, "a repeat");
}
