//! A drain on a queue that others have written into, or that is not what the record says.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::redis_server::RedisServer;
use harness::{FakePush, TestApp};
use shared::clock::Clock;
use shared::delivery::queue::{Entry, Work};
use shared::ids::{ConnectionId, UserId};
use shared::protocol::Frame;
use shared::sockets::push::{Outcome, Push};

use crate::moment::Moment;

const USERS: usize = 30;
/// Longer than the record waits by itself after a first try.
const LATER: Duration = Duration::from_secs(6);

/// An app on SQLite and this Redis, with a device of each user.
async fn listening(server: &RedisServer) -> TestApp {
    let mut test = TestApp::new().await;
    test.app.moment.queue = Moment::patient(server).await.0;
    for n in 0..USERS {
        test.connect(&format!("user-{n}"), &[&format!("device-{n}")]).await;
    }
    test
}

/// Sends to each user what his device does not take.
async fn leave(test: &TestApp) {
    for n in 0..USERS {
        test.push.will(&format!("device-{n}"), &[Outcome::Failed]);
        let mut sending = harness::event("send");
        sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
        sending["body"] = format!(r#"{{"type":"like","userId":"user-{n}","title":"Hi"}}"#).into();
        assert_eq!(send::handle(&test.app, harness::request(sending)).await.status(), 202);
    }
    test.push.taken();
}

/// How much is to be pushed by the record and by the queue.
async fn to_push(test: &TestApp) -> (u64, u64) {
    let record = test.app.record.deliveries.backlog(test.app.clock.at()).await.unwrap().waiting;
    let queue = test.app.moment.queue.depth(test.app.clock.at()).await.map_or(0, |depth| {
        assert_eq!(depth.processing, 0);
        depth.waiting + depth.delayed
    });
    (record, queue)
}

/// To how many devices a drain pushes, each once.
async fn drains(test: &TestApp) -> usize {
    test.clock.turn(LATER);
    assert!(!drain::handle(&test.app, i64::MAX).await.failed);
    let mut to: Vec<String> = test.push.taken().into_iter().map(|(device, _)| device).collect();
    to.sort();
    let frames = to.len();
    to.dedup();
    assert_eq!(to.len(), frames);
    frames
}

#[tokio::test]
async fn what_an_emptied_redis_knew_comes_from_the_record() {
    let server = RedisServer::start();
    let test = listening(&server).await;
    leave(&test).await;
    assert_eq!(to_push(&test).await, (USERS as u64, USERS as u64));
    server.does(&["FLUSHALL"]);
    assert_eq!(to_push(&test).await, (USERS as u64, 0));
    assert_eq!((drains(&test).await, to_push(&test).await), (USERS, (0, 0)));
}

#[tokio::test]
async fn what_a_redis_that_was_away_never_heard_of_comes_from_the_record() {
    let server = RedisServer::start();
    let mut test = listening(&server).await;
    let back = test.app.moment.queue.clone();
    test.loses_its_queue();
    leave(&test).await;
    test.app.moment.queue = back;
    assert_eq!(to_push(&test).await, (USERS as u64, 0));
    assert_eq!((drains(&test).await, to_push(&test).await), (USERS, (0, 0)));
}

#[tokio::test]
async fn what_a_redis_that_was_away_still_believes_to_be_left_is_let_go_of() {
    let server = RedisServer::start();
    let mut test = listening(&server).await;
    leave(&test).await;
    let back = test.app.moment.queue.clone();
    test.loses_its_queue();
    assert_eq!(drains(&test).await, USERS);
    test.app.moment.queue = back;
    assert_eq!(to_push(&test).await, (0, USERS as u64));
    assert_eq!((drains(&test).await, to_push(&test).await), (0, (0, 0)));
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_its_neighbours_are_pushed() {
    let server = RedisServer::start();
    let mut test = TestApp::new().await;
    test.app.moment.queue = Moment::patient(&server).await.0;
    test.connect("alice", &["phone"]).await;
    let mut sending = harness::event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = r#"{"type":"like","userId":"alice","title":"Hi"}"#.into();
    test.push.will("phone", &[shared::sockets::push::Outcome::Failed]);
    assert_eq!(send::handle(&test.app, harness::request(sending)).await.status(), 202);
    // The entry itself, and a neighbour on each side of it.
    let work = Work {
        user: UserId::new("alice").unwrap(),
        offset: 1,
        fence_ms: test.clock.now_ms() + 5_000,
        priority: shared::inbox::notification::Priority::High,
        throttled: 0,
        left: Vec::new(),
    };
    server.does(&["XADD", "carillon:{q11}:high", "1-1", "w", "2 high {\"of\":\"tomorrow\"}"]);
    test.app.moment.queue.add(&[Entry { work, wait_ms: 0 }], test.app.clock.at()).await;
    server.does(&["XADD", "carillon:{q11}:high", "*", "job", "by hand"]);
    test.push.taken();
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!((run.pushed, run.dead_letter, run.failed), (1, 2, false));
    assert_eq!(test.push.taken()[0].0, "phone");
    let letters = test.app.record.dead_letters.page(None, 10).await.unwrap().letters;
    assert!(letters.len() == 2 && letters.iter().all(|letter| letter.user.is_none()), "{letters:?}");
}

/// Sockets for each frame of which much time passes.
struct Slow(Arc<FakePush>, Clock);

#[async_trait]
impl Push for Slow {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        self.1.turn(Duration::from_secs(60));
        self.0.push(frames).await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        self.0.close(connections).await;
    }
}

#[tokio::test]
async fn a_drain_whose_time_is_over_keeps_nothing_of_what_it_claimed() {
    let server = RedisServer::start();
    let mut test = listening(&server).await;
    leave(&test).await;
    server.does(&["XADD", "carillon:{q11}:high", "*", "w", "2 high {\"of\":\"tomorrow\"}"]);
    server.does(&["XADD", "carillon:{q03}:low", "*", "job", "by hand"]);
    test.clock.turn(Duration::from_secs(1));
    test.app.push = Arc::new(Slow(test.push.clone(), test.clock.clone()));
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert!(!run.failed && run.pushed < USERS, "{run:?}");
    assert_eq!(run.dead_letter, 2);
    let depth = test.app.moment.queue.depth(test.app.clock.at()).await.unwrap();
    assert_eq!((depth.processing, depth.waiting + depth.delayed), (0, (USERS - run.pushed) as u64));
}
