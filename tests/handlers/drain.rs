//! The drain by itself.

use std::time::Duration;

use drain::Drained;
use harness::{TestApp, event, request};
use serde_json::json;
use shared::inbox::{Change, Page};

async fn send_to(test: &TestApp, recipients: usize) {
    let users: Vec<String> = (0..recipients).map(|n| format!("user-{n}")).collect();
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "news", "userIds": users, "title": "Hi"}).to_string().into();
    assert_eq!(send::handle(&test.app, request(sending)).await.status(), 202);
}

#[tokio::test]
async fn a_schedule_without_work_does_nothing() {
    let test = TestApp::new().await;
    // The event says only that it is time.
    assert_eq!(event("schedule")["detail-type"], "Scheduled Event");
    assert_eq!(drain::handle(&test.app, i64::MAX).await, Drained::default());
}

#[tokio::test]
async fn chunks_of_a_large_send_are_materialised_and_pushed_once_by_any_number_of_drains() {
    let test = TestApp::new().await;
    test.connect("user-0", &["first"]).await;
    test.connect("user-999", &["last"]).await;
    send_to(&test, 1_000).await;
    assert_eq!(test.push.taken().len(), 1, "the call itself reaches the first 200");
    let mut drains = Vec::new();
    for _ in 0..4 {
        let app = test.app.clone();
        drains.push(tokio::spawn(async move { drain::handle(&app, i64::MAX).await.chunks }));
    }
    let mut chunks = 0;
    for drain in drains {
        chunks += drain.await.unwrap();
    }
    assert_eq!(chunks, 4);
    let pushed = test.push.taken();
    assert_eq!(pushed.len(), 1);
    assert_eq!(pushed[0].0, "last");
}

#[tokio::test]
async fn a_drain_stays_for_what_is_due_soon_and_no_longer_than_it_may() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("user-0", &["phone"]).await;
    test.push.will("phone", &[shared::sockets::push::Outcome::Failed]);
    send_to(&test, 1).await;
    // Due in 5 s, and the deadline leaves no time for that.
    let now_ms = test.clock.now_ms();
    assert_eq!(drain::handle(&test.app, now_ms + 14_999).await.pushed, 0);
    // Now it does: the drain waits, and pushes when the time has come.
    let app = test.app.clone();
    let staying = tokio::spawn(async move { drain::handle(&app, now_ms + 60_000).await });
    while !staying.is_finished() {
        test.clock.turn(Duration::from_millis(100));
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(staying.await.unwrap().pushed, 1);
}

#[tokio::test]
async fn connections_whose_token_ended_are_told_closed_and_forgotten() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.clock.turn(Duration::from_secs(3_600));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.ended, 1);
    let told = test.push.taken();
    assert_eq!((told[0].0.as_str(), &told[0].1["code"]), ("phone", &json!("token_expired")));
    assert_eq!(test.push.closed(), ["phone"]);
    assert_eq!(drain::handle(&test.app, i64::MAX).await.ended, 0);
}

#[tokio::test]
async fn what_is_too_old_is_let_go_of() {
    let test = TestApp::new().await;
    send_to(&test, 1).await;
    let user = shared::ids::UserId::new("user-0").unwrap();
    let listed =
        test.app.record.inbox.list(&user, &Page { limit: 1, ..Page::default() }, test.app.clock.at()).await.unwrap();
    let delete = Change::Delete(vec![listed.notifications[0].id]);
    test.app.record.inbox.change(&user, &delete, test.app.clock.at()).await.unwrap();
    let retention = Duration::from_millis(test.app.config.retention_ms.unsigned_abs());
    test.clock.turn(retention - Duration::from_millis(1));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.purged, 0);
    test.clock.turn(Duration::from_millis(1));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.purged, 2, "the tombstone and its send");
    let position = test.app.record.inbox.position(&user, test.app.clock.at()).await.unwrap();
    assert_eq!((position.head, position.purged_through), (2, 2));
}

#[tokio::test]
async fn what_stands_at_the_end_of_its_time_expires() {
    let test = TestApp::new().await;
    send_to(&test, 1).await;
    test.clock.turn(Duration::from_millis(test.app.config.retention_ms.unsigned_abs()));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.purged, 2, "it expires, and its send waits for it");
    let user = shared::ids::UserId::new("user-0").unwrap();
    let at = |after_ms| shared::clock::At::Fixed(test.clock.now_ms() + after_ms);
    let page = Page { limit: 1, ..Page::default() };
    assert_eq!(test.app.record.inbox.list(&user, &page, at(1)).await.unwrap().notifications.len(), 0);
    assert_eq!(test.app.record.inbox.position(&user, at(1)).await.unwrap().unread, 0);
    // Who is connected is told with the tombstone.
    test.connect("user-0", &["phone"]).await;
    test.clock.turn(Duration::from_millis(1));
    drain::handle(&test.app, i64::MAX).await;
    let told = test.push.taken();
    assert_eq!((&told[0].1["change"], &told[0].1["unreadCount"]), (&json!("expired"), &json!(0)));
    // And after as long again nothing is left.
    test.clock.turn(Duration::from_millis(test.app.config.retention_ms.unsigned_abs()));
    drain::handle(&test.app, i64::MAX).await;
    assert_eq!(
        test.app.record.inbox.changes(&user, None, 10, at(0)).await.unwrap().unwrap().position.purged_through,
        2
    );
}
