//! What an append stores, and what it returns to be pushed.

use std::collections::HashSet;

use shared::clock::Time;
use shared::delivery::Delivery;
use shared::ids::UserId;
use shared::inbox::sends::CHUNK_RECIPIENTS;

use crate::record::{LATE_MS, Record, START_MS, Send, at, concurrently, id, ids, user, users};

on_each_record! {
    each_recipient_gets_the_next_offset_of_their_own_inbox,
    concurrent_appends_leave_no_gap_and_no_duplicate,
    the_first_recipients_get_rows_and_the_rest_wait_in_chunks,
    a_user_without_connections_needs_no_push,
    deliveries_cover_exactly_the_users_with_valid_connections,
    a_delivery_describes_what_arrived_and_where,
}

async fn each_recipient_gets_the_next_offset_of_their_own_inbox(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let both = users(&["alice", "bob"]);
    record.send(&Send::new("3"), &both, at(0)).await;
    record.ring(&["4"], "bob", at(0)).await;

    for (name, keys) in [("alice", ["3", "2", "1"].as_slice()), ("bob", &["4", "3"])] {
        let listed = record.listed(name).await;
        let found: Vec<_> = listed.iter().map(|n| n.id).collect();
        assert_eq!(found, ids(keys, name), "{name}");
        let head = i64::try_from(keys.len()).unwrap();
        let offsets: Vec<i64> = listed.iter().map(|n| n.cursor.offset).collect();
        assert_eq!(offsets, (1..=head).rev().collect::<Vec<_>>(), "{name}");
        assert_eq!(record.position(name).await.head, head, "{name}");
    }
}

async fn concurrent_appends_leave_no_gap_and_no_duplicate(record: Record) {
    const APPENDERS: usize = 8;
    const EACH: usize = 10;
    // Every appender names the users in a different order, which must not cause a deadlock.
    let names = ["alice", "bob", "carol", "dave"];
    concurrently(APPENDERS, |n| {
        let record = record.clone();
        let mut to = users(&names);
        to.rotate_left(n % names.len());
        if n >= names.len() {
            to.reverse();
        }
        async move {
            let mut before = 0;
            for m in 0..EACH {
                let key = format!("{n}/{m}");
                record.send(&Send::new(&key), &to, at(0)).await;
                // The sends of one appender arrive in the order in which they were answered.
                let mine = record.inbox().find(&to[0], id(&key, to[0].as_str()), at(0)).await;
                let offset = mine.unwrap().unwrap().cursor.offset;
                assert!(offset > before);
                before = offset;
            }
        }
    })
    .await;

    let sent = APPENDERS * EACH;
    for name in names {
        let listed = record.listed(name).await;
        let offsets: Vec<i64> = listed.iter().rev().map(|n| n.cursor.offset).collect();
        assert_eq!(offsets, (1..=sent as i64).collect::<Vec<_>>(), "{name} has a gap");
        let distinct: HashSet<_> = listed.iter().map(|n| n.id).collect();
        assert_eq!(distinct.len(), sent, "{name} has a duplicate");
        let position = record.position(name).await;
        assert_eq!((position.head, position.unread), (sent as i64, sent as i64));
    }
}

async fn the_first_recipients_get_rows_and_the_rest_wait_in_chunks(record: Record) {
    for (key, beyond, chunks) in [("exact", 0, 0), ("one more", 1, 1), ("all", 4 * CHUNK_RECIPIENTS, 4)] {
        let to: Vec<UserId> = (0..CHUNK_RECIPIENTS + beyond).map(|n| user(&format!("{key} {n}"))).collect();
        record.send(&Send::new(key), &to, at(0)).await;
        for (n, recipient) in to.iter().enumerate() {
            let name = recipient.as_str();
            let (position, listed) = (record.position(name).await, record.listed(name).await);
            let expected = i64::from(n < CHUNK_RECIPIENTS);
            assert_eq!((position.head, position.unread), (expected, expected), "{name}");
            assert_eq!(listed.len(), usize::from(n < CHUNK_RECIPIENTS), "{name}");
        }
        for _ in 0..chunks {
            assert!(record.materialise_next(at(0)).await.unwrap().is_some());
        }
        assert!(record.materialise_next(at(LATE_MS)).await.unwrap().is_none());
        for recipient in &to {
            assert_eq!(record.position(recipient.as_str()).await.head, 1);
        }
    }
}

async fn a_user_without_connections_needs_no_push(record: Record) {
    assert!(record.ring(&["1"], "alice", at(0)).await.is_empty());
    assert_eq!(record.next_due().await.unwrap(), None);
}

async fn deliveries_cover_exactly_the_users_with_valid_connections(record: Record) {
    record.connect("bob", "bob's phone", at(0)).await;
    record.connect("bob", "bob's desk", at(1)).await;
    record.connect_until("bob", "bob's old tab", START_MS + 100, at(2)).await;
    record.connect_until("carol", "carol's tab", START_MS + 100, at(2)).await;
    record.connect("erin", "erin's tab", at(2)).await;

    let to = users(&["alice", "bob", "carol", "dave"]);
    let found = |deliveries: Vec<Delivery>| {
        let mut found: Vec<(String, Vec<String>)> = deliveries
            .into_iter()
            .map(|delivery| {
                assert!(delivery.connections.iter().all(|connection| connection.user == delivery.user));
                let connections = delivery.connections.iter();
                (delivery.user.to_string(), connections.map(|connection| connection.id.to_string()).collect())
            })
            .collect();
        found.sort();
        found
    };
    let before = found(record.send(&Send::new("before"), &to, at(99)).await);
    assert_eq!(
        before,
        [
            ("bob".into(), vec!["bob's phone".into(), "bob's desk".into(), "bob's old tab".into()]),
            ("carol".into(), vec!["carol's tab".to_owned()]),
        ]
    );
    // Nothing is pushed to a connection once its token has ended.
    let after = found(record.send(&Send::new("after"), &to, at(100)).await);
    assert_eq!(after, [("bob".to_owned(), vec!["bob's phone".to_owned(), "bob's desk".into()])]);
}

async fn a_delivery_describes_what_arrived_and_where(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    record.connect("alice", "tab", at(5)).await;
    let deliveries = record.ring(&["3"], "alice", at(7)).await;

    let [delivery] = deliveries.as_slice() else { panic!("one user, one delivery: {deliveries:?}") };
    let notification = &delivery.notification;
    assert_eq!(notification.id, id("3", "alice"));
    assert_eq!(notification.cursor, record.position("alice").await.cursor());
    assert_eq!(notification.created_at, Time(START_MS + 7));
    assert_eq!(notification.read_at, None);
    assert_eq!(notification.content.title, "3");
    assert_eq!(delivery.unread, 3);
    let connection = &delivery.connections[0];
    assert_eq!(connection.connected_at_ms, START_MS + 5);
    assert_eq!(connection.token_expires_at_ms, START_MS + LATE_MS);
}
