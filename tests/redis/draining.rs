//! A drain on a queue that holds foreign entries, or that disagrees with the record.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::redis_server::RedisServer;
use harness::{FakePush, TestApp, invoke};
use shared::clock::Clock;
use shared::delivery::queue::Entry;
use shared::delivery::work::PushWork;
use shared::ids::{ConnectionId, UserId};
use shared::protocol::Frame;
use shared::sockets::push::{Outcome, Push};

use crate::moment::Moment;

const USERS: usize = 30;
/// Longer than the record waits after a first attempt.
const LATER: Duration = Duration::from_secs(6);

/// An app on SQLite and this Redis, with one connected device per user.
async fn listening(server: &RedisServer) -> TestApp {
    let mut test = TestApp::new().await;
    test.app.moment.queue = Moment::with_long_timeout(server).await.0;
    for n in 0..USERS {
        test.connect(&format!("user-{n}"), &[&format!("device-{n}")]).await;
    }
    test
}

/// Sends one notification to each user, and lets every push fail.
async fn send_undelivered(test: &TestApp) {
    for n in 0..USERS {
        test.push.will(&format!("device-{n}"), &[Outcome::Failed]);
        let mut sending = harness::event("send");
        sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
        sending["body"] = format!(r#"{{"type":"like","userId":"user-{n}","title":"Hi"}}"#).into();
        assert_eq!(invoke(&test.app, send::handle, sending).await.status(), 202);
    }
    test.push.taken();
}

/// How many pushes are pending according to the record and according to the queue.
async fn pending(test: &TestApp) -> (u64, u64) {
    let record = test.app.record.deliveries.backlog(test.app.clock.at()).await.unwrap().waiting;
    let queue = test.app.moment.queue.depth(test.app.clock.at()).await.map_or(0, |depth| {
        assert_eq!(depth.processing, 0);
        depth.waiting + depth.delayed
    });
    (record, queue)
}

/// Runs a drain; returns to how many devices it pushed, each of which must get one frame.
async fn drains(test: &TestApp) -> usize {
    test.clock.advance(LATER);
    assert!(!drain::handle(&test.app, i64::MAX).await.failed);
    let mut to: Vec<String> = test.push.taken().into_iter().map(|(device, _)| device).collect();
    to.sort();
    let frames = to.len();
    to.dedup();
    assert_eq!(to.len(), frames);
    frames
}

#[tokio::test]
async fn work_lost_with_an_emptied_redis_comes_from_the_record() {
    let server = RedisServer::start();
    let test = listening(&server).await;
    send_undelivered(&test).await;
    assert_eq!(pending(&test).await, (USERS as u64, USERS as u64));
    server.does(&["FLUSHALL"]);
    assert_eq!(pending(&test).await, (USERS as u64, 0));
    assert_eq!((drains(&test).await, pending(&test).await), (USERS, (0, 0)));
}

#[tokio::test]
async fn work_that_an_unavailable_redis_never_got_comes_from_the_record() {
    let server = RedisServer::start();
    let mut test = listening(&server).await;
    let queue = test.app.moment.queue.clone();
    test.loses_its_queue();
    send_undelivered(&test).await;
    test.app.moment.queue = queue;
    assert_eq!(pending(&test).await, (USERS as u64, 0));
    assert_eq!((drains(&test).await, pending(&test).await), (USERS, (0, 0)));
}

#[tokio::test]
async fn stale_entries_of_a_redis_that_was_unavailable_are_dropped() {
    let server = RedisServer::start();
    let mut test = listening(&server).await;
    send_undelivered(&test).await;
    let queue = test.app.moment.queue.clone();
    test.loses_its_queue();
    assert_eq!(drains(&test).await, USERS);
    test.app.moment.queue = queue;
    assert_eq!(pending(&test).await, (0, USERS as u64));
    assert_eq!((drains(&test).await, pending(&test).await), (0, (0, 0)));
}

#[tokio::test]
async fn unreadable_entries_are_dead_lettered_and_their_neighbours_are_pushed() {
    let server = RedisServer::start();
    let mut test = TestApp::new().await;
    test.app.moment.queue = Moment::with_long_timeout(&server).await.0;
    test.connect("alice", &["phone"]).await;
    let mut sending = harness::event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = r#"{"type":"like","userId":"alice","title":"Hi"}"#.into();
    test.push.will("phone", &[shared::sockets::push::Outcome::Failed]);
    assert_eq!(invoke(&test.app, send::handle, sending).await.status(), 202);
    // The row's entry, with an unreadable entry on each side of it.
    let work = PushWork {
        user: UserId::new("alice").unwrap(),
        offset: 1,
        fence_ms: test.clock.now_ms() + 5_000,
        priority: shared::inbox::notification::Priority::High,
        throttled: 0,
        left: Vec::new(),
    };
    server.does(&["XADD", "carillon:{q11}:high", "1-1", "w", "2 high {\"of\":\"tomorrow\"}"]);
    test.app.moment.queue.add(&[Entry { work: work.into(), wait_ms: 0 }], test.app.clock.at()).await;
    server.does(&["XADD", "carillon:{q11}:high", "*", "job", "by hand"]);
    test.push.taken();
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!((run.pushed, run.dead_lettered, run.failed), (1, 2, false));
    assert_eq!(test.push.taken()[0].0, "phone");
    let letters = test.app.record.dead_letters.page(None, 10).await.unwrap().letters;
    assert!(letters.len() == 2 && letters.iter().all(|letter| letter.user.is_none()), "{letters:?}");
}

/// Pushes that take a minute each, by the test's clock.
struct Slow(Arc<FakePush>, Clock);

#[async_trait]
impl Push for Slow {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        self.1.advance(Duration::from_secs(60));
        self.0.push(frames).await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        self.0.close(connections).await;
    }
}

#[tokio::test]
async fn a_drain_that_runs_out_of_time_keeps_no_claims() {
    let server = RedisServer::start();
    let mut test = listening(&server).await;
    // With three frames each, the rows are more than one push takes.
    for n in 0..USERS {
        let more = ["tablet", "desk"].map(|device| format!("{device}-{n}"));
        test.connect(&format!("user-{n}"), &more.each_ref().map(String::as_str)).await;
        more.iter().for_each(|device| test.push.will(device, &[Outcome::Failed]));
    }
    send_undelivered(&test).await;
    server.does(&["XADD", "carillon:{q11}:high", "*", "w", "2 high {\"of\":\"tomorrow\"}"]);
    server.does(&["XADD", "carillon:{q03}:low", "*", "job", "by hand"]);
    test.clock.advance(Duration::from_secs(1));
    test.app.push = Arc::new(Slow(test.push.clone(), test.clock.clone()));
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert!(!run.failed && (1..USERS).contains(&run.pushed), "{run:?}");
    assert_eq!(run.dead_lettered, 2);
    let depth = test.app.moment.queue.depth(test.app.clock.at()).await.unwrap();
    assert_eq!((depth.processing, depth.waiting + depth.delayed), (0, (USERS - run.pushed) as u64));
}
