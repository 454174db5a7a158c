//! Programs beside us hear what was accepted, over plain pub/sub.

use std::time::Duration;

use futures_util::StreamExt;
use harness::redis_server::{RedisServer, config};
use redis::aio::PubSub;
use serde_json::{Value, json};
use shared::clock::At;
use shared::ids::{NotificationId, SendId, UserId};
use shared::limits::Verdict;
use shared::telemetry::health::Status;
use shared::telemetry::{Hint, Report, Telemetry};

use crate::moment::{MAX_IN_FLIGHT, Moment, ONE, PREFIX};

async fn listener(server: &RedisServer) -> PubSub {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port())).unwrap();
    client.get_async_pubsub().await.unwrap()
}

/// The next message: its channel and what it says.
async fn heard(listener: &mut PubSub) -> (String, Value) {
    let mut messages = listener.on_message();
    let next = tokio::time::timeout(Duration::from_secs(5), messages.next()).await;
    let message = next.expect("nothing was heard").unwrap();
    (message.get_channel_name().to_owned(), serde_json::from_slice(message.get_payload_bytes()).unwrap())
}

fn users(count: usize) -> Vec<UserId> {
    (0..count).map(|n| UserId::new(format!("user \"{n}\" 🔔")).unwrap()).collect()
}

/// Tells of one notification for each user; returns their ids.
async fn accept(moment: &Moment, users: &[UserId]) -> Vec<NotificationId> {
    let send = SendId::random();
    let ids: Vec<NotificationId> = users.iter().map(|user| NotificationId::of(send, user)).collect();
    let hints = users.iter().zip(&ids).map(|(user, id)| Hint { user, id: *id, kind: "REPORT_APPROVED" }).collect();
    moment.0.report(&Report { hints, ..Report::default() }, At::Server).await;
    ids
}

#[tokio::test]
async fn what_was_accepted_is_heard_by_name_and_by_pattern() {
    let server = RedisServer::start();
    let moment = Moment::on(&server).await;
    let (mut by_name, mut by_pattern) = (listener(&server).await, listener(&server).await);
    by_name.subscribe("carillon:notification-events").await.unwrap();
    by_pattern.psubscribe("carillon:*").await.unwrap();
    // Nobody hears of another deployment.
    accept(&Moment::new(&server.config("other")), &users(1)).await;
    let users = users(1_000);
    let ids = accept(&moment, &users).await;
    for listener in [&mut by_name, &mut by_pattern] {
        for (user, id) in users.iter().zip(&ids) {
            let (channel, event) = heard(listener).await;
            assert_eq!(channel, "carillon:notification-events");
            assert_eq!(event, json!({ "userId": user.as_str(), "id": id.to_string(), "type": "REPORT_APPROVED" }));
        }
    }
}

#[tokio::test]
async fn where_redis_is_away_hints_are_dropped_at_once() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    server.is_killed();
    let begun = std::time::Instant::now();
    accept(&moment, &users(1_000)).await;
    assert!(begun.elapsed() < MAX_IN_FLIGHT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_channel_that_is_forbidden_costs_the_hints_and_nothing_else() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">p", "~*", "resetchannels", "+@all"]);
    let moment = Moment::new(&config(&format!("redis://carillon:p@127.0.0.1:{}", server.port()), PREFIX));
    moment.is_well_within(Duration::from_secs(1)).await;
    accept(&moment, &users(3)).await;
    assert_eq!(moment.check().await, Status::Ok);
    assert_eq!(moment.spends("send A alice", ONE).await, Verdict::Admitted);
    assert_eq!(server.keys().len(), 2, "{:?}", server.keys());
}
