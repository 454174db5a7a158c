//! A ticket opens one socket, before it expires, for the origin that it was issued for.

use shared::ids::ConnectionId;
use shared::sockets::connections::{Connection, Extended, Opened, Ticket};

use super::{TICKET_EXPIRY_MS, hash, issue, open, registered, ticket, ticket_for_origin};
use crate::record::{LATE_MS, Record, START_MS, at, concurrently, user};

on_each_record! {
    a_ticket_opens_a_connection_of_its_user_once,
    one_of_fifty_concurrent_openings_with_one_ticket_succeeds,
    a_ticket_that_is_unknown_expired_or_of_an_ended_token_is_refused,
    another_origin_is_refused_and_spends_the_ticket,
    the_origin_of_the_ticket_is_accepted,
    a_stream_that_names_no_origin_fits_every_ticket,
    extending_moves_the_end_of_a_connection,
    a_ticket_extends_once,
    a_ticket_that_does_not_match_the_connection_extends_nothing_and_is_spent,
    each_of_many_tickets_of_one_user_opens_one_connection,
}

async fn find(record: &Record, connection: &str) -> Option<Connection> {
    let id = ConnectionId::new(connection);
    record.connections().find(&id).await.unwrap()
}

async fn extend(record: &Record, connection: &str, ticket: &str, now_ms: i64) -> Extended {
    let id = ConnectionId::new(connection);
    let extended = record.connections().extend(&id, &hash(ticket), at(now_ms)).await;
    extended.unwrap()
}

async fn a_ticket_opens_a_connection_of_its_user_once(record: Record) {
    issue(&record, &ticket("alice", "t")).await;
    assert_eq!(open(&record, "tab", "t", None, 7).await, registered("alice"));
    assert_eq!(
        find(&record, "tab").await,
        Some(Connection {
            id: ConnectionId::new("tab"),
            user: user("alice"),
            connected_at_ms: START_MS + 7,
            token_expires_at_ms: START_MS + LATE_MS,
        })
    );
    let again = open(&record, "other", "t", None, 8).await;
    assert_eq!(again, Opened::TicketRefused);
    assert_eq!(find(&record, "other").await, None);
}

async fn one_of_fifty_concurrent_openings_with_one_ticket_succeeds(record: Record) {
    issue(&record, &ticket("alice", "t")).await;
    let opened = concurrently(50, |n| {
        let record = record.clone();
        async move { open(&record, &format!("tab {n}"), "t", None, 1).await }
    })
    .await;
    let mut in_registry = 0;
    for (n, opened) in opened.iter().enumerate() {
        let found = find(&record, &format!("tab {n}")).await;
        if found.is_some() {
            assert_eq!(*opened, registered("alice"));
            in_registry += 1;
        } else {
            assert_eq!(*opened, Opened::TicketRefused);
        }
    }
    assert_eq!(in_registry, 1);
}

async fn a_ticket_that_is_unknown_expired_or_of_an_ended_token_is_refused(record: Record) {
    let unknown = open(&record, "tab", "never issued", None, 0).await;
    assert_eq!(unknown, Opened::TicketRefused);

    for (n, (token_ends_ms, now_ms, is_accepted)) in [
        (LATE_MS, TICKET_EXPIRY_MS - 1, true),
        (LATE_MS, TICKET_EXPIRY_MS, false),
        (LATE_MS, TICKET_EXPIRY_MS + 1, false),
        (500, 499, true),
        (500, 500, false),
        (500, 501, false),
    ]
    .into_iter()
    .enumerate()
    {
        let (connection, name) = (format!("tab {n}"), format!("ticket {n}"));
        let ticket = Ticket { token_expires_at_ms: START_MS + token_ends_ms, ..ticket("alice", &name) };
        issue(&record, &ticket).await;
        let opened = open(&record, &connection, &name, None, now_ms).await;
        assert_eq!(matches!(opened, Opened::Registered { .. }), is_accepted, "{n}");
        assert_eq!(find(&record, &connection).await.is_some(), is_accepted, "{n}");
        if !is_accepted {
            assert_eq!(opened, Opened::TicketRefused, "{n}");
            // A refused ticket stays refused if the clock goes back.
            let earlier = open(&record, &connection, &name, None, 0).await;
            assert_eq!(earlier, Opened::TicketRefused, "{n}");
        }
    }
}

async fn another_origin_is_refused_and_spends_the_ticket(record: Record) {
    const OURS: &str = "https://app.example.com";
    for (n, (ticket_origin, socket_origin)) in [
        (Some(OURS), Some("https://evil.example.com")),
        (Some(OURS), Some("https://app.example.com:8443")),
        (Some(OURS), Some("http://app.example.com")),
        (Some(OURS), Some("")),
        (Some(OURS), Some("null")),
        (Some(OURS), None),
        (None, Some(OURS)),
        (None, Some("")),
    ]
    .into_iter()
    .enumerate()
    {
        let (connection, name) = (format!("tab {n}"), format!("ticket {n}"));
        let ticket = Ticket { origin: ticket_origin.map(str::to_owned), ..ticket("alice", &name) };
        issue(&record, &ticket).await;
        let refused = open(&record, &connection, &name, socket_origin, 1).await;
        assert_eq!(refused, Opened::OriginRefused, "{socket_origin:?}");
        assert_eq!(find(&record, &connection).await, None);
        let spent = open(&record, &connection, &name, ticket_origin, 1).await;
        assert_eq!(spent, Opened::TicketRefused, "{socket_origin:?}");
    }
}

async fn a_stream_that_names_no_origin_fits_every_ticket(record: Record) {
    const ORIGIN: &str = "https://app.example";
    let opens = async |connection: &str, origin: Option<&str>| {
        issue(&record, &ticket_for_origin("alice", connection, ORIGIN)).await;
        open(&record, connection, connection, origin, 1).await
    };
    let stream = || ConnectionId::of_stream().to_string();
    assert_eq!(opens(&stream(), None).await, registered("alice"));
    assert_eq!(opens(&stream(), Some(ORIGIN)).await, registered("alice"));
    assert_eq!(opens(&stream(), Some("https://evil.example")).await, Opened::OriginRefused);
    assert_eq!(opens("socket", None).await, Opened::OriginRefused);
}

async fn the_origin_of_the_ticket_is_accepted(record: Record) {
    let origin = "https://app.example.com";
    issue(&record, &ticket_for_origin("alice", "t", origin)).await;
    let opened = open(&record, "tab", "t", Some(origin), 1).await;
    assert_eq!(opened, registered("alice"));
}

async fn extending_moves_the_end_of_a_connection(record: Record) {
    let origin = "https://app.example.com";
    let first = Ticket { token_expires_at_ms: START_MS + 1_000, ..ticket_for_origin("alice", "first", origin) };
    issue(&record, &first).await;
    open(&record, "tab", "first", Some(origin), 1).await;
    // Also to an earlier end: the newest token decides.
    for (name, ends_ms) in [("later", 9_000), ("earlier", 800)] {
        let ticket = Ticket { token_expires_at_ms: START_MS + ends_ms, ..ticket_for_origin("alice", name, origin) };
        issue(&record, &ticket).await;
        let extended = extend(&record, "tab", name, 500).await;
        assert_eq!(extended, Extended::Until(START_MS + ends_ms));
        let found = find(&record, "tab").await.unwrap();
        assert_eq!(found.token_expires_at_ms, START_MS + ends_ms);
        assert_eq!(found.connected_at_ms, START_MS + 1);
    }
}

async fn a_ticket_extends_once(record: Record) {
    record.connect_until("alice", "tab", START_MS + 1_000, at(0)).await;
    issue(&record, &ticket("alice", "t")).await;
    let extended = concurrently(20, |_| {
        let record = record.clone();
        async move { extend(&record, "tab", "t", 1).await }
    })
    .await;
    let moved = extended.iter().filter(|extended| **extended == Extended::Until(START_MS + LATE_MS));
    assert_eq!(moved.count(), 1, "{extended:?}");
    let opened = open(&record, "other", "t", None, 2).await;
    assert_eq!(opened, Opened::TicketRefused);
}

async fn a_ticket_that_does_not_match_the_connection_extends_nothing_and_is_spent(record: Record) {
    let (ours, other) = ("https://app.example.com", "https://evil.example.com");
    let own = Ticket { token_expires_at_ms: START_MS + 1_000, ..ticket_for_origin("alice", "own", ours) };
    issue(&record, &own).await;
    open(&record, "tab", "own", Some(ours), 0).await;
    let before = find(&record, "tab").await;

    let ended = Ticket { token_expires_at_ms: START_MS + 10, ..ticket_for_origin("alice", "ended", ours) };
    let old = Ticket { expires_at_ms: START_MS + 10, ..ticket_for_origin("alice", "old", ours) };
    for (name, ticket) in [
        ("bob's", ticket_for_origin("bob", "bob's", ours)),
        ("another origin's", ticket_for_origin("alice", "another origin's", other)),
        ("no origin's", ticket("alice", "no origin's")),
        ("ended", ended),
        ("old", old),
    ] {
        issue(&record, &ticket).await;
        let refused = extend(&record, "tab", name, 10).await;
        assert_eq!(refused, Extended::Refused, "{name}");
        assert_eq!(find(&record, "tab").await, before, "{name}");
        let spent = open(&record, name, name, ticket.origin.as_deref(), 0).await;
        assert_eq!(spent, Opened::TicketRefused, "{name} is spent");
    }
    assert_eq!(extend(&record, "tab", "never issued", 10).await, Extended::Refused);
    issue(&record, &ticket_for_origin("alice", "good", ours)).await;
    let refused = extend(&record, "no such tab", "good", 10).await;
    assert_eq!(refused, Extended::Refused);
    assert_eq!(find(&record, "no such tab").await, None);
}

async fn each_of_many_tickets_of_one_user_opens_one_connection(record: Record) {
    for n in 0..5 {
        issue(&record, &ticket("alice", &format!("ticket {n}"))).await;
    }
    for n in (0..5).rev() {
        let (connection, name) = (format!("tab {n}"), format!("ticket {n}"));
        let opened = open(&record, &connection, &name, None, n).await;
        assert_eq!(opened, registered("alice"));
    }
}
