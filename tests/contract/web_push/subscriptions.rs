//! The suite of `shared::web_push::subscriptions::Subscriptions`.

use std::time::Duration;

use shared::web_push::subscription::Subscription;
use shared::web_push::subscriptions::{MAX_SUBSCRIPTIONS, Subscribed};

use super::{send, subscribe, subscription, take};
use crate::record::{Record, START_MS, Send, at, user};

on_each_record! {
    an_endpoint_moves_with_its_keys_and_not_without,
    beyond_ten_the_oldest_go,
    only_its_owner_unsubscribes,
    what_has_ended_is_forgotten,
    a_revoked_user_is_pushed_to_no_longer,
    nobody_subscribes_with_a_revoked_token,
    a_revocation_at_the_same_time_leaves_no_subscription,
}

/// The subscriptions that a push to a user goes to.
async fn subscriptions(record: &Record, name: &str, key: &str) -> Vec<Subscription> {
    send(record, &Send::new(key), name, 0).await;
    let mut taken = take(record, 0).await;
    assert!(taken.len() <= 1);
    taken.pop().map(|push| push.subscriptions).unwrap_or_default()
}

async fn an_endpoint_moves_with_its_keys_and_not_without(record: Record) {
    subscribe(&record, "alice", "tab").await;
    let (own, other) = (subscription("tab", 0), subscription("tab", 1));
    assert_eq!(record.subscriptions().subscribe(&user("bob"), None, &other).await, Ok(Subscribed::Taken));
    assert_eq!(subscriptions(&record, "alice", "a").await, std::slice::from_ref(&own));
    assert_eq!(subscriptions(&record, "bob", "b").await, []);
    // Its owner may change the keys.
    assert_eq!(record.subscriptions().subscribe(&user("alice"), None, &other).await, Ok(Subscribed::Done));
    assert_eq!(subscriptions(&record, "alice", "c").await, std::slice::from_ref(&other));
    assert_eq!(record.subscriptions().subscribe(&user("bob"), None, &other).await, Ok(Subscribed::Done));
    assert_eq!(subscriptions(&record, "alice", "d").await, []);
    assert_eq!(subscriptions(&record, "bob", "e").await, [other]);
}

async fn beyond_ten_the_oldest_go(record: Record) {
    for n in 0..MAX_SUBSCRIPTIONS {
        subscribe(&record, "alice", &n.to_string()).await;
    }
    subscribe(&record, "bob", "other").await;
    // Subscribing again makes it the newest.
    subscribe(&record, "alice", "0").await;
    subscribe(&record, "alice", "10").await;
    let expected: Vec<Subscription> =
        ["2", "3", "4", "5", "6", "7", "8", "9", "0", "10"].map(|browser| subscription(browser, 0)).to_vec();
    assert_eq!(subscriptions(&record, "alice", "a").await, expected);
    assert_eq!(subscriptions(&record, "bob", "b").await.len(), 1);
}

async fn only_its_owner_unsubscribes(record: Record) {
    subscribe(&record, "alice", "tab").await;
    let id = subscription("tab", 0).id;
    assert_eq!(record.subscriptions().unsubscribe(&user("bob"), id).await, Ok(false));
    assert_eq!(subscriptions(&record, "alice", "a").await.len(), 1);
    assert_eq!(record.subscriptions().unsubscribe(&user("alice"), id).await, Ok(true));
    assert_eq!(record.subscriptions().unsubscribe(&user("alice"), id).await, Ok(false));
    assert_eq!(subscriptions(&record, "alice", "b").await, []);
}

async fn what_has_ended_is_forgotten(record: Record) {
    for browser in ["a", "b", "c"] {
        subscribe(&record, "alice", browser).await;
    }
    let ended = ["a", "c", "unknown"].map(|browser| subscription(browser, 0).id);
    record.subscriptions().forget(&ended).await.unwrap();
    assert_eq!(subscriptions(&record, "alice", "a").await, [subscription("b", 0)]);
}

async fn a_revoked_user_is_pushed_to_no_longer(record: Record) {
    for name in ["alice", "bob"] {
        subscribe(&record, name, name).await;
    }
    record.revocations().revoke(&user("alice"), at(0)).await.unwrap();
    assert_eq!(subscriptions(&record, "alice", "a").await, []);
    assert_eq!(subscriptions(&record, "bob", "b").await.len(), 1);
}

async fn nobody_subscribes_with_a_revoked_token(record: Record) {
    record.revocations().revoke(&user("alice"), at(500)).await.unwrap();
    let revoked_s = START_MS / 1_000;
    let phone = subscription("phone", 0);
    for (name, issued_at_s, subscribed) in [
        ("alice", None, Subscribed::Revoked),
        ("alice", Some(revoked_s), Subscribed::Revoked),
        ("bob", None, Subscribed::Done),
        ("alice", Some(revoked_s + 1), Subscribed::Done),
        ("bob", Some(revoked_s), Subscribed::Done),
        ("alice", Some(revoked_s), Subscribed::Revoked),
    ] {
        let answer = record.subscriptions().subscribe(&user(name), issued_at_s, &phone).await;
        assert_eq!(answer, Ok(subscribed), "{name} {issued_at_s:?}");
    }
    assert_eq!(subscriptions(&record, "bob", "b").await.len(), 1);
}

async fn a_revocation_at_the_same_time_leaves_no_subscription(record: Record) {
    let record = &record;
    for n in 0..40 {
        let (name, key) = (format!("user-{n}"), format!("key-{n}"));
        let (user, phone) = (user(&name), subscription(&name, 0));
        let subscribing = async {
            // At another moment of the revocation each time.
            tokio::time::sleep(Duration::from_micros(n * 50)).await;
            record.subscriptions().subscribe(&user, Some(START_MS / 1_000), &phone).await.unwrap()
        };
        let (_, revoked) = tokio::join!(subscribing, record.revocations().revoke(&user, at(0)));
        revoked.unwrap();
        assert_eq!(subscriptions(record, &name, &key).await, [], "after {n} pauses");
    }
}
