//! Presence from the handshake to the drain: each change is told once, to those who may know.

use std::time::Duration;

use drain::Drained;
use harness::{TestApp, body, event, invoke, socket_event};
use serde_json::{Value, json};
use shared::chat::Kind;
use shared::chat::chats::{Change, NewChat};
use shared::delivery::queue::Depth;
use shared::ids::{ChatId, UserId};
use shared::moment::none::NoMoment;
use shared::presence::GRACE_MS;
use shared::sockets::push::Outcome;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Two users who share an accepted chat.
async fn know_each_other(test: &TestApp, one: &str, other: &str) {
    let (one, other) = (user(one), user(other));
    let others = [other.clone()];
    let id = ChatId::of_pair(&one, &other);
    let new = NewChat { id, kind: Kind::Direct, title: None, creator: &one, others: &others, fingerprint: [7; 32] };
    test.app.record.chats.create(&new, test.app.clock.at()).await.unwrap();
    let accepted = test.app.record.chats.change(id, &other, &Change::Accept, test.app.clock.at()).await;
    accepted.unwrap().unwrap();
}

/// Opens a socket as API Gateway does.
pub(crate) async fn opens(test: &TestApp, name: &str, connection: &str) {
    let mut asking = event("ticket");
    asking["headers"]["authorization"] = test.bearer(name, "").into();
    let ticket = body(&invoke(&test.app, tickets::handle, asking).await)["ticket"].clone();
    let mut opening = event("connect");
    opening["queryStringParameters"]["ticket"] = ticket.clone();
    opening["multiValueQueryStringParameters"]["ticket"] = json!([ticket]);
    opening["requestContext"]["connectionId"] = connection.into();
    let reply = connect::handle(&test.app, socket_event(opening)).await;
    assert_eq!(serde_json::to_value(&reply).unwrap()["statusCode"], 200);
}

async fn closes(test: &TestApp, connection: &str) {
    let mut closing = event("disconnect");
    closing["requestContext"]["connectionId"] = connection.into();
    disconnect::handle(&test.app, socket_event(closing)).await;
}

/// Sends a frame; returns the reply.
async fn frame(test: &TestApp, connection: &str, frame: Value) -> Value {
    let mut sent = event("message");
    sent["requestContext"]["connectionId"] = connection.into();
    sent["body"] = frame.to_string().into();
    let reply = serde_json::to_value(message::handle(&test.app, socket_event(sent)).await).unwrap();
    reply["body"].as_str().map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
}

async fn drains(test: &TestApp) -> Drained {
    // As late as possible: it does what is due and does not wait for more.
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await
}

fn passes(test: &TestApp, ms: i64) {
    test.clock.advance(Duration::from_millis(ms.unsigned_abs()));
}

/// What was told since the last call: to which connection, about which user, and whether that user is online.
fn told(test: &TestApp) -> Vec<(String, String, bool)> {
    let presence = |(connection, frame): (String, Value)| {
        assert_eq!(frame["type"], "presence", "{frame}");
        let [user] = frame["users"].as_array().unwrap().as_slice() else { panic!("{frame}") };
        (connection, user["userId"].as_str().unwrap().to_owned(), user["online"].as_bool().unwrap())
    };
    test.push.taken().into_iter().map(presence).collect()
}

fn telling(connection: &str, name: &str, online: bool) -> Vec<(String, String, bool)> {
    vec![(connection.into(), name.into(), online)]
}

async fn asks(test: &TestApp, name: &str, scope: &str, query: &str) -> Value {
    let mut asking = event("presence");
    asking["headers"]["authorization"] = test.bearer(name, scope).into();
    asking["rawQueryString"] = query.into();
    body(&invoke(&test.app, presence::handle, asking).await)
}

async fn pair() -> TestApp {
    let test = TestApp::new().await;
    know_each_other(&test, "alice", "bob").await;
    opens(&test, "bob", "bob's phone").await;
    assert_eq!(told(&test), []);
    test
}

#[tokio::test]
async fn coming_online_is_told_once_and_going_offline_once_after_the_grace() {
    let test = pair().await;
    opens(&test, "alice", "phone").await;
    assert_eq!(told(&test), telling("bob's phone", "alice", true));
    opens(&test, "alice", "tab").await;
    frame(&test, "phone", json!({"action": "ping"})).await;
    assert_eq!(told(&test), []);

    closes(&test, "phone").await;
    passes(&test, GRACE_MS);
    drains(&test).await;
    assert_eq!(told(&test), [], "the tab is still open");
    passes(&test, 60_000);
    closes(&test, "tab").await;
    let left_at_ms = test.clock.now_ms();
    drains(&test).await;
    passes(&test, GRACE_MS - 1);
    drains(&test).await;
    assert_eq!(told(&test), [], "the grace has not passed");
    passes(&test, 1);
    drains(&test).await;
    let frames = test.push.taken();
    let seen_at = shared::clock::Time(left_at_ms).to_string();
    let users = json!([{"userId": "alice", "online": false, "lastSeenAt": seen_at}]);
    assert_eq!(frames, [("bob's phone".to_owned(), json!({"type": "presence", "users": users}))]);
    assert_eq!(asks(&test, "bob", "", "userIds=alice").await, json!({"users": users}));
    drains(&test).await;
    assert_eq!((told(&test), test.app.moment.queue.depth(test.app.clock.at()).await), (vec![], Some(Depth::default())));
}

#[tokio::test]
async fn going_offline_is_told_later_if_the_moment_gave_no_answer() {
    let mut test = pair().await;
    opens(&test, "alice", "phone").await;
    closes(&test, "phone").await;
    test.push.taken();
    passes(&test, GRACE_MS);
    let silent = std::sync::Arc::new(NoMoment::default());
    let answers = std::mem::replace(&mut test.app.moment.presence, silent);
    drains(&test).await;
    assert_eq!(told(&test), []);
    test.app.moment.presence = answers;
    passes(&test, 5_000);
    drains(&test).await;
    assert_eq!(told(&test), telling("bob's phone", "alice", false));
}

#[tokio::test]
async fn a_reload_within_the_grace_is_told_to_no_one() {
    let test = pair().await;
    opens(&test, "alice", "tab").await;
    told(&test);
    for n in 0..3 {
        closes(&test, if n == 0 { "tab".into() } else { format!("tab {n}") }.as_str()).await;
        passes(&test, GRACE_MS / 2);
        opens(&test, "alice", &format!("tab {}", n + 1)).await;
        passes(&test, GRACE_MS / 2);
        drains(&test).await;
    }
    assert_eq!(told(&test), []);
}

#[tokio::test]
async fn any_frame_renews_the_lease_and_silence_ends_it() {
    let test = pair().await;
    let lease_ms = test.app.config.presence_lease_ms;
    opens(&test, "alice", "phone").await;
    told(&test);
    let is_online = async || asks(&test, "bob", "", "userIds=alice").await["users"][0]["online"].clone();
    passes(&test, lease_ms - 1);
    // Even one that is refused.
    frame(&test, "phone", json!({"action": "nothing"})).await;
    passes(&test, lease_ms - 1);
    assert_eq!(is_online().await, true);
    passes(&test, 1);
    assert_eq!(is_online().await, false);
    assert_eq!(told(&test), []);
    // The next frame brings the user back, which is told.
    frame(&test, "phone", json!({"action": "ping"})).await;
    assert_eq!((is_online().await, told(&test)), (json!(true), telling("bob's phone", "alice", true)));
}

#[tokio::test]
async fn a_connection_that_is_gone_counts_as_closed() {
    let test = pair().await;
    opens(&test, "alice", "phone").await;
    told(&test);
    passes(&test, 20_000);
    test.push.will("phone", &[Outcome::Gone]);
    // Coming back, bob is told to alice, whose phone turns out to be gone.
    closes(&test, "bob's phone").await;
    passes(&test, GRACE_MS);
    drains(&test).await;
    assert_eq!(told(&test), telling("phone", "bob", false));
    opens(&test, "bob", "bob's tab").await;
    passes(&test, GRACE_MS);
    drains(&test).await;
    assert_eq!(told(&test), telling("bob's tab", "alice", false));
}

#[tokio::test]
async fn the_oldest_connection_of_too_many_does_not_keep_its_user_online() {
    let test = pair().await;
    for n in 0..=20 {
        opens(&test, "alice", &format!("tab {n}")).await;
        passes(&test, 1);
    }
    told(&test);
    assert_eq!(test.push.closed(), ["tab 0"]);
    for n in 1..=20 {
        closes(&test, &format!("tab {n}")).await;
    }
    passes(&test, GRACE_MS);
    drains(&test).await;
    assert_eq!(told(&test), telling("bob's phone", "alice", false));
}

#[tokio::test]
async fn only_those_who_share_an_accepted_chat_may_ask_and_administrators() {
    let test = pair().await;
    opens(&test, "alice", "phone").await;
    let known = json!({"users": [{"userId": "alice", "online": true, "lastSeenAt": shared::clock::Time(test.clock.now_ms()).to_string()}]});
    assert_eq!(asks(&test, "bob", "", "userIds=carol,alice,bob,alice").await, known);
    assert_eq!(asks(&test, "bob", "notify:send", "userIds=carol").await, json!({"users": []}));
    assert_eq!(asks(&test, "mallory", "", "userIds=alice,bob").await, json!({"users": []}));
    let all = asks(&test, "root", "notify:admin", "userIds=carol,alice").await;
    assert_eq!(all["users"][0], json!({"userId": "carol", "online": false, "lastSeenAt": null}));
    assert_eq!(all["users"][1], known["users"][0]);

    let asked = frame(&test, "bob's phone", json!({"action": "presence", "ref": "o1", "userIds": ["carol", "alice"]}));
    assert_eq!(asked.await, json!({"type": "presence", "ref": "o1", "users": known["users"]}));
}

#[tokio::test]
async fn an_id_with_a_comma_is_asked_for_by_itself() {
    let test = pair().await;
    know_each_other(&test, "bob", "doe, jane").await;
    let asked = asks(&test, "bob", "", "userId=doe%2C+jane&userId=alice&userId=alice").await;
    let users: Vec<&Value> = asked["users"].as_array().unwrap().iter().map(|user| &user["userId"]).collect();
    assert_eq!(users, ["doe, jane", "alice"], "{asked}");
    assert_eq!(asks(&test, "bob", "", "userIds=doe%2C+jane").await, json!({"users": []}));
}

#[tokio::test]
async fn what_is_asked_is_validated() {
    let test = pair().await;
    let many = vec!["x"; 201].join(",");
    for (query, field) in [
        ("", "userIds"),
        ("userIds=", "userIds[0]"),
        ("userIds=a,,b", "userIds[1]"),
        (&format!("userIds={many}"), "userIds"),
        ("userIds=a&limit=1", "limit"),
        ("userIds=a&userIds=b", "userIds"),
        ("userId=", "userId[0]"),
        ("userId=a&userId=%07", "userId[1]"),
        ("userId=a&userIds=b", "userId"),
        (&format!("userId=a{}", "&userId=a".repeat(200)), "userId"),
    ] {
        let refused = asks(&test, "bob", "", query).await;
        assert_eq!(refused["error"]["fields"], json!([field]), "{query}: {refused}");
    }
    assert_eq!(
        asks(&test, "bob", "", &format!("userIds={}", vec!["alice"; 200].join(","))).await["users"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // The longest ids of as many users as may be asked about do not fit into a frame: they do into two.
    let ids: Vec<String> = (0..120).map(|n| format!("{n:0>250}")).collect();
    for id in &ids {
        know_each_other(&test, "bob", id).await;
    }
    let refused = frame(&test, "bob's phone", json!({"action": "presence", "userIds": ids})).await;
    assert_eq!(refused["code"], "payload_too_large");
    let asked = frame(&test, "bob's phone", json!({"action": "presence", "userIds": ids[..60]})).await;
    assert_eq!(asked["users"].as_array().unwrap().len(), 60);
}

#[tokio::test]
async fn without_the_moment_presence_is_unknown_and_everything_else_works() {
    let mut test = pair().await;
    test.uses_moment(std::sync::Arc::new(NoMoment::default()));
    opens(&test, "alice", "phone").await;
    assert_eq!(frame(&test, "phone", json!({"action": "ping"})).await["type"], "pong");
    let asked = asks(&test, "bob", "", "userIds=alice").await;
    assert_eq!(asked, json!({"users": [{"userId": "alice", "online": null, "lastSeenAt": null}]}));
    closes(&test, "phone").await;
    assert!(!drains(&test).await.failed);
    assert_eq!(told(&test), []);
}
