//! Chats: how long it takes until a message is accepted, and until the drain has pushed it to all, by the number of members. All
//! of them are connected, to sockets that only count.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::{TestApp, postgres_server, redis_server};
use serde_json::json;
use shared::chat::Kind;
use shared::chat::chats::{Created, NewChat};
use shared::chat::draft::Draft;
use shared::chat::writing;
use shared::ids::{ChatId, UserId, sha256};
use shared::record::postgres::PostgresRecord;

use super::{TIMEOUT, connecting, count, moment, p50_and_p99, timed};
use crate::queue::Sockets;
use crate::report::{figure, in_ms, number, percentile};

/// How many members the chats have.
const SIZES: [usize; 3] = [10, 100, 1_000];
/// How many messages are said in each.
const MESSAGES: usize = 40;
/// Longer than a large chat waits from one pushed message to the next.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) async fn measure() {
    for size in SIZES {
        talk(size).await;
    }
}

async fn talk(size: usize) {
    let variables = [("JWT_SECRET", "a secret of at least thirty-two bytes"), ("RATE_LIMIT_CHAT", "100000/1s")];
    let (mut test, sockets) = (TestApp::with(&variables).await, Arc::new(Sockets::default()));
    let database = postgres_server::database().await;
    test.uses_record(Arc::new(PostgresRecord::new(&database, 10).unwrap()));
    test.uses_moment(Arc::new(moment(&redis_server::own_prefix())));
    test.app.push = sockets.clone();
    sockets.is_on.store(true, Ordering::Relaxed);
    postgres_server::does(&database, &connecting(size)).await;
    postgres_server::does(&database, "VACUUM ANALYZE").await;
    let users: Vec<UserId> = (0..size).map(|n| UserId::new(format!("user-{n}")).unwrap()).collect();
    let chat = create(&test, &users).await;

    let (mut accepted, mut pushed) = (Vec::new(), Vec::new());
    for n in 0..MESSAGES {
        let draft = json!({"clientId": n.to_string(), "body": "Tomorrow before noon, says the carrier."});
        let draft = Draft::read(draft.as_object().unwrap().clone()).unwrap();
        timed(&mut accepted, writing::write(&test.app, &users[0], chat, &draft)).await.unwrap();
        // The clock is turned by hand, so that a drain that finds something due later would wait for ever.
        let draining = tokio::time::timeout(TIMEOUT, drain::handle(&test.app, i64::MAX));
        assert!(!timed(&mut pushed, draining).await.unwrap().failed, "WRONG");
        test.clock.advance(PAUSE);
    }
    let frames = sockets.accepted.load(Ordering::Relaxed);
    assert!(frames >= size * MESSAGES, "WRONG: of {} frames {frames} were pushed", size * MESSAGES);

    let named = |what: &str| format!("chat of {}: {what}", count(size));
    let how = format!("stored, and pushed to the first 20 members, p50 / p99; {MESSAGES} messages");
    figure(&named("accepted"), p50_and_p99(&accepted), "ms", &how);
    figure(&named("run of the drain"), p50_and_p99(&pushed), "ms", "which pushes it to the other members, p50 / p99");
    let frames = frames as f64 / MESSAGES as f64;
    figure(&named("frames"), number(frames, 1), "frames", "for each message, its sender's own device included");
    let each_us = (percentile(&in_ms(&accepted), 0.5) + percentile(&in_ms(&pushed), 0.5)) * 1_000.0 / frames;
    figure(&named("each frame"), number(each_us, 0), "us", "of both together, at the median");
}

async fn create(test: &TestApp, users: &[UserId]) -> ChatId {
    let (creator, others) = users.split_first().unwrap();
    let id = ChatId::of_group(creator, "growth");
    let new = NewChat { id, kind: Kind::Group, title: None, creator, others, fingerprint: sha256(b"") };
    let created = test.app.record.chats.create(&new, test.app.clock.at()).await.unwrap();
    assert!(matches!(created, Created::New(_)), "WRONG");
    id
}
