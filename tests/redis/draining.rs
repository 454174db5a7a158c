//! A drain on a queue that others have written into.

use harness::TestApp;
use harness::redis_server::RedisServer;
use shared::ids::UserId;
use shared::queue::{Entry, Work};

use crate::moment::Moment;

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_its_neighbours_are_pushed() {
    let server = RedisServer::start();
    let mut test = TestApp::new().await;
    test.app.queue = Moment::patient(&server).await.0;
    test.connect("alice", &["phone"]).await;
    let mut sending = harness::event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = r#"{"type":"like","userId":"alice","title":"Hi"}"#.into();
    test.push.will("phone", &[shared::push::Outcome::Failed]);
    assert_eq!(send::handle(&test.app, harness::request(sending)).await.status(), 202);
    // The entry itself, and a neighbour on each side of it.
    let work = Work {
        user: UserId::new("alice").unwrap(),
        offset: 1,
        fence_ms: test.clock.now_ms() + 5_000,
        priority: shared::notification::Priority::High,
        throttled: 0,
        left: Vec::new(),
    };
    server.does(&["XADD", "carillon:{q11}:high", "1-1", "w", "2 high {\"of\":\"tomorrow\"}"]);
    test.app.queue.add(&[Entry { work, wait_ms: 0 }], test.app.clock.at()).await;
    server.does(&["XADD", "carillon:{q11}:high", "*", "job", "by hand"]);
    test.push.taken();
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!((run.pushed, run.set_aside, run.failed), (1, 2, false));
    assert_eq!(test.push.taken()[0].0, "phone");
    let letters = test.app.dead_letters.letters(None, 10).await.unwrap().letters;
    assert!(letters.len() == 2 && letters.iter().all(|letter| letter.user.is_none()), "{letters:?}");
}
