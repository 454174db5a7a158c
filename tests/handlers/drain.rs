//! The drain on its own: chunks, lingering, expired tokens and retention.

use std::time::Duration;

use drain::Drained;
use harness::{TestApp, event, invoke};
use serde_json::json;
use shared::inbox::bounds::Bounds;
use shared::inbox::{Change, Page};

async fn send_to(test: &TestApp, recipients: usize) {
    let users: Vec<String> = (0..recipients).map(|n| format!("user-{n}")).collect();
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "news", "userIds": users, "title": "Hi"}).to_string().into();
    assert_eq!(invoke(&test.app, send::handle, sending).await.status(), 202);
}

#[tokio::test]
async fn a_schedule_without_work_does_nothing() {
    let test = TestApp::new().await;
    // The event carries nothing that the handler needs.
    assert_eq!(event("schedule")["detail-type"], "Scheduled Event");
    assert_eq!(drain::handle(&test.app, i64::MAX).await, Drained::default());
}

#[tokio::test]
async fn chunks_of_a_large_send_are_materialised_and_pushed_once_by_any_number_of_drains() {
    let test = TestApp::new().await;
    test.connect("user-0", &["first"]).await;
    test.connect("user-999", &["last"]).await;
    send_to(&test, 1_000).await;
    assert_eq!(test.push.taken().len(), 1, "the call itself pushes to the first 200 recipients");
    // It leaves no time to wait for the rows that another drain has taken.
    let deadline_ms = test.clock.now_ms() + 14_999;
    let mut drains = Vec::new();
    for _ in 0..4 {
        let app = test.app.clone();
        drains.push(tokio::spawn(async move { drain::handle(&app, deadline_ms).await.chunks }));
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
async fn a_drain_waits_for_rows_due_soon_unless_its_deadline_is_earlier() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("user-0", &["phone"]).await;
    test.push.will("phone", &[shared::sockets::push::Outcome::Failed]);
    send_to(&test, 1).await;
    // The row is due in 5 s, and the deadline leaves no time for that.
    let now_ms = test.clock.now_ms();
    assert_eq!(drain::handle(&test.app, now_ms + 14_999).await.pushed, 0);
    // This deadline does: the drain waits and pushes when the row is due.
    let app = test.app.clone();
    let waiting = tokio::spawn(async move { drain::handle(&app, now_ms + 60_000).await });
    while !waiting.is_finished() {
        test.clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(waiting.await.unwrap().pushed, 1);
}

#[tokio::test]
async fn a_connection_with_an_expired_token_gets_an_error_and_is_closed_and_forgotten() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.clock.advance(Duration::from_secs(3_600));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.closed, 1);
    let frames = test.push.taken();
    assert_eq!((frames[0].0.as_str(), &frames[0].1["code"]), ("phone", &json!("token_expired")));
    assert_eq!(test.push.closed(), ["phone"]);
    assert_eq!(drain::handle(&test.app, i64::MAX).await.closed, 0);
}

#[tokio::test]
async fn a_tombstone_and_its_send_are_purged_after_the_retention_time() {
    let test = TestApp::new().await;
    send_to(&test, 1).await;
    let user = shared::ids::UserId::new("user-0").unwrap();
    let listed = test
        .app
        .record
        .inbox
        .list(&user, &Page { bounds: Bounds::items(1), ..Page::default() }, test.app.clock.at())
        .await
        .unwrap();
    let delete = Change::Delete(vec![listed.notifications[0].id]);
    test.app.record.inbox.change(&user, &delete, test.app.clock.at()).await.unwrap();
    let retention = Duration::from_millis(test.app.config.retention_ms.unsigned_abs());
    test.clock.advance(retention - Duration::from_millis(1));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.purged, 0);
    test.clock.advance(Duration::from_millis(1));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.purged, 2, "the tombstone and its send");
    let position = test.app.record.inbox.position(&user, test.app.clock.at()).await.unwrap();
    assert_eq!((position.head, position.purged_through), (2, 2));
}

#[tokio::test]
async fn a_notification_expires_after_the_retention_time() {
    let test = TestApp::new().await;
    send_to(&test, 1).await;
    test.clock.advance(Duration::from_millis(test.app.config.retention_ms.unsigned_abs()));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.purged, 2, "it expires, and its send is kept until it is gone");
    let user = shared::ids::UserId::new("user-0").unwrap();
    let at = |after_ms| shared::clock::At::Fixed(test.clock.now_ms() + after_ms);
    let page = Page { bounds: Bounds::items(1), ..Page::default() };
    assert_eq!(test.app.record.inbox.list(&user, &page, at(1)).await.unwrap().notifications.len(), 0);
    assert_eq!(test.app.record.inbox.position(&user, at(1)).await.unwrap().unread, 0);
    // Connected devices are notified when the drain makes the tombstone.
    test.connect("user-0", &["phone"]).await;
    test.clock.advance(Duration::from_millis(1));
    drain::handle(&test.app, i64::MAX).await;
    let frames = test.push.taken();
    assert_eq!((&frames[0].1["change"], &frames[0].1["unreadCount"]), (&json!("expired"), &json!(0)));
    // After another retention time, the tombstone is gone as well.
    test.clock.advance(Duration::from_millis(test.app.config.retention_ms.unsigned_abs()));
    drain::handle(&test.app, i64::MAX).await;
    assert_eq!(
        test.app
            .record
            .inbox
            .changes(&user, None, Bounds::items(10), at(0))
            .await
            .unwrap()
            .unwrap()
            .position
            .purged_through,
        2
    );
}
