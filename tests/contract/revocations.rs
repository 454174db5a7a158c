//! The suite of `shared::auth::Revocations`.

use shared::auth::{REVOCATION_RETENTION_MS, Revoked};
use shared::ids::{ConnectionId, sha256};
use shared::sockets::connections::{Extended, Opened, Opening, Ticket};

use crate::broken_rows::Database;
use crate::record::{LATE_MS, Record, START_MS, at, user};

on_each_record! {
    a_revocation_takes_the_tickets_and_connections_of_tokens_issued_until_then,
    a_token_that_does_not_say_when_it_was_issued_is_revoked,
    no_ticket_is_issued_for_a_revoked_token,
    a_revocation_is_per_user,
    the_list_tells_the_latest_revocation_of_each_user,
    a_revocation_is_kept_for_400_days,
}

/// The present second of the suite, as tokens have it.
const START_S: i64 = START_MS / 1_000;

/// A ticket of a token that was issued so many seconds after the beginning.
fn ticket(name: &str, of: &str, issued_after_s: Option<i64>) -> Ticket {
    Ticket {
        hash: sha256(of.as_bytes()),
        user: user(name),
        origin: None,
        token_issued_at_s: issued_after_s.map(|after_s| START_S + after_s),
        token_expires_at_ms: START_MS + LATE_MS,
        expires_at_ms: START_MS + LATE_MS,
    }
}

async fn issues(record: &Record, name: &str, of: &str, issued_after_s: Option<i64>) -> bool {
    record.connections().issue(&ticket(name, of, issued_after_s), at(0)).await.unwrap()
}

async fn opens(record: &Record, connection: &str, of: &str) -> Opened {
    let connection = ConnectionId::new(connection);
    let opening = Opening { connection: &connection, ticket_hash: sha256(of.as_bytes()), origin: None };
    record.connections().open(&opening, at(0)).await.unwrap()
}

async fn connects(record: &Record, name: &str, connection: &str, issued_after_s: Option<i64>) {
    assert!(issues(record, name, connection, issued_after_s).await);
    assert!(matches!(opens(record, connection, connection).await, Opened::Registered { .. }));
}

async fn revokes(record: &Record, name: &str, after_ms: i64) -> Vec<String> {
    let closed = record.revocations().revoke(&user(name), at(after_ms)).await.unwrap();
    let mut closed: Vec<String> = closed.iter().map(ToString::to_string).collect();
    closed.sort();
    closed
}

async fn is_registered(record: &Record, connection: &str) -> bool {
    record.connections().find(&ConnectionId::new(connection)).await.unwrap().is_some()
}

async fn a_revocation_takes_the_tickets_and_connections_of_tokens_issued_until_then(record: Record) {
    connects(&record, "alice", "old", Some(4)).await;
    connects(&record, "alice", "same second", Some(5)).await;
    connects(&record, "alice", "new", Some(6)).await;
    for (of, issued_after_s) in [("old ticket", 5), ("new ticket", 6)] {
        assert!(issues(&record, "alice", of, Some(issued_after_s)).await);
    }
    assert_eq!(revokes(&record, "alice", 5_999).await, ["old", "same second"]);
    assert!(!is_registered(&record, "old").await && is_registered(&record, "new").await);
    assert_eq!(opens(&record, "a", "old ticket").await, Opened::TicketRefused);
    assert!(matches!(opens(&record, "b", "new ticket").await, Opened::Registered { .. }));
    // Again: what is newer goes too, and there is nothing left for a third time.
    assert_eq!(revokes(&record, "alice", 6_000).await, ["b", "new"]);
    assert_eq!(revokes(&record, "alice", 6_000).await, [""; 0]);
}

async fn a_token_that_does_not_say_when_it_was_issued_is_revoked(record: Record) {
    connects(&record, "alice", "phone", None).await;
    assert!(issues(&record, "alice", "ticket", None).await);
    assert_eq!(revokes(&record, "alice", 0).await, ["phone"]);
    assert_eq!(opens(&record, "tab", "ticket").await, Opened::TicketRefused);
    assert!(!issues(&record, "alice", "another", None).await);
}

async fn no_ticket_is_issued_for_a_revoked_token(record: Record) {
    revokes(&record, "alice", 5_000).await;
    assert!(!issues(&record, "alice", "1", Some(5)).await);
    assert!(issues(&record, "alice", "2", Some(6)).await);
    assert_eq!(opens(&record, "tab", "1").await, Opened::TicketRefused);
    assert!(matches!(opens(&record, "phone", "2").await, Opened::Registered { .. }));
}

async fn a_revocation_is_per_user(record: Record) {
    connects(&record, "bob", "bob's", Some(0)).await;
    assert_eq!(revokes(&record, "alice", 5_000).await, [""; 0]);
    assert!(is_registered(&record, "bob's").await && issues(&record, "bob", "ticket", Some(0)).await);
}

async fn the_list_tells_the_latest_revocation_of_each_user(record: Record) {
    let since = |after_ms: i64| {
        let record = record.clone();
        async move {
            let mut revoked = record.revocations().revoked_since(START_MS + after_ms).await.unwrap();
            revoked.sort_by_key(|revoked| revoked.at_ms);
            revoked
        }
    };
    assert_eq!(since(0).await, []);
    for (name, after_ms) in [("alice", 1), ("bob", 2), ("alice", 3), ("bob", 0)] {
        revokes(&record, name, after_ms).await;
    }
    let of = |name: &str, after_ms: i64| Revoked { user: user(name), at_ms: START_MS + after_ms };
    // A clock that has gone back revokes nothing less.
    assert_eq!(since(0).await, [of("bob", 2), of("alice", 3)]);
    assert_eq!(since(3).await, [of("alice", 3)]);
    assert_eq!(since(4).await, []);
}

async fn a_revocation_is_kept_for_400_days(record: Record) {
    revokes(&record, "alice", 0).await;
    revokes(&record, "bob", REVOCATION_RETENTION_MS - 1).await;
    let users = |revoked: Vec<Revoked>| -> Vec<String> { revoked.iter().map(|r| r.user.to_string()).collect() };
    assert_eq!(record.revocations().revoked_since(0).await.unwrap().len(), 2);
    revokes(&record, "carol", REVOCATION_RETENTION_MS).await;
    let mut kept = users(record.revocations().revoked_since(0).await.unwrap());
    kept.sort();
    assert_eq!(kept, ["bob", "carol"]);
    // One's own old row is replaced.
    revokes(&record, "bob", 3 * REVOCATION_RETENTION_MS).await;
    assert_eq!(users(record.revocations().revoked_since(0).await.unwrap()), ["bob"]);
}

/// What another transaction commits while a user is revoked is not seen by the revocation.
async fn what_came_into_being_meanwhile_is_refused_and_swept(record: Record, database: Database) {
    for (connection, issued_after_s) in [("leaked", Some(5)), ("kept", Some(6))] {
        connects(&record, "alice", connection, issued_after_s).await;
        assert!(issues(&record, "alice", &format!("{connection} ticket"), issued_after_s).await);
    }
    database.execute(&format!("INSERT INTO revocations VALUES ('alice', {})", START_MS + 5_000)).await;
    assert!(!is_registered(&record, "leaked").await && is_registered(&record, "kept").await);
    assert_eq!(opens(&record, "tab", "leaked ticket").await, Opened::TicketRefused);
    let swept = record.connections().sweep(at(10)).await.unwrap();
    assert_eq!(swept.iter().map(|connection| connection.id.to_string()).collect::<Vec<_>>(), ["leaked"]);
    // Nor does it extend a connection.
    database.execute("DELETE FROM revocations").await;
    assert!(issues(&record, "alice", "late ticket", Some(5)).await);
    database.execute(&format!("INSERT INTO revocations VALUES ('alice', {})", START_MS + 5_000)).await;
    let extended = record.connections().extend(&ConnectionId::new("kept"), &sha256(b"late ticket"), at(10)).await;
    assert_eq!(extended.unwrap(), Extended::Refused);
    let extended = record.connections().extend(&ConnectionId::new("kept"), &sha256(b"kept ticket"), at(10)).await;
    assert!(matches!(extended.unwrap(), Extended::Until(_)));
}

mod what_came_into_being_meanwhile_is_refused_and_swept {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn sqlite() {
        let (record, database, _guard) = crate::broken_rows::sqlite().await;
        super::what_came_into_being_meanwhile_is_refused_and_swept(record, database).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn postgres() {
        let (record, database) = crate::broken_rows::postgres().await;
        super::what_came_into_being_meanwhile_is_refused_and_swept(record, database).await;
    }
}
