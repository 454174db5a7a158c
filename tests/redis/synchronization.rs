//! "Redis-PostgreSQL Synchronization", as an older service's document describes it: fast accepts keep it, without its losses.

use std::sync::Arc;

use harness::redis_server::RedisServer;
use harness::{TestApp, postgres_server};
use serde_json::json;
use shared::chat::draft::Draft;
use shared::chat::message::Said;
use shared::chat::messages::Range;
use shared::chat::{history, joining, writing};
use shared::ids::{ChatId, UserId};
use shared::inbox::bounds::Bounds;
use shared::record::postgres::PostgresRecord;
use shared::telemetry::metrics::metrics;

use crate::moment::{Moment, PREFIX};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Alice and bob, in a group of theirs.
async fn chat(test: &TestApp) -> ChatId {
    let asked = json!({"kind": "group", "participantIds": ["bob"]});
    let asked = joining::Request::read(asked.as_object().unwrap().clone(), &user("alice")).unwrap();
    joining::create(&test.app, &user("alice"), &asked).await.unwrap().chat.chat.id
}

async fn say(test: &TestApp, chat: ChatId, text: &str) -> Said {
    let draft = json!({"clientId": text, "body": text, "accept": "fast"});
    let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
    writing::write(&test.app, &user("alice"), chat, &draft).await.unwrap().message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_stored_in_redis_at_once_and_persisted_to_postgresql_in_the_background() {
    let server = RedisServer::start();
    let mut test = TestApp::new().await;
    let url = postgres_server::database().await;
    let record = Arc::new(PostgresRecord::new(&url, 2).unwrap());
    test.uses_record(record.clone());
    test.uses_moment(Moment::with_long_timeout(&server).await.0);
    test.accepts_fast().await;
    let chat = chat(&test).await;
    // As it is without looking into logs first.
    let stored = async || {
        let bare = shared::record::Record::new(record.clone());
        let history = bare.messages.history(chat, &user("bob"), Range::Last, Bounds::default(), &[]).await;
        history.unwrap().unwrap().messages.into_iter().map(|message| message.body).collect::<Vec<_>>()
    };
    let logs = || server.keys().into_iter().filter(|key| key.ends_with("}:log")).count();

    // "New messages are immediately stored in Redis."
    for text in ["one", "two", "three"] {
        assert!(matches!(say(&test, chat, text).await, Said::Logged(_)));
    }
    assert_eq!((logs(), stored().await.len()), (1, 0));
    // "Monitor synchronization between Redis and PostgreSQL."
    assert_eq!(metrics(&test.app).await.backlog.entries, 3);

    // "Messages are asynchronously persisted to PostgreSQL."
    let drained = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!((drained.persisted, drained.failed), (3, false));
    assert_eq!((logs(), stored().await), (0, ["one", "two", "three"].map(str::to_owned).to_vec()));
    assert_eq!(metrics(&test.app).await.backlog.entries, 0);

    // "Redis serves as a caching layer for recent/active conversations."
    let read = async || {
        let read = history::read(&test.app, &user("bob"), chat, Range::Last, Bounds::default()).await;
        read.unwrap().unwrap().messages.len()
    };
    assert_eq!(read().await, 3);
    let cached = server.keys().into_iter().filter(|key| key.contains("}:messages:")).count();
    assert_eq!((cached, read().await), (1, 3));

    // "TTL (Time To Live) is set on Redis data to manage memory usage." Without one are only the queue's own keys, of which
    // there is a fixed number, however many users there are.
    let forever: Vec<String> = server
        .keys()
        .into_iter()
        .filter(|key| server.answers::<i64>(&["PTTL", key]).unwrap() == -1)
        .filter(|key| !key.starts_with(&format!("{PREFIX}:{{q")))
        .collect();
    assert!(forever.is_empty(), "{forever:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_is_emptied_into_the_record() {
    let server = RedisServer::start();
    let mut test = TestApp::new().await;
    test.uses_moment(Moment::with_long_timeout(&server).await.0);
    test.accepts_fast().await;
    let chat = chat(&test).await;
    for text in ["one", "two"] {
        assert!(matches!(say(&test, chat, text).await, Said::Logged(_)));
    }
    server.does(&["CONFIG", "SET", "maxmemory", "1"]);
    // It takes no more, and what it has comes first.
    assert!(matches!(say(&test, chat, "three").await, Said::Stored(message) if message.seq == 3));
    assert_eq!(server.keys().into_iter().filter(|key| key.ends_with("}:log")).count(), 0);
}
