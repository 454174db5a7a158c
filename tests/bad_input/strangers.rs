//! C. Access to what belongs to others.

use futures_util::FutureExt;
use harness::World;
use harness::push_service::{Browser, PushService};
use serde_json::{Value, json};

use crate::pushing::{self, SUBSCRIPTIONS};
use crate::row::{Expected, Group, Row, SEND, Who, call, get, invalid, post, refused, row, status};

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
        row("S064", "the messages of a chat one is not in").script(|world| chat_of_others(world).boxed_local()),
        row("S065", "a message to that chat").script(|world| message_to_others(world).boxed_local()),
        row("S066", "a message with the `senderId` of another user")
            .script(|world| message_of_another(world).boxed_local()),
        row("S067", "a message of a member who was just removed").script(|world| removed_member(world).boxed_local()),
        row("S068", "messages from before one deleted the chat").script(|world| cleared_messages(world).boxed_local()),
        row("S069", "read mark and typing of another user")
            .note("Neither has a member for another user: it is unknown, and 422.")
            .script(|world| marks_of_another(world).boxed_local()),
        row("S070", "typing in a chat one is not in").script(|world| typing_to_others(world).boxed_local()),
        row("S071", "the push endpoint of another user's browser")
            .note("With the same keys it is the same browser, and moves to who signs in there.")
            .script(|_| endpoint_of_another().boxed_local()),
        row("S072", "another tenant's object").left_out("one deployment serves one application"),
        row("S073", "a tenant in body or header").left_out("one deployment serves one application"),
        row("S074", "a send without the scope").calls(
            [SEND, "/api/push/send"]
                .into_iter()
                .flat_map(|path| [post(path, good), post(path, good).by(Who::User("notify:send"))]),
            FORBIDDEN,
        ),
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
                    post("/api/users/erase", r#"{"userId":"victim"}"#),
                    post("/api/events/emit", r#"{"type":"system"}"#),
                    post("/api/events/emit", r#"{"type":"system"}"#).by(Who::Service("shop")),
                ],
                FORBIDDEN,
            ),
        row("S078", "the idempotency key of another service").script(|world| key_of_another(world).boxed_local()),
        row("S079", "the presence of a user who shares no chat with the caller")
            .script(|world| presence_of_another(world).boxed_local()),
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
    let snoozes = |id: &str| {
        let (eve, path) = (eve.clone(), format!("/api/notifications/{id}/snooze"));
        async move { eve.posts(&path, json!({"until": "2027-01-15T09:00:00Z"})).await }
    };
    let (real, unreal) = (snoozes(&id).await, snoozes(random).await);
    NOT_FOUND.check(&real, "snoozes it");
    assert_eq!(without_request_id(real.json()), without_request_id(unreal.json()), "a snooze");
    let mut socket = crate::socket::Socket::of(world, "eve").await;
    for action in ["read", "delete"] {
        assert!(socket.says(json!({"action": action, "ids": [id]}).to_string()).await);
        // Unknown ids are skipped.
        assert_eq!(socket.hears().await.unwrap()["type"], "ok");
    }
    let unchanged = bob.gets(&format!("/api/notifications/{id}")).await.expect(200);
    assert_eq!(unchanged["readAt"], Value::Null);
}

/// A chat of bob and carol, who both talk in it; returns its path.
async fn chat(world: &World) -> String {
    let (bob, carol) = (world.user("bob"), world.user("carol"));
    let chat = bob.posts("/api/chats", json!({"kind": "direct", "participantIds": ["carol"]})).await.json();
    let path = format!("/api/chats/{}", chat["id"].as_str().unwrap());
    carol.posts(&format!("{path}/accept"), json!({})).await.expect(200);
    bob.posts(&format!("{path}/messages"), json!({"clientId": "1", "body": "Secret"})).await;
    path
}

async fn says(caller: &harness::Caller, path: String, n: usize) -> harness::Answer {
    caller.posts(&path, json!({"clientId": n.to_string(), "body": "Hi"})).await
}

/// The id in the path of a chat.
fn id_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

async fn chat_of_others(world: &World) {
    let (path, eve) = (chat(world).await, world.user("eve"));
    for end in ["", "/messages", "/messages?before=9", "/messages?after=0", "/members"] {
        NOT_FOUND.check(&eve.gets(&format!("{path}{end}")).await, end);
    }
    for end in ["accept", "decline", "leave", "restore"] {
        NOT_FOUND.check(&eve.posts(&format!("{path}/{end}"), json!({})).await, end);
    }
    NOT_FOUND.check(&eve.deletes(&path).await, "hides it");
    NOT_FOUND.check(&eve.posts(&format!("{path}/members"), json!({"userIds": ["eve"]})).await, "joins by itself");
    assert_eq!(eve.gets("/api/chats").await.expect(200)["items"], json!([]));
    assert_eq!(eve.gets("/api/sync").await.expect(200)["chats"], json!([]));
}

async fn message_to_others(world: &World) {
    let (path, mut socket) = (chat(world).await, crate::socket::Socket::of(world, "eve").await);
    let message = json!({"clientId": "e1", "body": "Hi"});
    NOT_FOUND.check(&world.user("eve").posts(&format!("{path}/messages"), message).await, "over HTTP");
    let frame = json!({"action": "sendMessage", "chatId": id_of(&path), "clientId": "e1", "body": "Hi"});
    assert!(socket.says(frame.to_string()).await);
    assert_eq!(socket.hears().await.unwrap()["code"], "not_found");
    let history = world.user("bob").gets(&format!("{path}/messages")).await.expect(200);
    assert!(!history.to_string().contains("eve"), "{history}");
}

async fn message_of_another(world: &World) {
    let path = chat(world).await;
    for of_another in [&["senderId"], &["seq"], &["createdAt"], &["id"]] {
        let mut message = json!({"clientId": "s1", "body": "I owe you money"});
        message[of_another[0]] = "carol".into();
        let refused = world.user("bob").posts(&format!("{path}/messages"), message).await;
        invalid(of_another).check(&refused, of_another[0]);
    }
}

async fn removed_member(world: &World) {
    let (owner, dave) = (world.user("owner"), world.user("dave"));
    let group = owner.posts("/api/chats", json!({"kind": "group", "participantIds": ["dave"]})).await.expect(201);
    let path = format!("/api/chats/{}", group["id"].as_str().unwrap());
    let write = |n: usize| says(&dave, format!("{path}/messages"), n);
    status(201).check(&write(0).await, "as a member");
    // Whatever is under way then was either stored before the removal or is refused: nothing comes after it.
    let removal = async { owner.posts(&format!("{path}/members/remove"), json!({"userIds": ["dave"]})).await };
    let (answers, removed) = tokio::join!(futures_util::future::join_all((1..=8).map(write)), removal);
    status(200).check(&removed, "removes dave");
    let stored = 1 + answers.iter().filter(|answer| answer.status == 201).count();
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 404)), "{answers:?}");
    for n in [0, 9] {
        NOT_FOUND.check(&write(n).await, "after the removal");
    }
    NOT_FOUND.check(&dave.gets(&format!("{path}/messages")).await, "reads after the removal");
    let history = owner.gets(&format!("{path}/messages")).await.expect(200);
    assert_eq!(history["items"].as_array().map(Vec::len), Some(stored));
}

async fn cleared_messages(world: &World) {
    let (path, carol) = (chat(world).await, world.user("carol"));
    carol.deletes(&path).await.expect(204);
    for query in ["", "?before=9", "?after=0"] {
        let history = carol.gets(&format!("{path}/messages{query}")).await.expect(200);
        assert_eq!(history, json!({"items": [], "complete": true}), "{query}");
    }
    carol.posts(&format!("{path}/restore"), json!({})).await.expect(204);
}

async fn marks_of_another(world: &World) {
    let (path, mut socket) = (chat(world).await, crate::socket::Socket::of(world, "bob").await);
    let refused = world.user("bob").posts(&format!("{path}/read"), json!({"seq": 1, "userId": "carol"})).await;
    invalid(&["userId"]).check(&refused, "a read mark");
    for frame in [
        json!({"action": "readChat", "chatId": id_of(&path), "seq": 1, "userId": "carol"}),
        json!({"action": "typing", "chatId": id_of(&path), "on": true, "userId": "carol"}),
    ] {
        assert!(socket.says(frame.to_string()).await);
        assert_eq!(socket.hears().await.unwrap()["code"], "validation_failed", "{frame}");
    }
}

async fn typing_to_others(world: &World) {
    let path = chat(world).await;
    let (mut bob, mut eve) =
        (crate::socket::Socket::of(world, "bob").await, crate::socket::Socket::of(world, "eve").await);
    let typing = json!({"action": "typing", "chatId": id_of(&path), "on": true});
    assert!(eve.says(typing.to_string()).await);
    assert_eq!(eve.hears().await.unwrap()["code"], "not_found");
    // The members have heard nothing: what comes next is the reply to their own ping.
    assert!(bob.says(r#"{"action":"ping"}"#).await);
    assert_eq!(bob.hears().await.unwrap()["type"], "pong");
}

/// Who knows the endpoint of another browser takes nothing from its owner and gets nothing there.
async fn endpoint_of_another() {
    const CONFLICT: Expected = refused(409, "conflict");
    let service = PushService::start().await;
    let world = pushing::system(&service).await;
    let (bob, eve, shop) = (world.user("bob"), world.user("eve"), world.service("shop"));
    let (browser, other, endpoint) = (Browser::new(), Browser::new(), service.endpoint("/push/bob"));
    let subscription = browser.subscription(&endpoint);
    let id = bob.posts(SUBSCRIPTIONS, subscription.clone()).await.expect(201)["id"].clone();
    let own_keys = other.subscription(&endpoint);
    let mut half_of_each = subscription.clone();
    half_of_each["keys"]["auth"] = own_keys["keys"]["auth"].clone();
    let other_spelling = other.subscription(&service.endpoint("/push/eve/../bob"));
    for taken in [own_keys, half_of_each, other_spelling] {
        CONFLICT.check(&eve.posts(SUBSCRIPTIONS, taken.clone()).await, &taken.to_string());
    }
    for id in [id.as_str().unwrap(), "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1"] {
        NOT_FOUND.check(&eve.deletes(&format!("{SUBSCRIPTIONS}/{id}")).await, "unsubscribes another");
    }
    let title = async |pushed: usize| {
        let pushed = pushing::next(&service, pushed).await;
        let payload: Value = serde_json::from_slice(&browser.decrypted(&pushed[0])).unwrap();
        (pushed.len(), payload["title"].as_str().unwrap_or_default().to_owned())
    };
    shop.rings(&["bob", "eve"], "For each").await;
    assert_eq!(title(1).await, (1, "For each".to_owned()));
    // The same browser, after eve has signed in there.
    eve.posts(SUBSCRIPTIONS, subscription).await.expect(201);
    shop.rings(&["bob"], "For bob").await;
    shop.rings(&["eve"], "For eve").await;
    assert_eq!(title(1).await, (1, "For eve".to_owned()));
    world.drains().await;
    assert_eq!(service.taken().len(), 0, "what is bob's went to eve");
    world.stops().await;
}

async fn presence_of_another(world: &World) {
    let (eve, _bob) = (world.user("eve"), crate::socket::Socket::of(world, "bob").await);
    let answer = eve.gets("/api/presence?userIds=bob").await.expect(200);
    assert_eq!(answer, json!({"users": []}));
    let mut socket = crate::socket::Socket::of(world, "eve").await;
    assert!(socket.says(r#"{"action":"presence","userIds":["bob"]}"#).await);
    assert_eq!(socket.hears().await.unwrap(), json!({"type": "presence", "users": []}));
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
