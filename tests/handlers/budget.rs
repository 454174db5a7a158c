//! The cost of calls in units that do not depend on the machine: round trips to the record, and pushed frames.

use harness::{TestApp, event, invoke, socket_event};
use serde_json::{Value, json};
use shared::chat::chats::{Change, NewChat};
use shared::chat::{Kind, typing};
use shared::ids::{ChatId, UserId};

async fn send(test: &TestApp, users: &[&str]) -> usize {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "like", "userIds": users, "title": "Hi"}).to_string().into();
    assert_eq!(invoke(&test.app, send::handle, sending).await.status(), 202);
    test.record.round_trips()
}

async fn read_inbox(test: &TestApp, name: &str, change: impl FnOnce(&mut Value)) -> usize {
    let mut http_event = event(name);
    http_event["headers"]["authorization"] = test.bearer("alice", "").into();
    change(&mut http_event);
    invoke(&test.app, inbox::handle, http_event).await;
    test.record.round_trips()
}

#[tokio::test]
async fn a_send_takes_one_round_trip_and_a_second_one_if_a_recipient_is_connected() {
    let test = TestApp::new().await;
    assert_eq!(send(&test, &["alice", "bob"]).await, 1);
    test.connect("alice", &["phone"]).await;
    assert_eq!(send(&test, &["alice", "bob"]).await, 2);
}

#[tokio::test]
async fn a_send_pushes_once_to_each_device() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.connect("bob", &["tablet"]).await;
    send(&test, &["alice", "bob", "carol"]).await;
    let mut pushed: Vec<String> = test.push.taken().into_iter().map(|(connection, _)| connection).collect();
    pushed.sort();
    assert_eq!(pushed, ["laptop", "phone", "tablet"]);
}

#[tokio::test]
async fn a_list_and_a_read_ask_once_and_a_sync_asks_for_inbox_and_chats_at_once() {
    let test = TestApp::new().await;
    send(&test, &["alice"]).await;
    assert_eq!(read_inbox(&test, "list", |_| {}).await, 1);
    assert_eq!(read_inbox(&test, "sync", |_| {}).await, 2);
    assert_eq!(read_inbox(&test, "read", |_| {}).await, 1);
    let user = shared::ids::UserId::new("alice").unwrap();
    let (_, tag) = shared::inbox::sync::standing(&test.app, &user).await.unwrap();
    test.record.round_trips();
    assert_eq!(read_inbox(&test, "sync", |event| event["headers"]["if-none-match"] = tag.to_string().into()).await, 2);
}

#[tokio::test]
async fn a_ping_asks_for_its_connection_and_then_for_inbox_and_chats_at_once() {
    let test = TestApp::new().await;
    test.connect("alice", &["PJqB0fHsqRcCHlw="]).await;
    // The first one makes its user online, as opening the socket would have.
    message::handle(&test.app, socket_event(event("message"))).await;
    test.record.round_trips();
    message::handle(&test.app, socket_event(event("message"))).await;
    assert_eq!(test.record.round_trips(), 3);
    disconnect::handle(&test.app, socket_event(event("disconnect"))).await;
    assert_eq!(test.record.round_trips(), 1);
}

#[tokio::test]
async fn typing_asks_once_who_hears_of_it_unless_that_may_not_be_remembered() {
    for (ttl_s, of_both) in [("86400", [1, 0]), ("0", [1, 1])] {
        let secret = ("JWT_SECRET", "a secret of at least thirty-two bytes");
        let test = TestApp::with(&[secret, ("CACHE_CHAT_TTL_S", ttl_s)]).await;
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let (id, others) = (ChatId::of_pair(&alice, &bob), [bob.clone()]);
        let new =
            NewChat { id, kind: Kind::Direct, title: None, creator: &alice, others: &others, fingerprint: [7; 32] };
        test.app.record.chats.create(&new, test.app.clock.at()).await.unwrap();
        test.app.record.chats.change(id, &bob, &Change::Accept, test.app.clock.at()).await.unwrap().unwrap();
        test.record.round_trips();
        for expected in of_both {
            typing::tell(&test.app, &alice, id, true).await.unwrap();
            assert_eq!(test.record.round_trips(), expected, "{ttl_s}");
        }
    }
}
