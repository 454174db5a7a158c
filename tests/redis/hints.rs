//! Other programs hear about accepted notifications over plain pub/sub.

use std::time::Duration;

use futures_util::StreamExt;
use harness::redis_server::{RedisServer, config};
use redis::aio::PubSub;
use serde_json::{Value, json};
use shared::clock::At;
use shared::ids::{ChatId, NotificationId, SendId, UserId};
use shared::limits::Verdict;
use shared::telemetry::health::Status;
use shared::telemetry::{Hint, Report, Telemetry};

use crate::moment::{MAX_IN_FLIGHT, Moment, ONE, PREFIX};

async fn subscriber(server: &RedisServer) -> PubSub {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    client.get_async_pubsub().await.unwrap()
}

/// The channel and the body of the next message.
async fn next_message(subscriber: &mut PubSub) -> (String, Value) {
    let mut messages = subscriber.on_message();
    let next = tokio::time::timeout(Duration::from_secs(5), messages.next()).await;
    let message = next.expect("no message arrived").unwrap();
    (message.get_channel_name().to_owned(), serde_json::from_slice(message.get_payload_bytes()).unwrap())
}

fn users(count: usize) -> Vec<UserId> {
    (0..count).map(|n| UserId::new(format!("user \"{n}\" 🔔")).unwrap()).collect()
}

/// Publishes a hint of one notification for each user; returns their ids.
async fn publish(moment: &Moment, users: &[UserId]) -> Vec<NotificationId> {
    let send = SendId::random();
    let ids: Vec<NotificationId> = users.iter().map(|user| NotificationId::of(send, user)).collect();
    let hints = users
        .iter()
        .zip(&ids)
        .map(|(user, id)| Hint::Notification { user, id: *id, kind: "REPORT_APPROVED" })
        .collect();
    moment.0.report(&Report { hints, ..Report::default() }, At::Server).await;
    ids
}

#[tokio::test]
async fn hints_reach_subscribers_by_name_and_by_pattern() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    let (mut by_name, mut by_pattern) = (subscriber(&server).await, subscriber(&server).await);
    by_name.subscribe("carillon:notification-events").await.unwrap();
    by_pattern.psubscribe("carillon:*").await.unwrap();
    // Hints of another deployment do not reach these subscribers.
    publish(&Moment::new(&server.config("other")), &users(1)).await;
    let users = users(1_000);
    let ids = publish(&moment, &users).await;
    for subscriber in [&mut by_name, &mut by_pattern] {
        for (user, id) in users.iter().zip(&ids) {
            let (channel, event) = next_message(subscriber).await;
            assert_eq!(channel, "carillon:notification-events");
            assert_eq!(event, json!({ "userId": user.as_str(), "id": id.to_string(), "type": "REPORT_APPROVED" }));
        }
    }
}

#[tokio::test]
async fn hints_are_dropped_at_once_while_redis_is_unavailable() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.is_killed();
    let begun = std::time::Instant::now();
    publish(&moment, &users(1_000)).await;
    assert!(begun.elapsed() < MAX_IN_FLIGHT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_forbidden_channel_loses_the_hints_and_nothing_else() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p", "~*", "resetchannels", "+@all"]);
    let moment = Moment::new(&config(&format!("redis://carillon:p@127.0.0.1:{}", server.port()), PREFIX));
    moment.becomes_healthy_within(Duration::from_secs(1)).await;
    publish(&moment, &users(3)).await;
    assert_eq!(moment.check().await, Status::Ok);
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    assert_eq!(server.keys().len(), 2, "{:?}", server.keys());
}

#[tokio::test]
async fn messages_and_presence_have_channels_of_their_own() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    let mut subscriber = subscriber(&server).await;
    subscriber.psubscribe("carillon:channel:*").await.unwrap();
    let (user, chat) = (&users(1)[0], ChatId::random());
    let hints = vec![
        Hint::Presence { user, online: true },
        Hint::Message { chat, seq: Some(7), sender: Some(user) },
        Hint::Presence { user, online: false },
    ];
    moment.0.report(&Report { hints, ..Report::default() }, At::Server).await;
    let id = user.as_str();
    for (name, event) in [
        ("user-presence", json!({"userId": id, "online": true})),
        ("chat-messages", json!({"chatId": chat.to_string(), "seq": 7, "senderId": id})),
        ("user-presence", json!({"userId": id, "online": false})),
    ] {
        assert_eq!(next_message(&mut subscriber).await, (format!("carillon:channel:{name}"), event));
    }
}
