//! The suite of digests of notifications in `shared::web_push::pushes::WebPushes`.

use shared::inbox::Change;
use shared::web_push::pushes::{
    CLAIM_MS, DigestContent, DigestEnd, DigestTag, DueDigest, MAX_DIGESTS, PushEnd, SettledDigest, Task,
};

use super::{send, settle, subscribe, subscription, take, take_digests, titles};
use crate::record::{Record, START_MS, Send, at, id};

on_each_record! {
    the_first_opens_a_digest_and_others_join_it,
    a_digest_tells_only_of_what_is_unread,
    what_arrives_while_it_is_sent_is_told_with_the_next,
    what_a_digest_told_of_is_not_told_again,
    a_digest_is_closed_once_all_of_it_is_read,
    a_claimed_digest_comes_back,
    a_digest_waits_and_is_retried,
    what_arrives_before_a_retry_is_told_to_everyone,
    what_is_read_before_a_retry_is_closed_everywhere,
    what_joins_a_digest_while_it_is_sent_is_not_told_yet,
    a_digest_is_closed_once_however_much_it_told_of,
    what_is_shown_before_quiet_hours_keeps_its_tag,
    what_was_told_at_night_is_closed_together,
    a_digest_that_nobody_takes_is_said_to_have_failed,
    a_late_worker_changes_no_digest,
    digests_of_one_user_come_together,
    one_user_does_not_fill_a_batch,
}

/// How long the digests of this suite collect, in milliseconds.
const WINDOW_MS: i64 = 60_000;

fn likes() -> DigestTag {
    DigestTag::Type("like".into())
}

fn collect(tag: DigestTag, due_after_ms: i64) -> PushEnd {
    PushEnd::Digest { tag, due_at_ms: START_MS + due_after_ms, window_ms: WINDOW_MS }
}

/// Sends to a user, and leaves it to a digest.
async fn collects(record: &Record, key: &str, name: &str, tag: DigestTag, after_ms: i64) {
    send(record, &Send::new(key), name, after_ms).await;
    let taken = take(record, after_ms).await;
    assert_eq!(titles(&taken), [key]);
    settle(record, &taken, collect(tag, after_ms + WINDOW_MS), after_ms).await;
}

async fn ends(record: &Record, taken: &[DueDigest], end: DigestEnd, after_ms: i64) {
    let settled: Vec<SettledDigest<'_>> =
        taken.iter().map(|digest| SettledDigest { key: &digest.key, end: end.clone() }).collect();
    record.web_pushes().settle_digests(&settled, at(after_ms)).await.unwrap();
}

/// Of how many notifications each digest tells, and the title of the newest.
fn told(taken: &[DueDigest]) -> Vec<(i64, Option<String>)> {
    let told = |digest: &DueDigest| match &digest.content {
        DigestContent::Notifications { count, newest, .. } => {
            (*count, newest.as_ref().map(|newest| newest.content.title.clone()))
        }
        other @ DigestContent::Messages { .. } => panic!("{other:?}"),
    };
    taken.iter().map(told).collect()
}

fn of(count: i64, newest: &str) -> (i64, Option<String>) {
    (count, Some(newest.to_owned()))
}

async fn the_first_opens_a_digest_and_others_join_it(record: Record) {
    subscribe(&record, "alice", "phone").await;
    for (key, after_ms) in [("a", 0), ("b", 10), ("c", 20)] {
        collects(&record, key, "alice", likes(), after_ms).await;
    }
    assert_eq!(told(&take_digests(&record, WINDOW_MS - 1).await), []);
    let taken = take_digests(&record, WINDOW_MS).await;
    assert_eq!(told(&taken), [of(3, "c")]);
    assert_eq!((taken[0].key.user.as_str(), &taken[0].key.tag, taken[0].attempt), ("alice", &likes(), 0));
    assert_eq!(taken[0].subscriptions, [subscription("phone", 0)]);
    assert_eq!(titles(&take(&record, 100 * CLAIM_MS).await), [""; 0], "each is told by the digest alone");
}

async fn a_digest_tells_only_of_what_is_unread(record: Record) {
    subscribe(&record, "alice", "phone").await;
    for key in ["a", "b", "c", "d"] {
        collects(&record, key, "alice", likes(), 0).await;
    }
    record.change("alice", Change::Read(vec![id("d", "alice")]), at(1)).await;
    record.change("alice", Change::Delete(vec![id("a", "alice")]), at(1)).await;
    assert_eq!(told(&take_digests(&record, WINDOW_MS).await), [of(2, "c")]);
    subscribe(&record, "bob", "tab").await;
    collects(&record, "e", "bob", likes(), 2).await;
    record.change("bob", Change::Read(vec![id("e", "bob")]), at(3)).await;
    let taken = take_digests(&record, WINDOW_MS + 2).await;
    assert_eq!(told(&taken), [(0, None)]);
    ends(&record, &taken, DigestEnd::Dropped, WINDOW_MS + 3).await;
    assert_eq!(told(&take_digests(&record, WINDOW_MS + 3).await), []);
}

async fn what_arrives_while_it_is_sent_is_told_with_the_next(record: Record) {
    subscribe(&record, "alice", "phone").await;
    collects(&record, "a", "alice", likes(), 0).await;
    let taken = take_digests(&record, WINDOW_MS).await;
    collects(&record, "b", "alice", likes(), WINDOW_MS + 1).await;
    ends(&record, &taken, DigestEnd::Sent, WINDOW_MS + 5).await;
    assert_eq!(told(&take_digests(&record, 2 * WINDOW_MS + 4).await), []);
    assert_eq!(told(&take_digests(&record, 2 * WINDOW_MS + 5).await), [of(1, "b")]);
}

async fn what_a_digest_told_of_is_not_told_again(record: Record) {
    subscribe(&record, "alice", "phone").await;
    collects(&record, "a", "alice", likes(), 0).await;
    ends(&record, &take_digests(&record, WINDOW_MS).await, DigestEnd::Sent, WINDOW_MS).await;
    assert_eq!(record.next_due().await, Ok(None));
    collects(&record, "b", "alice", likes(), 2 * WINDOW_MS).await;
    assert_eq!(told(&take_digests(&record, 3 * WINDOW_MS).await), [of(1, "b")]);
}

async fn a_digest_is_closed_once_all_of_it_is_read(record: Record) {
    subscribe(&record, "alice", "phone").await;
    for key in ["a", "b"] {
        collects(&record, key, "alice", likes(), 0).await;
    }
    ends(&record, &take_digests(&record, WINDOW_MS).await, DigestEnd::Sent, WINDOW_MS).await;
    record.change("alice", Change::Read(vec![id("a", "alice")]), at(WINDOW_MS + 1)).await;
    assert_eq!(titles(&take(&record, WINDOW_MS + 1).await), [""; 0], "the other is unread");
    record.change("alice", Change::Read(vec![id("b", "alice")]), at(WINDOW_MS + 2)).await;
    let taken = take(&record, WINDOW_MS + 2).await;
    let [push] = &taken[..] else { panic!("{taken:?}") };
    let Task::Close(shown) = &push.task else { panic!("{push:?}") };
    assert_eq!(shown.digest, Some(likes()));
}

async fn a_claimed_digest_comes_back(record: Record) {
    subscribe(&record, "alice", "phone").await;
    collects(&record, "a", "alice", likes(), 0).await;
    assert_eq!(take_digests(&record, WINDOW_MS).await.len(), 1);
    assert_eq!(told(&take_digests(&record, WINDOW_MS + CLAIM_MS - 1).await), []);
    let again = take_digests(&record, WINDOW_MS + CLAIM_MS).await;
    assert_eq!((told(&again), again[0].attempt), (vec![of(1, "a")], 1));
    let taken = tokio::join!(take_digests(&record, 9 * WINDOW_MS), take_digests(&record, 9 * WINDOW_MS));
    assert_eq!(taken.0.len() + taken.1.len(), 1, "two workers took it");
}

async fn a_digest_waits_and_is_retried(record: Record) {
    for browser in ["a", "b"] {
        subscribe(&record, "alice", browser).await;
    }
    collects(&record, "a", "alice", likes(), 0).await;
    let held = DigestEnd::Held(START_MS + 5 * WINDOW_MS);
    ends(&record, &take_digests(&record, WINDOW_MS).await, held, WINDOW_MS).await;
    assert_eq!(told(&take_digests(&record, 5 * WINDOW_MS - 1).await), []);
    let due = take_digests(&record, 5 * WINDOW_MS).await;
    assert!(due[0].is_held);
    let later = DigestEnd::Later { delay_ms: 10, left: vec![subscription("b", 0).id], has_sent: true };
    ends(&record, &due, later, 5 * WINDOW_MS).await;
    let again = take_digests(&record, 5 * WINDOW_MS + 10).await;
    assert_eq!((again[0].is_held, &again[0].subscriptions[..]), (true, &[subscription("b", 0)][..]));
    ends(&record, &again, DigestEnd::Sent, 5 * WINDOW_MS + 11).await;
    assert_eq!(told(&take_digests(&record, 100 * WINDOW_MS).await), []);
}

async fn what_arrives_before_a_retry_is_told_to_everyone(record: Record) {
    for browser in ["a", "b"] {
        subscribe(&record, "alice", browser).await;
    }
    let later = || DigestEnd::Later { delay_ms: 10 * WINDOW_MS, left: vec![subscription("b", 0).id], has_sent: true };
    collects(&record, "a", "alice", likes(), 0).await;
    let due = take_digests(&record, WINDOW_MS).await;
    assert!(!due[0].is_shown);
    // While it is sent.
    collects(&record, "b", "alice", likes(), WINDOW_MS).await;
    ends(&record, &due, later(), WINDOW_MS).await;
    let again = take_digests(&record, 11 * WINDOW_MS).await;
    assert_eq!((told(&again), again[0].subscriptions.len(), again[0].is_shown), (vec![of(2, "b")], 2, true));
    // While it waits.
    ends(&record, &again, later(), 11 * WINDOW_MS).await;
    collects(&record, "c", "alice", likes(), 12 * WINDOW_MS).await;
    let last = take_digests(&record, 21 * WINDOW_MS).await;
    assert_eq!((told(&last), last[0].subscriptions.len()), (vec![of(3, "c")], 2));
    // Quiet hours do not make it forget who has heard.
    ends(&record, &last, later(), 21 * WINDOW_MS).await;
    let held = DigestEnd::Held(START_MS + 40 * WINDOW_MS);
    ends(&record, &take_digests(&record, 31 * WINDOW_MS).await, held, 31 * WINDOW_MS).await;
    assert_eq!(take_digests(&record, 40 * WINDOW_MS).await[0].subscriptions, [subscription("b", 0)]);
}

async fn what_is_read_before_a_retry_is_closed_everywhere(record: Record) {
    for browser in ["a", "b"] {
        subscribe(&record, "alice", browser).await;
    }
    collects(&record, "a", "alice", likes(), 0).await;
    let later = DigestEnd::Later { delay_ms: 10, left: vec![subscription("b", 0).id], has_sent: true };
    ends(&record, &take_digests(&record, WINDOW_MS).await, later, WINDOW_MS).await;
    record.change("alice", Change::Read(vec![id("a", "alice")]), at(WINDOW_MS + 1)).await;
    let again = take_digests(&record, WINDOW_MS + 10).await;
    assert_eq!((told(&again), again[0].subscriptions.len(), again[0].is_shown), (vec![(0, None)], 2, true));
}

async fn what_joins_a_digest_while_it_is_sent_is_not_told_yet(record: Record) {
    subscribe(&record, "alice", "phone").await;
    // The first to arrive joins last.
    send(&record, &Send::new("a"), "alice", 0).await;
    let first = take(&record, 0).await;
    collects(&record, "b", "alice", likes(), 0).await;
    let due = take_digests(&record, WINDOW_MS - 1).await;
    assert_eq!(told(&due), []);
    let due = take_digests(&record, WINDOW_MS).await;
    assert_eq!(told(&due), [of(1, "b")]);
    settle(&record, &first, collect(likes(), WINDOW_MS), CLAIM_MS - 1).await;
    ends(&record, &due, DigestEnd::Sent, WINDOW_MS).await;
    assert_eq!(told(&take_digests(&record, 2 * WINDOW_MS).await), [of(1, "a")]);
}

async fn a_digest_is_closed_once_however_much_it_told_of(record: Record) {
    subscribe(&record, "alice", "phone").await;
    for key in ["a", "b", "c"] {
        collects(&record, key, "alice", likes(), 0).await;
    }
    ends(&record, &take_digests(&record, WINDOW_MS).await, DigestEnd::Sent, WINDOW_MS).await;
    let read = ["a", "b", "c"].map(|key| id(key, "alice")).to_vec();
    record.change("alice", Change::Read(read), at(WINDOW_MS + 1)).await;
    let closed = take(&record, WINDOW_MS + 1).await;
    assert_eq!(titles(&closed), ["close"]);
    settle(&record, &closed, PushEnd::Dropped, WINDOW_MS + 2).await;
    assert_eq!(titles(&take(&record, 100 * WINDOW_MS).await), [""; 0]);
}

async fn what_is_shown_before_quiet_hours_keeps_its_tag(record: Record) {
    for browser in ["a", "b"] {
        subscribe(&record, "alice", browser).await;
    }
    collects(&record, "a", "alice", likes(), 0).await;
    let later = DigestEnd::Later { delay_ms: 10, left: vec![subscription("b", 0).id], has_sent: true };
    ends(&record, &take_digests(&record, WINDOW_MS).await, later, WINDOW_MS).await;
    let held = DigestEnd::Held(START_MS + 9 * WINDOW_MS);
    ends(&record, &take_digests(&record, WINDOW_MS + 10).await, held, WINDOW_MS + 10).await;
    let due = take_digests(&record, 9 * WINDOW_MS).await;
    assert_eq!((due[0].is_held, due[0].subscriptions.len()), (false, 1));
    ends(&record, &due, DigestEnd::Sent, 9 * WINDOW_MS).await;
    record.change("alice", Change::Read(vec![id("a", "alice")]), at(9 * WINDOW_MS + 1)).await;
    let closed = take(&record, 9 * WINDOW_MS + 1).await;
    let Task::Close(shown) = &closed[0].task else { panic!("{closed:?}") };
    assert_eq!(shown.digest, Some(likes()));
}

async fn what_was_told_at_night_is_closed_together(record: Record) {
    subscribe(&record, "alice", "phone").await;
    collects(&record, "a", "alice", likes(), 0).await;
    collects(&record, "b", "alice", DigestTag::Quiet, 0).await;
    let due = take_digests(&record, WINDOW_MS).await;
    ends(&record, &due, DigestEnd::Held(START_MS + 2 * WINDOW_MS), WINDOW_MS).await;
    let held = take_digests(&record, 2 * WINDOW_MS).await;
    assert_eq!(held.iter().map(|digest| digest.is_held).collect::<Vec<_>>(), [true, true]);
    ends(&record, &held, DigestEnd::Sent, 2 * WINDOW_MS).await;
    record.change("alice", Change::Read(vec![id("a", "alice")]), at(2 * WINDOW_MS + 1)).await;
    assert_eq!(titles(&take(&record, 2 * WINDOW_MS + 1).await), [""; 0], "the other is unread");
    // One that waits for the next digest is not on the screen.
    collects(&record, "c", "alice", DigestTag::Quiet, 2 * WINDOW_MS + 2).await;
    record.change("alice", Change::Read(vec![id("b", "alice")]), at(2 * WINDOW_MS + 3)).await;
    let closed = take(&record, 2 * WINDOW_MS + 3).await;
    let Task::Close(shown) = &closed[0].task else { panic!("{closed:?}") };
    assert_eq!(shown.digest, Some(DigestTag::Quiet));
}

async fn a_digest_that_nobody_takes_is_said_to_have_failed(record: Record) {
    subscribe(&record, "alice", "phone").await;
    collects(&record, "a", "alice", likes(), 0).await;
    ends(&record, &take_digests(&record, WINDOW_MS).await, DigestEnd::Failed, WINDOW_MS).await;
    let trace = record.send_history().trace(id("a", "alice"), None, at(WINDOW_MS)).await.unwrap().unwrap();
    assert_eq!((trace.web_pushed_at_ms, trace.web_push_failed_at_ms), (None, Some(START_MS + WINDOW_MS)));
    assert_eq!(record.next_due().await, Ok(None));
}

async fn one_user_does_not_fill_a_batch(record: Record) {
    subscribe(&record, "alice", "phone").await;
    for n in 0..=MAX_DIGESTS {
        collects(&record, &n.to_string(), "alice", DigestTag::Type(format!("t{n}")), 0).await;
    }
    let first = take_digests(&record, WINDOW_MS).await;
    assert_eq!((first.len() as i64, take_digests(&record, WINDOW_MS).await.len()), (MAX_DIGESTS, 1));
}

async fn a_late_worker_changes_no_digest(record: Record) {
    subscribe(&record, "alice", "phone").await;
    collects(&record, "a", "alice", likes(), 0).await;
    let late = take_digests(&record, WINDOW_MS).await;
    let current = take_digests(&record, WINDOW_MS + CLAIM_MS).await;
    ends(&record, &late, DigestEnd::Dropped, WINDOW_MS + CLAIM_MS + 1).await;
    let later = DigestEnd::Later { delay_ms: 5, left: vec![subscription("phone", 0).id], has_sent: false };
    ends(&record, &current, later, WINDOW_MS + CLAIM_MS + 2).await;
    assert_eq!(told(&take_digests(&record, WINDOW_MS + CLAIM_MS + 7).await), [of(1, "a")]);
}

async fn digests_of_one_user_come_together(record: Record) {
    for name in ["alice", "bob"] {
        subscribe(&record, name, name).await;
    }
    for (key, name, tag) in [
        ("a", "alice", likes()),
        ("b", "bob", DigestTag::Quiet),
        ("c", "alice", DigestTag::Quiet),
        ("d", "alice", DigestTag::Type("ad".into())),
    ] {
        collects(&record, key, name, tag, 0).await;
    }
    let taken = record.web_pushes().take_digests(1, at(WINDOW_MS)).await.unwrap();
    let users: Vec<&str> = taken.iter().map(|digest| digest.key.user.as_str()).collect();
    assert!(users == ["alice"; 3] || users == ["bob"], "the limit counts users: {users:?}");
    let others = take_digests(&record, WINDOW_MS).await;
    assert_eq!(taken.len() + others.len(), 4);
}
