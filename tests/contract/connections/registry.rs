//! Who is connected: at most `MAX_CONNECTIONS` per user, found and forgotten by id, and swept when they have ended.

use shared::ids::ConnectionId;
use shared::sockets::connections::{
    MAX_CONNECTION_AGE_MS, MAX_CONNECTIONS, MAX_SOCKET_AGE_MS, MAX_STREAMS, Online, Opened,
};

use super::{TICKET_EXPIRY_MS, issue, open, ticket};
use crate::record::{LATE_MS, Record, START_MS, at, concurrently, ids, user};

on_each_record! {
    one_connection_too_many_displaces_the_oldest,
    the_newest_is_never_displaced_even_if_all_opened_at_once,
    concurrent_openings_leave_no_more_than_the_maximum,
    other_users_connections_do_not_count,
    a_third_event_stream_displaces_the_oldest_and_no_socket,
    a_forgotten_connection_is_not_found,
    a_sweep_forgets_expired_tickets,
    a_sweep_returns_connections_whose_token_has_ended_until_they_are_forgotten,
    a_sweep_forgets_connections_past_the_maximum_age,
    open_connections_and_their_users_are_counted,
}

async fn is_found(record: &Record, connection: &str) -> bool {
    let id = ConnectionId::new(connection);
    record.connections().find(&id).await.unwrap().is_some()
}

/// Opens one more connection for alice; returns those that it displaces.
async fn open_another(record: &Record, connection: &str, now_ms: i64) -> Vec<String> {
    issue(record, &ticket("alice", connection)).await;
    match open(record, connection, connection, None, now_ms).await {
        Opened::Registered { displaced, .. } => displaced.iter().map(ConnectionId::to_string).collect(),
        refused => panic!("{refused:?}"),
    }
}

async fn sweep(record: &Record, now_ms: i64) -> Vec<String> {
    let ended = record.connections().sweep(at(now_ms)).await.unwrap();
    let mut ended: Vec<String> = ended.iter().map(|c| c.id.to_string()).collect();
    ended.sort();
    ended
}

async fn one_connection_too_many_displaces_the_oldest(record: Record) {
    // The oldest by time, not by name.
    let name = |n: usize| format!("{} of {n}", 100 - n);
    for n in 0..MAX_CONNECTIONS {
        let displaced = open_another(&record, &name(n), n as i64).await;
        assert!(displaced.is_empty(), "the {n}th displaced {displaced:?}");
    }
    for n in MAX_CONNECTIONS..MAX_CONNECTIONS + 3 {
        let displaced = open_another(&record, &name(n), n as i64).await;
        assert_eq!(displaced, [name(n - MAX_CONNECTIONS)]);
        assert!(!is_found(&record, &name(n - MAX_CONNECTIONS)).await);
        assert!(is_found(&record, &name(n)).await);
    }
    // Forgetting a connection makes room for another.
    let gone = [ConnectionId::new(name(10)), ConnectionId::new(name(11))];
    record.connections().forget(&gone).await.unwrap();
    assert!(open_another(&record, "room", 100).await.is_empty());
}

async fn the_newest_is_never_displaced_even_if_all_opened_at_once(record: Record) {
    // All within one millisecond, and with names that sort before and after the others.
    for n in 0..MAX_CONNECTIONS {
        open_another(&record, &format!("m{n:02}"), 0).await;
    }
    for name in ["a", "z", "0", "zz"] {
        let displaced = open_another(&record, name, 0).await;
        assert_eq!(displaced.len(), 1);
        assert_ne!(displaced, [name]);
        assert!(is_found(&record, name).await, "{name}");
    }
    // Nor if the clock went back.
    let displaced = open_another(&record, "earlier", -1_000).await;
    assert_eq!(displaced.len(), 1);
    assert!(is_found(&record, "earlier").await);
}

async fn concurrent_openings_leave_no_more_than_the_maximum(record: Record) {
    let openings = 2 * MAX_CONNECTIONS;
    let displaced = concurrently(openings, |n| {
        let record = record.clone();
        async move { open_another(&record, &format!("tab {n}"), 0).await }
    })
    .await;
    let displaced = displaced.concat();
    assert_eq!(displaced.len(), openings - MAX_CONNECTIONS);
    let rung = record.ring(&["1"], "alice", at(1)).await;
    let mut left: Vec<String> = rung[0].connections.iter().map(|c| c.id.to_string()).collect();
    assert_eq!(left.len(), MAX_CONNECTIONS);
    left.extend(displaced);
    left.sort();
    left.dedup();
    assert_eq!(left.len(), openings, "each is either left or displaced");
}

async fn a_third_event_stream_displaces_the_oldest_and_no_socket(record: Record) {
    let streams: Vec<String> = (0..MAX_STREAMS + 1).map(|_| ConnectionId::of_stream().to_string()).collect();
    for n in 0..MAX_CONNECTIONS {
        open_another(&record, &format!("tab {n}"), n as i64 - 100).await;
    }
    for (n, stream) in streams.iter().enumerate() {
        let displaced = open_another(&record, stream, 1 + n as i64).await;
        assert_eq!(displaced.len(), usize::from(n == MAX_STREAMS));
        assert!(displaced.iter().all(|displaced| *displaced == streams[0]));
    }
    assert!(!is_found(&record, &streams[0]).await && is_found(&record, &streams[MAX_STREAMS]).await);
    assert_eq!(open_another(&record, "one more", 9).await, ["tab 0"]);
    assert!(is_found(&record, &streams[1]).await);
}

async fn other_users_connections_do_not_count(record: Record) {
    for n in 0..MAX_CONNECTIONS {
        record.connect("bob", &format!("bob's {n}"), at(0)).await;
    }
    for n in 0..MAX_CONNECTIONS {
        let displaced = open_another(&record, &format!("tab {n}"), 1).await;
        assert!(displaced.is_empty());
    }
    open_another(&record, "one more", 2).await;
    for n in 0..MAX_CONNECTIONS {
        assert!(is_found(&record, &format!("bob's {n}")).await);
    }
}

async fn a_forgotten_connection_is_not_found(record: Record) {
    for name in ["one", "two", "three"] {
        record.connect("alice", name, at(0)).await;
    }
    let gone = ["two", "unknown", "one", "two"].map(ConnectionId::new);
    for _ in 0..2 {
        record.connections().forget(&gone).await.unwrap();
        assert!(!is_found(&record, "one").await);
        assert!(!is_found(&record, "two").await);
        assert!(is_found(&record, "three").await);
    }
    record.connections().forget(&[]).await.unwrap();
    assert!(is_found(&record, "three").await);
    let rung = record.ring(&["1"], "alice", at(1)).await;
    assert_eq!(rung[0].connections.len(), 1);
    assert_eq!(rung[0].notification.id, ids(&["1"], "alice")[0]);
}

async fn a_sweep_forgets_expired_tickets(record: Record) {
    issue(&record, &ticket("alice", "old")).await;
    let mut young = ticket("alice", "young");
    young.expires_at_ms += 1;
    issue(&record, &young).await;
    assert!(sweep(&record, TICKET_EXPIRY_MS).await.is_empty());
    // At an earlier time, since both tickets would be refused at a later one.
    let old = open(&record, "old", "old", None, 0).await;
    assert_eq!(old, Opened::TicketRefused);
    let young = open(&record, "young", "young", None, 0).await;
    assert_eq!(young, super::registered("alice"));
}

async fn a_sweep_returns_connections_whose_token_has_ended_until_they_are_forgotten(record: Record) {
    record.connect_until("alice", "first", START_MS + 1_000, at(0)).await;
    record.connect_until("bob", "second", START_MS + 2_000, at(0)).await;
    record.connect("alice", "lasting", at(0)).await;
    assert!(sweep(&record, 999).await.is_empty());
    assert_eq!(sweep(&record, 1_000).await, ["first"]);
    // The first sweep may have died before it closed the connection.
    assert_eq!(sweep(&record, 2_000).await, ["first", "second"]);
    let ended = record.connections().sweep(at(2_000)).await.unwrap();
    let first = ended.iter().find(|c| c.id.as_str() == "first").unwrap();
    assert_eq!(first.user, user("alice"));
    assert_eq!(first.token_expires_at_ms, START_MS + 1_000);

    let closed = [ConnectionId::new("first")];
    record.connections().forget(&closed).await.unwrap();
    assert_eq!(sweep(&record, 2_000).await, ["second"]);
    assert!(is_found(&record, "lasting").await);
}

async fn a_sweep_forgets_connections_past_the_maximum_age(record: Record) {
    record.connect("alice", "older", at(0)).await;
    record.connect("alice", "younger", at(1)).await;
    record.connect_until("bob", "ended long ago", START_MS + 10, at(0)).await;
    assert!(sweep(&record, 9).await.is_empty());
    // API Gateway has closed connections of this age, so that none is left to be closed.
    let ended = sweep(&record, MAX_CONNECTION_AGE_MS).await;
    assert!(ended.is_empty(), "{ended:?}");
    assert!(!is_found(&record, "older").await);
    assert!(!is_found(&record, "ended long ago").await);
    assert!(is_found(&record, "younger").await);
    assert!(sweep(&record, LATE_MS - 1).await.is_empty());
    assert!(!is_found(&record, "younger").await);
}

async fn open_connections_and_their_users_are_counted(record: Record) {
    let count = async |now_ms: i64| record.connections().count(at(now_ms)).await.unwrap();
    let online = |connections, users| Online { connections, users };
    assert_eq!(count(0).await, Online::default());
    record.connect("alice", "phone", at(0)).await;
    record.connect("alice", "desk", at(10)).await;
    record.connect_until("bob", "bob's", START_MS + 5_000, at(20)).await;
    assert_eq!(count(20).await, online(3, 2));
    // A connection whose token has ended no longer counts, even before a sweep.
    assert_eq!(count(4_999).await, online(3, 2));
    assert_eq!(count(5_000).await, online(2, 1));
    // Nor does a connection that API Gateway must have ended by now.
    assert_eq!(count(MAX_SOCKET_AGE_MS - 1).await, online(2, 1));
    assert_eq!(count(MAX_SOCKET_AGE_MS).await, online(1, 1));
    assert_eq!(count(MAX_SOCKET_AGE_MS + 10).await, Online::default());
    record.connections().forget(&[ConnectionId::new("phone")]).await.unwrap();
    assert_eq!(count(4_999).await, online(2, 2));
}
