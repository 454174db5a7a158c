//! The suite of notifications in `shared::web_push::pushes::WebPushes`.

use shared::inbox::Change;
use shared::inbox::notification::{Channels, Priority};
use shared::inbox::send::Due;
use shared::inbox::snooze::Snoozed;
use shared::preferences::Preferences;
use shared::web_push::pushes::{ACK_MS, CLAIM_MS, DigestTag, PushEnd, Shown, Task, URGENT_ACK_MS};

use super::{send, settle, subscribe, subscription, take, titles, with};
use crate::record::{Record, Send, at, id, user, users};

on_each_record! {
    without_a_subscription_nothing_is_due,
    a_user_without_a_connection_is_pushed_to_at_once,
    open_devices_have_time_to_acknowledge,
    what_was_acknowledged_read_or_deleted_is_not_pushed,
    a_silent_notification_is_pushed_at_once_whoever_acknowledges,
    channels_choose,
    what_has_expired_or_was_replaced_is_not_pushed,
    chunks_are_pushed_too,
    a_claim_lapses_and_comes_back,
    what_was_sent_is_not_sent_again,
    only_what_is_left_is_pushed_later,
    what_one_device_acknowledges_is_still_pushed_to_those_that_are_left,
    what_was_sent_is_closed_when_it_is_read,
    what_was_sent_is_closed_everywhere,
    what_has_replaced_it_on_the_screen_is_not_closed,
    what_is_read_while_it_is_sent_is_closed,
    only_the_first_that_is_not_acknowledged_is_next,
    a_late_worker_changes_only_that_it_was_sent,
    snoozing_closes_what_was_sent_and_its_end_sends_it_anew,
    the_record_tells_what_became_of_it,
    next_due_tells_of_pushes,
    the_limit_holds,
}

const SENT: PushEnd = PushEnd::Sent;

async fn without_a_subscription_nothing_is_due(record: Record) {
    assert_eq!(send(&record, &Send::new("a"), "alice", 0).await, None);
    assert_eq!(titles(&take(&record, ACK_MS).await), [""; 0]);
    assert_eq!(record.next_due().await, Ok(None));
}

async fn a_user_without_a_connection_is_pushed_to_at_once(record: Record) {
    subscribe(&record, "alice", "phone").await;
    subscribe(&record, "alice", "laptop").await;
    record.connect_until("alice", "old", crate::record::START_MS + 1, at(0)).await;
    assert_eq!(send(&record, &Send::new("a"), "alice", 5).await, Some(5));
    send(&record, &Send::new("b"), "bob", 5).await;
    let taken = take(&record, 5).await;
    let [push] = &taken[..] else { panic!("{taken:?}") };
    let Task::Send { notification, unread, .. } = &push.task else { panic!("{push:?}") };
    assert_eq!((&*notification.content.title, notification.cursor.offset, *unread), ("a", 1, 1));
    assert_eq!((push.key.user.as_str(), push.attempt), ("alice", 0));
    assert_eq!(push.subscriptions, [subscription("phone", 0), subscription("laptop", 0)]);
}

async fn open_devices_have_time_to_acknowledge(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.connect("alice", "tab", at(0)).await;
    for (key, priority, wait_ms) in [
        ("a", Priority::Low, ACK_MS),
        ("b", Priority::Normal, ACK_MS),
        ("c", Priority::High, URGENT_ACK_MS),
        ("d", Priority::Critical, URGENT_ACK_MS),
    ] {
        let of_priority = with(Send::new(key), |content| content.priority = priority);
        assert_eq!(send(&record, &of_priority, "alice", 0).await, Some(wait_ms));
    }
    assert_eq!(titles(&take(&record, URGENT_ACK_MS - 1).await), [""; 0]);
    assert_eq!(titles(&take(&record, URGENT_ACK_MS).await), ["c", "d"]);
    assert_eq!(titles(&take(&record, ACK_MS).await), ["a", "b"]);
}

async fn what_was_acknowledged_read_or_deleted_is_not_pushed(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["a", "b", "c", "d"], "alice", at(0)).await;
    let second = record.position("alice").await.cursor_at(2);
    assert!(record.inbox().acknowledge(&user("alice"), second, at(1)).await.unwrap());
    record.change("alice", Change::Read(vec![id("c", "alice")]), at(2)).await;
    record.ring(&["e"], "alice", at(3)).await;
    record.change("alice", Change::Delete(vec![id("e", "alice")]), at(4)).await;
    assert_eq!(titles(&take(&record, ACK_MS + 10).await), ["d"]);
}

async fn a_silent_notification_is_pushed_at_once_whoever_acknowledges(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.connect("alice", "tab", at(0)).await;
    let silent = with(Send::new("a"), |content| content.channels = Channels::Push);
    assert_eq!(send(&record, &silent, "alice", 0).await, Some(0));
    let head = record.position("alice").await.cursor();
    assert!(record.inbox().acknowledge(&user("alice"), head, at(0)).await.unwrap());
    assert_eq!(titles(&take(&record, 0).await), ["a"]);
}

async fn channels_choose(record: Record) {
    subscribe(&record, "alice", "phone").await;
    let realtime = with(Send::new("a"), |content| content.channels = Channels::Realtime);
    assert_eq!(send(&record, &realtime, "alice", 0).await, None);
    assert_eq!(titles(&take(&record, ACK_MS).await), [""; 0]);
}

async fn what_has_expired_or_was_replaced_is_not_pushed(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.connect("alice", "tab", at(0)).await;
    send(&record, &Send::new("a").expiring_at(ACK_MS), "alice", 0).await;
    send(&record, &Send::new("b").collapsing("k"), "alice", 0).await;
    send(&record, &Send::new("c").collapsing("k"), "alice", 1).await;
    assert_eq!(titles(&take(&record, ACK_MS + 1).await), ["c"]);
    // One that is late is never shown, and so not pushed.
    record.send(&Send::due("d", Due::At(crate::record::START_MS)).collapsing("k"), &users(&["alice"]), at(1)).await;
    record.deliveries().materialise(1, at(ACK_MS + 2)).await.unwrap();
    assert_eq!(titles(&take(&record, 2 * ACK_MS).await), [""; 0]);
}

async fn chunks_are_pushed_too(record: Record) {
    for name in ["alice", "bob"] {
        subscribe(&record, name, name).await;
    }
    for key in ["a", "b"] {
        record.send(&Send::due(key, Due::After(10)), &users(&["alice", "bob"]), at(0)).await;
    }
    assert_eq!(titles(&take(&record, 9).await), [""; 0]);
    record.deliveries().materialise(10, at(10)).await.unwrap();
    let mut due = titles(&take(&record, 10).await);
    due.sort();
    assert_eq!(due, ["a", "a", "b", "b"]);
    record.send(&Send::due("c", Due::After(10)).collapsing("k"), &users(&["alice"]), at(10)).await;
    record.deliveries().materialise(10, at(20)).await.unwrap();
    assert_eq!(titles(&take(&record, 20).await), ["c"]);
}

async fn a_claim_lapses_and_comes_back(record: Record) {
    subscribe(&record, "alice", "phone").await;
    send(&record, &Send::new("a"), "alice", 0).await;
    let first = take(&record, 0).await;
    assert_eq!((titles(&first), first[0].attempt), (vec!["a".into()], 0));
    assert_eq!(titles(&take(&record, CLAIM_MS - 1).await), [""; 0]);
    let second = take(&record, CLAIM_MS).await;
    assert_eq!((titles(&second), second[0].attempt), (vec!["a".into()], 1));
    // The second claim lasts twice as long.
    assert_eq!(titles(&take(&record, 3 * CLAIM_MS - 1).await), [""; 0]);
    assert_eq!(titles(&take(&record, 3 * CLAIM_MS).await), ["a"]);
    let taken = tokio::join!(take(&record, 8 * CLAIM_MS), take(&record, 8 * CLAIM_MS));
    assert_eq!(taken.0.len() + taken.1.len(), 1, "two workers took it");
}

async fn what_was_sent_is_not_sent_again(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.ring(&["a", "b", "c"], "alice", at(0)).await;
    let taken = take(&record, 0).await;
    for (push, end) in taken.chunks(1).zip([SENT, PushEnd::Dropped, PushEnd::Failed]) {
        settle(&record, push, end, 1).await;
    }
    assert_eq!(titles(&take(&record, 100 * CLAIM_MS).await), [""; 0]);
    assert_eq!(record.next_due().await, Ok(None));
}

async fn only_what_is_left_is_pushed_later(record: Record) {
    for browser in ["a", "b", "c"] {
        subscribe(&record, "alice", browser).await;
    }
    send(&record, &Send::new("a"), "alice", 0).await;
    let [left, unknown] = ["b", "unknown"].map(|browser| subscription(browser, 0).id);
    let later = PushEnd::Later { delay_ms: 500, left: vec![left, unknown], has_sent: true };
    settle(&record, &take(&record, 0).await, later, 10).await;
    assert_eq!(titles(&take(&record, 509).await), [""; 0]);
    let again = take(&record, 510).await;
    assert_eq!(again[0].subscriptions, [subscription("b", 0)]);
    settle(&record, &again, SENT, 511).await;
    assert_eq!(titles(&take(&record, 100 * CLAIM_MS).await), [""; 0]);
}

async fn what_one_device_acknowledges_is_still_pushed_to_those_that_are_left(record: Record) {
    for browser in ["a", "b"] {
        subscribe(&record, "alice", browser).await;
    }
    send(&record, &Send::new("a"), "alice", 0).await;
    let later = PushEnd::Later { delay_ms: 500, left: vec![subscription("b", 0).id], has_sent: true };
    settle(&record, &take(&record, 0).await, later, 1).await;
    let head = record.position("alice").await.cursor();
    assert!(record.inbox().acknowledge(&user("alice"), head, at(2)).await.unwrap());
    assert_eq!(take(&record, 501).await[0].subscriptions, [subscription("b", 0)]);
}

async fn what_was_sent_is_closed_when_it_is_read(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.ring(&["a", "b"], "alice", at(0)).await;
    send(&record, &Send::new("c").collapsing("k"), "alice", 0).await;
    let taken = take(&record, 0).await;
    settle(&record, &taken, SENT, 1).await;
    record.ring(&["d"], "alice", at(1)).await;
    let read = record.change("alice", Change::Read(vec![id("a", "alice")]), at(2)).await;
    assert!(read.web_push_is_due);
    let deleted = record.change("alice", Change::Delete(vec![id("c", "alice")]), at(2)).await;
    assert!(deleted.web_push_is_due);
    // One that was not sent is not closed.
    let unsent = record.change("alice", Change::Read(vec![id("d", "alice")]), at(2)).await;
    assert!(!unsent.web_push_is_due);
    let closed = take(&record, 2).await;
    let shown: Vec<&Shown> = closed
        .iter()
        .map(|push| match &push.task {
            Task::Close(shown) => shown,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("a", None), ("c", Some("k"))].map(|(key, collapse_key)| Shown {
        id: id(key, "alice"),
        collapse_key: collapse_key.map(str::to_owned),
        digest: None,
    });
    assert_eq!(shown, expected.iter().collect::<Vec<_>>());
    settle(&record, &closed, PushEnd::Dropped, 3).await;
    assert_eq!(titles(&take(&record, 100 * CLAIM_MS).await), [""; 0]);
}

async fn what_was_sent_is_closed_everywhere(record: Record) {
    for browser in ["a", "b"] {
        subscribe(&record, "alice", browser).await;
    }
    send(&record, &Send::new("a"), "alice", 0).await;
    let later = PushEnd::Later { delay_ms: 500, left: vec![subscription("b", 0).id], has_sent: true };
    settle(&record, &take(&record, 0).await, later, 1).await;
    record.change("alice", Change::Read(vec![id("a", "alice")]), at(2)).await;
    let closed = take(&record, 2).await;
    assert_eq!((titles(&closed), closed[0].subscriptions.len()), (vec!["close".to_owned()], 2));
}

async fn what_has_replaced_it_on_the_screen_is_not_closed(record: Record) {
    subscribe(&record, "alice", "phone").await;
    send(&record, &Send::new("a").collapsing("k"), "alice", 0).await;
    let first = take(&record, 0).await;
    // Replaced while it is sent.
    send(&record, &Send::new("b").collapsing("k"), "alice", 1).await;
    settle(&record, &first, SENT, 2).await;
    let second = take(&record, 2).await;
    assert_eq!(titles(&second), ["b"]);
    settle(&record, &second, SENT, 3).await;
    record.change("alice", Change::Read(vec![id("b", "alice")]), at(4)).await;
    assert_eq!(titles(&take(&record, 4).await), ["close"]);
    // Read before, and so not replaced.
    send(&record, &Send::new("c").collapsing("l"), "alice", 5).await;
    settle(&record, &take(&record, 5).await, SENT, 6).await;
    record.change("alice", Change::Read(vec![id("c", "alice")]), at(7)).await;
    settle(&record, &take(&record, 7).await, PushEnd::Dropped, 8).await;
    send(&record, &Send::new("d").collapsing("l"), "alice", 9).await;
    settle(&record, &take(&record, 9).await, SENT, 10).await;
    record.change("alice", Change::Delete(vec![id("c", "alice")]), at(11)).await;
    assert_eq!(titles(&take(&record, 11).await), [""; 0]);
}

async fn only_the_first_that_is_not_acknowledged_is_next(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.ring(&["a", "b", "c"], "alice", at(0)).await;
    let is_next = async |after_ms| -> Vec<bool> {
        let is_next = |task: &Task| matches!(task, Task::Send { is_next: true, .. });
        take(&record, after_ms).await.iter().map(|push| is_next(&push.task)).collect()
    };
    assert_eq!(is_next(0).await, [true, false, false]);
    let first = record.position("alice").await.cursor_at(1);
    assert!(record.inbox().acknowledge(&user("alice"), first, at(1)).await.unwrap());
    assert_eq!(is_next(CLAIM_MS).await, [true, false]);
    record.change("alice", Change::Read(vec![id("b", "alice")]), at(CLAIM_MS)).await;
    assert_eq!(is_next(9 * CLAIM_MS).await, [true]);
}

async fn what_is_read_while_it_is_sent_is_closed(record: Record) {
    subscribe(&record, "alice", "phone").await;
    send(&record, &Send::new("a"), "alice", 0).await;
    let taken = take(&record, 0).await;
    record.change("alice", Change::Read(vec![id("a", "alice")]), at(1)).await;
    settle(&record, &taken, SENT, 2).await;
    assert_eq!(titles(&take(&record, 2).await), ["close"]);
}

async fn a_late_worker_changes_only_that_it_was_sent(record: Record) {
    subscribe(&record, "alice", "phone").await;
    send(&record, &Send::new("a"), "alice", 0).await;
    let late = take(&record, 0).await;
    let current = take(&record, CLAIM_MS).await;
    settle(&record, &late, PushEnd::Failed, CLAIM_MS + 1).await;
    let later = PushEnd::Later { delay_ms: 5, left: vec![subscription("phone", 0).id], has_sent: false };
    settle(&record, &current, later, CLAIM_MS + 2).await;
    assert_eq!(titles(&take(&record, CLAIM_MS + 7).await), ["a"], "the failure of a lapsed claim counted");
}

async fn snoozing_closes_what_was_sent_and_its_end_sends_it_anew(record: Record) {
    subscribe(&record, "alice", "phone").await;
    send(&record, &Send::new("a"), "alice", 0).await;
    settle(&record, &take(&record, 0).await, SENT, 1).await;
    let until = shared::clock::Time(crate::record::START_MS + 1_000);
    let snoozed = record.snoozes().snooze(&user("alice"), id("a", "alice"), until, at(2)).await.unwrap();
    let Snoozed::Done(changed) = snoozed else { panic!("{snoozed:?}") };
    assert!(changed.web_push_is_due);
    let closed = take(&record, 2).await;
    assert_eq!(titles(&closed), ["close"]);
    settle(&record, &closed, PushEnd::Dropped, 3).await;
    assert_eq!(titles(&take(&record, 999).await), [""; 0]);
    let types = serde_json::json!({"types": {"*": {"realtime": false}}});
    let preferences = Preferences::read(types.as_object().unwrap().clone()).unwrap();
    record.preferences().set_preferences(&user("alice"), &preferences).await.unwrap();
    record.connect("alice", "tab", at(3)).await;
    let unsnoozed = record.snoozes().unsnooze(10, at(1_000)).await.unwrap();
    assert!(unsnoozed.deliveries[0].notification.silent, "it follows the preferences of its new arrival");
    let again = take(&record, 1_000).await;
    assert_eq!((titles(&again), again[0].attempt), (vec!["a".to_owned()], 0));
}

async fn the_record_tells_what_became_of_it(record: Record) {
    subscribe(&record, "alice", "phone").await;
    record.ring(&["a", "b"], "alice", at(0)).await;
    let taken = take(&record, 0).await;
    settle(&record, &taken[..1], SENT, 5).await;
    settle(&record, &taken[1..], PushEnd::Failed, 6).await;
    let trace = async |key| {
        let trace = record.send_history().trace(id(key, "alice"), Some(&user("alice")), at(9)).await.unwrap().unwrap();
        [trace.web_pushed_at_ms, trace.web_push_failed_at_ms]
            .map(|at_ms| at_ms.map(|at_ms| at_ms - crate::record::START_MS))
    };
    assert_eq!(trace("a").await, [Some(5), None]);
    assert_eq!(trace("b").await, [None, Some(6)]);
}

async fn next_due_tells_of_pushes(record: Record) {
    subscribe(&record, "alice", "phone").await;
    send(&record, &Send::new("a"), "alice", 7).await;
    let next = async || record.next_due().await.unwrap().map(|at_ms| at_ms - crate::record::START_MS);
    assert_eq!(next().await, Some(7));
    let taken = take(&record, 10).await;
    assert_eq!(next().await, Some(10 + CLAIM_MS));
    let digest = PushEnd::Digest { tag: DigestTag::Quiet, due_at_ms: crate::record::START_MS + 99, window_ms: 0 };
    settle(&record, &taken, digest, 11).await;
    assert_eq!(next().await, Some(99));
}

async fn the_limit_holds(record: Record) {
    subscribe(&record, "alice", "a").await;
    subscribe(&record, "alice", "b").await;
    for (key, after_ms) in [("a", 2), ("b", 1), ("c", 3)] {
        send(&record, &Send::new(key), "alice", after_ms).await;
    }
    let first = record.web_pushes().take_pushes(2, at(5)).await.unwrap();
    let mut first = titles(&first);
    first.sort();
    assert_eq!(first, ["a", "b"], "those due longest come first");
    assert_eq!(titles(&take(&record, 5).await), ["c"]);
}
