//! The suite of `shared::sockets::connections::Connections`.

mod audience;
mod registry;
mod tickets;

use shared::ids::{ConnectionId, sha256};
use shared::sockets::connections::{Opened, Opening, Ticket};

use crate::record::{LATE_MS, Record, START_MS, at, user};

/// When the tickets of these suites expire, in milliseconds after the beginning.
const TICKET_EXPIRY_MS: i64 = 30_000;

fn hash(ticket: &str) -> [u8; 32] {
    sha256(ticket.as_bytes())
}

fn ticket(name: &str, ticket: &str) -> Ticket {
    Ticket {
        hash: hash(ticket),
        user: user(name),
        origin: None,
        token_issued_at_s: None,
        token_expires_at_ms: START_MS + LATE_MS,
        expires_at_ms: START_MS + TICKET_EXPIRY_MS,
    }
}

/// A ticket that only this origin may use.
fn ticket_for_origin(name: &str, of: &str, origin: &str) -> Ticket {
    Ticket { origin: Some(origin.into()), ..ticket(name, of) }
}

async fn issue(record: &Record, ticket: &Ticket) {
    record.connections().issue(ticket, at(0)).await.unwrap();
}

async fn open(record: &Record, connection: &str, ticket: &str, origin: Option<&str>, now_ms: i64) -> Opened {
    let opening = Opening { connection: &ConnectionId::new(connection), ticket_hash: hash(ticket), origin };
    record.connections().open(&opening, at(now_ms)).await.unwrap()
}

/// The result of an opening that displaces no other connection.
fn registered(name: &str) -> Opened {
    Opened::Registered { user: user(name), displaced: Vec::new() }
}
