//! Whom an event reaches: the connections of some users, and those of all, page by page.

use shared::ids::ConnectionId;
use shared::sockets::connections::{Connection, PageEnd, Ticket};

use super::{issue, open, ticket};
use crate::record::{LATE_MS, Record, START_MS, at, user, users};

on_each_record! {
    the_connections_of_users_are_found,
    a_connection_whose_token_has_expired_is_in_no_audience,
    all_connections_are_found_in_pages,
    connections_that_came_later_are_on_no_page,
    a_page_that_is_exactly_full_is_followed_by_an_empty_one,
}

async fn connects(record: &Record, name: &str, connection: &str, after_ms: i64) {
    issue(record, &ticket(name, connection)).await;
    open(record, connection, connection, None, after_ms).await;
}

fn names(connections: &[Connection]) -> Vec<String> {
    let mut names: Vec<String> = connections.iter().map(|connection| connection.id.to_string()).collect();
    names.sort();
    names
}

async fn of(record: &Record, names_of: &[&str], after_ms: i64) -> Vec<String> {
    names(&record.connections().of(&users(names_of), at(after_ms)).await.unwrap())
}

/// All pages of connections that were registered so many milliseconds after the beginning.
async fn pages(record: &Record, until_ms: i64, limit: usize) -> Vec<Vec<String>> {
    let (mut pages, mut after): (Vec<Vec<String>>, Option<PageEnd>) = (Vec::new(), None);
    loop {
        let page = record.connections().page(after.as_ref(), START_MS + until_ms, limit, at(10_000)).await.unwrap();
        pages.push(names(&page.connections));
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

async fn the_connections_of_users_are_found(record: Record) {
    for (name, connection) in [("alice", "a1"), ("alice", "a2"), ("bob", "b1"), ("carol", "c1")] {
        connects(&record, name, connection, 0).await;
    }
    assert_eq!(of(&record, &["alice", "carol", "dave"], 1).await, ["a1", "a2", "c1"]);
    assert!(of(&record, &["dave"], 1).await.is_empty());
    assert!(of(&record, &[], 1).await.is_empty());
    let found = record.connections().of(&[user("bob")], at(1)).await.unwrap();
    let bob = Connection {
        id: ConnectionId::new("b1"),
        user: user("bob"),
        connected_at_ms: START_MS,
        token_expires_at_ms: START_MS + LATE_MS,
    };
    assert_eq!(found, [bob]);
}

async fn a_connection_whose_token_has_expired_is_in_no_audience(record: Record) {
    let token_expires_at_ms = START_MS + 5_000;
    issue(&record, &Ticket { token_expires_at_ms, ..ticket("alice", "old") }).await;
    open(&record, "old", "old", None, 0).await;
    connects(&record, "alice", "new", 0).await;
    assert_eq!(of(&record, &["alice"], 4_999).await, ["new", "old"]);
    assert_eq!(of(&record, &["alice"], 5_000).await, ["new"]);
    assert_eq!(pages(&record, 10_000, 10).await, [["new"]]);
    // It is left out, and ends no page.
    assert_eq!(pages(&record, 10_000, 1).await.concat(), ["new"]);
}

async fn all_connections_are_found_in_pages(record: Record) {
    // Many at the same instant, so that the time alone orders nothing.
    let mut all: Vec<String> = Vec::new();
    for n in 0..25_i64 {
        let connection = format!("{:02}", (n * 7) % 25);
        connects(&record, &format!("user {}", n % 3), &connection, n / 10).await;
        all.push(connection);
    }
    all.sort();
    for limit in [1, 4, 10, 100] {
        let found = pages(&record, 10_000, limit).await;
        assert!(found.iter().all(|page| page.len() <= limit), "{found:?}");
        let mut found = found.concat();
        found.sort();
        assert_eq!(found, all, "in pages of {limit}");
    }
}

async fn connections_that_came_later_are_on_no_page(record: Record) {
    connects(&record, "alice", "before", 99).await;
    connects(&record, "alice", "at", 100).await;
    connects(&record, "alice", "later", 101).await;
    assert_eq!(pages(&record, 100, 10).await, [["at", "before"]]);
}

async fn a_page_that_is_exactly_full_is_followed_by_an_empty_one(record: Record) {
    connects(&record, "alice", "a1", 0).await;
    connects(&record, "alice", "a2", 1).await;
    assert_eq!(pages(&record, 10_000, 2).await, [vec!["a1".to_owned(), "a2".to_owned()], Vec::new()]);
}
