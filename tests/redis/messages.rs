//! The last messages of chats in Redis: their format and lifetime, and what is made of values that are not ours.

use std::time::Duration;

use harness::redis_server::RedisServer;
use serde_json::value::RawValue;
use shared::chat::cache::{MessageCache, Room};
use shared::chat::message::Message;
use shared::chat::messages::Range;
use shared::clock::{At, Time};
use shared::ids::{ChatId, MessageId, UserId};

use crate::moment::{MAX_IN_FLIGHT, Moment, ONE};

const ROOM: Room = Room { messages: 100, ttl_ms: 7_200_000 };

fn chat() -> ChatId {
    ChatId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap()
}

fn message(seq: i64) -> Message {
    let sender = UserId::new("alice").unwrap();
    Message {
        id: MessageId::of(chat(), &sender, &seq.to_string()),
        chat: chat(),
        seq,
        sender: Some(sender),
        client_id: Some(seq.to_string()),
        body: "hi".into(),
        data: RawValue::from_string("{}".into()).unwrap(),
        created_at: Time(seq),
        is_erased: false,
    }
}

async fn keep(moment: &Moment, seqs: impl IntoIterator<Item = i64>) {
    let messages: Vec<Message> = seqs.into_iter().map(message).collect();
    moment.0.keep(chat(), &messages.iter().collect::<Vec<_>>(), ROOM, At::Server).await;
}

async fn run(moment: &Moment) -> Vec<i64> {
    moment.0.run(chat(), Range::Last, 9, At::Server).await.iter().map(|message| message.seq).collect()
}

/// The only key with messages.
fn key(server: &RedisServer) -> String {
    let keys = server.keys();
    let found: Vec<&String> = keys.iter().filter(|key| key.contains("}:messages:")).collect();
    let [key] = found[..] else { panic!("{keys:?}") };
    key.clone()
}

#[tokio::test]
async fn messages_are_json_by_their_seq_and_expire_after_the_last_was_added() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    keep(&moment, 1..=2).await;
    let key = key(&server);
    server.does(&["PEXPIRE", &key, "1000"]);
    keep(&moment, [3]).await;
    let kept: Vec<(String, i64)> = server.answers(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).unwrap();
    let id = MessageId::of(chat(), &UserId::new("alice").unwrap(), "3");
    let expected = format!(r#"{{"seq":3,"id":"{id}","by":"alice","client":"3","body":"hi","data":{{}},"at":3}}"#);
    assert_eq!((kept.len(), &kept[2]), (3, &(expected, 3)));
    let ttl_ms: i64 = server.answers(&["PTTL", &key]).unwrap();
    assert!((ROOM.ttl_ms - 60_000..=ROOM.ttl_ms).contains(&ttl_ms), "{ttl_ms}");
}

#[tokio::test]
async fn values_that_cannot_be_read_leave_gaps_and_are_counted() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    keep(&moment, 1..=6).await;
    let key = key(&server);
    let kept: Vec<String> = server.answers(&["ZRANGE", &key, "2", "2"]).unwrap();
    for foreign in [&kept[0][..40], "{}", "", "3"] {
        server.does(&["ZREMRANGEBYSCORE", &key, "3", "3"]);
        server.does(&["ZADD", &key, "3", foreign]);
        let foreign_before = moment.0.foreign_values();
        assert_eq!(run(&moment).await, [4, 5, 6], "{foreign}");
        assert_eq!(moment.0.foreign_values(), foreign_before + 1);
    }
    // A reader who finds the gap fills it: what was there is not what this deployment writes, so nothing is trusted.
    keep(&moment, 1..=6).await;
    assert_eq!(run(&moment).await, [3, 4, 5, 6]);
    keep(&moment, 1..=6).await;
    assert_eq!(run(&moment).await, [1, 2, 3, 4, 5, 6]);
    // Two at one place, and a place that is none.
    server.does(&["ZADD", &key, "4", "x"]);
    server.does(&["ZADD", &key, "4.5", "y"]);
    assert_eq!(run(&moment).await, [1, 2, 3, 4, 5, 6]);
    keep(&moment, [4]).await;
    assert_eq!(run(&moment).await, [4]);
}

#[tokio::test]
async fn foreign_values_count_as_absent_and_are_counted_and_overwritten() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    keep(&moment, [1]).await;
    let key = key(&server);
    let key = key.as_str();
    for command in [
        vec!["SET", key, "much"],
        vec!["RPUSH", key, "1"],
        vec!["SADD", key, "a"],
        vec!["HSET", key, "a", "b"],
        vec!["XADD", key, "*", "a", "b"],
    ] {
        server.does(&["DEL", key]);
        server.does(&command);
        let foreign_before = moment.0.foreign_values();
        assert_eq!(run(&moment).await, [0; 0], "{command:?}");
        keep(&moment, [7]).await;
        assert_eq!(moment.0.foreign_values(), foreign_before + 2, "{command:?}");
        assert_eq!(run(&moment).await, [7], "{command:?}");
    }
}

#[tokio::test]
async fn messages_of_a_later_version_are_read_without_what_is_new_in_them() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    keep(&moment, 1..=2).await;
    let key = key(&server);
    let kept: Vec<String> = server.answers(&["ZRANGE", &key, "1", "1"]).unwrap();
    let later = kept[0].replace("\"at\":2", "\"at\":2,\"reactions\":{\"👍\":3}");
    server.does(&["ZREMRANGEBYSCORE", &key, "2", "2"]);
    server.does(&["ZADD", &key, "2", &later]);
    assert_eq!(run(&moment).await, [1, 2]);
}

#[tokio::test]
async fn without_redis_nothing_is_kept_and_no_one_waits() {
    let mut server = RedisServer::start();
    let moment = Moment::on(&server).await;
    keep(&moment, 1..=2).await;
    server.is_killed();
    moment.spends("until the breaker opens", ONE).await;
    moment.spends("until the breaker opens", ONE).await;
    let begun = std::time::Instant::now();
    keep(&moment, [3]).await;
    assert_eq!(run(&moment).await, [0; 0]);
    moment.0.forget(chat()).await;
    assert!(begun.elapsed() < MAX_IN_FLIGHT, "{:?}", begun.elapsed());
    server.is_back();
    moment.becomes_healthy_within(Duration::from_secs(10)).await;
    keep(&moment, [3]).await;
    assert_eq!(run(&moment).await, [3]);
}
