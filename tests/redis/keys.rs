//! The keys that concern a user or a chat are found, with what the stores have put there.

use std::collections::HashMap;

use harness::redis_server::{RedisServer, free_address};
use shared::clock::At;
use shared::config::{Config, Origins};
use shared::ids::{ChatId, ConnectionId, UserId};
use shared::limits::{Limits, Rate, Spend};
use shared::moment::redis::inspect::{Content, Subject};
use shared::presence::Presence;

use crate::moment::{Moment, PREFIX};

const RATE: Rate = Rate { count: 30, window_ms: 60_000 };

fn alice() -> UserId {
    UserId::new("alice").unwrap()
}

/// What the configuration of this server lists for alice.
async fn listed(url: &str) -> String {
    let variables = HashMap::from([("REDIS_URL", url), ("RATE_LIMIT_SEND_TYPES", "like=10/60s,system=off")]);
    let config = Config::read(|name| variables.get(name).map(|value| (*value).to_owned()), &[], Origins::Loopback);
    gateway::keys::of_user(&config.unwrap(), alice(), &["LIKE".to_owned()]).await.unwrap()
}

#[tokio::test]
async fn the_keys_of_a_user_have_what_the_stores_have_put_there() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    moment.0.renew(&alice(), &ConnectionId::new("A="), 300_000, At::Server).await.unwrap();
    let spend = Spend::of_send("LIKE", &alice(), RATE);
    moment.0.spend(std::slice::from_ref(&spend), At::Server).await;

    let subject = Subject::User(alice(), vec![spend]);
    let inspected = moment.0.inspect(&subject).await;
    assert_eq!((inspected.len(), inspected[0].instance), (1, 0));
    let found = inspected[0].keys.as_ref().unwrap();
    let existing: Vec<&str> =
        found.iter().filter(|found| found.value.is_some()).map(|found| found.key.as_str()).collect();
    let mut stored = server.keys();
    // What health checks leave behind concerns no user.
    stored.retain(|key| existing.contains(&key.as_str()));
    assert_eq!(stored.len(), 2, "{existing:?}");
    let Some(Content { kind, ttl_ms: Some(ttl_ms), size: 20, elements }) = &found[0].value else { panic!("{found:?}") };
    assert!(kind == "string" && *ttl_ms > 300_000 && elements[0].contains('+'), "{found:?}");
    assert!(found[2].key.contains("limit:30/60000:") && found[2].value.is_some(), "{found:?}");
}

#[tokio::test]
async fn what_others_share_is_counted_and_not_shown() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    let subject = Subject::User(alice(), Vec::new());
    let names: Vec<String> =
        moment.0.inspect(&subject).await[0].keys.iter().flatten().map(|found| found.key.clone()).collect();
    let queue = names.iter().find(|name| name.ends_with(":normal")).unwrap();
    server.does(&["XADD", queue, "*", "w", "of bob"]);
    let inspected = moment.0.inspect(&subject).await;
    let found = inspected[0].keys.iter().flatten().find(|found| found.key == *queue).unwrap();
    let expected = Content { kind: "stream".into(), ttl_ms: None, size: 1, elements: Vec::new() };
    assert_eq!((found.is_shared, found.value.as_ref()), (true, Some(&expected)));
}

#[tokio::test]
async fn the_command_lists_every_key_with_its_instance_and_without_credentials() {
    let server = RedisServer::start();
    server.does(&["ACL", "SETUSER", "carillon", "on", ">hunter2", "~*", "&*", "+@all"]);
    let moment = Moment::with_long_timeout(&server).await;
    moment.0.renew(&alice(), &ConnectionId::new("A="), 300_000, At::Server).await.unwrap();
    let text = listed(&format!("redis://carillon:hunter2@127.0.0.1:{}", server.port())).await;
    assert!(text.starts_with(&format!("Keys of user alice, with the prefix {PREFIX}\n")), "{text}");
    assert!(text.contains(&format!("at redis-1 (127.0.0.1:{}/0)", server.port())), "{text}");
    for expected in ["rate limit of: send LIKE alice", "rate limit of: send like alice", "rate limit of: chat alice"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("send system alice") && !text.contains("hunter2"), "{text}");
    let text = listed(&format!("redis://{}", free_address())).await;
    assert!(text.contains("does not answer") && !text.contains("does not exist"), "{text}");
}

#[tokio::test]
async fn the_keys_of_an_unused_chat_do_not_exist() {
    let server = RedisServer::start();
    let moment = Moment::with_long_timeout(&server).await;
    let chat = ChatId::parse("d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1").unwrap();
    let inspected = moment.0.inspect(&Subject::Chat(chat)).await;
    let found = inspected[0].keys.as_ref().unwrap();
    assert!(found.iter().all(|found| found.value.is_none() && found.key.starts_with(PREFIX)), "{found:?}");
    assert!(found[0].key.contains(":messages:"), "{found:?}");
}
